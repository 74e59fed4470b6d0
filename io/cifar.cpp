#include "gpunn/io/cifar.h"

#include "gpunn/io/detail/data_fail.h"

namespace gpunn {

namespace {

constexpr const char* kClasses[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                    "dog",      "frog",       "horse", "ship", "truck"};

std::int64_t label_at(std::span<const std::uint8_t> file, std::size_t offset, int classes, std::size_t record,
                      std::string_view path) {
  if (file[offset] >= classes)
    detail::fail_data(path, "expected a label of 0 to ", classes - 1, " at offset ", offset, " (record ",
                      record, "), got ", int{file[offset]});
  return file[offset];
}

}  // namespace

CifarImages parse_cifar(std::span<const std::uint8_t> file, std::string_view path, CifarKind kind) {
  const bool fine = kind == CifarKind::cifar100;
  const std::size_t label_bytes = fine ? 2 : 1, record = label_bytes + kCifarPixels;
  if (file.empty() || file.size() % record != 0)
    detail::fail_data(path, "expected whole records of ", record, " bytes, got ", file.size(),
                      " bytes: the record at offset ", file.size() / record * record, " has ",
                      file.size() % record);
  const std::size_t count = file.size() / record;
  CifarImages images;
  images.pixels.reserve(count * kCifarPixels);
  images.labels.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = i * record;
    if (fine) images.coarse_labels.push_back(label_at(file, at, 20, i, path));
    images.labels.push_back(fine ? label_at(file, at + 1, 100, i, path) : label_at(file, at, 10, i, path));
    const auto pixels = file.subspan(at + label_bytes, kCifarPixels);
    images.pixels.insert(images.pixels.end(), pixels.begin(), pixels.end());
  }
  return images;
}

CifarImages read_cifar(const std::string& path, CifarKind kind, const GzipLimits& limits) {
  return parse_cifar(read_file_maybe_gzip(path, limits), path, kind);
}

std::span<const char* const> cifar10_classes() noexcept { return kClasses; }

}  // namespace gpunn
