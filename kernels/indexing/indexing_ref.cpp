// References of indexing, element by element.
#include <limits>

#include "gpunn/core/detail/strided.h"
#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/indexing/indexing_impl.h"

namespace gpunn {
namespace {

bool inside(std::int64_t i, std::int64_t extent) { return i >= 0 && i < extent; }

/// What is read outside.
template <class T>
T outside() {
  return detail::convert_value<T>(is_floating(dtype_of<T>) ? std::numeric_limits<double>::quiet_NaN() : 0.0);
}

/// Calls f(e, y) for every element of the index and its destination, columns
/// one after the other, each in order.
template <class F>
void for_each_destination(const ScatterProblem& p, F f) {
  detail::walk<2>(p.rank, p.shape, {p.index_strides, p.y_strides}, 0, columns_of(p),
                  [&](std::int64_t n, const std::int64_t(&at)[2]) {
                    for (std::int64_t c = 0; c < n; ++c) {
                      for (std::int64_t j = 0; j < p.n; ++j) {
                        const std::int64_t e = at[0] + c * p.index_strides[p.rank - 1] + j * p.index_step;
                        if (inside(p.index[e], p.extent))
                          f(e, at[1] + c * p.y_strides[p.rank - 1] + p.index[e] * p.step);
                      }
                    }
                  });
}

}  // namespace

void index_check_ref(const IndexCheckProblem& p, const Exec&) {
  *p.bad = -1;
  for (std::int64_t i = 0; i < p.n && *p.bad < 0; ++i)
    if (!inside(p.index[i], p.extent)) *p.bad = i;
}

void select_rows_ref(const SelectRowsProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    for (std::int64_t o = 0; o < p.outer; ++o)
      for (std::int64_t j = 0; j < p.n; ++j)
        for (std::int64_t i = 0; i < p.inner; ++i) {
          const std::int64_t row = p.index[j];
          y[(o * p.n + j) * p.inner + i] = !inside(row, p.extent) ? outside<T>()
                                           : row == p.skip        ? T{}
                                                                  : x[(o * p.extent + row) * p.inner + i];
        }
  });
}

void add_rows_ref(const AddRowsProblem& p, const Exec&) {
  const RefIn base(p.base, p.dtype), src(p.src, p.dtype);
  const RefOut y(p.y, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.outer * p.extent * p.inner));
  for (std::size_t at = 0; p.with_base && at < sums.size(); ++at)
    sums[at] = base[static_cast<std::int64_t>(at)];
  for (std::int64_t o = 0; o < p.outer; ++o)
    for (std::int64_t j = 0; j < p.n; ++j) {
      const std::int64_t row = p.index[j];
      if (!inside(row, p.extent) || row == p.skip) continue;
      for (std::int64_t i = 0; i < p.inner; ++i)
        sums[static_cast<std::size_t>((o * p.extent + row) * p.inner + i)] +=
            src[(o * p.n + j) * p.inner + i];
    }
  for (std::size_t at = 0; at < sums.size(); ++at) y.set(static_cast<std::int64_t>(at), sums[at]);
}

void gather_ref(const GatherProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    std::int64_t e = 0;
    detail::walk<1>(p.rank, p.shape, {p.x_strides}, 0, elements_of(p),
                    [&](std::int64_t n, const std::int64_t(&at)[1]) {
                      for (std::int64_t i = 0; i < n; ++i, ++e) {
                        const std::int64_t from = at[0] + i * p.x_strides[p.rank - 1] + p.index[e] * p.step;
                        if (!inside(p.index[e], p.extent))
                          y[e] = outside<T>();
                        else
                          y[e] = p.with_owner && p.owner[from] != e ? T{} : x[from];
                      }
                    });
  });
}

void scatter_ref(const ScatterProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* base = static_cast<const T*>(p.base);
    const T* src = static_cast<const T*>(p.src);
    T* y = static_cast<T*>(p.y);
    for (std::int64_t i = 0; i < p.y_elements; ++i) y[i] = p.with_base ? base[i] : T{};
    for_each_destination(p, [&](std::int64_t e, std::int64_t to) {
      y[to] = p.with_src ? src[e] : detail::convert_value<T>(e);
    });
  });
}

void scatter_add_ref(const ScatterProblem& p, const Exec&) {
  const RefIn base(p.base, p.dtype), src(p.src, p.dtype);
  const RefOut y(p.y, p.dtype);
  std::vector<double> sums(static_cast<std::size_t>(p.y_elements));
  for (std::int64_t i = 0; p.with_base && i < p.y_elements; ++i) sums[static_cast<std::size_t>(i)] = base[i];
  for_each_destination(
      p, [&](std::int64_t e, std::int64_t to) { sums[static_cast<std::size_t>(to)] += src[e]; });
  for (std::int64_t i = 0; i < p.y_elements; ++i) y.set(i, sums[static_cast<std::size_t>(i)]);
}

void masked_fill_ref(const MaskedFillProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    const T value = detail::convert_value<T>(p.value);
    std::int64_t e = 0;
    detail::walk<1>(p.rank, p.shape, {p.mask_strides}, 0, detail::numel_of(p.rank, p.shape),
                    [&](std::int64_t n, const std::int64_t(&at)[1]) {
                      for (std::int64_t i = 0; i < n; ++i, ++e)
                        y[e] = p.mask[at[0] + i * p.mask_strides[p.rank - 1]] ? value : x[e];
                    });
  });
}

void mask_positions_ref(const MaskPositionsProblem& p, const Exec&) {
  std::int64_t count = 0;
  // Every element is written down, and kept if it counts: no branch to mispredict.
  for (std::int64_t i = 0; i < p.n; ++i) {
    p.positions[count] = i;
    count += p.mask[i];
  }
  for (std::int64_t i = count; i < p.n; ++i) p.positions[i] = -1;
  *p.count = count;
}

void one_hot_ref(const OneHotProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(p.y);
    for (std::int64_t e = 0; e < p.n; ++e)
      for (std::int64_t c = 0; c < p.classes; ++c)
        y[e * p.classes + c] = detail::convert_value<T>(p.index[e] == c ? 1.0 : 0.0);
  });
}

}  // namespace gpunn
