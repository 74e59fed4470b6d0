// A classifier and its loss without the logits: what happens to a tile, and the whole op beside the same with
// stored logits ("stored").
#include <array>
#include <memory>
#include <string>

#include "benchmarks/op_bench.h"
#include "gpunn/core/autograd.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/random/random.h"

namespace gpunn::bench {
namespace {

struct Size {
  const char* name;
  std::int64_t N, E, V;
};

void add_tile(Bench& bench, const char* name, const LogitTile& tile, DType dtype, RunsOn runs_on) {
  LogitStatsProblem s{};
  s.dtype = dtype, s.tile = tile, s.ignore_index = -100;
  bench.row(kLogitStats, name, s, tile.cols, runs_on);
  LogitGradProblem g{};
  g.dtype = dtype, g.tile = tile, g.classes = tile.cols, g.ignore_index = -100;
  bench.row(kLogitGrad, name, g, tile.cols, runs_on);
}

// ---- the whole op

struct Classifier {
  std::array<Tensor, 2> leaves;  // x, weight
  Tensor target;
};

struct WholeProblem {
  DType dtype;
  Size size;
  bool training;
  std::shared_ptr<Classifier> made;  // by the first run
};

/// The harness has nothing to fill.
std::vector<Operand> operands(WholeProblem&) { return {}; }

/// The products that stored logits would take.
Cost cost(const WholeProblem& p) {
  const double product =
      2 * static_cast<double>(p.size.N) * static_cast<double>(p.size.E) * static_cast<double>(p.size.V);
  return {0, (p.training ? 3 : 1) * product};
}

const Classifier& classifier_of(const WholeProblem& p, const Exec& exec) {
  Classifier& c = *p.made;
  if (c.target.defined()) return c;
  const TensorOptions host{.device = Device(exec.device->runtime().cpu())};
  const Device device(*exec.device);
  const NoGrad off;
  const auto leaf = [&](std::int64_t rows) {
    Tensor t = (rand({rows, p.size.E}, host) - 0.5).to(p.dtype).to(device);
    t.requires_grad_();
    return t;
  };
  c.leaves = {leaf(p.size.N), leaf(p.size.V)};
  std::vector<std::int64_t> labels(static_cast<std::size_t>(p.size.N));
  for (std::size_t n = 0; n < labels.size(); ++n) labels[n] = static_cast<std::int64_t>(n) * 7919 % p.size.V;
  c.target = Tensor::from(labels, {p.size.N}, {.dtype = DType::i64}).to(device);
  return c;
}

using Loss = Tensor (*)(const Classifier&);
Tensor tiled(const Classifier& c) {
  return linear_cross_entropy(c.leaves[0], c.leaves[1], c.target, {.check_targets = false});
}
Tensor stored(const Classifier& c) {
  return cross_entropy(linear(c.leaves[0], c.leaves[1]), c.target, {.check_targets = false});
}

template <Loss loss>
void infer(const WholeProblem& p, const Exec& exec) {
  const Classifier& c = classifier_of(p, exec);
  const NoGrad off;
  loss(c);
}

template <Loss loss>
void train(const WholeProblem& p, const Exec& exec) {
  const Classifier& c = classifier_of(p, exec);
  const Tensor y = loss(c);
  autograd::grad(std::span(&y, 1), c.leaves);
}

const Implementation<WholeProblem> kInfer[] = {
    {"tiles", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, infer<tiled>},
    {"tiles", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, infer<tiled>},
    {"stored", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, infer<stored>},
    {"stored", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, infer<stored>}};
const Implementation<WholeProblem> kTrain[] = {
    {"tiles", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, train<tiled>},
    {"tiles", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, train<tiled>},
    {"stored", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, train<stored>},
    {"stored", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, train<stored>}};

void add_whole(Bench& bench, const Size& s, DType dtype, RunsOn runs_on) {
  WholeProblem p{dtype, s, false, std::make_shared<Classifier>()};
  bench.row(ImplementationList<WholeProblem>{"linear_cross_entropy", "forward", kInfer}, s.name, p, 2,
            runs_on);
  p.training = true;
  bench.row(ImplementationList<WholeProblem>{"linear_cross_entropy", "training", kTrain}, s.name, p, 2,
            runs_on);
}

}  // namespace

void add_linear_cross_entropy_rows(Bench& bench) {
  constexpr Size kGpu[] = {
      {"L1 4096x768x50304", 4096, 768, 50304},       {"L2 16384x768x50304", 16384, 768, 50304},
      {"L3 32768x768x50304", 32768, 768, 50304},     {"L4 8192x2304x256000", 8192, 2304, 256000},
      {"L5 4096x4096x128256", 4096, 4096, 128256},   {"L6 8192x4096x128256", 8192, 4096, 128256},
      {"L7 32768x4096x128256", 32768, 4096, 128256}, {"L8 8192x3584x152064", 8192, 3584, 152064}};
  constexpr Size kCpu[] = {
      {"1024x128x65", 1024, 128, 65}, {"1024x256x8192", 1024, 256, 8192}, {"512x768x50304", 512, 768, 50304}};
  add_tile(bench, "tile 128x50304", {128, 50304, 50304, 0}, DType::f32, RunsOn::everything);
  add_tile(bench, "tile 256x8192", {256, 8192, 8192, 0}, DType::f32, RunsOn::everything);
  add_tile(bench, "tile 666x50304", {666, 50304, 50304, 0}, DType::bf16, RunsOn::gpu);
  for (const Size& s : kCpu) add_whole(bench, s, DType::f32, RunsOn::all_but_reference);
  for (const Size& s : kGpu) add_whole(bench, s, DType::bf16, RunsOn::gpu);
}

}  // namespace gpunn::bench
