#include "benchmarks/op_bench.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn::bench {
namespace {

/// The eight tensors of a 784-256-128-64-10 network.
SgdProblem network(double momentum) {
  constexpr std::int64_t kSizes[] = {784 * 256, 256, 256 * 128, 128, 128 * 64, 64, 64 * 10, 10};
  SgdProblem p{};
  p.dtype = DType::f32;
  p.lr = 1e-3;
  p.momentum = momentum;
  for (const std::int64_t n : kSizes) p.slots[p.count++].n = n;
  return p;
}

}  // namespace

void add_optim_rows(Bench& bench) {
  bench.row(kSgdStep, "fashion-mlp", network(0));
  bench.row(kSgdStep, "fashion-mlp momentum", network(0.9));
}

}  // namespace gpunn::bench
