#pragma once
// Values of a tensor beside stored ones.
#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

#include "gpunn/core/tensor.h"

namespace gpunn::testing {

/// Each element within tolerance * (1 + |wanted|); NaN fails.
inline void expect_values(const Tensor& got, const std::vector<double>& want, const std::string& what,
                          double tolerance) {
  ASSERT_TRUE(got.defined()) << what;
  const std::vector<double> values = got.detach().contiguous().to_vector<double>();
  ASSERT_EQ(values.size(), want.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(values[i], want[i], tolerance * (1 + std::abs(want[i]))) << what << ", element " << i;
}

}  // namespace gpunn::testing
