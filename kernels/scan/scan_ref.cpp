// The reference: one row after the other; floating dtypes in double, integers exactly.
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn {

namespace {

/// f(offset of the first element) for every row.
template <class P, class F>
void for_rows(const P& p, F&& f) {
  for (std::int64_t o = 0; o < p.outer; ++o)
    for (std::int64_t i = 0; i < p.inner; ++i) f(o * p.length * p.inner + i);
}

}  // namespace

void scan_ref(const ScanProblem& p, const Exec&) {
  const auto offset = [&](std::int64_t first, std::int64_t t) {
    return first + (p.reverse ? p.length - 1 - t : t) * p.inner;
  };
  if (is_floating(p.dtype)) {
    const RefIn x(p.x, p.dtype);
    const RefOut y(p.y, p.dtype);
    for_rows(p, [&](std::int64_t first) {
      double total = p.function == ScanFunction::prod ? 1 : 0;
      for (std::int64_t t = 0; t < p.length; ++t) {
        const double v = x[offset(first, t)];
        total = p.function == ScanFunction::prod ? total * v : total + v;
        y.set(offset(first, t), total);
      }
    });
    return;
  }
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (std::is_integral_v<T>)
      for_rows(p, [&](std::int64_t first) {
        std::uint64_t total = 0;  // wraps around
        for (std::int64_t t = 0; t < p.length; ++t) {
          total += static_cast<std::uint64_t>(static_cast<const T*>(p.x)[offset(first, t)]);
          static_cast<std::int64_t*>(p.y)[offset(first, t)] = static_cast<std::int64_t>(total);
        }
      });
  });
}

void cumprod_bwd_ref(const CumprodBackwardProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype), y(p.y, p.dtype), dy(p.dy, p.dtype);
  const RefOut dx(p.dx, p.dtype);
  for_rows(p, [&](std::int64_t first) {
    double rest = 0;
    for (std::int64_t k = p.length - 1; k >= 0; --k) {
      const std::int64_t at = first + k * p.inner;
      rest = dy[at] + (k + 1 < p.length ? x[at + p.inner] * rest : 0);
      dx.set(at, (k > 0 ? y[at - p.inner] : 1) * rest);
    }
  });
}

}  // namespace gpunn
