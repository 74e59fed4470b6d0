#pragma once
// Comparing a result with the truth, with bounds derived from the arithmetic. Written so that NaN fails.
#include <cstdint>
#include <span>

#include "gpunn/core/dtype.h"

namespace gpunn {

/// What the f32 bound is relative to.
enum class Scale : std::uint8_t {
  element,   // each element's own magnitude: no cancellation (softmax, exp, products)
  operand,   // the largest magnitude of the output
  absolute,  // each element's magnitude when the problem is solved on absolute inputs (sums, matrix products)
};

/// The bound of an element with truth t and scale s (s > |t| where terms cancelled):
///   f32, f64  c * eps * sqrt(k) * s, at least the smallest normal number
///   halves    half_factor * max(|rounded - t|, half a unit of t) + the bound of f32
struct Tolerance {
  double c = 4;
  double k = 1;
  double half_factor = 2;
};

/// What compare() found. `element` is -1 when the span was empty.
struct Comparison {
  bool ok = true;
  std::int64_t element = -1;  // furthest beyond (or nearest to) its bound
  double got = 0, expected = 0, error = 0, bound = 0;
  std::int64_t wrong = 0;    // elements beyond their bound
  double zero_fraction = 0;  // of `got`
};

/// Compares `got` (elements of `dtype`) with `truth`. Where the reference rounded to the dtype is not finite,
/// `got` must be the same infinity, or any NaN for NaN. Integer dtypes must be equal. `scale` has one value
/// or as many as `truth`.
Comparison compare(const void* got, DType dtype, std::span<const double> truth,
                   std::span<const double> rounded, std::span<const double> scale,
                   const Tolerance& tolerance);

/// Element `i` of any dtype as double, and back (integers by truncation).
double load_element(const void* data, DType dtype, std::int64_t i);
void store_element(void* data, DType dtype, std::int64_t i, double value);

}  // namespace gpunn
