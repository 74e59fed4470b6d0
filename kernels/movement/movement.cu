// Joining and remapping on a GPU. All is memory traffic: a thread moves one unit, as wide as sizes and
// addresses allow, neighbours write neighbours.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/movement/element_bits_impl.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn {
namespace {

constexpr int kBlock = 256;
constexpr std::int64_t kMostBlocks = 1 << 16;  // beyond it, threads take several elements

GPUNN_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t element_stride() { return static_cast<std::int64_t>(gridDim.x) * kBlock; }

unsigned blocks_for(std::int64_t n) {
  const std::int64_t blocks = (n + kBlock - 1) / kBlock;
  return static_cast<unsigned>(blocks < kMostBlocks ? blocks : kMostBlocks);
}

struct alignas(16) Word {
  std::uint64_t low, high;
};

/// Joins rows of units; the second dimension of the grid counts the inputs.
template <class U>
GPUNN_KERNEL __launch_bounds__(kBlock) cat_fwd_kernel(const __grid_constant__ CatProblem p) {
  const CatSlot& slot = p.slots[blockIdx.y];
  const U* x = static_cast<const U*>(slot.x);
  U* y = static_cast<U*>(p.y) + slot.start;
  const std::int64_t n = p.outer * slot.width;
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    std::int64_t row;
    if (n <= 0x7fffffff)  // 32-bit division is several times faster
      row = static_cast<unsigned>(i) / static_cast<unsigned>(slot.width);
    else
      row = i / slot.width;
    y[row * p.width + (i - row * slot.width)] = x[i];
  }
}

/// The widest unit, in bytes, that divides every width, start and address.
std::size_t cat_unit(const CatProblem& p) {
  const std::size_t size = size_of(p.dtype);
  std::uint64_t all = 16 | reinterpret_cast<std::uintptr_t>(p.y) | static_cast<std::uint64_t>(p.width) * size;
  for (int i = 0; i < p.count; ++i)
    all |= reinterpret_cast<std::uintptr_t>(p.slots[i].x) |
           static_cast<std::uint64_t>(p.slots[i].width) * size |
           static_cast<std::uint64_t>(p.slots[i].start) * size;
  return static_cast<std::size_t>(all & ~(all - 1));  // lowest bit set: at most 16
}

template <class U>
void launch_cat(CatProblem p, std::int64_t divisor, const Exec& exec) {
  std::int64_t longest = 0;
  p.width /= divisor;
  for (int i = 0; i < p.count; ++i) {
    p.slots[i].width /= divisor;
    p.slots[i].start /= divisor;
    if (p.slots[i].width > longest) longest = p.slots[i].width;
  }
  launch("cat_fwd_kernel", cat_fwd_kernel<U>,
         {dim3(blocks_for(p.outer * longest), static_cast<unsigned>(p.count)), dim3(kBlock)}, exec, p);
}

/// A remap of kRank axes, missing ones in front filled up with extents of 1.
template <class T, int kRank>
struct Remap {
  const T* x;
  T* y;
  std::int64_t n;  // of y forward, of x backward
  T outside;
  RemapAxis axes[kRank];
};

template <class Index, int kRank>
GPUNN_DEVICE std::int64_t source_of(const RemapAxis (&axes)[kRank], std::int64_t flat) {
  Index rest = static_cast<Index>(flat);
  std::int64_t from = 0, step = 1;
  bool inside = true;
  GPUNN_UNROLL
  for (int d = kRank - 1; d >= 0; --d) {
    const Index extent = static_cast<Index>(axes[d].y), quotient = rest / extent;
    const std::int64_t s = remap_source(axes[d], static_cast<std::int64_t>(rest - quotient * extent));
    inside = inside && s >= 0;
    from += s * step;
    step *= axes[d].x;
    rest = quotient;
  }
  return inside ? from : -1;
}

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kBlock) remap_fwd_kernel(const __grid_constant__ Remap<T, kRank> r) {
  for (std::int64_t i = first_element(); i < r.n; i += element_stride()) {
    const std::int64_t from =
        r.n <= 0x7fffffff ? source_of<unsigned>(r.axes, i) : source_of<std::uint64_t>(r.axes, i);
    r.y[i] = from < 0 ? r.outside : r.x[from];
  }
}

