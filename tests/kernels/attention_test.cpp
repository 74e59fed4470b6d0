#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/kernels/attention/attention.h"
#include "tests/support/expect_parity.h"
#include "tests/support/parity.h"

namespace gpunn {

namespace parity {
void add_attention_cases(Suite& suite);
}

namespace {

TEST(AttentionParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_attention_cases); }
#if GPUNN_HAS_CUDA
TEST(AttentionParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_attention_cases); }
#endif

/// Q = K = I, V = [[10, 20], [30, 40]], d = 2: weights softmax([1 / sqrt 2, 0]) by hand.
TEST(Attention, ClosedForm) {
  const Tensor q = Tensor::from({{1, 0}, {0, 1}}).unsqueeze(0),
               v = Tensor::from({{10, 20}, {30, 40}}).unsqueeze(0);
  const std::vector<float> y = scaled_dot_product_attention(q, q, v).to_vector<float>();
  const double far = 1 / (1 + std::exp(1 / std::sqrt(2.0))), near = 1 - far;
  const double expected[] = {10 * near + 30 * far, 20 * near + 40 * far, 10 * far + 30 * near,
                             20 * far + 40 * near};
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(static_cast<double>(y[i]), expected[i], 1e-6 * expected[i]) << i;
}

}  // namespace
}  // namespace gpunn
