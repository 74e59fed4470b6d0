// Positions of true elements by CUB's selection, which keeps their order and reads the mask once. What it
// does not write, behind the last position, is filled up as our own kernels do.
#include <thrust/iterator/counting_iterator.h>

#include <cub/device/device_select.cuh>

#include "gpunn/kernels/common/vendor_call.cuh"
#include "gpunn/kernels/indexing/index_device.cuh"
#include "gpunn/kernels/indexing/indexing_impl.h"

namespace gpunn {
namespace {

auto selection(const MaskPositionsProblem& p) {
  return [&p](void* temporary, std::size_t& bytes, cudaStream_t stream) {
    return cub::DeviceSelect::Flagged(temporary, bytes, thrust::counting_iterator<std::int64_t>(0), p.mask,
                                      p.positions, p.count, p.n, stream);
  };
}

GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    mask_rest_kernel(const std::int64_t* count, std::int64_t* positions, std::int64_t n) {
  for (std::int64_t i = *count + first_element(); i < n; i += element_stride()) positions[i] = -1;
}

}  // namespace

std::size_t mask_positions_cub_workspace(const MaskPositionsProblem& p) {
  return vendor_bytes("cub select", selection(p));
}

void mask_positions_cub(const MaskPositionsProblem& p, const Exec& exec) {
  vendor_run("cub select", exec.workspace, exec.workspace_bytes, exec, selection(p));
  launch("mask_rest_kernel", mask_rest_kernel, element_grid(p.n), exec,
         static_cast<const std::int64_t*>(p.count), p.positions, p.n);
}

}  // namespace gpunn
