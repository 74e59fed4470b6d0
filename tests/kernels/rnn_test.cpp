#include "gpunn/kernels/rnn/rnn.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn_ops_impl.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_rnn_cases(Suite& suite);
}

namespace {

TEST(RnnParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_rnn_cases); }
#if GPUNN_HAS_CUDA
TEST(RnnParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_rnn_cases); }
#endif

struct Kind {
  const char* name;
  RnnMode mode;
  bool reset_after = true;
};
constexpr Kind kKinds[] = {{"tanh", RnnMode::tanh},
                           {"relu", RnnMode::relu},
                           {"lstm", RnnMode::lstm},
                           {"gru", RnnMode::gru},
                           {"gru, reset before", RnnMode::gru, false}};

/// Inputs in the order x, w_ih, w_hh, b_ih, b_hh, h0, c0.
std::vector<GradInput> grad_inputs(RnnMode mode, const Shape& x, std::int64_t B, std::int64_t H) {
  const std::int64_t G = gates_of(mode), K = x[x.rank() - 1];
  std::vector<GradInput> in{
      {x, fill::normal(0, 1)},         {{G * H, K}, fill::normal(0, 0.5)}, {{G * H, H}, fill::normal(0, 0.5)},
      {{G * H}, fill::normal(0, 0.5)}, {{G * H}, fill::normal(0, 0.5)},    {{B, H}, fill::normal(0, 0.5)}};
  if (mode == RnnMode::lstm) in.push_back({{B, H}, fill::normal(0, 0.5)});
  return in;
}

RnnOutput run(const Kind& kind, const Inputs& in, RnnSequenceOptions options = {}) {
  options.reset_after = kind.reset_after;
  return rnn_sequence(kind.mode, in[0], in[5], in.size() > 6 ? in[6] : Tensor(), {in[1], in[2], in[3], in[4]},
                      options);
}

/// One number from everything that carries a gradient; with `states` from the last states only.
Tensor summary(const RnnOutput& r, bool states = false) {
  Tensor s = sum(r.h * 0.7);
  if (r.c.defined()) s = s + sum(r.c * r.c);
  return states ? s : s + sum(r.y * r.y);
}

TEST(RnnGradient, FirstDerivatives) {
  const GradcheckOptions options{.samples = 8};
  for (const Kind& kind : kKinds)
    for (const bool reverse : {false, true})
      EXPECT_TRUE(gradcheck([&](const Inputs& in) { return summary(run(kind, in, {.reverse = reverse})); },
                            grad_inputs(kind.mode, {3, 2, 2}, 2, 3), options))
          << kind.name << " reverse " << reverse;
}

}  // namespace
}  // namespace gpunn
