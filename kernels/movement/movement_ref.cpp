// References of joining and remapping, element by element.
#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn {

void cat_ref(const CatProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(p.y);
    for (int i = 0; i < p.count; ++i) {
      const CatSlot& slot = p.slots[i];
      const T* x = static_cast<const T*>(slot.x);
      for (std::int64_t o = 0; o < p.outer; ++o)
        for (std::int64_t j = 0; j < slot.width; ++j) y[o * p.width + slot.start + j] = x[o * slot.width + j];
    }
  });
}

namespace {

/// Element of x that element `flat` of the result comes from, or -1.
std::int64_t source_of(int rank, const RemapAxis* axes, std::int64_t flat) {
  std::int64_t from = 0, step = 1;
  for (int d = rank - 1; d >= 0; --d) {
    const std::int64_t s = remap_source(axes[d], flat % axes[d].y);
    if (s < 0) return -1;
    from += s * step;
    step *= axes[d].x;
    flat /= axes[d].y;
  }
  return from;
}

}  // namespace

void remap_fwd_ref(const RemapProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    const T outside = detail::convert_value<T>(p.value);
    const std::int64_t n = y_numel(p.rank, p.axes);
    for (std::int64_t i = 0; i < n; ++i) {
      const std::int64_t from = source_of(p.rank, p.axes, i);
      y[i] = from < 0 ? outside : x[from];
    }
  });
}

void remap_bwd_ref(const RemapBackwardProblem& p, const Exec&) {
  const RefIn dy(p.dy, p.dtype);
  const RefOut dx(p.dx, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(x_numel(p.rank, p.axes)));
  const std::int64_t n = y_numel(p.rank, p.axes);
  for (std::int64_t i = 0; i < n; ++i) {
    const std::int64_t from = source_of(p.rank, p.axes, i);
    if (from >= 0) sums[static_cast<std::size_t>(from)] += dy[i];
  }
  for (std::size_t s = 0; s < sums.size(); ++s) dx.set(static_cast<std::int64_t>(s), sums[s]);
}

}  // namespace gpunn
