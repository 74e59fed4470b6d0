// The sum of a whole tensor by CUB's reduction: a share of the tensor per block, then one block for the
// blocks' sums. The shares follow from the number of multiprocessors, so that the bits are the same each time
// on one GPU model, and may differ on another.
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_reduce.cuh>

#include "gpunn/kernels/common/vendor_call.cuh"
#include "gpunn/kernels/common/widen.cuh"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn {

namespace {

/// f(call) with the vendor's call for the problem's dtype.
template <class F>
void with_call(const ReduceProblem& p, F&& f) {
  const std::int64_t n = numel_of(p.reduced);
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      f([&p, n](void* temporary, std::size_t& bytes, cudaStream_t stream) {
        return cub::DeviceReduce::Sum(temporary, bytes, static_cast<const float*>(p.x),
                                      static_cast<float*>(p.y), n, stream);
      });
    } else if constexpr (std::is_integral_v<T>) {
      f([&p, n](void* temporary, std::size_t& bytes, cudaStream_t stream) {
        const auto x = thrust::make_transform_iterator(static_cast<const T*>(p.x), Widen{});
        return cub::DeviceReduce::Sum(temporary, bytes, x, static_cast<Wide*>(p.y), n, stream);
      });
    }
  });
}

}  // namespace

std::size_t reduce_cub_workspace(const ReduceProblem& p) {
  std::size_t bytes = 0;
  with_call(p, [&](const auto& call) { bytes = vendor_bytes("cub reduce", call); });
  return bytes;
}

void reduce_cub(const ReduceProblem& p, const Exec& exec) {
  with_call(p, [&](const auto& call) {
    vendor_run("cub reduce", exec.workspace, exec.workspace_bytes, exec, call);
  });
}

}  // namespace gpunn
