#include "benchmarks/op_bench.h"
#include "benchmarks/rows/row_sizes.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/loss/loss_impl.h"

namespace gpunn::bench {
namespace {

template <class P>
P mean_over(std::int64_t n, LossKind kind) {
  P p{};
  p.dtype = DType::f32;
  p.n = n;
  p.kind = kind;
  p.parameter = 0.5;
  p.reduction = Reduction::mean;
  return p;
}

template <class P>
P classes(std::int64_t rows, std::int64_t cols, DType dtype = DType::f32) {
  P p{};
  p.dtype = dtype;
  p.rows = rows;
  p.cols = cols;
  p.targets.ignore_index = -100;
  p.reduction = Reduction::mean;
  return p;
}

template <class P>
P pairs(std::int64_t rows, std::int64_t cols, PairKind kind) {
  P p{};
  p.dtype = DType::f32;
  p.rows = rows, p.cols = cols, p.kind = kind;
  p.p = 2, p.eps = 1e-6;
  return p;
}

}  // namespace

void add_loss_rows(Bench& bench) {
  constexpr RowSizes kSizes[] = {
      {"64x10", 64, 10}, {"512x1000", 512, 1000}, {"64x50257", 64, 50257}, {"4x262144", 4, 262144}};
  const auto both = [&](const RowSizes& s, DType dtype, RunsOn runs_on) {
    bench.row(kCrossEntropyForward, s.name, classes<CrossEntropyProblem>(s.rows, s.cols, dtype), s.cols,
              runs_on);
    bench.row(kCrossEntropyBackward, s.name, classes<CrossEntropyBackwardProblem>(s.rows, s.cols, dtype),
              s.cols, runs_on);
  };
  for (const RowSizes& s : kSizes) both(s, DType::f32, RunsOn::everything);
  for (const RowSizes& s : kCpuRows) both(s, DType::f32, RunsOn::everything);
  for (const RowSizes& s : kRowReductions) both(s, DType::bf16, RunsOn::gpu);
  auto smoothed = classes<CrossEntropyProblem>(512, 1000);
  smoothed.targets.smoothing = 0.1;
  bench.row(kCrossEntropyForward, "512x1000 smoothing", smoothed);
  auto soft = classes<CrossEntropyBackwardProblem>(512, 1000);
  soft.targets.has_soft = true;
  bench.row(kCrossEntropyBackward, "512x1000 soft", soft);
  NllProblem nll{};
  nll.dtype = DType::f32;
  nll.outer = 4096, nll.classes = 1000, nll.inner = 1;
  nll.ignore_index = -100, nll.reduction = Reduction::mean;
  bench.row(kNllForward, "4096x1000", nll);
  NllBackwardProblem nll_backward{};
  nll_backward.dtype = DType::f32;
  nll_backward.outer = 4096, nll_backward.classes = 1000, nll_backward.inner = 1;
  nll_backward.ignore_index = -100, nll_backward.reduction = Reduction::mean;
  bench.row(kNllBackward, "4096x1000", nll_backward);
  constexpr std::int64_t kElements = 1 << 20;
  constexpr struct {
    LossKind kind;
    const char* name;
  } kKinds[] = {{LossKind::mse, "mse 1048576"},
                {LossKind::smooth_l1, "smooth_l1 1048576"},
                {LossKind::bce, "bce 1048576"},
                {LossKind::bce_with_logits, "bce with logits 1048576"},
                {LossKind::kl_div, "kl_div 1048576"}};
  for (const auto& k : kKinds) {
    bench.row(kLossForward, k.name, mean_over<LossProblem>(kElements, k.kind));
    auto backward = mean_over<LossBackwardProblem>(kElements, k.kind);
    backward.want_dx = true;
    bench.row(kLossBackward, k.name, backward);
  }
  for (const PairKind kind : {PairKind::cosine, PairKind::distance}) {
    const std::string name = kind == PairKind::cosine ? "cosine 4096x256" : "distance 4096x256";
    bench.row(kPairForward, name, pairs<PairProblem>(4096, 256, kind));
    bench.row(kPairBackward, name, pairs<PairBackwardProblem>(4096, 256, kind));
  }
}

}  // namespace gpunn::bench
