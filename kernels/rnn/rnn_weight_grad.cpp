// Gradients of the recurrent weights.
//
// dw_hh = sum over rows of d' h_prev. h_prev of a row is y of the row of its sequence one step before, so
// that without a packing d and y are multiplied in place, shifted against each other by one step; the rows
// whose h_prev is h0 are a small product of their own, which is left out when h0 is zero. Building h_prev
// would copy y.
#include "gpunn/kernels/rnn/rnn_weight_grad_impl.h"

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/rnn/packed.h"

namespace gpunn::detail {
namespace {

/// dw [M, N] contiguous (+)= d' h for d [R, M] and h [R, N], whose rows may be further apart.
void add_product(const Tensor& dw, const Tensor& d, const Tensor& h, bool accumulate) {
  if (d.size(0) == 0) {
    if (!accumulate) dw.zero_();
    return;
  }
  MatmulProblem p{};
  p.dtype = dw.dtype();
  p.a = d.data(), p.lda = d.strides()[0], p.trans_a = true;
  p.b = h.data(), p.ldb = h.strides()[0];
  p.c = dw.data(), p.ldc = h.size(1);
  p.M = d.size(1), p.N = h.size(1), p.K = d.size(0), p.batch = 1;
  p.accumulate = accumulate;
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
  execute(Tuned(kMatmul, p, dw.context(), describe).list(), p, {&d, &h}, {&dw});
}

/// Rows of gradients beside the states before them.
class PreviousStates {
 public:
  explicit PreviousStates(const RnnWeightGrad& g) : g_(g), reverse_(g.sizes.reverse), B_(g.sizes.B) {
    const Tensor y = g.y.view({g.sizes.rows, g.sizes.H});
    const std::int64_t later = g.sizes.rows - B_;
    if (reverse_)
      y_ = y.narrow(0, B_, later);
    else
      y_ = g.packing ? select(y, g.packing->previous_rows_on_device()) : y.narrow(0, 0, later);
  }

  /// dw [n, H] = d' h_prev for d [rows, n].
  void multiply(const Tensor& dw, const Tensor& d) const {
    const std::int64_t later = g_.sizes.rows - B_;
    if (!reverse_) {
      add_product(dw, d.narrow(0, B_, later), y_, false);
      if (g_.h0.defined()) add_product(dw, d.narrow(0, 0, B_), g_.h0, true);
      return;
    }
    add_product(dw, g_.packing ? select(d, g_.packing->previous_rows_on_device()) : d.narrow(0, 0, later), y_,
                false);
    if (g_.h0.defined())
      add_product(dw, g_.packing ? select(d, g_.packing->last_rows_on_device()) : d.narrow(0, later, B_),
                  g_.h0, true);
  }

 private:
  static Tensor select(const Tensor& x, const Tensor& rows) {
    return index_select(x, 0, rows, {.check_indices = false});
  }

  const RnnWeightGrad& g_;
  bool reverse_;
  std::int64_t B_;
  Tensor y_;
};

void column_sums_into(const Tensor& d, const Tensor& sums) {
  BiasGradProblem p{};
  p.dtype = d.dtype();
  p.dy = d.data();
  p.db = sums.data();
  p.rows = d.size(0), p.cols = d.size(1);
  p.activation = Activation::none;
  p.want_db = true;
  execute(kBiasGrad, p, {&d}, {&sums});
}

}  // namespace

Tensor rnn_w_hh_grad(const RnnWeightGrad& g) {
  const NoGrad off;
  const RnnSizes& s = g.sizes;
  const PreviousStates previous(g);
  Tensor dw = empty_on(g.y.context(), {s.G() * s.H, s.H}, g.y.dtype());
  if (s.mode != RnnMode::gru) {
    previous.multiply(dw, g.dgx);
    return dw;
  }
  previous.multiply(dw.narrow(0, 0, 2 * s.H), g.dgx.narrow(1, 0, 2 * s.H));
  const Tensor dw_n = dw.narrow(0, 2 * s.H, s.H);
  if (s.reset_after)
    previous.multiply(dw_n, g.dextra);
  else
    add_product(dw_n, g.dgx.narrow(1, 2 * s.H, s.H), g.extra.view({s.rows, s.H}), false);
  return dw;
}

Tensor rnn_column_sums(const Tensor& d) {
  Tensor sums = empty_on(d.context(), {d.size(1)}, d.dtype());
  column_sums_into(d, sums);
  return sums;
}

Tensor rnn_b_hh_grad(const Tensor& db_ih, const Tensor& dextra) {
  if (!dextra.defined()) return db_ih;
  const NoGrad off;
  const std::int64_t H = dextra.size(1);
  Tensor db = empty_like(db_ih);
  db.narrow(0, 0, 2 * H).copy_(db_ih.narrow(0, 0, 2 * H));
  column_sums_into(dextra, db.narrow(0, 2 * H, H));
  return db;
}

}  // namespace gpunn::detail
