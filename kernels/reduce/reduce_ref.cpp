// The reference: one output after the other, one element after the other; floating dtypes in double, integers
// exactly.
#include <cmath>
#include <limits>

#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn {

namespace {

/// f(o, offset) for every output, in order.
template <class F>
void for_each(const ReduceDims& d, F&& f) {
  std::int64_t i = 0;
  detail::walk<1>(d.rank, d.shape, {d.strides}, 0, numel_of(d),
                  [&](std::int64_t n, const std::int64_t(&at)[1]) {
                    for (std::int64_t j = 0; j < n; ++j, ++i) f(i, at[0] + j * d.strides[d.rank - 1]);
                  });
}

bool is_nan(double v) { return std::isnan(v); }
bool is_nan(std::int64_t) { return false; }

double plus(double a, double b) { return a + b; }
/// Wraps around.
std::int64_t plus(std::int64_t a, std::int64_t b) {
  return static_cast<std::int64_t>(static_cast<std::uint64_t>(a) + static_cast<std::uint64_t>(b));
}

/// T is double or std::int64_t; load(i) reads element i of x, store(o, v) writes result o.
template <class T, class Load, class Store>
void run(const ReduceProblem& p, Load load, Store store) {
  for_each(p.kept, [&](std::int64_t o, std::int64_t base) {
    T total{0}, best{0};
    std::int64_t index = -1;
    for_each(p.reduced, [&](std::int64_t r, std::int64_t offset) {
      const T v = load(base + offset);
      total = plus(total, v);
      if (index < 0 || v > best || (is_nan(v) && !is_nan(best))) best = v, index = r;
    });
    if (p.function == ReduceFunction::mean) total /= static_cast<T>(numel_of(p.reduced));
    const bool adds = p.function == ReduceFunction::sum || p.function == ReduceFunction::mean;
    if (gives_values(p.function)) store(o, adds ? total : best);
    if (gives_indices(p.function)) p.indices[o] = index;
  });
}

}  // namespace

void reduce_ref(const ReduceProblem& p, const Exec&) {
  if (is_floating(p.dtype)) {
    const RefIn x(p.x, p.dtype);
    const RefOut y(p.y, p.dtype);
    run<double>(p, [&](std::int64_t i) { return x[i]; }, [&](std::int64_t o, double v) { y.set(o, v); });
    return;
  }
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_integral_v<T>) {
      const T* x = static_cast<const T*>(p.x);
      const auto store = [&](std::int64_t o, std::int64_t v) {
        if (value_dtype(p) == DType::i64)
          static_cast<std::int64_t*>(p.y)[o] = v;
        else
          static_cast<T*>(p.y)[o] = static_cast<T>(v);
      };
      run<std::int64_t>(p, [&](std::int64_t i) { return static_cast<std::int64_t>(x[i]); }, store);
    }
  });
}

void max_bwd_ref(const MaxBackwardProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype), dy(p.dy, p.dtype);
  const RefOut dx(p.dx, p.dtype);
  for_each(p.kept, [&](std::int64_t o, std::int64_t base) {
    double ties = p.by_index ? 1 : 0;
    if (!p.by_index)
      for_each(p.reduced, [&](std::int64_t, std::int64_t offset) { ties += x[base + offset] == y[o]; });
    for_each(p.reduced, [&](std::int64_t r, std::int64_t offset) {
      const bool chosen = p.by_index ? r == p.indices[o] : x[base + offset] == y[o];
      dx.set(base + offset, (chosen ? dy[o] : 0) / ties);
    });
  });
}

}  // namespace gpunn
