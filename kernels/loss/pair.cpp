// Cosine similarity and distance of pairs of rows, and the losses made of them.
#include <cmath>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/loss/loss.h"
#include "gpunn/kernels/loss/loss_rules_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

const Implementation<PairProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const PairProblem& p) { return device_dtype_reason(p.dtype); }, nullptr,
     Determinism::bitwise, pair_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<PairProblem>, nullptr, Determinism::bitwise, pair_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, pair_fwd_ref},
};

const Implementation<PairBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const PairBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     nullptr, Determinism::bitwise, pair_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_cpu<PairBackwardProblem>, nullptr, Determinism::bitwise, pair_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, pair_bwd_ref},
};

struct Settings {
  PairKind kind;
  double p, eps;
};

std::int64_t rows_of(const Tensor& x) {
  std::int64_t rows = 1;
  for (int i = 0; i + 1 < x.dim(); ++i) rows *= x.size(i);
  return rows;
}

Gradients backward_fused(const Tensor& x1, const Tensor& x2, const Tensor& y, const Tensor& norms,
                         const Tensor& dy, const Settings& s) {
  Tensor dx1 = empty_on(x1.context(), x1.shape(), x1.dtype());
  Tensor dx2 = empty_on(x1.context(), x1.shape(), x1.dtype());
  if (dx1.numel() == 0) return {dx1, dx2};
  PairBackwardProblem p{
      x1.dtype(), x1.data(),  x2.data(),  y.data(),    norms.defined() ? norms.data() : nullptr,
      dy.data(),  dx1.data(), dx2.data(), rows_of(x1), x1.size(-1),
      s.kind,     s.p,        s.eps};
  execute(kPairBackward, p, {&x1, &x2, &y, &norms, &dy}, {&dx1, &dx2});
  return {dx1, dx2};
}

/// The same from public ops, for second derivatives. `y` has its history.
Gradients backward_composed(const Tensor& x1, const Tensor& x2, const Tensor& y, const Tensor& dy,
                            const Settings& s) {
  const Tensor value = y.to(x1.dtype()).unsqueeze(-1), g = dy.to(x1.dtype()).unsqueeze(-1);
  if (s.kind == PairKind::distance) {
    const Tensor dx = (x1 - x2 + s.eps) * (g / value);
    return {dx, neg(dx)};
  }
  const Tensor square1 = sum(x1 * x1, {-1}, true), square2 = sum(x2 * x2, {-1}, true);
  const Tensor norms = exp((log(square1) + log(square2)) * 0.5);
  return {(x2 / norms - x1 * (value / square1)) * g, (x1 / norms - x2 * (value / square2)) * g};
}

/// One number per row of the last dimension, in the accumulator's dtype.
Tensor pairs_of(const Tensor& x1_in, const Tensor& x2_in, Settings s, const char* op) {
  // Norms are compared with eps, so both have one precision.
  if (x1_in.dtype() != DType::f64) s.eps = static_cast<double>(static_cast<float>(s.eps));
  const Tensor x1 = x1_in.contiguous(), x2 = x2_in.contiguous();
  Shape shape;
  for (int i = 0; i + 1 < x1.dim(); ++i) shape.push_back(x1.size(i));
  const DType acc = accumulator_of(x1.dtype());
  Tensor y = empty_on(x1.context(), shape, acc);
  const std::int64_t rows = rows_of(x1);
  Tensor norms = s.kind == PairKind::cosine ? empty_on(x1.context(), {rows, 2}, acc) : Tensor();
  if (rows > 0) {
    PairProblem p{x1.dtype(), x1.data(),   x2.data(), y.data(), norms.defined() ? norms.data() : nullptr,
                  rows,       x1.size(-1), s.kind,    s.p,      s.eps};
    execute(kPairForward, p, {&x1, &x2}, {&y, &norms});
  }
  if (autograd::wanted(x1, x2))
    autograd::record(y, op, {&x1, &x2},
                     [x1 = Saved(x1), x2 = Saved(x2), y = Saved::output(y), norms = Saved(norms),
                      s](const Backward& b) -> Gradients {
                       if (!b.creates_graph())
                         return backward_fused(x1(b), x2(b), y(b), norms(b), b.grad().contiguous(), s);
                       if (s.kind == PairKind::distance && s.p != 2) b.unsupported();
                       return backward_composed(x1(b), x2(b), y(b), b.grad(), s);
                     });
  return y;
}

void check_pair(const Tensor& x1, const char* name1, const Tensor& x2, const char* name2) {
  check_floating(x1, name1);
  check_same(x1, name1, x2, name2);
  GPUNN_CHECK(x1.dim() >= 1, "expected ", name1, " of rank >= 1, got a scalar");
  GPUNN_CHECK(x1.shape() == x2.shape(), "expected ", name2, " ", x1.shape(), " like ", name1, ", got ",
              x2.shape());
}

void check_norm(double p, double eps) {
  GPUNN_CHECK(p >= 1 && std::isfinite(p), "expected p in [1, inf), got ", p);
  GPUNN_CHECK(eps >= 0 && std::isfinite(eps), "expected eps >= 0, got ", eps);
}

}  // namespace

const ImplementationList<PairProblem> kPairForward{"row_pairs", "forward", kForwardEntries};
const ImplementationList<PairBackwardProblem> kPairBackward{"row_pairs", "backward", kBackwardEntries};

