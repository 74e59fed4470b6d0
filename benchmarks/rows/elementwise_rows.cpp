#include <string>

#include "benchmarks/op_bench.h"
#include "benchmarks/rows/row_sizes.h"
#include "gpunn/kernels/elementwise/elementwise_impl.h"
#include "gpunn/kernels/elementwise/functions_impl.h"

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

/// Contiguous inputs of n elements.
template <class Function>
MapProblem<Function> mapped(Function f, std::int64_t n, double s, double t) {
  MapProblem<Function> p{};
  p.dtype = DType::f32;
  p.function = f;
  p.s = s;
  p.t = t;
  p.rank = 1;
  p.shape[0] = n;
  for (auto& strides : p.strides) strides[0] = 1;
  return p;
}

/// Every function of a group.
template <class Function>
void add_group(Bench& bench, double s, double t) {
  for (int i = 0; i < MapGroup<Function>::kFunctions; ++i) {
    const auto f = static_cast<Function>(i);
    constexpr std::int64_t n = 1 << 18;
    bench.row(map_list(f), std::to_string(n), mapped(f, n, s, t));
  }
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
  // Its time in a library is the cost of a call: eager_bench measures that for ours.
  bench.row(kBinary[static_cast<int>(BinaryFunction::add)], "P12 16",
            binary(BinaryFunction::add, 1, 16, false));
  for (const RowSizes& s : kCpuRows) {
    const std::int64_t n = s.rows * s.cols;
    bench.row(map_list(ActivationFunction::gelu), s.name, mapped(ActivationFunction::gelu, n, 0, 0));
    bench.row(map_list(ActivationGrad::gelu), s.name, mapped(ActivationGrad::gelu, n, 0, 0));
  }
  for (const ActivationFunction f : {ActivationFunction::gelu_tanh, ActivationFunction::silu}) {
    const auto gradient = static_cast<ActivationGrad>(f);
    bench.row(map_list(f), std::to_string(kLarge), mapped(f, kLarge, 0, 0));
    bench.row(map_list(gradient), std::to_string(kLarge), mapped(gradient, kLarge, 0, 0));
  }
  add_group<ActivationFunction>(bench, 1, 20);
  add_group<ActivationGrad>(bench, 1, 20);
  add_group<MathFunction>(bench, 1.75, 2);
  add_group<MathGrad>(bench, 1.75, 2);
  add_group<BinaryMath>(bench, 0.3, 0);
  add_group<BinaryMathGrad>(bench, 0, 0);
  add_group<TernaryFunction>(bench, 1.25, 0);
  add_group<Selection>(bench, 0, 0);
  add_group<CompareFunction>(bench, 0, 0);
  add_group<Predicate>(bench, 1, 0);
}

}  // namespace gpunn::bench
