#include <cstring>

#include "gpunn/core/error.h"
#include "gpunn/training/transforms.h"

namespace gpunn {

AugmentedDataset::AugmentedDataset(std::shared_ptr<const Dataset> base, TransformPtr transform,
                                   std::uint64_t seed)
    : base_(std::move(base)), transform_(std::move(transform)), seed_(seed) {
  GPUNN_CHECK(base_ != nullptr && transform_ != nullptr, "expected a data set and a transform, got null");
}

Batch AugmentedDataset::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t epoch) const {
  Batch batch = base_->get_in_epoch(indices, epoch);
  const Tensor& inputs = batch.inputs;
  GPUNN_CHECK(inputs.dim() == 4 && inputs.dtype() == DType::f32 && inputs.device().is_cpu(),
              "expected pictures f32 [n, C, H, W] on the CPU to augment, got ", inputs.dtype(), " ",
              inputs.shape());
  if (indices.empty()) return batch;
  const Tensor pictures = inputs.contiguous();
  const auto count = static_cast<std::size_t>(pictures.size(1) * pictures.size(2) * pictures.size(3));
  const auto* from = static_cast<const float*>(pictures.data());
  Tensor out;
  FloatImage image;
  for (std::size_t i = 0; i < indices.size(); ++i, from += count) {
    image.channels = pictures.size(1);
    image.height = pictures.size(2);
    image.width = pictures.size(3);
    image.values.assign(from, from + count);
    PhiloxStream random = stream_of({seed_, epoch, indices[i]});
    transform_->apply(image, random);
    const Shape shape{pictures.size(0), image.channels, image.height, image.width};
    if (i == 0) out = empty(shape, {.dtype = DType::f32, .device = Device::cpu()});
    GPUNN_CHECK(
        out.shape() == shape && static_cast<std::int64_t>(image.values.size()) * shape[0] == shape.numel(),
        "expected transformed pictures of one size, [", out.size(1), ", ", out.size(2), ", ", out.size(3),
        "], got [", shape[1], ", ", shape[2], ", ", shape[3], "]");
    std::memcpy(static_cast<float*>(out.data()) + i * image.values.size(), image.values.data(),
                image.values.size() * sizeof(float));
  }
  batch.inputs = out;
  return batch;
}

}  // namespace gpunn
