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

/// Sums and what is chosen. T is double or std::int64_t; load(i) reads element i of x, store(o, v) writes
/// result o.
template <class T, class Load, class Store>
void run(const ReduceProblem& p, Load load, Store store) {
  const bool least = wants_least(p.function);
  for_each(p.kept, [&](std::int64_t o, std::int64_t base) {
    T total{0}, best{0};
    std::int64_t index = -1;
    for_each(p.reduced, [&](std::int64_t r, std::int64_t offset) {
      const T v = load(base + offset);
      total = plus(total, v);
      if (index < 0 || (least ? v < best : v > best) || (is_nan(v) && !is_nan(best))) best = v, index = r;
    });
    if (p.function == ReduceFunction::mean) total /= static_cast<T>(numel_of(p.reduced));
    if (gives_values(p.function)) store(o, adds(p.function) ? total : best);
    if (gives_indices(p.function)) p.indices[o] = index;
  });
}

/// any, all, count_nonzero; x[i] is anything that compares with 0 (NaN is not 0).
template <class X>
void run_count(const ReduceProblem& p, const X& x) {
  for_each(p.kept, [&](std::int64_t o, std::int64_t base) {
    std::int64_t count = 0;
    for_each(p.reduced, [&](std::int64_t, std::int64_t offset) { count += x[base + offset] != 0; });
    if (p.function == ReduceFunction::count_nonzero)
      static_cast<std::int64_t*>(p.y)[o] = count;
    else
      static_cast<bool*>(p.y)[o] =
          p.function == ReduceFunction::any ? count > 0 : count == numel_of(p.reduced);
  });
}

/// Calls f(x) for the elements of output `base`.
template <class F>
void for_values(const ReduceProblem& p, const RefIn& x, std::int64_t base, F&& f) {
  for_each(p.reduced, [&](std::int64_t, std::int64_t offset) { f(x[base + offset]); });
}

double prod_of(const ReduceProblem& p, const RefIn& x, std::int64_t base) {
  double product = 1;
  for_values(p, x, base, [&](double v) { product *= v; });
  return product;
}

double variance_of(const ReduceProblem& p, const RefIn& x, std::int64_t base) {
  double total = 0, squares = 0;
  for_values(p, x, base, [&](double v) { total += v; });
  const double mean = total / static_cast<double>(numel_of(p.reduced));
  for_values(p, x, base, [&](double v) { squares += (v - mean) * (v - mean); });
  return squares / variance_divisor(numel_of(p.reduced), p.parameter);
}

double norm_of(const ReduceProblem& p, const RefIn& x, std::int64_t base) {
  const NormTerm term = norm_term(p.parameter);
  double total = 0, most = 0, least = std::numeric_limits<double>::infinity();
  for_values(p, x, base, [&](double v) {
    const double a = std::abs(v);
    if (a > most || is_nan(a)) most = a;
    if (a < least || is_nan(a)) least = a;
    if (term == NormTerm::nonzero) total += a != 0;
    if (term == NormTerm::magnitude) total += a;
    if (term == NormTerm::square) total += a * a;
    if (term == NormTerm::power) total += std::pow(a, p.parameter);
  });
  if (term == NormTerm::largest) return most;
  if (term == NormTerm::least) return least;
  if (term == NormTerm::square) return std::sqrt(total);
  return term == NormTerm::power ? std::pow(total, 1 / p.parameter) : total;
}

double logsumexp_of(const ReduceProblem& p, const RefIn& x, std::int64_t base) {
  double most = -std::numeric_limits<double>::infinity(), total = 0;
  for_values(p, x, base, [&](double v) { most = v > most || is_nan(v) ? v : most; });
  const double shift = std::isinf(most) ? 0 : most;  // inf - inf would be NaN
  for_values(p, x, base, [&](double v) { total += std::exp(v - shift); });
  return shift + std::log(total);
}

double statistic_of(const ReduceProblem& p, const RefIn& x, std::int64_t base) {
  switch (p.function) {
    case ReduceFunction::prod:
      return prod_of(p, x, base);
    case ReduceFunction::var:
      return variance_of(p, x, base);
    case ReduceFunction::std:
      return std::sqrt(variance_of(p, x, base));
    case ReduceFunction::norm:
      return norm_of(p, x, base);
    default:
      return logsumexp_of(p, x, base);
  }
}

}  // namespace

void reduce_ref(const ReduceProblem& p, const Exec&) {
  if (is_floating(p.dtype)) {
    const RefIn x(p.x, p.dtype);
    const RefOut y(p.y, p.dtype);
    if (counts(p.function)) return run_count(p, x);
    if (!adds(p.function) && !chooses(p.function))
      return for_each(p.kept, [&](std::int64_t o, std::int64_t base) { y.set(o, statistic_of(p, x, base)); });
    run<double>(p, [&](std::int64_t i) { return x[i]; }, [&](std::int64_t o, double v) { y.set(o, v); });
    return;
  }
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_integral_v<T>) {
      const T* x = static_cast<const T*>(p.x);
      if (counts(p.function)) return run_count(p, x);
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

namespace {

void prod_bwd(const ReduceBackwardProblem& p, const RefIn& x, double dy, std::int64_t base,
              const RefOut& dx) {
  double product = 1;  // of the elements that are not 0
  std::int64_t zeros = 0;
  for_each(p.reduced, [&](std::int64_t, std::int64_t offset) {
    const double v = x[base + offset];
    if (v == 0)
      ++zeros;
    else
      product *= v;
  });
  for_each(p.reduced, [&](std::int64_t, std::int64_t offset) {
    const double v = x[base + offset];
    const double others = v == 0 ? (zeros == 1 ? product : 0) : (zeros == 0 ? product / v : 0);
    dx.set(base + offset, dy * others);
  });
}

void norm_bwd(const ReduceBackwardProblem& p, const RefIn& x, double y, double dy, std::int64_t base,
              const RefOut& dx) {
  const NormTerm term = norm_term(p.parameter);
  const bool chosen_only = term == NormTerm::largest || term == NormTerm::least;
  double ties = chosen_only ? 0 : 1;
  if (chosen_only)
    for_each(p.reduced, [&](std::int64_t, std::int64_t offset) { ties += std::abs(x[base + offset]) == y; });
  for_each(p.reduced, [&](std::int64_t, std::int64_t offset) {
    const double v = x[base + offset], a = std::abs(v);
    const double sign = is_nan(v) ? v : v > 0 ? 1 : v < 0 ? -1 : 0;
    double weight = sign;
    if (term == NormTerm::nonzero) weight = 0;
    if (term == NormTerm::square) weight = v / y;
    if (term == NormTerm::power) weight = sign * std::pow(a / y, p.parameter - 1);
    if (chosen_only) weight = (a == y ? sign : 0) / ties;
    dx.set(base + offset, (v == 0 || y == 0) && ties > 0 ? 0 : dy * weight);
  });
}

}  // namespace

void reduce_bwd_ref(const ReduceBackwardProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype), dy(p.dy, p.dtype);
  const RefOut dx(p.dx, p.dtype);
  for_each(p.kept, [&](std::int64_t o, std::int64_t base) {
    if (p.function == ReduceFunction::prod)
      prod_bwd(p, x, dy[o], base, dx);
    else
      norm_bwd(p, x, y[o], dy[o], base, dx);
  });
}

}  // namespace gpunn
