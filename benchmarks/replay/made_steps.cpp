// Training steps computed from the sizes of layers, not recorded: forward keeps what backward needs, backward
// goes the other way and frees it, gradients live until the next step begins, optimizer states from the first
// update on. All tensors are f32.
#include <vector>

#include "benchmarks/replay/made_traces.h"

namespace gpunn::replay {

namespace {

constexpr std::size_t kFloat = 4;

/// One op of a model.
struct Op {
  std::size_t output = 0;           // bytes
  std::vector<std::size_t> kept{};  // made beside the output, needed by backward
  bool keeps_input = true;          // else the input goes as soon as the op has run
  std::size_t workspace = 0;        // while it runs, forward and backward
  std::size_t extra_gradient = 0;   // temporary of backward
  int parameters = 0;               // how many of the model's, in order
};

/// Parameters of a model in the order of its ops, and the states that the optimizer keeps of each.
class Training {
 public:
  Training(TraceBuilder& out, std::vector<std::size_t> parameters, int states)
      : out_(out), parameters_(std::move(parameters)), states_(states) {
    for (std::size_t bytes : parameters_) out_.alloc(bytes);
  }

  void step(const std::vector<Op>& ops, std::size_t batch_bytes) {
    for (std::uint32_t gradient : live_gradients_) out_.free(gradient);
    live_gradients_.clear();
    forward(ops, batch_bytes);
    backward(ops);
    if (!updated_)
      for (std::size_t bytes : parameters_)
        for (int i = 0; i < states_; ++i) out_.alloc(bytes);
    updated_ = true;
  }

 private:
  void forward(const std::vector<Op>& ops, std::size_t batch_bytes) {
    kept_.assign(ops.size(), {});
    std::uint32_t input = out_.alloc(batch_bytes);
    for (std::size_t i = 0; i < ops.size(); ++i) {
      const Op& op = ops[i];
      const std::uint32_t output = out_.alloc(op.output);
      for (std::size_t bytes : op.kept) kept_[i].push_back(out_.alloc(bytes));
      if (op.workspace) out_.free(out_.alloc(op.workspace));
      if (op.keeps_input)
        kept_[i].push_back(input);
      else
        out_.free(input);
      input = output;
    }
    loss_ = input;
  }

  void backward(const std::vector<Op>& ops) {
    std::uint32_t gradient = out_.alloc(ops.back().output);
    out_.free(loss_);
    std::size_t parameter = parameters_.size();
    for (std::size_t i = ops.size(); i-- > 0;) {
      const Op& op = ops[i];
      const std::uint32_t workspace = op.workspace ? out_.alloc(op.workspace) : 0;
      const std::uint32_t extra = op.extra_gradient ? out_.alloc(op.extra_gradient) : 0;
      const bool first = i == 0;  // the batch needs no gradient
      const std::uint32_t below = first ? 0 : out_.alloc(ops[i - 1].output);
      for (int p = 0; p < op.parameters; ++p) live_gradients_.push_back(out_.alloc(parameters_[--parameter]));
      if (op.extra_gradient) out_.free(extra);
      if (op.workspace) out_.free(workspace);
      for (std::uint32_t block : kept_[i]) out_.free(block);
      out_.free(gradient);
      gradient = below;
    }
  }

  TraceBuilder& out_;
  std::vector<std::size_t> parameters_;
  std::vector<std::uint32_t> live_gradients_;
  std::vector<std::vector<std::uint32_t>> kept_;  // per op
  std::uint32_t loss_ = 0;
  int states_;
  bool updated_ = false;
};

struct TransformerSizes {
  std::size_t layers, width, heads, vocabulary, positions;
};

std::vector<std::size_t> transformer_parameters(const TransformerSizes& s) {
  const std::size_t d = s.width * kFloat;
  std::vector<std::size_t> out{s.vocabulary * d, s.positions * d};
  for (std::size_t i = 0; i < s.layers; ++i)
    for (std::size_t bytes : {d, d, 3 * d * s.width, 3 * d, d * s.width, d,  // norm, qkv, projection
                              d, d, 4 * d * s.width, 4 * d, 4 * d * s.width, d})
      out.push_back(bytes);
  out.insert(out.end(), {d, d, s.vocabulary * d});
  return out;
}

/// One forward over [batch, tokens]; attention keeps a number per row instead of the scores.
std::vector<Op> transformer_ops(const TransformerSizes& s, std::size_t batch, std::size_t tokens) {
  const std::size_t rows = batch * tokens, x = rows * s.width * kFloat, row = rows * kFloat;
  std::vector<Op> ops{{.output = x, .parameters = 2}};  // both embeddings; keeps the token numbers
  for (std::size_t i = 0; i < s.layers; ++i) {
    ops.push_back({.output = x, .kept = {row, row}, .parameters = 2});  // norm
    ops.push_back({.output = 3 * x, .parameters = 2});                  // qkv
    ops.push_back({.output = x, .kept = {row * s.heads}, .extra_gradient = row * s.heads});
    ops.push_back({.output = x, .parameters = 2});       // projection
    ops.push_back({.output = x, .keeps_input = false});  // residual
    ops.push_back({.output = x, .kept = {row, row}, .parameters = 2});
    ops.push_back({.output = 4 * x, .parameters = 2});
    ops.push_back({.output = 4 * x});  // gelu
    ops.push_back({.output = x, .parameters = 2});
    ops.push_back({.output = x, .keeps_input = false});
  }
  ops.push_back({.output = x, .kept = {row, row}, .parameters = 2});
  ops.push_back({.output = rows * s.vocabulary * kFloat, .parameters = 1});
  ops.push_back({.output = kFloat, .kept = {row}});  // cross entropy
  return ops;
}

/// A model of convolutions, built layer by layer.
struct Convolutions {
  std::size_t batch, channels, side;
  std::vector<std::size_t> parameters{};
  std::vector<Op> ops{};

