// Sorting on (key, position) records, which all differ, so that any correct network is a stable sort: tiles
// of 1,024 by a bitonic network in shared memory, then merges that double the sorted runs. In a merge each
// record finds its place by its rank in the other run. Where only the first `keep` are wanted, only the first
// `keep` of each run go on. Correct and simple before fast: a merge reads at random within two runs.
// nvcc 13.0, sm_80: at most 50 registers, no spills.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr int kTile = 1024;                   // records a block sorts
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, blocks take several pieces

/// Keys of 32 bits: key and position in one word.
struct Word {
  unsigned long long bits;
};
/// Keys of 64 bits.
struct Pair {
  unsigned long long key, position;
};

GPUNN_DEVICE bool before(Word a, Word b) { return a.bits < b.bits; }
GPUNN_DEVICE bool before(Pair a, Pair b) {
  return a.key < b.key || (a.key == b.key && a.position < b.position);
}
GPUNN_DEVICE std::int64_t position_of(Word r) { return static_cast<std::int64_t>(r.bits & 0xffffffffu); }
GPUNN_DEVICE std::int64_t position_of(Pair r) { return static_cast<std::int64_t>(r.position); }

template <class T>
using Record = std::conditional_t<std::is_same_v<T, std::int64_t>, Pair, Word>;

template <class T>
GPUNN_DEVICE Record<T> record_of(T value, std::int64_t position, bool descending) {
  if constexpr (std::is_same_v<T, std::int64_t>) {
    const unsigned long long key = sort_key(value);
    return {descending ? ~key : key, static_cast<unsigned long long>(position)};
  } else {
    unsigned key;
    if constexpr (std::is_integral_v<T>)
      key = sort_key(value);
    else
      key = sort_key(to_float(value));
    return {static_cast<unsigned long long>(descending ? ~key : key) << 32 |
            static_cast<unsigned long long>(position)};
  }
}

/// Behind every record there is.
template <class R>
GPUNN_DEVICE R last_record() {
  if constexpr (std::is_same_v<R, Word>)
    return {~0ull};
  else
    return {~0ull, ~0ull};
}

/// Offset of element k of row `row` in [outer, extent, inner].
GPUNN_DEVICE std::int64_t offset_of(std::int64_t row, std::int64_t k, std::int64_t extent,
                                    std::int64_t inner) {
  return (row / inner * extent + k) * inner + row % inner;
}

template <class T, class R>
GPUNN_DEVICE void store(const SortProblem& p, std::int64_t row, std::int64_t k, const R& record) {
  const std::int64_t from = position_of(record), to = offset_of(row, k, p.keep, p.inner);
  static_cast<T*>(p.y)[to] = static_cast<const T*>(p.x)[offset_of(row, from, p.length, p.inner)];
  p.indices[to] = from;
}

/// A block per tile of a row; the last tile of a row may be shorter, and is filled up with last records.
/// Writes records, or the result where a row is one tile.
template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    sort_fwd_tiles_kernel(const __grid_constant__ SortProblem p, std::int64_t tiles, int size,
                          Record<T>* records) {
  using R = Record<T>;
  GPUNN_SHARED(tile, R[kTile]);
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t per_row = (p.length + kTile - 1) / kTile;
  for (std::int64_t t = blockIdx.x; t < tiles; t += gridDim.x) {
    const std::int64_t row = t / per_row, begin = t % per_row * kTile;
    const std::int64_t left = p.length - begin;
    for (int i = thread; i < size; i += kBlock)
      tile[i] = i < left ? record_of(static_cast<const T*>(p.x)[offset_of(row, begin + i, p.length, p.inner)],
                                     begin + i, p.descending)
                         : last_record<R>();
    for (int width = 2; width <= size; width *= 2) {
      for (int step = width / 2; step > 0; step /= 2) {
        __syncthreads();  // the previous step's exchanges, and the loads, are done
        for (int i = thread; i < size / 2; i += kBlock) {
          const int low = i / step * step * 2 + i % step, high = low + step;
          const bool up = (low & width) == 0;
          const R a = tile[low], b = tile[high];
          if (before(b, a) == up) {
            tile[low] = b;
            tile[high] = a;
          }
        }
      }
    }
    __syncthreads();  // the last exchanges are done
    for (int i = thread; i < size && i < left; i += kBlock) {
      if (per_row > 1)
        records[row * p.length + begin + i] = tile[i];
      else if (i < p.keep)
        store<T>(p, row, i, tile[i]);
    }
    __syncthreads();  // read before the next tile overwrites it
  }
}

