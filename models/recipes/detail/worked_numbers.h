#pragma once
// The hand computations of worked-numbers: one table, a row each.
#include <span>
#include <string_view>
#include <vector>

namespace gpunn::detail {

/// A computation done by hand somewhere, with its result as printed there. A new row needs only a line in the
/// table of worked_numbers_table.cpp.
struct WorkedNumber {
  const char* group;
  const char* what;
  const char* inputs;  // as shown to people; compute() uses the same
  const char* how;     // the public ops that do it; a missing op composed from others is said so
  const char* stated;  // numbers parted by spaces
  std::vector<double> (*compute)();  // on the default device
};

std::span<const WorkedNumber> worked_numbers() noexcept;

/// A printed number and how far from it a computed one may be.
struct StatedNumber {
  double value;
  double tolerance;
};

/// Numbers parted by spaces. With decimals the tolerance is half a unit of the last digit printed; a number
/// without any is a whole one and is met to one part in a million. Throws InvalidArgument for anything else.
std::vector<StatedNumber> stated_numbers(std::string_view text);

/// The largest |ours - stated| / tolerance; infinite for another count or a value that is not finite.
double worst_share_of_tolerance(std::string_view stated, std::span<const double> ours);

}  // namespace gpunn::detail
