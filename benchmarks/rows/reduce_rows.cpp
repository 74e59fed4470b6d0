#include "benchmarks/op_bench.h"
#include "gpunn/kernels/reduce/reduce_impl.h"

namespace gpunn::bench {
namespace {

/// A matrix [rows, cols]: over its columns (each row to one value), over its rows, or over everything.
ReduceProblem matrix(ReduceFunction f, std::int64_t rows, std::int64_t cols, int axis) {
  ReduceProblem p{};
  p.dtype = DType::f32;
  p.function = f;
  const ReduceDims row_dims{1, {rows}, {cols}}, column_dims{1, {cols}, {1}};
  p.kept = axis == 1 ? row_dims : axis == 0 ? column_dims : ReduceDims{1, {1}, {1}};
  p.reduced = axis == 1 ? column_dims : axis == 0 ? row_dims : ReduceDims{1, {rows * cols}, {1}};
  return p;
}

}  // namespace

void add_reduce_rows(Bench& bench) {
  for (const ReduceFunction f : {ReduceFunction::sum, ReduceFunction::max, ReduceFunction::argmax}) {
    const auto& list = kReduce[static_cast<int>(f)];
    bench.row(list, "64x256 by rows", matrix(f, 64, 256, 1));
    bench.row(list, "4096x1024 by rows", matrix(f, 4096, 1024, 1));
    bench.row(list, "4096x1024 by columns", matrix(f, 4096, 1024, 0));
    bench.row(list, "4096x1024 to one", matrix(f, 4096, 1024, -1));
  }
  using F = ReduceFunction;
  for (const F f : {F::min, F::prod, F::var, F::norm, F::logsumexp, F::any}) {
    const auto& list = kReduce[static_cast<int>(f)];
    const auto problem = [f](std::int64_t rows, int axis) {
      ReduceProblem p = matrix(f, rows, 1024, axis);
      p.parameter = f == F::norm ? 2 : 1;
      return p;
    };
    bench.row(list, "64x1024 by rows", problem(64, 1));
    bench.row(list, "4096x1024 by rows", problem(4096, 1));
    bench.row(list, "4096x1024 by columns", problem(4096, 0));
  }
}

}  // namespace gpunn::bench
