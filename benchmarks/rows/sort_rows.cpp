#include "benchmarks/op_bench.h"
#include "gpunn/kernels/sort/sort_impl.h"

namespace gpunn::bench {

void add_sort_rows(Bench& bench) {
  const auto row = [&](const char* name, std::int64_t outer, std::int64_t length, std::int64_t keep) {
    SortProblem p{};
    p.dtype = DType::f32;
    p.descending = keep < length;
    p.outer = outer, p.length = length, p.inner = 1, p.keep = keep;
    bench.row(kSort, name, p);
  };
  row("1024x256", 1024, 256, 256);
  row("64x8192", 64, 8192, 8192);
  row("64x65536", 64, 65536, 65536);
  row("8x262144", 8, 262144, 262144);
  row("1048576 in a row", 1, 1048576, 1048576);
  row("64x1000 top 5", 64, 1000, 5);
  row("8x50257 top 50", 8, 50257, 50);
}

}  // namespace gpunn::bench
