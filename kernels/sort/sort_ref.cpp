// The reference: rows by std::stable_sort on their positions.
#include <algorithm>
#include <numeric>

#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn {

namespace {

/// Is a before b? NaN is greater than everything.
template <class A>
bool less(A a, A b) {
  return a < b || (b != b && a == a);
}

/// What an element compares as.
template <class T>
auto value_of(T v) {
  if constexpr (std::is_arithmetic_v<T>)
    return v;
  else
    return static_cast<float>(v);
}

/// f(first, kept): where a row starts in [outer, length, inner], and in [outer, keep, inner].
template <class P, class F>
void for_rows(const P& p, F&& f) {
  for (std::int64_t o = 0; o < p.outer; ++o)
    for (std::int64_t i = 0; i < p.inner; ++i) f(o * p.length * p.inner + i, o * p.keep * p.inner + i);
}

}  // namespace

void sort_ref(const SortProblem& p, const Exec&) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(p.length));
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    for_rows(p, [&](std::int64_t first, std::int64_t kept) {
      std::iota(order.begin(), order.end(), std::int64_t{0});
      std::stable_sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
        const auto left = value_of(x[first + a * p.inner]), right = value_of(x[first + b * p.inner]);
        return p.descending ? less(right, left) : less(left, right);
      });
      for (std::int64_t k = 0; k < p.keep; ++k) {
        const std::int64_t index = order[static_cast<std::size_t>(k)];
        static_cast<T*>(p.y)[kept + k * p.inner] = x[first + index * p.inner];
        p.indices[kept + k * p.inner] = index;
      }
    });
  });
}

void pick_ref(const PickProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    if (p.scatter) std::fill(y, y + p.outer * p.length * p.inner, T{});
    for_rows(p, [&](std::int64_t first, std::int64_t kept) {
      for (std::int64_t k = 0; k < p.keep; ++k) {
        const std::int64_t picked = kept + k * p.inner, at = first + p.indices[picked] * p.inner;
        if (p.scatter)
          y[at] = x[picked];
        else
          y[picked] = x[at];
      }
    });
  });
}

}  // namespace gpunn