/// Records of `run` before `record`.
template <class R>
GPUNN_DEVICE std::int64_t rank_in(const R* run, std::int64_t n, const R& record) {
  std::int64_t low = 0;
  while (n > 0) {
    const std::int64_t half = n / 2;
    if (before(run[low + half], record)) {
      low += half + 1;
      n -= half + 1;
    } else {
      n = half;
    }
  }
  return low;
}

/// Merges neighbouring sorted runs of `run` records, a thread per record.
template <class R>
GPUNN_KERNEL __launch_bounds__(kBlock)
    sort_fwd_merge_kernel(const R* from, R* to, std::int64_t total, std::int64_t length, std::int64_t run,
                          std::int64_t keep) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < total;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t row = i / length * length, at = i % length;
    const std::int64_t own = at / run * run, in_run = at - own;
    const bool left = own / run % 2 == 0;
    const std::int64_t other = left ? own + run : own - run;
    std::int64_t others = other < length ? (length - other < run ? length - other : run) : 0;
    if (others > keep) others = keep;
    if (in_run >= keep) continue;
    const R record = from[i];
    const std::int64_t place = in_run + rank_in(from + row + other, others, record);
    if (place < keep) to[row + (left ? own : other) + place] = record;
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) sort_fwd_store_kernel(const __grid_constant__ SortProblem p,
                                                             const Record<T>* records, std::int64_t total) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < total;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t row = i / p.keep, k = i % p.keep;
    store<T>(p, row, k, records[row * p.length + k]);
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) sort_bwd_zero_kernel(T* y, std::int64_t n) {
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < n;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock)
    y[i] = T{};
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    sort_bwd_pick_kernel(const __grid_constant__ PickProblem p, std::int64_t total) {
  const T* x = static_cast<const T*>(p.x);
  T* y = static_cast<T*>(p.y);
  const std::int64_t in_outer = p.keep * p.inner;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kBlock + threadIdx.x; i < total;
       i += static_cast<std::int64_t>(gridDim.x) * kBlock) {
    const std::int64_t at = (i / in_outer * p.length + p.indices[i]) * p.inner + i % p.inner;
    if (p.scatter)
      y[at] = x[i];
    else
      y[i] = x[at];
  }
}

// ---- launchers

Grid grid_for(std::int64_t blocks) {
  return {dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), dim3(kBlock)};
}
Grid grid_over(std::int64_t elements) { return grid_for((elements + kBlock - 1) / kBlock); }

template <class T>
void run(const SortProblem& p, const Exec& exec) {
  using R = Record<T>;
  const std::int64_t rows = p.outer * p.inner, total = rows * p.length;
  const std::int64_t tiles = rows * ((p.length + kTile - 1) / kTile);
  if (p.keep == 0 || total == 0) return;
  int size = kTile;  // the least power of two that holds a tile
  while (size / 2 >= p.length) size /= 2;
  auto* from = static_cast<R*>(exec.workspace);
  R* to = from + total;
  launch("sort_fwd_tiles_kernel", sort_fwd_tiles_kernel<T>, grid_for(tiles), exec, p, tiles, size, from);
  if (p.length <= kTile) return;
  for (std::int64_t width = kTile; width < p.length; width *= 2) {
    launch("sort_fwd_merge_kernel", sort_fwd_merge_kernel<R>, grid_over(total), exec,
           static_cast<const R*>(from), to, total, p.length, width, p.keep);
    R* const sorted = to;
    to = from;
    from = sorted;
  }
  launch("sort_fwd_store_kernel", sort_fwd_store_kernel<T>, grid_over(rows * p.keep), exec, p,
         static_cast<const R*>(from), rows * p.keep);
}

}  // namespace

std::size_t sort_cuda_workspace(const SortProblem& p) {
  if (p.length <= kTile) return 0;
  const std::size_t record = p.dtype == DType::i64 ? sizeof(Pair) : sizeof(Word);
  return 2 * record * static_cast<std::size_t>(p.outer * p.length * p.inner);
}

void sort_cuda(const SortProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) run<T>(p, exec);  // f64 is refused by accepts()
  });
}

void pick_cuda(const PickProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      const std::int64_t n = p.outer * p.length * p.inner, kept = p.outer * p.keep * p.inner;
      if (p.scatter && kept < n)
        launch("sort_bwd_zero_kernel", sort_bwd_zero_kernel<T>, grid_over(n), exec, static_cast<T*>(p.y), n);
      launch("sort_bwd_pick_kernel", sort_bwd_pick_kernel<T>, grid_over(kept), exec, p, kept);
    }
  });
}

}  // namespace gpunn
