#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/ctc/ctc_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Size {
  std::int64_t steps, batch, classes, width;
};

template <class P>
P problem(Size s, bool zero_infinity) {
  P p{};
  p.steps = s.steps, p.batch = s.batch, p.classes = s.classes, p.width = s.width;
  p.blank = s.classes - 1;
  p.zero_infinity = zero_infinity;
  return p;
}

/// Probabilities drawn become logarithms that add up to 1 at each step, as log_softmax gives them.
CaseOptions options_for(Size s) {
  CaseOptions o;
  o.k = static_cast<double>(s.steps);
  // An alignment's logarithm is a sum of `steps` terms of about 2, each rounded at the size of the whole, and
  // the gradient is its exponential: 2 eps steps. Measured: 4e-6 at 40 steps.
  o.c = 64;
  o.scale = Scale::operand;
  o.fills = {{"log_probs", fill::uniform(-3, -1)},
             {"targets", fill::integers(0, s.classes - 1)},
             {"input_lengths", fill::integers(s.steps / 2 + 1, s.steps + 1)},
             {"target_lengths", fill::integers(0, s.width + 1)}};
  o.zeros_ok = {"loss", "dlog_probs"};
  o.small = s.steps * s.batch <= 60;
  return o;
}

std::string name_of(Size s, const char* what) {
  return std::to_string(s.steps) + "x" + std::to_string(s.batch) + "x" + std::to_string(s.classes) + " to " +
         std::to_string(s.width) + what;
}

void add_both(Suite& suite, Size s, const CaseOptions& o, const char* what = "", bool zero_infinity = false) {
  suite.add(kCtcForward, name_of(s, what), [=] { return problem<CtcProblem>(s, zero_infinity); }, o);
  if (s.batch == 0) return;
  suite.add(
      kCtcBackward, name_of(s, what), [=] { return problem<CtcBackwardProblem>(s, zero_infinity); }, o,
      [](CtcBackwardProblem& p) {
        std::vector<double> loss(static_cast<std::size_t>(p.batch));
        ctc_fwd_ref(
            {p.dtype, p.log_probs, p.targets, p.input_lengths, p.target_lengths, const_cast<void*>(p.alpha),
             loss.data(), p.steps, p.batch, p.classes, p.width, p.blank, p.zero_infinity},
            {});
      });
}

}  // namespace

void add_ctc_cases(Suite& suite) {
  for (const Size s : {Size{5, 0, 4, 2}, Size{1, 1, 2, 1}, Size{7, 3, 4, 3}, Size{12, 4, 3, 5},
                       Size{40, 5, 31, 13}, Size{33, 2, 97, 16}})
    add_both(suite, s, options_for(s));
  // More symbols than threads of a block.
  add_both(suite, {160, 1, 11, 70}, options_for({160, 1, 11, 70}), " long");
  CaseOptions o = options_for({6, 4, 5, 3});
  o.shift = 1;
  add_both(suite, {6, 4, 5, 3}, o, " unaligned");
  o = options_for({6, 4, 5, 0});
  add_both(suite, {6, 4, 5, 0}, o, " to nothing");
  // Targets that need more steps than there are (three equal labels need five), in half of the samples.
  o = options_for({4, 4, 5, 3});
  o.fills[1].second = fill::constant(2);
  o.fills[2].second = fill::constant(4);
  o.fills[3].second = fill::cycle({3, 2});
  add_both(suite, {4, 4, 5, 3}, o, " impossible");
  add_both(suite, {4, 4, 5, 3}, o, " impossible, as zero", true);
  // Steps at which a symbol cannot occur.
  o = options_for({8, 3, 4, 2});
  o.fills[0].second = fill::every(5, -std::numeric_limits<double>::infinity(), fill::uniform(-3, -1));
  add_both(suite, {8, 3, 4, 2}, o, " never");
}

}  // namespace gpunn::parity
