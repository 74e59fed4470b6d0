#include <string>

#include "benchmarks/op_bench.h"
#include "benchmarks/rows/row_sizes.h"
#include "gpunn/kernels/norm/add_norm_impl.h"
#include "gpunn/kernels/norm/norm_impl.h"

namespace gpunn::bench {
namespace {

struct Picture {
  const char* name;  // N x C x H x W
  ChannelSizes sizes;
};

BatchNormProblem batch_forward(const ChannelSizes& s, DType dtype, bool relu, bool residual) {
  BatchNormProblem p{};
  p.dtype = dtype, p.sizes = s, p.momentum = 0.1, p.eps = 1e-5;
  p.training = p.save = p.has_weight = p.has_bias = p.has_running = true;
  p.wide_weights = dtype != DType::f32;
  p.relu = relu, p.has_residual = residual;
  return p;
}

BatchNormBackwardProblem batch_backward(const ChannelSizes& s, DType dtype, bool relu, bool residual) {
  BatchNormBackwardProblem p{};
  p.dtype = dtype, p.sizes = s;
  p.training = p.has_weight = p.want_dw = true;
  p.wide_weights = dtype != DType::f32;
  p.relu = relu, p.want_dz = residual;
  return p;
}

void add_batch(Bench& bench, const Picture& picture, DType dtype, bool relu, bool residual, RunsOn runs_on) {
  const std::string name = std::string(picture.name) + (picture.sizes.channels_last ? " channels last" : "") +
                           (relu ? " relu" : "") + (residual ? " residual" : "");
  bench.row(kBatchNormForward, name, batch_forward(picture.sizes, dtype, relu, residual), 2, runs_on);
  bench.row(kBatchNormBackward, name, batch_backward(picture.sizes, dtype, relu, residual), 2, runs_on);
}

void add_rows(Bench& bench, const std::string& name, const NormRows& s, DType dtype, bool rms,
              RunsOn runs_on) {
  RowNormProblem forward{};
  forward.dtype = dtype, forward.sizes = s, forward.eps = 1e-5;
  forward.save = forward.has_weight = true;
  forward.rms = rms, forward.has_bias = !rms;
  RowNormBackwardProblem backward{};
  backward.dtype = dtype, backward.sizes = s;
  backward.has_weight = backward.want_dw = true;
  backward.rms = rms, backward.want_db = !rms;
  bench.row(kRowNormForward, name + (rms ? " rms" : ""), forward, 2, runs_on);
  bench.row(kRowNormBackward, name + (rms ? " rms" : ""), backward, 2, runs_on);
}

/// A residual block's end: dropout where it trains, and a gradient that goes past the norm.
void add_sums(Bench& bench, const std::string& name, const NormRows& s, DType dtype, bool rms, bool drop,
              RunsOn runs_on) {
  const DropoutMask tenth{1, 0, 0xe6666665u, 1 / 0.9};
  AddNormProblem forward{};
  forward.dtype = dtype, forward.sizes = s, forward.eps = 1e-5;
  forward.save = forward.has_weight = true;
  forward.rms = rms, forward.has_bias = !rms;
  forward.drop = drop, forward.mask = tenth;
  AddNormBackwardProblem backward{};
  backward.dtype = dtype, backward.sizes = s;
  backward.has_weight = backward.want_dw = backward.has_dsum = true;
  backward.rms = rms, backward.want_db = !rms;
  backward.want_dbranch = drop, backward.mask = tenth;
  const std::string row = name + (rms ? " rms" : "") + (drop ? " dropout" : "");
  bench.row(kAddNormForward, row, forward, 2, runs_on);
  bench.row(kAddNormBackward, row, backward, 2, runs_on);
}

}  // namespace

void add_norm_rows(Bench& bench) {
  // Pictures of a ResNet and of a detector, and one that is as large as a cache.
  constexpr Picture kGpu[] = {
      {"B1 256x64x112x112", {256, 64, 12544, true}}, {"B2 256x64x56x56", {256, 64, 3136, true}},
      {"B3 256x256x56x56", {256, 256, 3136, true}},  {"B4 256x512x28x28", {256, 512, 784, true}},
      {"B5 256x1024x14x14", {256, 1024, 196, true}}, {"B6 256x2048x7x7", {256, 2048, 49, true}},
      {"B7 1024x64x31x31", {1024, 64, 961, true}},   {"B8 32x256x56x56", {32, 256, 3136, true}}};
  for (const Picture& picture : kGpu)
    for (const bool residual : {false, true})
      add_batch(bench, picture, DType::bf16, true, residual, RunsOn::gpu);
  constexpr Picture kCpu[] = {{"64x64x56x56", {64, 64, 3136, false}},
                              {"64x64x56x56", {64, 64, 3136, true}},
                              {"32x256x14x14", {32, 256, 196, false}},
                              {"32x256x14x14", {32, 256, 196, true}},
                              {"128x512x1x1", {128, 512, 1, true}}};
  for (const Picture& picture : kCpu)
    add_batch(bench, picture, DType::f32, false, false, RunsOn::all_but_reference);
  add_batch(bench, kCpu[0], DType::f32, true, true, RunsOn::all_but_reference);
  for (const RowSizes& s : kCpuRows)
    for (const bool rms : {false, true})
      add_rows(bench, s.name, {s.rows, s.cols, 1, 1}, DType::f32, rms, RunsOn::all_but_reference);
  add_rows(bench, "16x64x56x56 groups 32", {512, 6272, 32, 3136}, DType::f32, false,
           RunsOn::all_but_reference);
  for (const RowSizes& s : kRowReductions)
    for (const bool rms : {false, true})
      add_rows(bench, s.name, {s.rows, s.cols, 1, 1}, DType::bf16, rms, RunsOn::gpu);
  for (const bool drop : {false, true}) {
    add_sums(bench, kCpuRows[0].name, {kCpuRows[0].rows, kCpuRows[0].cols, 1, 1}, DType::f32, false, drop,
             RunsOn::all_but_reference);
    for (const RowSizes& s : kRowReductions)
      if (s.cols <= 16384)  // widths of models
        add_sums(bench, s.name, {s.rows, s.cols, 1, 1}, DType::bf16, true, drop, RunsOn::gpu);
  }
}

}  // namespace gpunn::bench
