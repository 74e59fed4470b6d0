#include "benchmarks/op_bench.h"
#include "gpunn/kernels/scan/scan_impl.h"

namespace gpunn::bench {

void add_scan_rows(Bench& bench) {
  for (const ScanFunction f : {ScanFunction::sum, ScanFunction::prod}) {
    const auto row = [&](const char* name, std::int64_t outer, std::int64_t length, std::int64_t inner) {
      ScanProblem p{};
      p.dtype = DType::f32;
      p.function = f;
      p.outer = outer, p.length = length, p.inner = inner;
      bench.row(kScan[static_cast<int>(f)], name, p);
    };
    row("64x1024 by rows", 64, 1024, 1);
    row("4096x1024 by rows", 4096, 1024, 1);
    row("4096x1024 by columns", 1, 4096, 1024);
    row("4194304 in a row", 1, 4194304, 1);
  }
  ScanProblem integers{};
  integers.dtype = DType::i64;
  integers.outer = integers.inner = 1, integers.length = 4194304;
  bench.row(kScan[static_cast<int>(ScanFunction::sum)], "4194304 of i64 in a row", integers);
  CumprodBackwardProblem p{};
  p.dtype = DType::f32;
  p.outer = 64, p.length = 1024, p.inner = 1;
  bench.row(kCumprodBackward, "64x1024 by rows", p);
}

}  // namespace gpunn::bench
