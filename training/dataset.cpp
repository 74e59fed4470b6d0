#include "gpunn/training/dataset.h"

#include <cstring>

namespace gpunn {

Dataset::~Dataset() = default;

Batch Dataset::get_in_epoch(std::span<const std::int64_t> indices, std::int64_t) const {
  return get(indices);
}

void Dataset::check_indices(std::span<const std::int64_t> indices) const {
  const std::int64_t rows = size();
  for (const std::int64_t index : indices)
    GPUNN_CHECK(index >= 0 && index < rows, "expected a row index in [0, ", rows, "), got ", index);
}

TensorDataset::TensorDataset(Tensor inputs, Tensor targets) {
  GPUNN_CHECK(inputs.defined() && targets.defined() && inputs.dim() >= 1 && targets.dim() >= 1,
              "expected inputs and targets with a first dimension of rows");
  GPUNN_CHECK(inputs.device().is_cpu() && targets.device().is_cpu(), "expected a data set on the CPU, got ",
              inputs.device(), " and ", targets.device());
  GPUNN_CHECK(inputs.size(0) == targets.size(0), "expected as many inputs as targets, got ", inputs.size(0),
              " and ", targets.size(0));
  inputs_ = inputs.detach().contiguous();
  targets_ = targets.detach().contiguous();
}

namespace {
Tensor gather_rows(const Tensor& source, std::span<const std::int64_t> indices) {
  Shape shape = source.shape();
  shape[0] = static_cast<std::int64_t>(indices.size());
  Tensor out = empty(shape, {.dtype = source.dtype(), .device = source.device()});
  const std::int64_t rows = source.size(0);
  const std::size_t row_bytes = rows > 0 ? source.nbytes() / static_cast<std::size_t>(rows) : 0;
  const auto* from = static_cast<const char*>(source.data());
  auto* to = static_cast<char*>(out.data());
  for (const std::int64_t index : indices) {
    if (row_bytes > 0) std::memcpy(to, from + static_cast<std::size_t>(index) * row_bytes, row_bytes);
    to += row_bytes;
  }
  return out;
}
}  // namespace

Batch TensorDataset::get(std::span<const std::int64_t> indices) const {
  check_indices(indices);
  return {gather_rows(inputs_, indices), gather_rows(targets_, indices)};
}

}  // namespace gpunn
