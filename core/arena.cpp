#include "gpunn/core/arena.h"

#include <cstdint>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/make_impl.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

std::vector<Tensor> empty_arena(std::span<const Shape> shapes, TensorOptions options) {
  constexpr std::size_t kAlignment = Storage::kSliceAlignment;
  DeviceContext& context = (options.device ? *options.device : default_device()).context();
  std::size_t total = kAlignment;  // room to align the first: host memory need not be aligned that much
  for (const Shape& shape : shapes) {
    const std::size_t bytes = checked_bytes(shape, options.dtype);
    // One request that no machine meets is enough: the sum stays far from wrapping.
    total = bytes > detail::kMaxRequest || total > detail::kMaxRequest
                ? detail::kMaxRequest + 1
                : total + detail::round_up(bytes, kAlignment);
  }
  Ref<Storage> block;
  std::size_t offset = 0;
  if (total > kAlignment) {
    block = Storage::allocate(context, total);
    const auto address = reinterpret_cast<std::uintptr_t>(block->data());
    offset = detail::round_up(address, kAlignment) - address;
  }
  std::vector<Tensor> tensors;
  tensors.reserve(shapes.size());
  for (const Shape& shape : shapes) {
    const std::size_t bytes = checked_bytes(shape, options.dtype);
    Ref<Storage> storage = bytes > 0 ? Storage::slice(block, offset, bytes) : Storage::allocate(context, 0);
    offset += detail::round_up(bytes, kAlignment);
    tensors.emplace_back(detail::make_impl(std::move(storage), shape, contiguous_strides(shape), 0,
                                           options.dtype, Layout::contiguous));
    if (options.requires_grad) tensors.back().requires_grad_();
  }
  return tensors;
}

}  // namespace gpunn
