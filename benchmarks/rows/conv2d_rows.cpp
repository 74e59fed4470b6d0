#include <string>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn::bench {
namespace {

/// A square filter over square pictures, padded so that stride 1 keeps their size.
struct Convolution {
  const char* id;
  std::int64_t N, C, H, K, R, stride = 1, groups = 1;
};

Conv2dSizes sizes_of(const Convolution& q, bool channels_last) {
  Conv2dSizes s{};
  s.N = q.N, s.C = q.C, s.H = s.W = q.H, s.K = q.K, s.R = s.S = q.R;
  s.pad_h = s.pad_w = q.R / 2;
  s.stride_h = s.stride_w = q.stride;
  s.dilation_h = s.dilation_w = 1;
  s.groups = q.groups;
  s.channels_last = channels_last;
  s.P = s.Q = (q.H + 2 * s.pad_h - q.R) / q.stride + 1;
  return s;
}

/// "C1 256x3x224x224 to 64 by 7 stride 2 last"; op_rows.py reads the sizes from it.
std::string name_of(const Convolution& q, bool channels_last) {
  const auto text = [](std::int64_t n) { return std::to_string(n); };
  std::string name = std::string(q.id) + (*q.id ? " " : "") + text(q.N) + "x" + text(q.C) + "x" + text(q.H) +
                     "x" + text(q.H) + " to " + text(q.K) + " by " + text(q.R);
  if (q.stride != 1) name += " stride " + text(q.stride);
  if (q.groups != 1) name += " groups " + text(q.groups);
  return channels_last ? name + " last" : name;
}

void add(Bench& bench, const Convolution& q, bool channels_last, DType dtype, RunsOn runs_on) {
  const Conv2dSizes s = sizes_of(q, channels_last);
  const std::string name = name_of(q, channels_last);
  Conv2dProblem y{};
  y.dtype = dtype, y.sizes = s;
  bench.row(kConv2d, name, y, 2, runs_on);
  Conv2dDxProblem dx{};
  dx.dtype = dtype, dx.sizes = s;
  bench.row(kConv2dDx, name, dx, 2, runs_on);
  Conv2dDwProblem dw{};
  dw.dtype = dtype, dw.sizes = s;
  bench.row(kConv2dDw, name, dw, 2, runs_on);
}

void add_end(Bench& bench, std::int64_t N, std::int64_t K, std::int64_t pixels, bool relu) {
  ChannelGradProblem p{};
  p.dtype = DType::f32;
  p.N = N, p.K = K, p.pixels = pixels;
  p.relu = relu, p.want_db = true;
  for (const bool last : {false, true}) {
    p.channels_last = last;
    const std::string name = std::to_string(N) + "x" + std::to_string(K) + "x" + std::to_string(pixels);
    bench.row(kChannelGrad, name + (relu ? " relu" : "") + (last ? " last" : ""), p);
  }
}

}  // namespace

void add_conv2d_rows(Bench& bench) {
  // ResNet-50's, a diffusion U-Net's, a small network's.
  constexpr Convolution kGpu[] = {
      {"C1", 256, 3, 224, 64, 7, 2}, {"C2", 256, 64, 56, 64, 1},    {"C3", 256, 64, 56, 64, 3},
      {"C4", 256, 64, 56, 256, 1},   {"C5", 256, 128, 28, 128, 3},  {"C6", 256, 256, 56, 512, 1, 2},
      {"C7", 256, 256, 14, 256, 3},  {"C8", 256, 512, 7, 512, 3},   {"C9", 256, 512, 7, 2048, 1},
      {"C10", 8, 320, 64, 320, 3},   {"C11", 1024, 64, 31, 256, 3}, {"C12", 32, 64, 56, 64, 3}};
  for (const Convolution& q : kGpu) add(bench, q, true, DType::bf16, RunsOn::gpu);
  constexpr Convolution kCpu[] = {{"P6", 16, 64, 56, 64, 3},
                                  {"P6", 16, 256, 14, 256, 1},
                                  {"P6", 1, 3, 224, 64, 7, 2},
                                  {"P7", 8, 96, 56, 96, 7, 1, 96}};
  for (const Convolution& q : kCpu)
    for (const bool last : {false, true}) add(bench, q, last, DType::f32, RunsOn::all_but_reference);
  // Two layers over small grey pictures.
  add(bench, {"", 64, 1, 28, 32, 3}, false, DType::f32, RunsOn::all_but_reference);
  add(bench, {"", 64, 32, 14, 64, 3}, false, DType::f32, RunsOn::all_but_reference);
  add_end(bench, 16, 64, 56 * 56, true);
  add_end(bench, 64, 32, 28 * 28, false);
}

}  // namespace gpunn::bench
