#include "gpunn/io/sha256.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

// Vectors of FIPS 180-4's examples (NIST CSRC, "SHA256.pdf"), and the empty message.
TEST(Sha256, KnownDigests) {
  EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(sha256_hex(as_bytes("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256_hex(as_bytes("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(sha256_hex(Bytes(1'000'000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha256, PiecesMakeNoDifference) {
  Bytes data(1000);
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::uint8_t>(i * 31);
  for (const std::size_t size : {0u, 1u, 55u, 56u, 57u, 63u, 64u, 65u, 119u, 120u, 128u, 1000u}) {
    const auto all = std::span(data).first(size);
    for (const std::size_t piece : {1u, 7u, 63u, 64u, 65u}) {
      Sha256 digest;
      for (std::size_t at = 0; at < size; at += piece)
        digest.update(all.subspan(at, std::min(piece, size - at)));
      EXPECT_EQ(digest.hex(), sha256_hex(all)) << size << " by " << piece;
    }
  }
}

TEST(Sha256, Files) {
  const testing::TemporaryFolder folder;
  const Bytes data(3'000'001, 'x');
  testing::put_file(folder.file("a"), data);
  EXPECT_EQ(sha256_of_file(folder.file("a")), sha256_hex(data));
  testing::expect_data_error([&] { sha256_of_file(folder.file("none")); }, {folder.file("none")});
}

}  // namespace
}  // namespace gpunn
