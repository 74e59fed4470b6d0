#include <string>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/resize/resize_impl.h"

namespace gpunn::bench {
namespace {

struct Resize {
  std::int64_t N, C;
  std::int32_t from, to;  // both dimensions
};

void add(Bench& bench, const Resize& r, ResizeRule rule, bool channels_last, DType dtype, RunsOn runs_on) {
  const ResizeAxis axis{r.from, r.to, static_cast<float>(r.from) / static_cast<float>(r.to)};
  const auto square = [](std::int32_t n) { return std::to_string(n) + "x" + std::to_string(n); };
  const std::string name = std::to_string(r.N) + "x" + std::to_string(r.C) + "x" + square(r.from) + " to " +
                           square(r.to) + (rule == ResizeRule::nearest ? " nearest" : " bilinear") +
                           (channels_last ? " nhwc" : "");
  const ResizeSizes s{r.N, r.C, axis, axis, rule, channels_last};
  ResizeProblem forward{};
  ResizeBackwardProblem backward{};
  forward.dtype = backward.dtype = dtype;
  forward.sizes = backward.sizes = s;
  bench.row(kResize, name, forward, 2, runs_on);
  bench.row(kResizeBackward, name, backward, 2, runs_on);
}

}  // namespace

void add_resize_rows(Bench& bench) {
  for (const ResizeRule rule : {ResizeRule::nearest, ResizeRule::bilinear})
    for (const bool channels_last : {false, true}) {
      add(bench, {16, 32, 28, 56}, rule, channels_last, DType::f32, RunsOn::all_but_reference);
      add(bench, {64, 256, 56, 112}, rule, channels_last, DType::bf16, RunsOn::gpu);
    }
}

}  // namespace gpunn::bench
