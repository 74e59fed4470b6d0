// The reference: the program element by element in double, one rounding at the store.
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/chain/chain_functors_impl.h"
#include "gpunn/kernels/chain/chain_impl.h"
#include "gpunn/kernels/common/ref_access.h"

namespace gpunn {

namespace {

constexpr int kInputs = 1 + kChainOperands;
using Offsets = std::int64_t[kInputs];

/// Calls f(i, offsets) for every element i of the result.
template <class F>
void for_each_element(const ChainGeometry& g, F f) {
  const auto& s = g.strides;
  const int last = g.rank - 1;
  std::int64_t i = 0;
  detail::walk<kInputs>(g.rank, g.shape, {s[0], s[1], s[2], s[3], s[4], s[5], s[6]}, 0, numel_of(g),
                        [&](std::int64_t n, const Offsets& first) {
                          Offsets at;
                          std::copy_n(first, kInputs, at);
                          for (std::int64_t j = 0; j < n; ++j, ++i) {
                            f(i, at);
                            for (int k = 0; k < kInputs; ++k) at[k] += s[k][last];
                          }
                        });
}

/// b of a step.
template <class Problem>
double second(const Problem& p, const ChainStep& step, const Offsets& at) {
  return step.operand < 0
             ? step.s
             : load_ref(p.operand[step.operand], p.dtype, at[1 + static_cast<int>(step.operand)]);
}

/// values[0] is x, values[k] what step k - 1 made of it; the last one is y.
template <class Problem>
void forward(const Problem& p, const Offsets& at, double (&values)[kChainSteps + 1]) {
  values[0] = load_ref(p.x, p.dtype, at[0]);
  for (int k = 0; k < p.program.steps; ++k) {
    const ChainStep& step = p.program.step[k];
    const double b = second(p, step, at);
    chains::visit(step.function, [&]<class F>(F) { values[k + 1] = F::value(values[k], b, step.s, step.t); });
  }
}

}  // namespace

void chain_fwd_ref(const ChainProblem& p, const Exec&) {
  for_each_element(p.geometry, [&](std::int64_t i, const Offsets& at) {
    double values[kChainSteps + 1];
    forward(p, at, values);
    store_ref(p.y, p.dtype, i, values[p.program.steps]);
  });
}

void chain_bwd_ref(const ChainBackwardProblem& p, const Exec&) {
  for_each_element(p.geometry, [&](std::int64_t i, const Offsets& at) {
    double values[kChainSteps + 1];
    forward(p, at, values);
    double g = load_ref(p.dy, p.dtype, i);
    for (int k = p.program.steps - 1; k >= 0; --k) {
      const ChainStep& step = p.program.step[k];
      const double v = values[k], y = values[k + 1], b = second(p, step, at);
      void* const db = step.operand < 0 ? nullptr : p.d_operand[step.operand];
      if (db)
        chains::visit_binary(step.function,
                             [&]<class F>(F) { store_ref(db, p.dtype, i, F::operand_grad(g, v, b, y)); });
      chains::visit(step.function, [&]<class F>(F) { g = F::grad(g, v, b, y, step.s, step.t); });
    }
    if (p.dx) store_ref(p.dx, p.dtype, i, g);
  });
}

}  // namespace gpunn
