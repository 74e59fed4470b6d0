#include "gpunn/io/gzip.h"

#include <cstring>

#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::bytes_of;
using testing::expect_data_error;
using testing::put_file;
using testing::TemporaryFolder;

const std::string kText = "handwritten digits, handwritten digits, handwritten digits: 0123456789";

Bytes noise(std::size_t size) {
  Bytes out(size);
  std::uint32_t state = 1;
  for (std::uint8_t& byte : out) {
    state = state * 1'664'525 + 1'013'904'223;
    byte = static_cast<std::uint8_t>(state >> 24);
  }
  return out;
}

Bytes joined(const Bytes& a, const Bytes& b) {
  Bytes out = a;
  out.insert(out.end(), b.begin(), b.end());
  return out;
}

TEST(Gzip, RoundTripsEverySize) {
  for (const std::size_t size : {0u, 1u, 31u, 32u, 33u, 65'535u, 65'536u, 65'537u, 1'000'003u}) {
    for (const Bytes& data : {Bytes(size, 'a'), noise(size)}) {
      for (const int level : {1, 9}) {
        const Bytes packed = gzip(data, level);
        EXPECT_TRUE(is_gzip(packed));
        EXPECT_EQ(gunzip(packed, "f"), data) << size;
      }
    }
  }
  EXPECT_EQ(gzip(noise(1000)), gzip(noise(1000)));
  EXPECT_THROW(gzip({}, 0), InvalidArgument);
  EXPECT_THROW(gzip({}, 10), InvalidArgument);
}

TEST(Gzip, TakesAllMembers) {
  const Bytes a = noise(100'000), b = bytes_of(kText);
  EXPECT_EQ(gunzip(joined(gzip(a), gzip(b)), "f"), joined(a, b));
  EXPECT_EQ(gunzip(joined(gzip(b), gzip(a)), "f"), joined(b, a));
  EXPECT_EQ(gunzip(joined(gzip({}), gzip({})), "f"), Bytes());
}

TEST(Gzip, SkipsTheHeadersOptionalFields) {
  // FTEXT, FHCRC off, FEXTRA of 3 bytes, file name, comment.
  const Bytes plain = gzip(bytes_of(kText));
  Bytes with(plain.begin(), plain.begin() + 10);
  with[3] = 0x01 | 0x04 | 0x08 | 0x10;
  for (const char c : std::string("\x03\0xyzname\0comment\0", 18))
    with.push_back(static_cast<std::uint8_t>(c));
  with.insert(with.end(), plain.begin() + 10, plain.end());
  EXPECT_EQ(as_text(gunzip(with, "f")), kText);
}

TEST(Gzip, TruncationAtEveryByteIsRefused) {
  const Bytes packed = gzip(bytes_of(kText));
  for (std::size_t size = 0; size < packed.size(); ++size) {
    expect_data_error([&] { gunzip(std::span(packed).first(size), "digits.gz"); }, {"digits.gz: ", "offset"},
                      std::to_string(size));
  }
  for (std::size_t size = packed.size() - 8; size < packed.size(); ++size) {
    expect_data_error([&] { gunzip(std::span(packed).first(size), "f"); },
                      {"gzip data ends early, at offset " + std::to_string(size)});
  }
}

TEST(Gzip, EveryFlippedBitIsRefusedOrHarmless) {
  const Bytes packed = gzip(bytes_of(kText));
  int refused = 0;
  for (std::size_t byte = 0; byte < packed.size(); ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = packed;
      bad[byte] ^= static_cast<std::uint8_t>(1 << bit);
      try {
        // Time, text flag and system in the header, and the bits that fill the last byte of the block, mean
        // nothing.
        EXPECT_EQ(as_text(gunzip(bad, "f")), kText) << byte << "." << bit;
        EXPECT_TRUE(byte < 10 || byte == packed.size() - 9) << "damage went unnoticed at " << byte;
      } catch (const DataError& error) {
        ++refused;
        EXPECT_NE(std::string(error.what()).find("offset"), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_GE(refused, static_cast<int>(packed.size() - 11) * 8);
}

TEST(Gzip, BytesAfterTheEndAreRefused) {
  const Bytes packed = gzip(bytes_of(kText));
  for (const std::string_view tail : {std::string_view("\0", 1), std::string_view("x"),
                                      std::string_view("\x1f"), std::string_view("\x1f\x8c")}) {
    expect_data_error([&] { gunzip(joined(packed, bytes_of(tail)), "f"); },
                      {"expected the end of the gzip data at offset " + std::to_string(packed.size())});
  }
  expect_data_error([&] { gunzip(joined(packed, bytes_of("\x1f\x8b")), "f"); }, {"ends early"});
}

TEST(Gzip, MessagesSayWhatIsWrong) {
  expect_data_error([] { gunzip(bytes_of("PK\3\4 not gzip at all"), "a.zip"); },
                    {"a.zip", "1f 8b", "offset 0"});
  Bytes bad = gzip(bytes_of(kText));
  bad[2] = 7;
  expect_data_error([&] { gunzip(bad, "f"); }, {"unknown compression method"});
  bad = gzip(bytes_of(kText));
  bad[3] = 0xe0;
  expect_data_error([&] { gunzip(bad, "f"); }, {"unknown header flags"});
  bad = gzip(bytes_of(kText));
  bad[bad.size() - 8] ^= 1;
  expect_data_error([&] { gunzip(bad, "f"); }, {"incorrect data check"});
  bad = gzip(bytes_of(kText));
  bad[bad.size() - 4] ^= 1;
  expect_data_error([&] { gunzip(bad, "f"); }, {"incorrect length check"});
  bad = gzip(bytes_of(kText));
  bad[10] |= 6;  // block type 3 does not exist
  expect_data_error([&] { gunzip(bad, "f"); }, {"invalid block type"});
}

TEST(Gzip, BombsAreRefusedEarly) {
  const Bytes bomb = gzip(Bytes(std::size_t{64} << 20, 0), 9);
  ASSERT_LT(bomb.size(), 70'000u);
  expect_data_error([&] { gunzip(bomb, "bomb.gz"); }, {"bomb.gz: decompresses to more than 16777216 bytes"});
  GzipLimits limits;
  limits.max_ratio = 2000;
  EXPECT_EQ(gunzip(bomb, "f", limits).size(), std::size_t{64} << 20);
  limits.max_bytes = (std::uint64_t{64} << 20) - 1;
  expect_data_error([&] { gunzip(bomb, "f", limits); }, {"more than 67108863 bytes"});
  limits.max_bytes += 1;
  EXPECT_EQ(gunzip(bomb, "f", limits).size(), std::size_t{64} << 20);
  // Many members, each small, are one bomb.
  Bytes many;
  const Bytes member = gzip(Bytes(900'000, 0), 9);
  for (int i = 0; i < 40; ++i) many = joined(many, member);
  expect_data_error([&] { gunzip(many, "f"); }, {"decompresses to more than"});
}

TEST(Gzip, AWrongStoredSizeIsOnlyAHint) {
  // The last member's size is small and the first one's large: the buffer must grow past the hint.
  const Bytes big = noise(3'000'000);
  EXPECT_EQ(gunzip(joined(gzip(big), gzip(bytes_of("x"))), "f").size(), 3'000'001u);
}

TEST(Gzip, FilesAreRecognisedByContentNotName) {
  const TemporaryFolder folder;
  put_file(folder.file("plain.gz"), kText);
  put_file(folder.file("packed.bin"), gzip(bytes_of(kText)));
  EXPECT_EQ(as_text(read_file_maybe_gzip(folder.file("plain.gz"))), kText);
  EXPECT_EQ(as_text(read_file_maybe_gzip(folder.file("packed.bin"))), kText);
  put_file(folder.file("bad.gz"), std::string_view("\x1f\x8b"));
  expect_data_error([&] { read_file_maybe_gzip(folder.file("bad.gz")); },
                    {folder.file("bad.gz"), "offset 2"});
}

}  // namespace
}  // namespace gpunn