/// Adds up x[...] over the targets of one element, dimension by dimension, in row-major order.
template <int kDim, class T, int kRank>
GPUNN_DEVICE void add_targets(const Remap<T, kRank>& r, const std::int64_t (&s)[kRank], std::int64_t at,
                              float& sum) {
  if constexpr (kDim == kRank) {
    sum += to_float(r.x[at]);
  } else {
    const RemapTargets t = remap_targets(r.axes[kDim], s[kDim]);
    if (t.first > t.last) return;
    std::int64_t i = t.before >= 0 ? t.before : t.first;
    while (true) {
      add_targets<kDim + 1>(r, s, at * r.axes[kDim].y + i, sum);
      if (i == t.behind) break;
      if (i < t.first)
        i = t.first;
      else if (i + t.step <= t.last)
        i += t.step;
      else if (t.behind >= 0)
        i = t.behind;
      else
        break;
    }
  }
}

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kBlock) remap_bwd_kernel(const __grid_constant__ Remap<T, kRank> r) {
  for (std::int64_t i = first_element(); i < r.n; i += element_stride()) {
    std::int64_t s[kRank], rest = i;
    GPUNN_UNROLL
    for (int d = kRank - 1; d >= 0; --d) {
      const std::int64_t quotient = r.n <= 0x7fffffff
                                        ? static_cast<unsigned>(rest) / static_cast<unsigned>(r.axes[d].x)
                                        : rest / r.axes[d].x;
      s[d] = rest - quotient * r.axes[d].x;
      rest = quotient;
    }
    float sum = 0;
    add_targets<0>(r, s, 0, sum);
    r.y[i] = from_float<T>(sum);
  }
}

/// Calls f(std::integral_constant<int, kRank>) with the least rank there is a kernel for.
template <class F>
void for_rank(int rank, F&& f) {
  if (rank == 1)
    f(std::integral_constant<int, 1>{});
  else if (rank == 2)
    f(std::integral_constant<int, 2>{});
  else if (rank <= 4)
    f(std::integral_constant<int, 4>{});
  else
    f(std::integral_constant<int, kMaxRank>{});
}

template <class T, int kRank>
Remap<T, kRank> remap_of(const void* x, void* y, std::int64_t n, T outside, int rank, const RemapAxis* axes) {
  Remap<T, kRank> r{static_cast<const T*>(x), static_cast<T*>(y), n, outside, {}};
  for (int d = 0; d < kRank - rank; ++d) r.axes[d] = {RemapRule::shift, 1, 1, 0};
  for (int d = 0; d < rank; ++d) r.axes[kRank - rank + d] = axes[d];
  return r;
}

}  // namespace

void cat_cuda(const CatProblem& p, const Exec& exec) {
  const std::size_t unit = cat_unit(p), size = size_of(p.dtype);
  const auto divisor = static_cast<std::int64_t>(unit / size);
  if (unit == 16) return launch_cat<Word>(p, divisor, exec);
  for_element_size(unit, [&]<class U>(U) { launch_cat<U>(p, divisor, exec); });
}

void remap_fwd_cuda(const RemapProblem& problem, const Exec& exec) {
  RemapProblem p = problem;
  std::size_t size = size_of(p.dtype);
  std::uint64_t bits = element_bits(p.dtype, p.value);
  // Where the last dimension stays as it is, several of its elements move as one.
  RemapAxis& last = p.axes[p.rank - 1];
  const auto address = reinterpret_cast<std::uintptr_t>(p.x) | reinterpret_cast<std::uintptr_t>(p.y);
  while (size < 8 && last.rule == RemapRule::shift && last.shift == 0 && last.x == last.y &&
         last.x % 2 == 0 && address % (2 * size) == 0) {
    last.x /= 2;
    last.y /= 2;
    bits |= bits << (8 * size);
    size *= 2;
  }
  const std::int64_t n = y_numel(p.rank, p.axes);
  for_element_size(size, [&]<class T>(T) {
    for_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("remap_fwd_kernel", remap_fwd_kernel<T, kRank>, {dim3(blocks_for(n)), dim3(kBlock)}, exec,
             remap_of<T, kRank>(p.x, p.y, n, static_cast<T>(bits), p.rank, p.axes));
    });
  });
}

void remap_bwd_cuda(const RemapBackwardProblem& p, const Exec& exec) {
  const std::int64_t n = x_numel(p.rank, p.axes);
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    for_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("remap_bwd_kernel", remap_bwd_kernel<T, kRank>, {dim3(blocks_for(n)), dim3(kBlock)}, exec,
             remap_of<T, kRank>(p.dy, p.dx, n, T{}, p.rank, p.axes));
    });
  });
}

}  // namespace gpunn
