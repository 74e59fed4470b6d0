#include "benchmarks/op_bench.h"
#include "benchmarks/rows/row_sizes.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn::bench {
namespace {

template <class P>
P rows_by_columns(std::int64_t rows, std::int64_t cols, DType dtype = DType::f32) {
  P p{};
  p.dtype = dtype;
  p.rows = rows;
  p.cols = cols;
  return p;
}

}  // namespace

void add_softmax_rows(Bench& bench) {
  constexpr RowSizes kSizes[] = {
      {"64x10", 64, 10}, {"512x1000", 512, 1000}, {"64x50257", 64, 50257}, {"4x262144", 4, 262144}};
  const auto both = [&](const RowSizes& s, DType dtype, RunsOn runs_on) {
    bench.row(kSoftmaxForward, s.name, rows_by_columns<SoftmaxProblem>(s.rows, s.cols, dtype), 2, runs_on);
    bench.row(kSoftmaxBackward, s.name, rows_by_columns<SoftmaxBackwardProblem>(s.rows, s.cols, dtype), 2,
              runs_on);
  };
  for (const RowSizes& s : kSizes) both(s, DType::f32, RunsOn::everything);
  for (const RowSizes& s : kCpuRows) both(s, DType::f32, RunsOn::everything);
  for (const RowSizes& s : kRowReductions) both(s, DType::bf16, RunsOn::gpu);
}

}  // namespace gpunn::bench
