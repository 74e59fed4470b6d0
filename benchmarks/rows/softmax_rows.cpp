#include "benchmarks/op_bench.h"
#include "gpunn/kernels/cross_entropy/cross_entropy_impl.h"
#include "gpunn/kernels/softmax/softmax_impl.h"

namespace gpunn::bench {
namespace {

template <class P>
P rows_by_columns(std::int64_t rows, std::int64_t cols) {
  P p{};
  p.dtype = DType::f32;
  p.rows = rows;
  p.cols = cols;
  return p;
}

}  // namespace

void add_softmax_rows(Bench& bench) {
  constexpr struct {
    const char* name;
    std::int64_t rows, cols;
  } kSizes[] = {{"64x10", 64, 10}, {"512x1000", 512, 1000}, {"64x50257", 64, 50257}, {"4x262144", 4, 262144}};
  for (const auto& s : kSizes) {
    bench.row(kSoftmaxForward, s.name, rows_by_columns<SoftmaxProblem>(s.rows, s.cols));
    bench.row(kSoftmaxBackward, s.name, rows_by_columns<SoftmaxBackwardProblem>(s.rows, s.cols));
  }
}

}  // namespace gpunn::bench
