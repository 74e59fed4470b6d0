// The order of rows: positions are sorted, by comparing the rows they stand for. Tiles of 1,024 positions by
// a bitonic network in shared memory, then merges that double the sorted runs, each position finding its
// place by its rank in the other run (as kernels/sort does it with keys). Ties are broken by position: no two
// compare equal, so that the order is stable whatever the network does. nvcc 13.0, sm_80: see NOTES.md.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/count/count_impl.h"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr int kTile = 1024;  // positions a block sorts
constexpr std::int64_t kMostBlocks = 1 << 16;
constexpr unsigned kBehind = 0xffffffffu;  // a position behind every row there is

template <class T>
struct Rows {
  const T* x;  // [rows, width]
  std::int64_t rows, width;

  GPUNN_DEVICE auto key(std::int64_t row, std::int64_t i) const {
    const T v = x[row * width + i];
    if constexpr (std::is_integral_v<T>)
      return sort_key(v);
    else
      return sort_key(to_float(v));
  }
  /// Does row a come before row b?
  GPUNN_DEVICE bool before(unsigned a, unsigned b) const {
    if (a == kBehind || b == kBehind) return a < b;
    for (std::int64_t i = 0; i < width; ++i) {
      const auto left = key(a, i), right = key(b, i);
      if (left != right) return left < right;
    }
    return a < b;
  }
};

/// A block per tile; the last one may be shorter.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    row_order_tiles_kernel(const __grid_constant__ Rows<T> rows, unsigned* positions) {
  GPUNN_SHARED(tile, unsigned[kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * kTile; begin < rows.rows;
       begin += static_cast<std::int64_t>(gridDim.x) * kTile) {
    const std::int64_t left = rows.rows - begin;
    for (int i = thread; i < kTile; i += kBlock)
      tile[i] = i < left ? static_cast<unsigned>(begin + i) : kBehind;
    for (int width = 2; width <= kTile; width *= 2) {
      for (int step = width / 2; step > 0; step /= 2) {
        __syncthreads();  // the previous step's exchanges, and the loads, are done
        for (int i = thread; i < kTile / 2; i += kBlock) {
          const int low = i / step * step * 2 + i % step, high = low + step;
          const bool up = (low & width) == 0;
          const unsigned a = tile[low], b = tile[high];
          if (rows.before(b, a) == up) {
            tile[low] = b;
            tile[high] = a;
          }
        }
      }
    }
    __syncthreads();  // the last exchanges are done
    for (int i = thread; i < kTile && i < left; i += kBlock) positions[begin + i] = tile[i];
    __syncthreads();  // read before the next tile overwrites it
  }
}

/// Merges neighbouring sorted runs of `run` positions, a thread per position.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    row_order_merge_kernel(const __grid_constant__ Rows<T> rows, const unsigned* from, unsigned* to,
                           std::int64_t run) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < rows.rows;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t own = i / run * run;
    const bool left = own / run % 2 == 0;
    const std::int64_t other = left ? own + run : own - run;
    std::int64_t n = other < rows.rows ? (rows.rows - other < run ? rows.rows - other : run) : 0;
    const unsigned position = from[i];
    std::int64_t rank = other;
    while (n > 0) {  // of the other run, what comes before
      const std::int64_t half = n / 2;
      if (rows.before(from[rank + half], position)) {
        rank += half + 1;
        n -= half + 1;
      } else {
        n = half;
      }
    }
    to[(left ? own : other) + (i - own) + (rank - other)] = position;
  }
}

GPUNN_KERNEL __launch_bounds__(kBlock)
    row_order_store_kernel(const unsigned* positions, std::int64_t* order, std::int64_t rows) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < rows;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock)
    order[i] = positions[i];
}

Grid grid_for(std::int64_t blocks) {
  return {dim3(static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks)), dim3(kBlock)};
}

template <class T>
void run(const RowOrderProblem& p, const Exec& exec) {
  const Rows<T> rows{static_cast<const T*>(p.x), p.rows, p.width};
  auto* from = static_cast<unsigned*>(exec.workspace);
  unsigned* to = from + p.rows;
  const Grid elements = grid_for((p.rows + kBlock - 1) / kBlock);
  launch("row_order_tiles_kernel", row_order_tiles_kernel<T>, grid_for((p.rows + kTile - 1) / kTile), exec,
         rows, from);
  for (std::int64_t width = kTile; width < p.rows; width *= 2) {
    launch("row_order_merge_kernel", row_order_merge_kernel<T>, elements, exec, rows,
           static_cast<const unsigned*>(from), to, width);
    unsigned* const sorted = to;
    to = from;
    from = sorted;
  }
  launch("row_order_store_kernel", row_order_store_kernel, elements, exec, static_cast<const unsigned*>(from),
         p.order, p.rows);
}

}  // namespace

std::size_t row_order_cuda_workspace(const RowOrderProblem& p) {
  return 2 * sizeof(unsigned) * static_cast<std::size_t>(p.rows);
}

void row_order_cuda(const RowOrderProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) run<T>(p, exec);  // f64 is refused by accepts()
  });
}

}  // namespace gpunn