std::vector<Operand> operands(PairProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t n = p.rows * p.cols;
  return {{"x1", const_cast<void**>(&p.x1), p.dtype, n, Role::in},
          {"x2", const_cast<void**>(&p.x2), p.dtype, n, Role::in},
          {"y", &p.y, acc, p.rows, Role::out},
          {"norms", &p.norms, acc, p.kind == PairKind::cosine ? 2 * p.rows : 0, Role::out}};
}

std::vector<Operand> operands(PairBackwardProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t n = p.rows * p.cols;
  return {{"x1", const_cast<void**>(&p.x1), p.dtype, n, Role::in},
          {"x2", const_cast<void**>(&p.x2), p.dtype, n, Role::in},
          {"y", const_cast<void**>(&p.y), acc, p.rows, Role::in},
          {"norms", const_cast<void**>(&p.norms), acc, p.kind == PairKind::cosine ? 2 * p.rows : 0, Role::in},
          {"dy", const_cast<void**>(&p.dy), acc, p.rows, Role::in},
          {"dx1", &p.dx1, p.dtype, n, Role::out},
          {"dx2", &p.dx2, p.dtype, n, Role::out}};
}

Cost cost(const PairProblem& p) {
  const double n = static_cast<double>(p.rows) * static_cast<double>(p.cols);
  return {2 * n * static_cast<double>(size_of(p.dtype)), (p.kind == PairKind::cosine ? 6 : 4) * n};
}

Cost cost(const PairBackwardProblem& p) {
  const double n = static_cast<double>(p.rows) * static_cast<double>(p.cols);
  return {4 * n * static_cast<double>(size_of(p.dtype)), 6 * n};
}

Tensor cosine_similarity(const Tensor& x1, const Tensor& x2, int dim, double eps) {
  OpScope scope("cosine_similarity");
  check_pair(x1, "x1", x2, "x2");
  GPUNN_CHECK(eps > 0 && std::isfinite(eps), "expected eps > 0, got ", eps);
  dim = normalize_dim(dim, x1.dim());
  // To the end, the others keeping their order.
  Dims order;
  for (int i = 0; i < x1.dim(); ++i)
    if (i != dim) order.push_back(i);
  order.push_back(dim);
  const bool last = dim == x1.dim() - 1;
  return pairs_of(last ? x1 : x1.permute(order), last ? x2 : x2.permute(order), {PairKind::cosine, 2, eps},
                  "cosine_similarity")
      .to(x1.dtype());
}

Tensor cosine_embedding_loss(const Tensor& x1, const Tensor& x2, const Tensor& y, Reduction reduction,
                             double margin) {
  OpScope scope("cosine_embedding_loss");
  check_pair(x1, "x1", x2, "x2");
  check_same(x1, "x1", y, "y");
  GPUNN_CHECK(x1.dim() <= 2, "expected x1 [N, D] or [D], got ", x1.shape());
  GPUNN_CHECK(margin >= -1 && margin <= 1, "expected margin in [-1, 1], got ", margin);
  // PyTorch adds 1e-12 to each square; that decides for rows of zeros only.
  const Tensor cosine = pairs_of(x1, x2, {PairKind::cosine, 2, 1e-6}, "cosine_embedding_loss");
  return elementwise_loss(cosine, y.to(cosine.dtype()),
                          {"cosine_embedding_loss", LossKind::cosine_embedding, reduction, margin});
}

Tensor margin_ranking_loss(const Tensor& x1, const Tensor& x2, const Tensor& y, Reduction reduction,
                           double margin) {
  OpScope scope("margin_ranking_loss");
  check_floating(x1, "x1");
  check_same(x1, "x1", x2, "x2");
  GPUNN_CHECK(x1.shape() == x2.shape(), "expected x2 ", x1.shape(), " like x1, got ", x2.shape());
  return elementwise_loss(x1 - x2, y, {"margin_ranking_loss", LossKind::margin, reduction, margin});
}

Tensor pairwise_distance(const Tensor& x1, const Tensor& x2, double p, double eps) {
  OpScope scope("pairwise_distance");
  check_pair(x1, "x1", x2, "x2");
  check_norm(p, eps);
  return pairs_of(x1, x2, {PairKind::distance, p, eps}, "pairwise_distance").to(x1.dtype());
}

Tensor triplet_margin_loss(const Tensor& anchor, const Tensor& positive, const Tensor& negative,
                           const TripletMarginOptions& options) {
  OpScope scope("triplet_margin_loss");
  check_pair(anchor, "anchor", positive, "positive");
  check_pair(anchor, "anchor", negative, "negative");
  check_norm(options.p, options.eps);
  GPUNN_CHECK(options.margin >= 0, "expected margin >= 0, got ", options.margin);
  const Settings s{PairKind::distance, options.p, options.eps};
  const Tensor near = pairs_of(anchor, positive, s, "triplet_margin_loss");
  Tensor far = pairs_of(anchor, negative, s, "triplet_margin_loss");
  // The smaller of two: a - max(a - b, 0).
  if (options.swap) far = far - relu(far - pairs_of(positive, negative, s, "triplet_margin_loss"));
  const Tensor difference = far - near;
  return elementwise_loss(difference, ones_like(difference.detach()),
                          {"triplet_margin_loss", LossKind::margin, options.reduction, options.margin});
}

}  // namespace gpunn
