#include "benchmarks/op_bench.h"
#include "gpunn/kernels/random/random_impl.h"

namespace gpunn::bench {

void add_random_rows(Bench& bench) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const auto rows = [&](const char* name, std::int64_t n) {
      DropoutProblem dropout{};
      dropout.dtype = dtype;
      dropout.n = n;
      dropout.seed = 1;
      dropout.greatest_kept = 0xe6666665u;  // p = 0.1
      dropout.scale = 1 / 0.9;
      bench.row(kDropout, name, dropout);
      BernoulliProblem bernoulli{};
      bernoulli.dtype = dtype;
      bernoulli.n = n;
      bernoulli.seed = 1;
      bench.row(kBernoulli, name, bernoulli);
    };
    rows("64x1024", 64 * 1024);
    rows("8192x4096", 8192 * 4096);
  }
}

}  // namespace gpunn::bench
