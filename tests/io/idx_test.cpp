#include "gpunn/io/idx.h"

#include <algorithm>
#include <array>

#include "gpunn/io/sha256.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::bytes_of;
using testing::expect_data_error;
using testing::put_file;
using testing::TemporaryFolder;

Bytes idx_file(std::uint8_t type, const std::vector<std::uint32_t>& extents, const Bytes& elements) {
  Bytes out = {0, 0, type, static_cast<std::uint8_t>(extents.size())};
  for (const std::uint32_t extent : extents) {
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(extent >> shift));
  }
  out.insert(out.end(), elements.begin(), elements.end());
  return out;
}

const Bytes kSmall = idx_file(8, {2, 3}, {1, 2, 3, 4, 5, 6});

TEST(Idx, ReadsBytes) {
  const IdxArray array = parse_idx(kSmall, "f");
  EXPECT_EQ(array.type, IdxType::u8);
  EXPECT_EQ(array.dtype, DType::u8);
  EXPECT_EQ(array.shape, (Shape{2, 3}));
  EXPECT_EQ(array.data, (Bytes{1, 2, 3, 4, 5, 6}));
  const Tensor tensor = array.to_tensor();
  EXPECT_EQ(tensor.shape(), (Shape{2, 3}));
  EXPECT_EQ(tensor.to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 2, 3, 4, 5, 6}));
}

TEST(Idx, ReadsEveryTypeInTheMachinesOrder) {
  const auto values = [](std::uint8_t type, const Bytes& elements, std::uint32_t n) {
    return parse_idx(idx_file(type, {n}, elements), "f").to_tensor();
  };
  EXPECT_EQ(values(0x09, {0x80, 0xff, 0x7f}, 3).to_vector<std::int32_t>(),
            (std::vector<std::int32_t>{-128, -1, 127}));
  EXPECT_EQ(values(0x0b, {0x80, 0x00, 0x01, 0x02}, 2).to_vector<std::int32_t>(),
            (std::vector<std::int32_t>{-32768, 258}));
  EXPECT_EQ(values(0x0c, {0x80, 0, 0, 0, 1, 2, 3, 4}, 2).to_vector<std::int32_t>(),
            (std::vector<std::int32_t>{INT32_MIN, 0x01020304}));
  EXPECT_EQ(values(0x0d, {0x3f, 0x80, 0, 0, 0xc0, 0x49, 0x0f, 0xdb}, 2).to_vector<float>(),
            (std::vector<float>{1.0f, -3.14159274f}));
  EXPECT_EQ(values(0x0e, {0x40, 0x09, 0x21, 0xfb, 0x54, 0x44, 0x2d, 0x18}, 1).to_vector<double>(),
            (std::vector<double>{3.141592653589793}));
}

TEST(Idx, EmptyDataSetsAreFine) {
  const IdxArray array = parse_idx(idx_file(8, {0, 28, 28}, {}), "f");
  EXPECT_EQ(array.shape, (Shape{0, 28, 28}));
  EXPECT_EQ(array.to_tensor().numel(), 0);
}

TEST(Idx, EightDimensionsAreTheMost) {
  const IdxArray array = parse_idx(idx_file(8, {1, 1, 1, 1, 1, 1, 1, 2}, {5, 6}), "f");
  EXPECT_EQ(array.shape.rank(), 8);
  expect_data_error([] { parse_idx(idx_file(8, std::vector<std::uint32_t>(9, 1), {5}), "f"); },
                    {"expected 1 to 8 dimensions at offset 3, got 9"});
}

