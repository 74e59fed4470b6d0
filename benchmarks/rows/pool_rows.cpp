#include <string>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn::bench {
namespace {

struct Windows {
  std::int64_t N, C;
  std::int32_t pixels, kernel, stride, pad;  // both dimensions; kernel 0: the whole picture
};

PoolSizes sizes_of(const Windows& s, bool channels_last) {
  PoolAxis axis{s.pixels, 1, 1, 1, 0, 1, true};
  if (s.kernel > 0) {
    const std::int64_t out = pool_extent(s.pixels, s.kernel, s.stride, s.pad, 1, false);
    axis = {s.pixels, static_cast<std::int32_t>(out), s.kernel, s.stride, s.pad, 1, false};
  }
  return {s.N, s.C, axis, axis, channels_last};
}

template <class P>
P windows(const PoolSizes& s, DType dtype) {
  P p{};
  p.dtype = dtype;
  p.sizes = s;
  return p;
}

void add(Bench& bench, const Windows& w, bool channels_last, DType dtype, RunsOn runs_on) {
  const PoolSizes s = sizes_of(w, channels_last);
  const auto text = [](std::int64_t n) { return std::to_string(n); };
  std::string name = text(w.N) + "x" + text(w.C) + "x" + text(w.pixels) + "x" + text(w.pixels);
  name += w.kernel > 0 ? " k" + text(w.kernel) + " s" + text(w.stride) + " p" + text(w.pad) : " global";
  if (channels_last) name += " nhwc";
  AvgPoolProblem avg = windows<AvgPoolProblem>(s, dtype);
  AvgPoolBackwardProblem avg_backward = windows<AvgPoolBackwardProblem>(s, dtype);
  avg.count_include_pad = avg_backward.count_include_pad = true;
  bench.row(kAvgPool, name, avg, 2, runs_on);
  bench.row(kAvgPoolBackward, name, avg_backward, 2, runs_on);
  if (w.kernel == 0) return;
  MaxPoolProblem max = windows<MaxPoolProblem>(s, dtype);
  bench.row(kMaxPool, name + " values", max, 2, runs_on);
  max.want_indices = true;
  bench.row(kMaxPool, name, max, 2, runs_on);
  // Indices anywhere in the picture: each is looked at all the same.
  bench.row(kMaxPoolBackward, name, windows<MaxPoolBackwardProblem>(s, dtype), s.x_pixels(), runs_on);
  bench.row(kPoolGather, name, windows<PoolGatherProblem>(s, dtype), s.x_pixels(), runs_on);
}

}  // namespace

void add_pool_rows(Bench& bench) {
  constexpr Windows kSizes[] = {{64, 32, 28, 2, 2, 0}, {64, 64, 56, 3, 2, 1}, {64, 512, 7, 0, 0, 0}};
  for (const bool channels_last : {false, true}) {
    for (const Windows& w : kSizes) add(bench, w, channels_last, DType::f32, RunsOn::all_but_reference);
    for (const Windows& w : {Windows{256, 64, 112, 3, 2, 1}, Windows{256, 2048, 7, 0, 0, 0}})
      add(bench, w, channels_last, DType::bf16, RunsOn::gpu);
  }
}

}  // namespace gpunn::bench
