#include "benchmarks/op_bench.h"
#include "gpunn/kernels/rotary/rotary_impl.h"

namespace gpunn::bench {
namespace {

struct Size {
  const char* name;
  std::int64_t B, T, H, D;
};

RotaryProblem problem(const Size& s, DType dtype, bool interleaved) {
  RotaryProblem p{};
  p.dtype = dtype;
  p.B = s.B, p.T = s.T, p.H = s.H, p.D = p.R = s.D, p.P = s.T;
  p.x_batch = s.T * s.H * s.D, p.x_time = s.H * s.D, p.x_head = s.D;
  p.interleaved = interleaved;
  return p;
}

}  // namespace

void add_rotary_rows(Bench& bench) {
  constexpr Size kCpu{"4x256x12x64", 4, 256, 12, 64}, kGpu{"8x2048x32x128", 8, 2048, 32, 128};
  bench.row(kRotary, kCpu.name, problem(kCpu, DType::f32, false), 2, RunsOn::everything);
  bench.row(kRotary, "4x256x12x64 interleaved", problem(kCpu, DType::f32, true), 2, RunsOn::everything);
  bench.row(kRotary, kGpu.name, problem(kGpu, DType::bf16, false), 2, RunsOn::gpu);
}

}  // namespace gpunn::bench