TEST(Idx, ExpectationsAreChecked) {
  const IdxExpected images{IdxType::u8, 3};
  expect_data_error([&] { parse_idx(idx_file(8, {1}, {7}), "train-images-idx3-ubyte.gz", images); },
                    {"train-images-idx3-ubyte.gz: expected magic 0x00000803 at offset 0, got 0x00000801"});
  expect_data_error([&] { parse_idx(kSmall, "f", {.rank = 3}); },
                    {"expected 3 dimensions at offset 3, got 2"});
  expect_data_error([&] { parse_idx(kSmall, "f", {.type = IdxType::f32}); },
                    {"expected element type 0x0d at offset 2, got 0x08"});
  EXPECT_EQ(parse_idx(kSmall, "f", {IdxType::u8, 2}).shape, (Shape{2, 3}));
}

TEST(Idx, EveryTypeByteIsKnownOrRefused) {
  for (int type = 0; type < 256; ++type) {
    const auto byte = static_cast<std::uint8_t>(type);
    const Bytes file = idx_file(byte, {0}, {});
    if (type >= 8 && type <= 14 && type != 10) {
      EXPECT_EQ(parse_idx(file, "f").shape, (Shape{0}));
    } else {
      expect_data_error([&] { parse_idx(file, "f"); }, {"f: expected magic", "offset 0"},
                        std::to_string(type));
    }
  }
}

TEST(Idx, EveryRankByteIsKnownOrRefused) {
  for (int rank = 0; rank < 256; ++rank) {
    Bytes file = idx_file(8, std::vector<std::uint32_t>(static_cast<std::size_t>(rank), 1), {9});
    if (rank >= 1 && rank <= 8) {
      EXPECT_EQ(parse_idx(file, "f").shape.numel(), 1);
    } else {
      expect_data_error([&] { parse_idx(file, "f"); }, {"dimensions at offset 3", std::to_string(rank)});
    }
  }
}

TEST(Idx, TruncationAtEveryByteIsRefused) {
  for (std::size_t size = 0; size < kSmall.size(); ++size) {
    expect_data_error([&] { parse_idx(std::span(kSmall).first(size), "f"); }, {"f: expected", "offset"},
                      std::to_string(size));
  }
  expect_data_error([] { parse_idx(std::span(kSmall).first(13), "f"); },
                    {"expected 6 bytes of elements for shape [2, 3] at offset 12, got 1"});
  expect_data_error([] { parse_idx(std::span(kSmall).first(9), "f"); },
                    {"extent 1 of 2 (4 bytes) at offset 8"});
}

TEST(Idx, TrailingBytesAreRefused) {
  for (const std::size_t extra : {1u, 2u, 6u, 1000u}) {
    Bytes file = kSmall;
    file.resize(file.size() + extra);
    expect_data_error([&] { parse_idx(file, "f"); }, {"expected 6 bytes", std::to_string(6 + extra)});
  }
}

TEST(Idx, EveryFlippedHeaderBitIsRefused) {
  // Any change of magic or extents contradicts the size, but for the type byte's neighbour of one byte as
  // well (i8).
  for (std::size_t byte = 0; byte < 12; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      Bytes bad = kSmall;
      bad[byte] ^= static_cast<std::uint8_t>(1 << bit);
      if (byte == 2 && bit == 0) {
        EXPECT_EQ(parse_idx(bad, "f").type, IdxType::i8);
        continue;
      }
      expect_data_error([&] { parse_idx(bad, "f"); }, {"f: expected", "offset"},
                        std::to_string(byte) + "." + std::to_string(bit));
    }
  }
}

TEST(Idx, OverflowingSizesAreRefused) {
  constexpr std::uint32_t kMost = 0xffffffff;
  const std::vector<std::vector<std::uint32_t>> shapes = {
      {kMost, kMost, kMost},       {kMost, kMost, kMost, 0},     {0, kMost, kMost, kMost},
      {0x80000000, 0x80000000, 2}, {65536, 65536, 65536, 65536}, {kMost, kMost, 1, 1, 1, 1, 1, 2}};
  for (const auto& extents : shapes) {
    for (const auto type : {std::uint8_t{0x08}, std::uint8_t{0x0e}}) {
      expect_data_error([&] { parse_idx(idx_file(type, extents, {1, 2}), "f"); },
                        {"expected extents whose product in bytes fits 64 bits", "offset"});
    }
  }
  // Large but representable: refused because the bytes are not there, before any of them is allocated.
  expect_data_error([&] { parse_idx(idx_file(8, {kMost, kMost >> 2}, {1}), "f"); },
                    {"bytes of elements", "got 1"});
  expect_data_error([&] { parse_idx(idx_file(0x09, {kMost}, {1}), "f"); }, {"bytes of elements", "got 1"});
}

