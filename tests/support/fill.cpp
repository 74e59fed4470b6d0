#include "tests/support/fill.h"

#include <cmath>
#include <utility>
#include <vector>

namespace gpunn::fill {

Fill uniform(double low, double high) {
  return [=](std::int64_t, PhiloxStream& random) { return low + (high - low) * random.uniform(); };
}

Fill normal(double mean, double deviation) {
  return [=](std::int64_t, PhiloxStream& random) { return mean + deviation * random.normal(); };
}

Fill constant(double value) {
  return [=](std::int64_t, PhiloxStream&) { return value; };
}

Fill cycle(std::initializer_list<double> values) {
  return [v = std::vector<double>(values)](std::int64_t i, PhiloxStream&) {
    return v[static_cast<std::size_t>(i) % v.size()];
  };
}

Fill integers(std::int64_t low, std::int64_t high) {
  return [=](std::int64_t, PhiloxStream& random) {
    return static_cast<double>(
        low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low))));
  };
}

Fill every(std::int64_t period, double value, Fill base, std::int64_t first) {
  return [=, base = std::move(base)](std::int64_t i, PhiloxStream& random) {
    const double drawn = base(i, random);
    return i >= first && (i - first) % period == 0 ? value : drawn;
  };
}

Fill avoid(double at, double gap, Fill base) {
  return [=, base = std::move(base)](std::int64_t i, PhiloxStream& random) {
    const double drawn = base(i, random);
    if (std::abs(drawn - at) >= gap) return drawn;
    return drawn < at ? at - gap : at + gap;
  };
}

}  // namespace gpunn::fill