  std::size_t plane() const { return batch * channels * side * side * kFloat; }

  void convolution(std::size_t to, std::size_t kernel, std::size_t stride) {
    parameters.push_back(to * channels * kernel * kernel * kFloat);
    // Workspace: one picture unrolled, the usual price of a matrix product over windows.
    const std::size_t unrolled = channels * kernel * kernel * (side / stride) * (side / stride) * kFloat;
    channels = to;
    side /= stride;
    ops.push_back({.output = plane(), .workspace = kernel > 1 ? unrolled : 0, .parameters = 1});
    parameters.insert(parameters.end(), 2, channels * kFloat);  // batch norm, which keeps mean and deviation
    ops.push_back({.output = plane(), .kept = {channels * kFloat, channels * kFloat}, .parameters = 2});
  }
  void relu() { ops.push_back({.output = plane()}); }
  void add() { ops.push_back({.output = plane(), .keeps_input = false}); }

  /// 1x1, 3x3, 1x1 around an addition; where the size changes, the way around is a convolution as well.
  void bottleneck(std::size_t inner, std::size_t stride, bool changes) {
    const std::size_t from = channels, was = side;
    if (changes) {
      convolution(4 * inner, 1, stride);
      channels = from;
      side = was;
    }
    convolution(inner, 1, 1);
    relu();
    convolution(inner, 3, stride);
    relu();
    convolution(4 * inner, 1, 1);
    add();
    relu();
  }
};

}  // namespace

Trace make_transformer() {
  constexpr TransformerSizes kGpt2{
      .layers = 12, .width = 768, .heads = 12, .vocabulary = 50'257, .positions = 1024};
  TraceBuilder out("transformer", "computed");
  Training training(out, transformer_parameters(kGpt2), 2);
  const auto ops = transformer_ops(kGpt2, 8, 1024);
  for (int step = 0; step < 6; ++step) training.step(ops, 8 * 1024 * sizeof(std::int64_t));
  return out.take();
}

Trace make_varying_lengths() {
  constexpr TransformerSizes kSmall{
      .layers = 6, .width = 512, .heads = 8, .vocabulary = 32'000, .positions = 1024};
  TraceBuilder out("varying", "computed");
  Training training(out, transformer_parameters(kSmall), 2);
  Random random(50);
  for (int step = 0; step < 50; ++step) {
    const std::size_t tokens = 64 + random.below(961);
    training.step(transformer_ops(kSmall, 16, tokens), 16 * tokens * sizeof(std::int64_t));
  }
  return out.take();
}

Trace make_resnet() {
  Convolutions net{.batch = 32, .channels = 3, .side = 224};
  net.convolution(64, 7, 2);
  net.relu();
  net.side /= 2;
  net.ops.push_back({.output = net.plane(), .kept = {2 * net.plane()}, .keeps_input = false});  // max pool
  const std::size_t depths[] = {3, 4, 6, 3};
  for (std::size_t stage = 0; stage < 4; ++stage)
    for (std::size_t block = 0; block < depths[stage]; ++block)
      net.bottleneck(std::size_t{64} << stage, stage > 0 && block == 0 ? 2 : 1, block == 0);
  const std::size_t features = net.channels * kFloat;
  net.ops.push_back({.output = net.batch * features, .keeps_input = false});  // mean over the plane
  net.parameters.insert(net.parameters.end(), {1000 * features, 1000 * kFloat});
  net.ops.push_back({.output = net.batch * 1000 * kFloat, .parameters = 2});
  net.ops.push_back({.output = kFloat, .kept = {net.batch * 1000 * kFloat}});
  TraceBuilder out("resnet", "computed");
  Training training(out, net.parameters, 1);
  for (int step = 0; step < 6; ++step) training.step(net.ops, net.batch * 3 * 224 * 224 * kFloat);
  return out.take();
}

}  // namespace gpunn::replay
