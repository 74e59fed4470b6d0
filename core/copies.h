#pragma once
// Copies between a device and pinned host memory, beside its compute stream.
//
// Every device has a copy-in and a copy-out stream. Tensor::to() from pinned memory runs on the first,
// Tensor::to(Device::cpu(), true) into pinned memory on the second, and so do the copies here: they overlap
// with what the compute stream does. Only the scheduler orders them, by what they read and write.
#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Starts to copy `source` into `destination` and returns at once. One of them lies on a CUDA device, the
/// other in host memory pinned for it (Tensor::pin_memory()). Ops on either wait for the copy, as do
/// Tensor::host() and to_vector(); an address that Tensor::host() gave before does not. For buffers that are
/// filled again and again: nothing is allocated.
///
/// Throws InvalidArgument unless both are contiguous, of one shape and dtype, and in such places; Unsupported
/// when `destination` needs a gradient and gradients are recorded.
GPUNN_API void copy_async(const Tensor& destination, const Tensor& source);

}  // namespace gpunn
