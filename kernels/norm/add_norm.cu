// Layer and RMS norm of residual + dropout(x): the kernels of row_norm_grad.cuh on rows that are made on the
// way, and whose gradients take those of the sum along.
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/row_norm_grad.cuh"
#include "gpunn/kernels/random/dropout.cuh"

namespace gpunn {
namespace {

using channels::load_floats;
using channels::store_floats;

struct SummedRows {
  using Problem = AddNormProblem;
  using BackwardProblem = AddNormBackwardProblem;

  static constexpr bool kMade = true;

  /// Rounded to T, as the sum is kept: backward finds the same statistics.
  template <class T, int kWidth>
  static GPUNN_DEVICE void value(const Problem& p, std::int64_t row, std::int64_t c, float (&v)[kWidth]) {
    float residual[kWidth];
    load_floats(static_cast<const T*>(p.x) + row + c, v);
    load_floats(static_cast<const T*>(p.residual) + row + c, residual);
    if (p.drop) drop_elements(p.mask, row + c, v);
    GPUNN_UNROLL
    for (int k = 0; k < kWidth; ++k) v[k] = to_float(from_float<T>(__fadd_rn(residual[k], v[k])));
  }
  template <class T, int kWidth>
  static GPUNN_DEVICE void make(const Problem& p, std::int64_t row, std::int64_t c, float (&v)[kWidth]) {
    value<T>(p, row, c, v);
    store_floats(static_cast<T*>(p.sum) + row + c, v);
  }
  template <class T>
  static GPUNN_DEVICE const T* made(const Problem& p) {
    return static_cast<const T*>(p.sum);
  }
  template <class T, int kWidth>
  static GPUNN_DEVICE void store_gradient(const BackwardProblem& p, std::int64_t row, std::int64_t c,
                                          float (&g)[kWidth]) {
    if (p.has_dsum) {
      float more[kWidth];
      load_floats(static_cast<const T*>(p.dsum) + row + c, more);
      GPUNN_UNROLL
      for (int k = 0; k < kWidth; ++k) g[k] = __fadd_rn(g[k], more[k]);
    }
    store_floats(static_cast<T*>(p.dx) + row + c, g);
    if (!p.want_dbranch) return;
    drop_elements(p.mask, row + c, g);
    store_floats(static_cast<T*>(p.dbranch) + row + c, g);
  }
};

}  // namespace

void add_norm_fwd_cuda(const AddNormProblem& p, const Exec& exec) {
  row_norm::launch_forward<SummedRows>(p, exec, p.x, p.residual, p.sum, p.y);
}

std::size_t add_norm_bwd_cuda_workspace(const AddNormBackwardProblem& p) {
  return row_norm_bwd_cuda_workspace(p);
}

void add_norm_bwd_cuda(const AddNormBackwardProblem& p, const Exec& exec) {
  row_norm_weights_cuda(p, exec);  // before dx, which may be dy
  row_norm::launch_backward<SummedRows>(p, exec, p.x, p.dy, p.dsum, p.dx, p.dbranch);
}

}  // namespace gpunn
