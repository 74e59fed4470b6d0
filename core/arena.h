#pragma once
// Arenas: many tensors in one allocation, such as the states of an optimizer or the gradients of a model.
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Uninitialised contiguous tensors of `shapes`, in this order behind each other in one block of memory, each
/// aligned to Storage::kSliceAlignment bytes. Each has a storage of its own: versions and dependencies of one
/// say nothing about its neighbours, and streams may work on them side by side. The block goes back to the
/// allocator when the last of them is gone, for use after the work on all of them. Empty shapes take no
/// memory. Throws InvalidArgument for negative or overflowing shapes, OutOfMemory.
GPUNN_API std::vector<Tensor> empty_arena(std::span<const Shape> shapes, TensorOptions options = {});

}  // namespace gpunn