TEST(Idx, FilesMayBeCompressed) {
  const TemporaryFolder folder;
  put_file(folder.file("a"), kSmall);
  put_file(folder.file("a.gz"), gzip(kSmall));
  for (const char* name : {"a", "a.gz"}) {
    const IdxArray array = read_idx(folder.file(name), {IdxType::u8, 2});
    EXPECT_EQ(array.shape, (Shape{2, 3}));
    EXPECT_EQ(array.data, (Bytes{1, 2, 3, 4, 5, 6}));
  }
  put_file(folder.file("f.gz"), gzip(idx_file(0x0d, {1}, {0x3f, 0x80, 0, 0})));
  EXPECT_EQ(read_idx(folder.file("f.gz")).to_tensor().item(), 1.0);
  expect_data_error([&] { read_idx(folder.file("none")); }, {folder.file("none"), "No such file"});
  Bytes cut = gzip(kSmall);
  cut.pop_back();
  put_file(folder.file("cut.gz"), cut);
  expect_data_error([&] { read_idx(folder.file("cut.gz")); }, {folder.file("cut.gz"), "ends early"});
  put_file(folder.file("long.gz"), gzip(testing::joined({as_text(kSmall), "x"})));
  expect_data_error([&] { read_idx(folder.file("long.gz")); }, {folder.file("long.gz"), "expected 6 bytes"});
}

void check_data_set(const std::string& folder, const std::string& part, std::int64_t count,
                    const std::vector<std::int64_t>& histogram) {
  const IdxArray images = read_idx(folder + "/" + part + "-images-idx3-ubyte.gz", {IdxType::u8, 3});
  const IdxArray labels = read_idx(folder + "/" + part + "-labels-idx1-ubyte.gz", {IdxType::u8, 1});
  EXPECT_EQ(images.shape, (Shape{count, 28, 28}));
  ASSERT_EQ(labels.shape, (Shape{count}));
  std::vector<std::int64_t> found(10);
  for (const std::uint8_t label : labels.data) {
    ASSERT_LT(label, 10);
    ++found[label];
  }
  EXPECT_EQ(found, histogram);
}

TEST(Idx, ReadsMnist) {
  const std::string folder = testing::test_data_folder() + "/mnist";
  if (!path_exists(folder)) GTEST_SKIP() << "no MNIST: set GPUNN_TEST_DATA_DIR";
  check_data_set(folder, "train", 60'000, {5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949});
  check_data_set(folder, "t10k", 10'000, {980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009});
  const IdxArray images = read_idx(folder + "/train-images-idx3-ubyte.gz");
  // The digest of the decompressed file, computed without its 16 bytes of header, which are known.
  Sha256 digest;
  digest.update(bytes_of(std::string_view("\0\0\x08\x03\0\0\xea\x60\0\0\0\x1c\0\0\0\x1c", 16)));
  digest.update(images.data);
  EXPECT_EQ(digest.hex(), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db");
}

TEST(Idx, ReadsFashionMnist) {
  const std::string folder = "/usr/share/datasets/fashion-mnist";
  if (!path_exists(folder)) GTEST_SKIP() << "package dataset-fashion-mnist is not installed";
  check_data_set(folder, "train", 60'000, std::vector<std::int64_t>(10, 6000));
  check_data_set(folder, "t10k", 10'000, std::vector<std::int64_t>(10, 1000));
}

}  // namespace
}  // namespace gpunn
