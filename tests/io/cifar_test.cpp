#include "gpunn/io/cifar.h"

#include <numeric>

#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::expect_data_error;

/// Records whose pixels count up from the record's number.
Bytes records(std::initializer_list<Bytes> labels) {
  Bytes out;
  std::uint8_t next = 0;
  for (const Bytes& label : labels) {
    out.insert(out.end(), label.begin(), label.end());
    Bytes pixels(kCifarPixels);
    std::iota(pixels.begin(), pixels.end(), next++);
    out.insert(out.end(), pixels.begin(), pixels.end());
  }
  return out;
}

TEST(Cifar, ReadsRecords) {
  const CifarImages images = parse_cifar(records({{0}, {9}, {3}}), "f", CifarKind::cifar10);
  EXPECT_EQ(images.labels, (std::vector<std::int64_t>{0, 9, 3}));
  EXPECT_TRUE(images.coarse_labels.empty());
  ASSERT_EQ(images.pixels.size(), 3 * kCifarPixels);
  for (std::size_t i = 0; i < images.pixels.size(); ++i)
    ASSERT_EQ(images.pixels[i], static_cast<std::uint8_t>(i / kCifarPixels + i % kCifarPixels)) << i;

  const CifarImages fine = parse_cifar(records({{19, 99}, {0, 42}}), "f", CifarKind::cifar100);
  EXPECT_EQ(fine.labels, (std::vector<std::int64_t>{99, 42}));
  EXPECT_EQ(fine.coarse_labels, (std::vector<std::int64_t>{19, 0}));
  EXPECT_EQ(fine.pixels.size(), 2 * kCifarPixels);
  EXPECT_EQ(fine.pixels[kCifarPixels], 1);
}

TEST(Cifar, PlainAndCompressedFiles) {
  const testing::TemporaryFolder folder;
  const Bytes file = records({{4}, {5}});
  testing::put_file(folder.file("plain.bin"), file);
  testing::put_file(folder.file("packed.bin"), gzip(file));
  EXPECT_EQ(read_cifar(folder.file("plain.bin"), CifarKind::cifar10).labels,
            (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(read_cifar(folder.file("packed.bin"), CifarKind::cifar10).pixels,
            read_cifar(folder.file("plain.bin"), CifarKind::cifar10).pixels);
  expect_data_error([&] { read_cifar(folder.file("none.bin"), CifarKind::cifar10); }, {"none.bin"});
  expect_data_error([&] { read_cifar(folder.file("packed.bin"), CifarKind::cifar10, {.max_bytes = 100}); },
                    {"packed.bin"});
}

TEST(Cifar, DamageIsNamed) {
  const Bytes two = records({{1}, {2}});
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, std::size_t{3072}, std::size_t{3074}, two.size() - 1})
    expect_data_error([&] { parse_cifar(std::span(two).first(size), "cut.bin", CifarKind::cifar10); },
                      {"cut.bin: ", "whole records of 3073 bytes", detail::concat("got ", size, " bytes"),
                       detail::concat("offset ", size / 3073 * 3073)});
  expect_data_error([&] { parse_cifar(records({{1}, {10}}), "l.bin", CifarKind::cifar10); },
                    {"l.bin: ", "0 to 9", "offset 3073", "record 1", "got 10"});
  expect_data_error([&] { parse_cifar(records({{20, 0}}), "l.bin", CifarKind::cifar100); },
                    {"0 to 19", "offset 0"});
  expect_data_error([&] { parse_cifar(records({{19, 0}, {0, 100}}), "l.bin", CifarKind::cifar100); },
                    {"0 to 99", "offset 3075", "got 100"});
  // A file of the other kind: its size gives it away.
  expect_data_error([&] { parse_cifar(records({{1, 2}}), "l.bin", CifarKind::cifar10); }, {"3074 bytes"});
}

TEST(Cifar, ClassNames) {
  ASSERT_EQ(cifar10_classes().size(), 10u);
  EXPECT_STREQ(cifar10_classes()[3], "cat");
  EXPECT_STREQ(cifar10_classes()[9], "truck");
}

}  // namespace
}  // namespace gpunn
