#include "benchmarks/op_bench.h"
#include "gpunn/kernels/count/count_impl.h"

namespace gpunn::bench {

// A histogram has no row: the harness would draw its edges at random, and almost nothing would lie between
// them. Its search is searchsorted's, whose steps do not depend on the values; its counting is bincount's.
void add_count_rows(Bench& bench) {
  const auto count = [&](const char* name, DType dtype, std::int64_t n, std::int64_t bins) {
    BinProblem p{};
    p.dtype = dtype;
    p.n = n, p.bins = bins;
    bench.row(kBinCount, name, p, bins);
  };
  count("1048576 in 10", DType::i64, 1 << 20, 10);
  count("16777216 in 256", DType::i32, 1 << 24, 256);
  count("1048576 in 50257", DType::i64, 1 << 20, 50257);

  const auto search = [&](const char* name, std::int64_t n, std::int64_t length) {
    SearchProblem p{};
    p.dtype = DType::f32;
    p.one_sequence = true;
    p.rows = 1, p.length = length, p.n = n;
    bench.row(kSearch, name, p);
  };
  search("1048576 in 100", 1 << 20, 100);
  search("1048576 in 65536", 1 << 20, 1 << 16);

  const auto order = [&](const char* name, std::int64_t rows, std::int64_t width) {
    RowOrderProblem p{};
    p.dtype = DType::f32;
    p.rows = rows, p.width = width;
    bench.row(kRowOrder, name, p);
  };
  order("1000x64", 1000, 64);
  order("65536x4", 65536, 4);
}

}  // namespace gpunn::bench
