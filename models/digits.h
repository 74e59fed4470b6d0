#pragma once
// The digits table: 1,797 handwritten digits of 8x8 pixels from the UCI repository, built into the library.
// Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
// Repository, 1998 (the test part). The split is the stored one of models/data: 1,437 rows to train, 360 to
// test.
#include <cstdint>
#include <memory>

#include "gpunn/core/api.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

inline constexpr std::int64_t kDigitsTrainRows = 1437;
inline constexpr int kDigitsSide = 8;

struct DigitsData {
  std::shared_ptr<const Dataset> train, test;  // inputs f32 [n, 64] = pixel / 16, targets i64 [n]
};

/// Unpacks the table. Deterministic; needs no file.
GPUNN_API DigitsData load_digits();

}  // namespace gpunn
