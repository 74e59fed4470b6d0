// Recurrent layers: the steps alone ("rnn", what an implementation does), cells, and whole layers through the
// public op ("rnn_layer": the product of the inputs, the steps and, in training, all gradients), beside those
// of a vendor.
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/op_bench.h"
#include "gpunn/core/autograd.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_layer_ops_impl.h"

namespace gpunn::bench {
namespace {

struct Layer {
  const char* id;
  RnnMode mode;
  std::int64_t B, T, H;
  int layers = 1;
  bool both_ways = false;
};

/// "P8 16x128x256 lstm": batch, steps, units; op_rows.py reads it.
std::string name_of(const Layer& l) {
  constexpr const char* modes[] = {"tanh", "relu", "lstm", "gru"};
  std::string name = std::string(l.id) + " " + std::to_string(l.B) + "x" + std::to_string(l.T) + "x" +
                     std::to_string(l.H) + " " + modes[static_cast<int>(l.mode)];
  if (l.layers > 1) name += " layers " + std::to_string(l.layers);
  return l.both_ways ? name + " both ways" : name;
}

bool on_gpu(const DeviceContext& context) { return !context.is_cpu() && !context.api().info().emulated; }

Tensor weights(const Shape& shape, std::int64_t H, DType dtype, DeviceContext& context) {
  const TensorOptions host{.device = Device(context.runtime().cpu())};
  const NoGrad off;
  return ((rand(shape, host) - 0.5) * (2 / std::sqrt(static_cast<double>(H)))).to(dtype).to(Device(context));
}

// ---- the steps alone

/// w_hh of a row that will be timed, else nothing: with the harness's own positive numbers gradients grow
/// from step to step until nothing but NaN is computed with.
Tensor recurrent_weights(const Bench& bench, const Layer& l, DType dtype, RunsOn runs_on) {
  const Options& o = bench.options();
  if (o.names_only || (!o.op.empty() && o.op != "rnn")) return {};
  if (runs_on == RunsOn::gpu && !on_gpu(bench.context())) return {};
  return weights({gates_of(l.mode) * l.H, l.H}, l.H, dtype, bench.context());
}

/// An address for an operand that is there: the harness puts the real one in its place.
void* present() {
  static char place;
  return &place;
}

void add_steps(Bench& bench, const Layer& l, DType dtype, RunsOn runs_on) {
  const Tensor w = recurrent_weights(bench, l, dtype, runs_on);
  const RnnSizes sizes{l.mode, false, true, l.T, l.B, l.H, l.T * l.B};
  RnnForwardProblem y{};
  y.dtype = dtype, y.sizes = sizes;
  y.w_hh = w.defined() ? w.data() : nullptr;
  if (sizes.G() > 1) y.gates = present();
  if (sizes.has_cells()) y.cells = present();
  if (sizes.has_extra()) y.extra = present();
  if (sizes.has_extra()) y.b_hn = present();
  bench.row(kRnnForward, name_of(l), y, 2, runs_on, {"w_hh"});
  RnnBackwardProblem d{};
  d.dtype = dtype, d.sizes = sizes;
  d.w_hh = y.w_hh, d.dy = present();
  bench.row(kRnnBackward, name_of(l), d, 2, runs_on, {"w_hh"});
}

void add_cells(Bench& bench, RnnMode mode, std::int64_t B, std::int64_t H) {
  const std::string name =
      std::to_string(B) + "x" + std::to_string(H) + (mode == RnnMode::lstm ? " lstm" : " gru");
  RnnCellProblem y{};
  y.dtype = DType::f32, y.B = B, y.H = H, y.mode = mode;
  y.gates = present();
  bench.row(kRnnCellForward, name, y);
  RnnCellBackwardProblem d{};
  d.dtype = DType::f32, d.B = B, d.H = H, d.mode = mode;
  d.dh_next = present();
  bench.row(kRnnCellBackward, name, d);
}

// ---- whole layers

struct Net {
  std::vector<RnnWeights> directions;  // of one layer after the other
  std::vector<Tensor> leaves;          // x and all weights
  Tensor dy;
};

struct LayerProblem {
  DType dtype;
  Layer layer;
  bool training;
  std::shared_ptr<Net> net;  // made by the first run
};

/// The harness has nothing to fill.
std::vector<Operand> operands(LayerProblem&) { return {}; }

/// The products of forward; training takes three times as many.
Cost cost(const LayerProblem& p) {
  const Layer& l = p.layer;
  const double rows = static_cast<double>(l.T * l.B), H = static_cast<double>(l.H);
  const double ways = l.both_ways ? 2 : 1, G = static_cast<double>(gates_of(l.mode));
  double flops = 0;
  for (int i = 0; i < l.layers; ++i) flops += 2 * rows * G * H * H * ways * (1 + (i > 0 ? ways : 1));
  return {0, (p.training ? 3 : 1) * flops};
}

const Net& net_of(const LayerProblem& p, const Exec& exec) {
  Net& net = *p.net;
  if (!net.leaves.empty()) return net;
  const Layer& l = p.layer;
  const std::int64_t ways = l.both_ways ? 2 : 1, GH = gates_of(l.mode) * l.H;
  const auto leaf = [&](const Shape& shape) {
    net.leaves.push_back(weights(shape, l.H, p.dtype, *exec.device).requires_grad_());
    return net.leaves.back();
  };
  leaf({l.T, l.B, l.H});
  for (int i = 0; i < l.layers; ++i)
    for (std::int64_t way = 0; way < ways; ++way)
      net.directions.push_back(
          {leaf({GH, i == 0 ? l.H : ways * l.H}), leaf({GH, l.H}), leaf({GH}), leaf({GH})});
  net.dy = weights({l.T, l.B, ways * l.H}, 1, p.dtype, *exec.device);
  return net;
}

Tensor run_layers(const LayerProblem& p, const Net& net) {
  Tensor y = net.leaves[0];
  std::size_t next = 0;
  for (int i = 0; i < p.layer.layers; ++i) {
    const Tensor x = y;
    y = rnn_sequence(p.layer.mode, x, {}, {}, net.directions[next++]).y;
    if (p.layer.both_ways)
      y = cat({y, rnn_sequence(p.layer.mode, x, {}, {}, net.directions[next++], {.reverse = true}).y}, 2);
  }
  return y;
}

void infer(const LayerProblem& p, const Exec& exec) {
  const Net& net = net_of(p, exec);
  const NoGrad off;
  run_layers(p, net);
}

void train(const LayerProblem& p, const Exec& exec) {
  const Net& net = net_of(p, exec);
  const Tensor y = run_layers(p, net);
  autograd::grad(std::span(&y, 1), net.leaves, std::span(&net.dy, 1));
}

// Vendors, called as rnn_sequence() calls them when they are asked for.

constexpr char kCudnn[] = "cudnn", kOnednn[] = "onednn";

RnnSizes sizes_of(const Layer& l) { return {l.mode, false, true, l.T, l.B, l.H, l.T * l.B}; }

template <const char* kEntry, bool kKeep>
const char* vendor_reason(const LayerProblem& p) {
  if (p.layer.layers > 1 || p.layer.both_ways) return "takes one layer and one direction";
  const auto* const entry = find_implementation(kRnnLayerForward, kEntry);
  if (!entry) return "is not in this build";
  RnnLayerForwardProblem f{};
  f.dtype = p.dtype, f.sizes = sizes_of(p.layer), f.K = p.layer.H;
  f.keep = kKeep;
  return entry->accepts(f);
}

template <const char* kEntry, bool kKeep>
void run_vendor(const LayerProblem& p, const Exec& exec) {
  const Net& net = net_of(p, exec);
  const RnnWeights& w = net.directions[0];
  const Tensor none;
  const RnnSizes sizes = sizes_of(p.layer);
  const detail::RnnLayerTensors in{net.leaves[0], none, none, w.w_ih, w.w_hh, w.b_ih, w.b_hh, sizes, nullptr};
  const detail::RnnLayerResults r = detail::rnn_layer_forward(kEntry, in, kKeep);
  if (kKeep) detail::rnn_layer_gradients(kEntry, in, {r.y, r.kept, net.dy, none, none}, true);
}

const Implementation<LayerProblem> kInfer[] = {
    {"composed", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, infer},
    {"composed", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, infer},
    {kOnednn, DeviceType::cpu, vendor_reason<kOnednn, false>, nullptr, Determinism::bitwise,
     run_vendor<kOnednn, false>},
    {kCudnn, DeviceType::cuda, vendor_reason<kCudnn, false>, nullptr, Determinism::varies,
     run_vendor<kCudnn, false>}};
const Implementation<LayerProblem> kTrain[] = {
    {"composed", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, train},
    {"composed", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, train},
    {kOnednn, DeviceType::cpu, vendor_reason<kOnednn, true>, nullptr, Determinism::bitwise,
     run_vendor<kOnednn, true>},
    {kCudnn, DeviceType::cuda, vendor_reason<kCudnn, true>, nullptr, Determinism::varies,
     run_vendor<kCudnn, true>}};

void add_layer(Bench& bench, const Layer& l, DType dtype, RunsOn runs_on) {
  LayerProblem p{dtype, l, false, std::make_shared<Net>()};
  bench.row(ImplementationList<LayerProblem>{"rnn_layer", "forward", kInfer}, name_of(l), p, 2, runs_on);
  p.training = true;
  bench.row(ImplementationList<LayerProblem>{"rnn_layer", "training", kTrain}, name_of(l), p, 2, runs_on);
}

}  // namespace

void add_rnn_rows(Bench& bench) {
  constexpr RnnMode lstm = RnnMode::lstm, gru = RnnMode::gru;
  constexpr Layer kGpu[] = {
      {"S1", lstm, 16, 1024, 768},   {"S2", lstm, 1, 1024, 256},    {"S3", lstm, 4, 512, 512},
      {"S4", lstm, 64, 1024, 128},   {"S5", lstm, 32, 256, 1024},   {"S6", lstm, 20, 35, 1500, 2},
      {"S7", lstm, 256, 35, 650, 2}, {"S8", lstm, 64, 128, 512, 2}, {"S9", lstm, 16, 512, 512, 1, true},
      {"S10", lstm, 8, 4096, 128},   {"S11", gru, 32, 512, 512},    {"S12", lstm, 128, 64, 2048}};
  constexpr Layer kCpu[] = {{"P8", lstm, 16, 128, 256},
                            {"P8", lstm, 1, 512, 128},
                            {"P8", gru, 32, 64, 256},
                            {"P8", RnnMode::tanh, 32, 64, 256}};
  for (const Layer& l : kGpu)
    if (l.layers == 1 && !l.both_ways) add_steps(bench, l, DType::bf16, RunsOn::gpu);
  for (const Layer& l : kCpu) add_steps(bench, l, DType::f32, RunsOn::all_but_reference);
  for (const Layer& l : kGpu) add_layer(bench, l, DType::bf16, RunsOn::gpu);
  for (const Layer& l : kCpu) add_layer(bench, l, DType::f32, RunsOn::everything);
  add_cells(bench, lstm, 64, 256);
  add_cells(bench, gru, 64, 256);
}

}  // namespace gpunn::bench
