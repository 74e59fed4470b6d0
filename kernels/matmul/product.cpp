#include "gpunn/kernels/matmul/product_impl.h"

#include <atomic>

#include "gpunn/core/op.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/matmul/matmul.h"

namespace gpunn {
namespace {

std::atomic<bool> tf32_allowed{false};

/// Is an operand with these strides a row-major matrix whose rows are `ld` apart? Fills in `ld`.
bool row_major(std::int64_t rows, std::int64_t cols, std::int64_t row_stride, std::int64_t col_stride,
               std::int64_t& ld) {
  if (col_stride != 1 && cols > 1) return false;
  ld = rows > 1 ? row_stride : cols;
  return ld >= cols;
}

/// One stride for all batch dimensions, or false when they do not follow each other evenly.
bool batch_stride(const Tensor& t, const Shape& batch, std::int64_t& stride) {
  const int own = t.dim() - 2;
  bool first = true;
  std::int64_t next = 0;  // the stride that the dimension further out must have
  stride = 0;
  for (int i = batch.rank() - 1; i >= 0; --i) {
    if (batch[i] == 1) continue;
    const int d = i - (batch.rank() - own);
    const std::int64_t s = d < 0 || t.shape()[d] == 1 ? 0 : t.strides()[d];
    if (first) stride = s;
    if (!first && s != next) return false;
    first = false;
    next = s * batch[i];
  }
  return true;
}

/// t's values with its batch dimensions repeated to `batch`.
Tensor repeated(const Tensor& t, const Shape& batch) {
  Shape shape = batch;
  Strides strides = Dims::filled(batch.rank(), 0);
  const int own = t.dim() - 2, extra = batch.rank() - own;
  for (int d = 0; d < own; ++d)
    if (t.shape()[d] != 1) strides[extra + d] = t.strides()[d];
  for (int d = own; d < t.dim(); ++d) {
    shape.push_back(t.shape()[d]);
    strides.push_back(t.strides()[d]);
  }
  return detail::raw_view(t, shape, strides, 0).clone();
}

/// A stack of matrices as a problem takes it. `tensor` is the operand itself, or a contiguous copy when its
/// strides are not those of a row-major matrix or its transpose.
struct Placement {
  Tensor tensor;
  std::int64_t ld = 0;
  std::int64_t stride = 0;  // from matrix to matrix
  bool transposed = false;
};

Placement place(const detail::Matrices& matrices, const Shape& batch) {
  const Tensor& t = matrices.tensor;
  const int r = t.dim();
  const std::int64_t rows = t.shape()[r - 2], cols = t.shape()[r - 1];
  const std::int64_t row_stride = t.strides()[r - 2], col_stride = t.strides()[r - 1];
  Placement m{t};
  const bool plain = row_major(rows, cols, row_stride, col_stride, m.ld);
  const bool turned = !plain && row_major(cols, rows, col_stride, row_stride, m.ld);
  m.transposed = turned != matrices.transposed;
  if ((plain || turned) && (r == 2 || batch_stride(t, batch, m.stride))) return m;
  const NoGrad off;
  m = {t.detach().contiguous(), cols, 0, matrices.transposed};
  if (r == 2 || batch_stride(m.tensor, batch, m.stride)) return m;
  m.tensor = repeated(m.tensor, batch);
  m.stride = rows * cols;
  return m;
}

/// The residual in rows of its own distance where it lies so, else a copy; nothing without one.
Placement place_residual(const detail::Epilogue& epilogue, const Shape& batch) {
  if (!epilogue.residual || !epilogue.residual->defined()) return {Tensor()};
  Placement m = place({*epilogue.residual}, batch);
  if (!m.transposed) return m;
  const NoGrad off;
  return {m.tensor.detach().contiguous(), m.tensor.size(-1), m.tensor.size(-1) * m.tensor.size(-2)};
}

}  // namespace

void describe(const MatmulProblem& p, TuningKey& key) {
  key.add("M", p.M).add("N", p.N).add("K", p.K).add("batch", p.batch);
  key.add("lda", p.lda).add("ldb", p.ldb).add("ldc", p.ldc).add("ldr", p.ldr);
  if (p.batch != 1) {  // a single matrix has no next one
    key.add("a_batch", p.a_batch).add("b_batch", p.b_batch);
    key.add("c_batch", p.c_batch).add("r_batch", p.r_batch);
  }
  key.add("trans_a", p.trans_a).add("trans_b", p.trans_b).add("bias", p.has_bias);
  key.add("residual", p.has_residual).add("save_pre", p.save_pre).add("accumulate", p.accumulate);
  key.add("tf32", p.tf32).add("activation", static_cast<int>(p.activation));
  key.add_alignment({p.a, p.b, p.bias, p.residual, p.c, p.pre});
}

const char* name_of(Activation activation) noexcept {
  constexpr const char* names[] = {"none", "relu", "sigmoid", "tanh", "gelu", "gelu_tanh"};
  return names[static_cast<int>(activation)];
}

void set_allow_tf32(bool on) noexcept { tf32_allowed.store(on, std::memory_order_relaxed); }
bool allow_tf32() noexcept { return tf32_allowed.load(std::memory_order_relaxed); }

namespace detail {

Tensor multiply(const Matrices& a, const Matrices& b, const Shape& batch, const Epilogue& epilogue) {
  const std::int64_t M = a.rows(), N = b.cols(), K = a.cols();
  Shape shape = batch;
  shape.push_back(M);
  shape.push_back(N);
  Tensor c = empty_on(a.tensor.context(), shape, a.tensor.dtype());
  if (epilogue.pre) *epilogue.pre = empty_on(c.context(), shape, c.dtype());
  if (c.numel() == 0) return c;
  const Placement ma = place(a, batch), mb = place(b, batch);
  const Tensor bias = epilogue.bias && epilogue.bias->defined() ? epilogue.bias->contiguous() : Tensor();
  MatmulProblem p{};
  p.dtype = c.dtype();
  p.a = ma.tensor.data(), p.lda = ma.ld, p.a_batch = ma.stride, p.trans_a = ma.transposed;
  p.b = mb.tensor.data(), p.ldb = mb.ld, p.b_batch = mb.stride, p.trans_b = mb.transposed;
  p.c = c.data(), p.ldc = N, p.c_batch = M * N;
  p.M = M, p.N = N, p.K = K, p.batch = batch.numel();
  p.has_bias = bias.defined();
  p.bias = p.has_bias ? bias.data() : nullptr;
  const Placement residual = place_residual(epilogue, batch);
  p.has_residual = residual.tensor.defined();
  if (p.has_residual) p.residual = residual.tensor.data(), p.ldr = residual.ld, p.r_batch = residual.stride;
  p.save_pre = epilogue.pre != nullptr;
  p.pre = p.save_pre ? epilogue.pre->data() : nullptr;
  p.activation = epilogue.activation;
  p.tf32 = p.dtype == DType::f32 && allow_tf32();
  const Tensor none;
  execute(Tuned(kMatmul, p, c.context(), describe).list(), p,
          {&ma.tensor, &mb.tensor, &bias, &residual.tensor}, {&c, epilogue.pre ? epilogue.pre : &none});
  return c;
}

}  // namespace detail
}  // namespace gpunn
