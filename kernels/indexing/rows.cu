// Whole rows by index: index_select, embedding, and the sum of rows by index
// that is their gradient and index_add. A sum sorts its indices first: stable,
// so that the terms of a row keep their order.
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/indexing/segment_sum.cuh"
#include "gpunn/kernels/movement/element_bits_impl.h"

namespace gpunn {
namespace {

struct alignas(16) Word {
  std::uint64_t low, high;
};

/// partial[block] = first position with an index outside [0, extent) among the block's, or FirstOp's
/// identity.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    index_check_kernel(const std::int64_t* index, long long* partial, std::int64_t n, std::int64_t extent) {
  long long first = FirstOp::identity();
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const std::int64_t at = index[i];
    if (at < 0 || at >= extent) first = FirstOp::combine(first, i);
  }
  first = block_reduce<FirstOp, kIndexBlock>(first);
  if (threadIdx.x == 0) partial[blockIdx.x] = first;
}

/// bad[0] = the first of all, or -1. One block.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    index_check_last_kernel(const long long* partial, std::int64_t* bad, std::int64_t n) {
  long long first = FirstOp::identity();
  for (std::int64_t i = threadIdx.x; i < n; i += kIndexBlock) first = FirstOp::combine(first, partial[i]);
  first = block_reduce<FirstOp, kIndexBlock>(first);
  if (threadIdx.x == 0) *bad = first == FirstOp::identity() ? -1 : first;
}

/// Blocks of the check: enough to fill a GPU, few enough for one block to finish.
std::int64_t check_blocks(std::int64_t n) {
  constexpr std::int64_t kMost = 1024, kPerBlock = 4 * kIndexBlock;
  const std::int64_t blocks = (n + kPerBlock - 1) / kPerBlock;
  return blocks < kMost ? blocks : kMost;
}

/// Rows of `inner` units.
template <class U>
struct SelectRows {
  const U* x;
  const std::int64_t* index;
  U* y;
  std::int64_t elements, extent, inner, n, skip;
  U outside;
};

template <class U>
GPUNN_KERNEL __launch_bounds__(kIndexBlock) select_rows_kernel(const __grid_constant__ SelectRows<U> s) {
  const bool small = s.elements <= 0x7fffffff;
  for (std::int64_t e = first_element(); e < s.elements; e += element_stride()) {
    const std::int64_t row = divide(e, s.inner, small), i = e - row * s.inner;
    const std::int64_t o = divide(row, s.n, small), from = s.index[row - o * s.n];
    if (from < 0 || from >= s.extent)
      s.y[e] = s.outside;
    else if (from == s.skip)
      s.y[e] = U{};
    else
      s.y[e] = s.x[(o * s.extent + from) * s.inner + i];
  }
}

template <class U>
void launch_select(const SelectRowsProblem& p, std::int64_t divisor, U outside, const Exec& exec) {
  const std::int64_t inner = p.inner / divisor, elements = p.outer * p.n * inner;
  launch("select_rows_kernel", select_rows_kernel<U>, element_grid(elements), exec,
         SelectRows<U>{static_cast<const U*>(p.x), p.index, static_cast<U*>(p.y), elements, p.extent, inner,
                       p.n, p.skip, outside});
}

/// The sort's keys: rows, or `extent` for what is dropped.
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    add_rows_keys_kernel(const std::int64_t* index, std::uint32_t* keys, std::int64_t n, std::int64_t extent,
                         std::int64_t skip) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const std::int64_t at = index[i];
    keys[i] = static_cast<std::uint32_t>(at < 0 || at >= extent || at == skip ? extent : at);
  }
}

}  // namespace

std::size_t index_check_cuda_workspace(const IndexCheckProblem& p) {
  return static_cast<std::size_t>(check_blocks(p.n)) * sizeof(long long);
}

void index_check_cuda(const IndexCheckProblem& p, const Exec& exec) {
  auto* partial = static_cast<long long*>(exec.workspace);
  const std::int64_t blocks = check_blocks(p.n);
  launch("index_check_kernel", index_check_kernel, {dim3(static_cast<unsigned>(blocks)), dim3(kIndexBlock)},
         exec, p.index, partial, p.n, p.extent);
  launch("index_check_last_kernel", index_check_last_kernel, {dim3(1), dim3(kIndexBlock)}, exec, partial,
         p.bad, blocks);
}

// Rows move in the widest units that divide them and their addresses.
void select_rows_cuda(const SelectRowsProblem& p, const Exec& exec) {
  const std::size_t size = size_of(p.dtype);
  const std::uint64_t all = 16 | reinterpret_cast<std::uintptr_t>(p.x) |
                            reinterpret_cast<std::uintptr_t>(p.y) |
                            static_cast<std::uint64_t>(p.inner) * size;
  const auto unit = static_cast<std::size_t>(all & ~(all - 1));
  std::uint64_t outside = outside_bits(p.dtype);
  for (std::size_t filled = size; filled < 8 && filled < unit; filled *= 2)
    outside |= outside << (8 * filled);
  const auto divisor = static_cast<std::int64_t>(unit / size);
  if (unit == 16) return launch_select(p, divisor, Word{outside, outside}, exec);
  for_element_size(unit, [&]<class U>(U) { launch_select(p, divisor, static_cast<U>(outside), exec); });
}

std::size_t add_rows_cuda_workspace(const AddRowsProblem& p) { return sort_workspace(p.n); }

void add_rows_cuda(const AddRowsProblem& p, const Exec& exec) {
  launch("add_rows_keys_kernel", add_rows_keys_kernel, element_grid(p.n), exec, p.index,
         sort_input(exec.workspace), p.n, p.extent, p.skip);
  const SortedKeys sorted = sort_keys_cuda(exec.workspace, p.n, static_cast<std::uint32_t>(p.extent), exec);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    launch_segments<T>({sorted.keys, sorted.positions, static_cast<const T*>(p.base),
                        static_cast<const T*>(p.src), static_cast<T*>(p.y), p.n, p.outer, p.extent, p.inner},
                       exec);
  });
}

}  // namespace gpunn
