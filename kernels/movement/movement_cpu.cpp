// Joining and remapping on the CPU: runs of memory, on the pool.
#include <algorithm>
#include <cstring>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/movement/element_bits_impl.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kGrain = 1 << 16;  // elements per chunk of a plain copy

/// Elements [begin, end) of a result's dimension that come from x[from], x[from + step], ...; from = -1 for
/// outside.
struct Run {
  std::int64_t end, from;
  int step;
};

Run run_at(const RemapAxis& a, std::int64_t i) {
  const std::int64_t from = remap_source(a, i), s = i - a.shift;
  const std::int64_t inside = std::min(a.y, s < 0 ? a.shift : a.x + a.shift);
  const bool overhang = s < 0 || s >= a.x;
  const std::int64_t end = s < a.x ? inside : a.y;
  switch (a.rule) {
    case RemapRule::shift:
      return {end, from, 1};
    case RemapRule::reflect:
      return {end, from, overhang ? -1 : 1};
    case RemapRule::replicate:
      return {end, from, overhang ? 0 : 1};
    case RemapRule::wrap:
      return {std::min(a.y, i + a.x - from), from, 1};
    case RemapRule::reverse:
      return {a.y, from, -1};
    default:
      return {std::min(a.y, (from + 1) * a.shift), from, 0};
  }
}

template <class T>
void remap_row(const RemapAxis& a, const T* x, T* y, T outside) {
  for (std::int64_t i = 0; i < a.y;) {
    const Run run = run_at(a, i);
    const std::int64_t n = run.end - i;
    if (run.from < 0)
      std::fill_n(y + i, n, outside);
    else if (run.step == 1)
      std::memcpy(y + i, x + run.from, static_cast<std::size_t>(n) * sizeof(T));
    else if (run.step == 0)
      std::fill_n(y + i, n, x[run.from]);
    else
      std::reverse_copy(x + run.from - n + 1, x + run.from + 1, y + i);
    i = run.end;
  }
}

/// The adjoint of remap_row, added to dx.
void add_row(const RemapAxis& a, const float* dy, float* dx) {
  for (std::int64_t i = 0; i < a.y;) {
    const Run run = run_at(a, i);
    if (run.from >= 0) {
      const std::int64_t n = run.end - i;
      float* const to = dx + run.from;
      if (run.step == 1) {
        for (std::int64_t j = 0; j < n; ++j) to[j] += dy[i + j];
      } else {
        for (std::int64_t j = 0; j < n; ++j) to[j * run.step] += dy[i + j];
      }
    }
    i = run.end;
  }
}

/// Row of x (all dimensions but the last) that row `flat` of the result comes from, or -1.
std::int64_t source_row(int rank, const RemapAxis* axes, std::int64_t flat) {
  std::int64_t from = 0, step = 1;
  for (int d = rank - 2; d >= 0; --d) {
    const std::int64_t s = remap_source(axes[d], flat % axes[d].y);
    if (s < 0) return -1;
    from += s * step;
    step *= axes[d].x;
    flat /= axes[d].y;
  }
  return from;
}

/// Calls f(row) for the rows of the result that come from row (s[0], s[1], ...) of x, in ascending order.
template <class F>
void for_each_target_row(int rank, const RemapAxis* axes, const std::int64_t* s, int d, std::int64_t row,
                         const F& f) {
  if (d == rank - 1) return f(row);
  const RemapTargets t = remap_targets(axes[d], s[d]);
  const auto visit = [&](std::int64_t i) {
    for_each_target_row(rank, axes, s, d + 1, row * axes[d].y + i, f);
  };
  if (t.before >= 0) visit(t.before);
  for (std::int64_t i = t.first; i <= t.last; i += t.step) visit(i);
  if (t.behind >= 0) visit(t.behind);
}

}  // namespace

void cat_cpu(const CatProblem& p, const Exec& exec) {
  const auto size = static_cast<std::int64_t>(size_of(p.dtype));
  char* const y = static_cast<char*>(p.y);
  for (int i = 0; i < p.count; ++i) {
    const CatSlot& slot = p.slots[i];
    const char* const x = static_cast<const char*>(slot.x);
    // Long rows are cut into pieces, short ones taken several at a time.
    const std::int64_t pieces = (slot.width + kGrain - 1) / kGrain;
    parallel_for(*exec.pool, p.outer * pieces, std::max<std::int64_t>(1, kGrain / slot.width),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t at = begin; at < end; ++at) {
                     const std::int64_t o = at / pieces, first = at % pieces * kGrain;
                     const std::int64_t n = std::min(kGrain, slot.width - first);
                     std::memcpy(y + (o * p.width + slot.start + first) * size,
                                 x + (o * slot.width + first) * size, static_cast<std::size_t>(n * size));
                   }
                 });
  }
}

void remap_fwd_cpu(const RemapProblem& p, const Exec& exec) {
  const std::uint64_t bits = element_bits(p.dtype, p.value);
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    const T outside = static_cast<T>(bits);
    const RemapAxis& last = p.axes[p.rank - 1];
    parallel_for(*exec.pool, y_numel(p.rank - 1, p.axes), rows_per_chunk(last.y),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t row = begin; row < end; ++row) {
                     const std::int64_t from = source_row(p.rank, p.axes, row);
                     if (from < 0)
                       std::fill_n(y + row * last.y, last.y, outside);
                     else
                       remap_row(last, x + from * last.x, y + row * last.y, outside);
                   }
                 });
  });
}

void remap_bwd_cpu(const RemapBackwardProblem& p, const Exec& exec) {
  const float* dy = static_cast<const float*>(p.dy);
  float* dx = static_cast<float*>(p.dx);
  const RemapAxis& last = p.axes[p.rank - 1];
  parallel_for(*exec.pool, x_numel(p.rank - 1, p.axes), rows_per_chunk(last.x),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t row = begin; row < end; ++row) {
                   std::int64_t s[kMaxRank], rest = row;
                   for (int d = p.rank - 2; d >= 0; rest /= p.axes[d--].x) s[d] = rest % p.axes[d].x;
                   float* const sums = dx + row * last.x;
                   std::fill_n(sums, last.x, 0.0f);
                   for_each_target_row(p.rank, p.axes, s, 0, 0,
                                       [&](std::int64_t from) { add_row(last, dy + from * last.y, sums); });
                 }
               });
}

}  // namespace gpunn
