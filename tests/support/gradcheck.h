#pragma once
// Gradients against central differences, in f64 on the CPU, where every op runs its reference.
//
//   const std::vector<GradInput> inputs{{{3, 5}, fill::normal(0, 1)}};
//   EXPECT_TRUE(gradcheck([](const Inputs& in) { return softmax(in[0], 1); }, inputs));
//
// Each sample draws new inputs. Up to `full_jacobian` elements of an input, every one is moved; beyond, it is
// moved along random directions. The output is projected on random weights, so that one backward gives the
// whole gradient.
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "gpunn/core/tensor.h"
#include "tests/support/fill.h"

namespace gpunn {

using Inputs = std::vector<Tensor>;

/// One differentiable input.
struct GradInput {
  Shape shape;
  Fill values;
};

struct GradcheckOptions {
  int samples = 8;
  std::uint64_t seed = 1;
  double eps = 1e-6, atol = 1e-5, rtol = 1e-3;
  std::int64_t full_jacobian = 64;  // input elements moved one by one
  int directions = 8;               // random directions for larger inputs
};

using GradFunction = std::function<Tensor(const Inputs&)>;

/// First derivatives of every input.
::testing::AssertionResult gradcheck(const GradFunction& f, const std::vector<GradInput>& inputs,
                                     const GradcheckOptions& options = {});
/// Derivatives of the gradient (create_graph), for every input and for the incoming gradient.
::testing::AssertionResult gradgradcheck(const GradFunction& f, const std::vector<GradInput>& inputs,
                                         const GradcheckOptions& options = {});

}  // namespace gpunn
