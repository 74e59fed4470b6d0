// Running sums of one row by CUB's scan, which reads and writes each element once: a block looks back at what
// the blocks before it have found so far. How far that is depends on timing, and so does the order in which
// floats are added: only sums of integers have the same bits each time.
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_scan.cuh>

#include "gpunn/kernels/common/vendor_call.cuh"
#include "gpunn/kernels/common/widen.cuh"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn {

namespace {

/// f(call) with the vendor's call for the problem's dtype.
template <class F>
void with_call(const ScanProblem& p, F&& f) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_same_v<T, float>) {
      f([&p](void* temporary, std::size_t& bytes, cudaStream_t stream) {
        return cub::DeviceScan::InclusiveSum(temporary, bytes, static_cast<const float*>(p.x),
                                             static_cast<float*>(p.y), p.length, stream);
      });
    } else if constexpr (std::is_integral_v<T>) {
      f([&p](void* temporary, std::size_t& bytes, cudaStream_t stream) {
        const auto x = thrust::make_transform_iterator(static_cast<const T*>(p.x), Widen{});
        return cub::DeviceScan::InclusiveSum(temporary, bytes, x, static_cast<Wide*>(p.y), p.length, stream);
      });
    }
  });
}

}  // namespace

std::size_t scan_cub_workspace(const ScanProblem& p) {
  std::size_t bytes = 0;
  with_call(p, [&](const auto& call) { bytes = vendor_bytes("cub scan", call); });
  return bytes;
}

void scan_cub(const ScanProblem& p, const Exec& exec) {
  if (p.length == 0) return;
  with_call(
      p, [&](const auto& call) { vendor_run("cub scan", exec.workspace, exec.workspace_bytes, exec, call); });
}

}  // namespace gpunn
