#pragma once
// Runs of the five recurrences with random weights, for tests of sequences, cells and packings.
#include <cstdint>
#include <vector>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rnn_kind.h"

namespace gpunn::testing {

/// Inputs in the order x, w_ih, w_hh, b_ih, b_hh, h0 and (lstm) c0, as rnn_run() takes them.
inline std::vector<GradInput> rnn_inputs(RnnMode mode, const Shape& x, std::int64_t B, std::int64_t H) {
  const std::int64_t G = gates_of(mode), K = x[x.rank() - 1];
  std::vector<GradInput> in{
      {x, fill::normal(0, 1)},         {{G * H, K}, fill::normal(0, 0.5)}, {{G * H, H}, fill::normal(0, 0.5)},
      {{G * H}, fill::normal(0, 0.5)}, {{G * H}, fill::normal(0, 0.5)},    {{B, H}, fill::normal(0, 0.5)}};
  if (mode == RnnMode::lstm) in.push_back({{B, H}, fill::normal(0, 0.5)});
  return in;
}

/// The same as random tensors that want gradients.
inline Inputs rnn_tensors(RnnMode mode, const Shape& x, std::int64_t B, std::int64_t H, Device device,
                          DType dtype = DType::f32) {
  Inputs tensors;
  for (const GradInput& in : rnn_inputs(mode, x, B, H))
    tensors.push_back((randn(in.shape) * 0.5).to(dtype).to(device).requires_grad_());
  return tensors;
}

inline RnnWeights rnn_weights(const Inputs& in) { return {in[1], in[2], in[3], in[4]}; }

inline RnnOutput rnn_run(const RnnKind& kind, const Inputs& in, RnnSequenceOptions options = {}) {
  options.reset_after = kind.reset_after;
  return rnn_sequence(kind.mode, in[0], in[5], in.size() > 6 ? in[6] : Tensor(), rnn_weights(in), options);
}

}  // namespace gpunn::testing
