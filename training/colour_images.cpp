#include "gpunn/training/colour_images.h"

#include <algorithm>
#include <cmath>

#include "gpunn/io/cifar.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/detail/pixel_table.h"
#include "gpunn/training/image_dataset.h"

namespace gpunn {

namespace detail {

PixelTable::PixelTable(std::int64_t channels, const PixelScale& scale) : channels_(channels) {
  if (scale.mean.empty() && scale.std.empty()) return;
  const auto count = static_cast<std::size_t>(channels);
  const auto fits = [&](const std::vector<float>& values, bool positive) {
    return values.empty() ||
           (values.size() == count && std::all_of(values.begin(), values.end(), [&](float v) {
              return std::isfinite(v) && (!positive || v > 0);
            }));
  };
  GPUNN_CHECK(fits(scale.mean, false) && fits(scale.std, true),
              "expected a finite mean and a std above 0 for each of ", channels, " channels, got ",
              scale.mean.size(), " and ", scale.std.size());
  values_.resize(count);
  for (std::size_t c = 0; c < count; ++c) {
    const float mean = scale.mean.empty() ? 0.0F : scale.mean[c],
                std = scale.std.empty() ? 1.0F : scale.std[c];
    for (std::size_t v = 0; v < 256; ++v) values_[c][v] = (static_cast<float>(v) / 255.0F - mean) / std;
  }
}

void PixelTable::apply(const std::uint8_t* in, float* out, std::size_t area) const {
  if (values_.empty()) {
    scale_pixels(in, out, static_cast<std::size_t>(channels_) * area, 255.0F);
    return;
  }
  for (const std::array<float, 256>& table : values_) {
    for (std::size_t i = 0; i < area; ++i) out[i] = table[in[i]];
    in += area;
    out += area;
  }
}

}  // namespace detail

ColourImages::ColourImages(std::vector<std::uint8_t> pixels, Shape shape, std::vector<std::int64_t> labels,
                           const PixelScale& scale)
    : pixels_(std::move(pixels)), labels_(std::move(labels)), shape_(shape) {
  GPUNN_CHECK(shape_.rank() == 4 && shape_[1] >= 1, "expected pictures [N, C, H, W], got ", shape_);
  GPUNN_CHECK(checked_bytes(shape_, DType::u8) == pixels_.size(), "expected ", shape_.numel(), " pixels for ",
              shape_, ", got ", pixels_.size());
  GPUNN_CHECK(static_cast<std::int64_t>(labels_.size()) == shape_[0], "expected ", shape_[0], " labels, got ",
              labels_.size());
  table_ = std::make_shared<detail::PixelTable>(shape_[1], scale);
}

ColourImages::~ColourImages() = default;

Batch ColourImages::get(std::span<const std::int64_t> indices) const {
  check_indices(indices);
  const auto n = static_cast<std::int64_t>(indices.size());
  const Device cpu = Device::cpu();
  Batch batch{empty({n, shape_[1], shape_[2], shape_[3]}, {.dtype = DType::f32, .device = cpu}),
              empty({n}, {.dtype = DType::i64, .device = cpu})};
  const auto area = static_cast<std::size_t>(shape_[2] * shape_[3]);
  const std::size_t row = static_cast<std::size_t>(shape_[1]) * area;
  auto* out = static_cast<float*>(batch.inputs.data());
  auto* targets = static_cast<std::int64_t*>(batch.targets.data());
  for (const std::int64_t index : indices) {
    table_->apply(pixels_.data() + static_cast<std::size_t>(index) * row, out, area);
    out += row;
    *targets++ = labels_[static_cast<std::size_t>(index)];
  }
  return batch;
}

std::span<const std::uint8_t> ColourImages::pixels(std::int64_t index) const {
  check_indices({&index, 1});
  const auto row = static_cast<std::size_t>(shape_[1] * shape_[2] * shape_[3]);
  return {pixels_.data() + static_cast<std::size_t>(index) * row, row};
}

std::int64_t ColourImages::label(std::int64_t index) const {
  check_indices({&index, 1});
  return labels_[static_cast<std::size_t>(index)];
}

Picture ColourImages::picture(std::int64_t index) const {
  const std::span<const std::uint8_t> bytes = pixels(index);
  GPUNN_CHECK(shape_[1] == 1 || shape_[1] == 3, "expected pictures of 1 or 3 channels, got ", shape_[1]);
  Picture out{static_cast<int>(shape_[3]), static_cast<int>(shape_[2]), static_cast<int>(shape_[1]),
              Bytes(bytes.size())};
  const auto channels = static_cast<std::size_t>(shape_[1]);
  const std::size_t area = bytes.size() / channels;
  for (std::size_t i = 0; i < bytes.size(); ++i) out.pixels[i % area * channels + i / area] = bytes[i];
  return out;
}

// ---------------------------------------------------------------- CIFAR-10

namespace {

std::shared_ptr<const ColourImages> load_batches(std::span<const std::string> paths,
                                                 const PixelScale& scale) {
  CifarImages all;
  for (const std::string& path : paths) {
    CifarImages part = read_cifar(path, CifarKind::cifar10);
    if (all.labels.empty()) {
      all = std::move(part);
      all.pixels.reserve(paths.size() * all.pixels.size());
      continue;
    }
    all.pixels.insert(all.pixels.end(), part.pixels.begin(), part.pixels.end());
    all.labels.insert(all.labels.end(), part.labels.begin(), part.labels.end());
  }
  const Shape shape{static_cast<std::int64_t>(all.labels.size()), 3, kCifarSide, kCifarSide};
  return std::make_shared<const ColourImages>(std::move(all.pixels), shape, std::move(all.labels), scale);
}

bool is_there(const DataSetInfo& info, const std::string& data_dir) {
  const std::vector<DataPlace> places = data_places(info, data_dir);
  return std::any_of(places.begin(), places.end(), [](const DataPlace& p) { return p.missing.empty(); });
}

}  // namespace

Cifar10 load_cifar10(const std::string& data_dir, const PixelScale& scale) {
  const DataSetInfo &full = data_set_info("cifar10"), &part = data_set_info("cifar10-subset");
  // Where neither is, the error tells of the whole set.
  const bool subset = !is_there(full, data_dir) && is_there(part, data_dir);
  const std::vector<std::string> paths = find_data(subset ? part : full, data_dir);
  const std::span<const std::string> files(paths);
  return {load_batches(files.first(files.size() - 1), scale), load_batches(files.last(1), scale), subset};
}

}  // namespace gpunn
