// Bins and searches, a thread per element. Counts go to a table in shared memory, block by block, where one
// fits, and are added to the result's 64-bit counts at the end: the order of integer additions does not show.
// Edges are read from shared memory then too. nvcc 13.0, sm_80: see NOTES.md.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/count/count_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kMostBlocks = 1 << 16;
constexpr std::int64_t kCountBlocks = 1024;  // enough to fill a GPU; each writes its table once
constexpr std::int64_t kPerThread = 16;      // elements that pay for a table of its block
constexpr std::int64_t kSharedBins = 4096;   // 16 KiB of counts, 16 KiB of edges

GPUNN_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t element_stride() { return static_cast<std::int64_t>(gridDim.x) * kBlock; }

/// What an element compares as: float, or itself.
template <class T>
GPUNN_DEVICE auto value_of(T v) {
  if constexpr (std::is_integral_v<T>)
    return v;
  else
    return to_float(v);
}

/// The bin of element i, or -1.
template <class T>
GPUNN_DEVICE std::int64_t bin_at(const BinProblem& p, const float* edges, std::int64_t i) {
  const T v = static_cast<const T*>(p.x)[i];
  if constexpr (std::is_integral_v<T>) {
    const auto bin = static_cast<std::int64_t>(v);
    return bin >= 0 && bin < p.bins ? bin : -1;
  } else {
    return bin_of(to_float(v), edges, p.bins, p.uniform);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) bin_count_shared_kernel(const __grid_constant__ BinProblem p) {
  GPUNN_DYN_SHARED(bytes);
  auto* counts = reinterpret_cast<unsigned*>(bytes);        // [bins]
  auto* edges = reinterpret_cast<float*>(counts + p.bins);  // [bins + 1]
  const auto bins = static_cast<int>(p.bins), thread = static_cast<int>(threadIdx.x);
  for (int b = thread; b < bins; b += kBlock) counts[b] = 0;
  if constexpr (!std::is_integral_v<T>)
    for (int b = thread; b <= bins; b += kBlock) edges[b] = static_cast<const float*>(p.edges)[b];
  __syncthreads();  // zeros and edges are there before they are used
  for (std::int64_t i = first_element(); i < p.n; i += element_stride()) {
    const std::int64_t bin = bin_at<T>(p, edges, i);
    if (bin >= 0) atomicAdd(&counts[bin], 1u);
  }
  __syncthreads();  // all of the block is counted
  auto* y = reinterpret_cast<unsigned long long*>(p.y);
  for (int b = thread; b < bins; b += kBlock)
    if (counts[b] != 0) atomicAdd(&y[b], static_cast<unsigned long long>(counts[b]));
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) bin_count_global_kernel(const __grid_constant__ BinProblem p) {
  auto* y = reinterpret_cast<unsigned long long*>(p.y);
  for (std::int64_t i = first_element(); i < p.n; i += element_stride()) {
    const std::int64_t bin = bin_at<T>(p, static_cast<const float*>(p.edges), i);
    if (bin >= 0) atomicAdd(&y[bin], 1ull);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) bin_find_kernel(const __grid_constant__ BinProblem p) {
  for (std::int64_t i = first_element(); i < p.n; i += element_stride())
    p.y[i] = bin_at<T>(p, static_cast<const float*>(p.edges), i);
}

GPUNN_KERNEL __launch_bounds__(kBlock) bin_zero_kernel(std::int64_t* y, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = 0;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) search_kernel(const __grid_constant__ SearchProblem p) {
  const std::int64_t total = p.rows * p.n;
  for (std::int64_t i = first_element(); i < total; i += element_stride()) {
    const T* row = static_cast<const T*>(p.sequence) + (p.one_sequence ? 0 : i / p.n * p.length);
    const auto v = value_of(static_cast<const T*>(p.values)[i]);
    p.y[i] = place_of(v, [row](std::int64_t k) { return value_of(row[k]); }, p.length, p.right);
  }
}

// ---- launchers

Grid grid_over(std::int64_t elements, std::int64_t most = kMostBlocks) {
  const std::int64_t blocks = (elements + kBlock - 1) / kBlock;
  return {dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(kBlock)};
}

/// Calls f(T{}) with the types a bin problem may have on a GPU.
template <class F>
void for_type(const BinProblem& p, F&& f) {
  visit_dtype(p.dtype, [&]<class T>(T zero) {
    constexpr bool whole = std::is_integral_v<T> && !std::is_same_v<T, bool>;
    constexpr bool halves_or_float = !std::is_integral_v<T> && sizeof(T) <= sizeof(float);
    if constexpr (whole || halves_or_float) {
      if (p.with_edges != whole) f(zero);
    }
  });
}

}  // namespace

void bin_count_cuda(const BinProblem& p, const Exec& exec) {
  launch("bin_zero_kernel", bin_zero_kernel, grid_over(p.bins), exec, p.y, p.bins);
  for_type(p, [&]<class T>(T) {
    if (p.bins > kSharedBins)
      return launch("bin_count_global_kernel", bin_count_global_kernel<T>, grid_over(p.n), exec, p);
    Grid grid = grid_over((p.n + kPerThread - 1) / kPerThread, kCountBlocks);
    grid.shared_bytes = static_cast<std::size_t>(p.bins) * sizeof(unsigned) +
                        (p.with_edges ? static_cast<std::size_t>(p.bins + 1) * sizeof(float) : 0);
    launch("bin_count_shared_kernel", bin_count_shared_kernel<T>, grid, exec, p);
  });
}

void bin_find_cuda(const BinProblem& p, const Exec& exec) {
  for_type(p, [&]<class T>(T) {
    if constexpr (!std::is_integral_v<T>)
      launch("bin_find_kernel", bin_find_kernel<T>, grid_over(p.n), exec, p);
  });
}

void search_cuda(const SearchProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double> && !std::is_same_v<T, bool>)  // refused by accepts()
      launch("search_kernel", search_kernel<T>, grid_over(p.rows * p.n), exec, p);
  });
}

}  // namespace gpunn
