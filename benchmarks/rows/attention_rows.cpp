// Attention: forward and backward as an implementation does them, and both through the public op
// ("training").
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "benchmarks/op_bench.h"
#include "gpunn/core/autograd.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/attention/kv_append_impl.h"

namespace gpunn::bench {
namespace {

struct Size {
  const char* id;
  AttentionSizes sizes;
  bool causal;
};

/// "A7 2x16x16x8192x8192x128 causal": batch, heads of queries and of keys, queries, keys, width; op_rows.py
/// reads it.
std::string name_of(const Size& a) {
  const AttentionSizes& s = a.sizes;
  std::string name = a.id;
  if (!name.empty()) name += " ";
  for (const std::int64_t n : {s.B, s.Hq, s.Hkv, s.Tq, s.Tk}) name += std::to_string(n) + "x";
  name += std::to_string(s.D);
  if (a.causal) name += " causal";
  return s.Tq == 1 ? name + " decode" : name;
}

/// An address for an operand that is there: the harness puts the real one in its place.
void* present() {
  static char place;
  return &place;
}

/// Heads split off a projection: memory [B, T, H, D].
AttentionLayout joined(std::int64_t H, std::int64_t T, std::int64_t D) { return {T * H * D, D, H * D}; }

template <class P>
P problem(const Size& a, DType dtype) {
  const AttentionSizes& s = a.sizes;
  P p{};
  p.dtype = dtype;
  p.sizes = s;
  p.scale = 1 / std::sqrt(static_cast<double>(s.D));
  p.rule.causal = a.causal;
  p.rule.align_end = s.Tq != s.Tk;
  p.q_layout = joined(s.Hq, s.Tq, s.D), p.y_layout = joined(s.Hq, s.Tq, s.Dv);
  p.k_layout = joined(s.Hkv, s.Tk, s.D), p.v_layout = joined(s.Hkv, s.Tk, s.Dv);
  p.q_elements = s.B * s.Hq * s.Tq * s.D, p.y_elements = s.B * s.Hq * s.Tq * s.Dv;
  p.k_elements = s.B * s.Hkv * s.Tk * s.D, p.v_elements = s.B * s.Hkv * s.Tk * s.Dv;
  return p;
}

void add_forward(Bench& bench, const Size& a, DType dtype, RunsOn runs_on) {
  bench.row(kAttentionForward, name_of(a), problem<AttentionProblem>(a, dtype), 2, runs_on);
}

void add_both(Bench& bench, const Size& a, DType dtype, RunsOn runs_on) {
  auto y = problem<AttentionProblem>(a, dtype);
  y.lse = present();
  bench.row(kAttentionForward, name_of(a), y, 2, runs_on);
  auto d = problem<AttentionBackwardProblem>(a, dtype);
  d.dy_layout = d.y_layout, d.dy_elements = d.y_elements;
  d.dq_layout = d.q_layout, d.dq_elements = d.q_elements;
  d.dk_layout = d.k_layout, d.dk_elements = d.k_elements;
  d.dv_layout = d.v_layout, d.dv_elements = d.v_elements;
  bench.row(kAttentionBackward, name_of(a), d, 2, runs_on);
}

// ---- through the op, with all three gradients

struct TrainingProblem {
  DType dtype;
  Size size;
  std::shared_ptr<std::vector<Tensor>> tensors;  // q, k, v, dy; made by the first run
};

/// The harness has nothing to fill.
std::vector<Operand> operands(TrainingProblem&) { return {}; }

Cost cost(const TrainingProblem& p) {
  const Cost y = cost(problem<AttentionProblem>(p.size, p.dtype));
  const Cost d = cost(problem<AttentionBackwardProblem>(p.size, p.dtype));
  return {y.bytes + d.bytes, y.flops + d.flops};
}

void train(const TrainingProblem& p, const Exec& exec) {
  std::vector<Tensor>& t = *p.tensors;
  if (t.empty()) {
    const AttentionSizes& s = p.size.sizes;
    const auto heads = [&](std::int64_t H, std::int64_t T, std::int64_t D) {
      const NoGrad off;
      const TensorOptions host{.device = Device(exec.device->runtime().cpu())};
      return rand({s.B, T, H, D}, host).to(p.dtype).to(Device(*exec.device)).transpose(1, 2);
    };
    t = {heads(s.Hq, s.Tq, s.D), heads(s.Hkv, s.Tk, s.D), heads(s.Hkv, s.Tk, s.Dv), heads(s.Hq, s.Tq, s.Dv)};
    for (std::size_t i = 0; i < 3; ++i) t[i].requires_grad_();
  }
  const Tensor y = scaled_dot_product_attention(t[0], t[1], t[2], {.causal = p.size.causal});
  autograd::grad(std::span(&y, 1), std::span(t.data(), 3), std::span(&t[3], 1));
}

const Implementation<TrainingProblem> kTrain[] = {
    {"op", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, train},
    {"op", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, train}};

void add_training(Bench& bench, const Size& a, DType dtype, RunsOn runs_on) {
  bench.row(ImplementationList<TrainingProblem>{"attention", "training", kTrain}, name_of(a),
            TrainingProblem{dtype, a, std::make_shared<std::vector<Tensor>>()}, 2, runs_on);
}

/// One token into each of B caches.
void add_append(Bench& bench, std::int64_t B, std::int64_t H, std::int64_t D, std::int64_t capacity) {
  KvAppendProblem p{};
  p.dtype = DType::f32;
  p.B = B, p.T = 1, p.H = H, p.D = D, p.capacity = capacity;
  p.x_batch = p.x_time = p.cache_time = H * D, p.x_head = p.cache_head = D;
  p.cache_batch = capacity * H * D;
  p.x_elements = B * H * D, p.cache_elements = B * p.cache_batch;
  bench.row(kKvAppend, std::to_string(B) + "x" + std::to_string(H) + "x" + std::to_string(D), p, capacity);
}

}  // namespace

void add_attention_rows(Bench& bench) {
  constexpr Size kGpu[] = {
      {"A1", {32, 12, 12, 1024, 1024, 64, 64}, true},    {"A2", {8, 32, 32, 2048, 2048, 64, 64}, true},
      {"A3", {2, 32, 32, 8192, 8192, 64, 64}, true},     {"A4", {2, 32, 32, 8192, 8192, 64, 64}, false},
      {"A5", {8, 16, 16, 2048, 2048, 128, 128}, true},   {"A6", {4, 16, 16, 4096, 4096, 128, 128}, true},
      {"A7", {2, 16, 16, 8192, 8192, 128, 128}, true},   {"A8", {2, 16, 16, 8192, 8192, 128, 128}, false},
      {"A9", {1, 16, 16, 16384, 16384, 128, 128}, true}, {"A10", {1, 64, 8, 8192, 8192, 128, 128}, true},
      {"A11", {64, 12, 12, 197, 197, 64, 64}, false},    {"A12", {16, 16, 16, 1536, 1536, 128, 128}, false}};
  constexpr Size kDecode[] = {{"", {8, 32, 8, 1, 4096, 128, 128}, true},
                              {"", {1, 32, 8, 1, 32768, 128, 128}, true},
                              {"", {64, 12, 12, 1, 1024, 64, 64}, true}};
  constexpr Size kCpu{"P10", {4, 12, 12, 256, 256, 64, 64}, false};
  constexpr Size kCpuCausal{"P10", {4, 12, 12, 256, 256, 64, 64}, true};
  constexpr Size kCpuDecode{"", {4, 12, 12, 1, 256, 64, 64}, true};
  for (const Size& a : {kCpu, kCpuCausal}) {
    add_both(bench, a, DType::f32, RunsOn::all_but_reference);
    add_training(bench, a, DType::f32, RunsOn::all_but_reference);
  }
  add_forward(bench, kCpuDecode, DType::f32, RunsOn::all_but_reference);
  for (const Size& a : kGpu) {
    add_both(bench, a, DType::bf16, RunsOn::gpu);
    add_training(bench, a, DType::bf16, RunsOn::gpu);
  }
  for (const Size& a : kDecode) add_forward(bench, a, DType::bf16, RunsOn::gpu);
  add_append(bench, 8, 8, 128, 256);
}

}  // namespace gpunn::bench
