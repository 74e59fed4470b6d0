#include "benchmarks/op_bench.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"

namespace gpunn::bench {
namespace {

UnaryProblem unary(UnaryFunction f, std::int64_t n) {
  UnaryProblem p{};
  p.dtype = DType::f32;
  p.function = f;
  p.scalar = 2;
  p.rank = 1;
  p.shape[0] = n;
  p.x_strides[0] = 1;
  return p;
}

/// a and b of [rows, cols]; with `row_vector`, b is one row for all.
BinaryProblem binary(BinaryFunction f, std::int64_t rows, std::int64_t cols, bool row_vector) {
  BinaryProblem p{};
  p.dtype = DType::f32;
  p.function = f;
  p.rank = row_vector ? 2 : 1;
  p.shape[0] = row_vector ? rows : rows * cols;
  p.shape[1] = cols;
  p.a_strides[0] = row_vector ? cols : 1;
  p.a_strides[1] = 1;
  p.b_strides[0] = row_vector ? 0 : 1;
  p.b_strides[1] = 1;
  return p;
}

}  // namespace

void add_elementwise_rows(Bench& bench) {
  constexpr std::int64_t kSmall = 64 * 128, kLarge = 1 << 22;
  for (const UnaryFunction f : {UnaryFunction::relu, UnaryFunction::exp, UnaryFunction::log,
                                UnaryFunction::sigmoid, UnaryFunction::tanh, UnaryFunction::mul_scalar})
    for (const std::int64_t n : {kSmall, kLarge})
      bench.row(kUnary[static_cast<int>(f)], std::to_string(n), unary(f, n));
  for (const BinaryFunction f : {BinaryFunction::add, BinaryFunction::mul, BinaryFunction::relu_grad}) {
    bench.row(kBinary[static_cast<int>(f)], "64x128", binary(f, 64, 128, false));
    bench.row(kBinary[static_cast<int>(f)], "4096x1024", binary(f, 4096, 1024, false));
    bench.row(kBinary[static_cast<int>(f)], "4096x1024 + row", binary(f, 4096, 1024, true));
  }
}

}  // namespace gpunn::bench
