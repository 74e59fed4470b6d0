// The references: one loop per element, in the element's own type or in float.
#include <algorithm>
#include <numeric>

#include "gpunn/kernels/count/count_impl.h"

namespace gpunn {

namespace {

/// What an element compares as.
template <class T>
auto value_of(T v) {
  if constexpr (std::is_arithmetic_v<T>)
    return v;
  else
    return static_cast<float>(v);
}

/// f(i, bin): the bin of each element, -1 for none.
template <class F>
void for_bins(const BinProblem& p, F&& f) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    using E = std::conditional_t<std::is_same_v<T, double>, double, float>;
    const T* x = static_cast<const T*>(p.x);
    for (std::int64_t i = 0; i < p.n; ++i) {
      const auto v = value_of(x[i]);
      if (p.with_edges) {
        f(i, bin_of(static_cast<E>(v), static_cast<const E*>(p.edges), p.bins, false));
      } else {
        const auto bin = static_cast<std::int64_t>(v);
        f(i, bin >= 0 && bin < p.bins ? bin : -1);
      }
    }
  });
}

/// Is a before b? NaN is behind everything.
template <class A>
bool less(A a, A b) {
  return a < b || (b != b && a == a);
}

}  // namespace

void bin_count_ref(const BinProblem& p, const Exec&) {
  std::fill(p.y, p.y + p.bins, std::int64_t{0});
  for_bins(p, [&](std::int64_t, std::int64_t bin) {
    if (bin >= 0) ++p.y[bin];
  });
}

void bin_find_ref(const BinProblem& p, const Exec&) {
  for_bins(p, [&](std::int64_t i, std::int64_t bin) { p.y[i] = bin; });
}

void search_ref(const SearchProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    for (std::int64_t r = 0; r < p.rows; ++r) {
      const T* row = static_cast<const T*>(p.sequence) + (p.one_sequence ? 0 : r * p.length);
      for (std::int64_t j = 0; j < p.n; ++j) {
        const auto v = value_of(static_cast<const T*>(p.values)[r * p.n + j]);
        const T* place = std::partition_point(row, row + p.length, [&](T element) {
          const auto at = value_of(element);
          return !(p.right ? at > v : at >= v);  // a NaN value: always true
        });
        p.y[r * p.n + j] = place - row;
      }
    }
  });
}

void row_order_ref(const RowOrderProblem& p, const Exec&) {
  std::iota(p.order, p.order + p.rows, std::int64_t{0});
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    std::stable_sort(p.order, p.order + p.rows, [&](std::int64_t a, std::int64_t b) {
      for (std::int64_t i = 0; i < p.width; ++i) {
        const auto left = value_of(x[a * p.width + i]), right = value_of(x[b * p.width + i]);
        if (less(left, right)) return true;
        if (less(right, left)) return false;
      }
      return false;
    });
  });
}

}  // namespace gpunn
