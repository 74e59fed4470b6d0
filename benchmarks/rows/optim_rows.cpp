#include <initializer_list>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/optim/optim_impl.h"

namespace gpunn::bench {
namespace {

using Sizes = std::initializer_list<std::int64_t>;

/// The eight tensors of a 784-256-128-64-10 network.
constexpr Sizes kNetwork{784 * 256, 256, 256 * 128, 128, 128 * 64, 64, 64 * 10, 10};
constexpr Sizes kTenMillion{10'000'000};

void step(Bench& bench, const char* name, const UpdateSettings& settings, Sizes sizes) {
  UpdateProblem p{};
  p.dtype = DType::f32;
  p.settings = settings;
  for (const std::int64_t n : sizes) p.slots[p.count++].n = n;
  bench.row(kUpdateStep[static_cast<int>(settings.rule)], name, p);
}

void steps(Bench& bench, const char* name, Sizes sizes, const char* adam_name) {
  using R = UpdateRule;
  step(bench, name, {.rule = R::adagrad, .eps = 1e-10}, sizes);
  step(bench, name, {.rule = R::adadelta, .beta2 = 0.9, .eps = 1e-6}, sizes);
  step(bench, name, {.rule = R::rmsprop, .beta2 = 0.99, .eps = 1e-8}, sizes);
  step(bench, adam_name, {.rule = R::adam, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}, sizes);
  step(bench, name, {.rule = R::nadam, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8}, sizes);
  step(bench, name, {.rule = R::lion, .beta1 = 0.9, .beta2 = 0.99}, sizes);
}

/// AdamW on GPT-2's 124 M parameters: bf16 with f32 masters and states, decay by StepValues::keep.
void language_model(Bench& bench) {
  constexpr std::int64_t kWidth = 768, kLayers = 12;
  UpdateProblem p{};
  p.dtype = DType::bf16;
  p.master = true;
  p.settings = {.rule = UpdateRule::adam, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8};
  const auto add = [&](std::int64_t n) { p.slots[p.count++].n = n; };
  add(50304 * kWidth);
  add(1024 * kWidth);
  for (std::int64_t layer = 0; layer < kLayers; ++layer)
    for (const std::int64_t rows : {3 * kWidth, kWidth, 4 * kWidth, 4 * kWidth}) add(rows * kWidth);
  bench.row(kUpdateStep[static_cast<int>(UpdateRule::adam)], "MEM-5 124M adamw with masters", p, 2,
            RunsOn::gpu);
}

void clipping(Bench& bench, const char* name, Sizes sizes) {
  NormProblem norm{};
  RescaleProblem rescale{};
  norm.dtype = rescale.dtype = DType::f32;
  norm.kind = NormKind::two;
  for (const std::int64_t n : sizes) {
    norm.slots[norm.count++].n = n;
    rescale.slots[rescale.count++].n = n;
  }
  bench.row(kNormPartials, name, norm);
  rescale.clamps = true;  // scaling again and again would end in denormal numbers
  rescale.bound = 0.5;
  bench.row(kRescale, name, rescale);
}

}  // namespace

void add_optim_rows(Bench& bench) {
  step(bench, "fashion-mlp", {}, kNetwork);
  step(bench, "fashion-mlp momentum", {.beta1 = 0.9}, kNetwork);
  step(bench, "10M momentum", {.beta1 = 0.9}, kTenMillion);
  steps(bench, "fashion-mlp", kNetwork, "fashion-mlp");
  steps(bench, "10M", kTenMillion, "P11 10M");
  language_model(bench);
  clipping(bench, "fashion-mlp", kNetwork);
  clipping(bench, "10M", kTenMillion);
  NormJoinProblem join{};
  join.dtype = DType::f32;
  join.kind = NormKind::two;
  join.max_norm = 1;
  join.n = 10'000'000 / kNormChunk + 1;
  bench.row(kNormJoin, "10M", join);
}

}  // namespace gpunn::bench
