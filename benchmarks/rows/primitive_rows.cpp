#include "benchmarks/op_bench.h"
#include "gpunn/core/primitives_impl.h"

namespace gpunn::bench {
namespace {

/// [rows, cols] to contiguous memory; transposed reads the source by columns.
CopyProblem copy(DType from, DType to, std::int64_t rows, std::int64_t cols, bool transposed) {
  CopyProblem p{};
  p.src_dtype = from;
  p.dtype = to;
  p.rank = transposed ? 2 : 1;
  p.shape[0] = transposed ? rows : rows * cols;
  p.shape[1] = cols;
  p.x_strides[0] = 1;
  p.x_strides[1] = rows;
  p.y_strides[0] = transposed ? cols : 1;
  p.y_strides[1] = 1;
  return p;
}

}  // namespace

void add_primitive_rows(Bench& bench) {
  constexpr std::int64_t kRows = 2048, kCols = 1024;
  bench.row(kCopy, "2048x1024", copy(DType::f32, DType::f32, kRows, kCols, false));
  bench.row(kCopy, "2048x1024 transposed", copy(DType::f32, DType::f32, kRows, kCols, true));
  bench.row(kCopy, "2048x1024 f32 to bf16", copy(DType::f32, DType::bf16, kRows, kCols, false));
  FillProblem fill{};
  fill.dtype = DType::f32;
  fill.rank = 1;
  fill.shape[0] = kRows * kCols;
  fill.strides[0] = 1;
  bench.row(kFill, "2048x1024", fill);
  AddProblem add{};
  add.dtype = DType::f32;
  add.n = kRows * kCols;
  bench.row(kAdd, "2048x1024", add);
}

}  // namespace gpunn::bench
