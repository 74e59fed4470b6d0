#pragma once
// How test inputs are drawn: reproducible, in double, rounded to the operand's dtype afterwards.
#include <cstdint>
#include <functional>
#include <initializer_list>

#include "gpunn/core/random.h"

namespace gpunn {

/// Value of element `i`; `random` belongs to the operand alone, so operands do not disturb each other.
using Fill = std::function<double(std::int64_t i, PhiloxStream& random)>;

namespace fill {

/// [low, high)
Fill uniform(double low, double high);
Fill normal(double mean, double deviation);
Fill constant(double value);
/// The values over and over.
Fill cycle(std::initializer_list<double> values);
/// Whole numbers in [low, high), also for integer operands (labels, indices).
Fill integers(std::int64_t low, std::int64_t high);
/// `base` with every `period`-th element (from `first` on) replaced by `value`: infinities, ignored labels,
/// ties.
Fill every(std::int64_t period, double value, Fill base, std::int64_t first = 0);
/// Moves apart what lies within `gap` of a kink at `at` (relu at 0, max at ties), for finite differences.
Fill avoid(double at, double gap, Fill base);

}  // namespace fill
}  // namespace gpunn
