// vanishing-gradient: what is left of a gradient after many steps back in time, in closed form and measured.
//
// Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient descent is difficult", 1994.
// Gates that begin open: forget and update biases from log U(1, T - 1), the input gate's their negative
// (Tallec and Ollivier, "Can recurrent neural networks warp time?", 2018). With PyTorch's usual start a
// forget gate is near 1/2 and the LSTM's cell forgets like 2^-T, too: the report shows both.
#include <algorithm>
#include <chrono>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/recurrent.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/recipes/detail/vanishing_run.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/optimizer.h"

namespace gpunn {

using detail::MemoryRun;
using detail::MemorySystem;
using detail::RecurrentStart;

namespace {

constexpr std::int64_t kLengths[] = {5, 10, 15, 20, 30, 40, 50, 70, 100};
constexpr std::int64_t kInputs = 8, kBatch = 8, kExplodingSteps = 50, kExplodingUnits = 16;
constexpr double kLeastFloat = 1e-37;  // below, f32 rounds to few digits and then to zero
constexpr double kVanished = 1e-6, kKept = 1e-2, kExact = 1e-5;

const MemorySystem kSystems[] = {
    {"rnn_tenth", "RNN, W 0.1 N(0, 1)", RnnMode::tanh, RecurrentStart::tenth},
    {"rnn", "RNN", RnnMode::tanh, RecurrentStart::usual},
    {"gru", "GRU", RnnMode::gru, RecurrentStart::usual},
    {"lstm", "LSTM", RnnMode::lstm, RecurrentStart::usual},
    {"gru_open", "GRU, open gates", RnnMode::gru, RecurrentStart::open_gates},
    {"lstm_open", "LSTM, open gates", RnnMode::lstm, RecurrentStart::open_gates},
};

struct VanishingSettings : RunSettings {
  std::int64_t hidden = 32;
  std::int64_t longest = 100;
  double lr = 0.05;
  double clip = 1;
  double weight = 1.2;
  VanishingSettings() { epochs = 0, steps = 300; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"hidden", &hidden, "recurrent units", 1, 4096});
    all.push_back({"longest", &longest, "steps of the longest sequence", 5, 100});
    all.push_back({"lr", &lr, "learning rate of the net that explodes", 0});
    all.push_back({"clip", &clip, "largest norm of its gradient", 0});
    all.push_back({"weight", &weight, "what its recurrent weight multiplies every state by", 0});
    return all;
  }
};

detail::ChainPoint measure_chain(std::int64_t steps, Device device) {
  const Tensor h0 = full({1}, 0.5, {.device = device, .requires_grad = true});
  Tensor h = h0;
  for (std::int64_t t = 0; t < steps; ++t) h = sigmoid(h * 0.5 - 0.25);
  h.backward();
  return {steps, std::pow(0.5 * 0.25, static_cast<double>(steps)), h0.grad().item()};
}

// Undefined where the closed form leaves f32's range: what is measured must have vanished as well.
double chain_error(const detail::ChainPoint& p) {
  if (p.closed < kLeastFloat) return p.measured >= 0 && p.measured < kLeastFloat ? 0 : 1;
  const double error = std::abs(p.measured / p.closed - 1);
  return std::isfinite(error) ? error : 1;
}

Tensor open_bias(std::int64_t hidden, std::int64_t longest) {
  std::vector<float> values = rand({hidden}, {.device = Device::cpu()}).to_vector<float>();
  const double span = std::max<double>(static_cast<double>(longest) - 2, 1);
  for (float& v : values) v = static_cast<float>(std::log(1 + span * static_cast<double>(v)));
  return Tensor::from(values, {hidden}, {.device = Device::cpu()});
}

void begin(Recurrent& layer, RecurrentStart start, std::int64_t longest) {
  const NoGrad no_grad;
  const Recurrent::Weights& w = layer.weights(0);
  const std::int64_t H = layer.hidden_size();
  if (start == RecurrentStart::tenth) init::normal(w.hh, 0, 0.1);
  if (start != RecurrentStart::open_gates) return;
  const Tensor bias = open_bias(H, longest);
  w.bias_hh.zero_();
  w.bias_ih.narrow(0, H, H).copy_(bias);  // forget gate, or GRU's update gate
  if (layer.mode() == RnnMode::lstm) w.bias_ih.narrow(0, 0, H).copy_(bias * -1.0);
}

std::vector<double> norms(const Tensor& steps) {  // [T, ...]
  const std::vector<float> all = steps.to_vector<float>();
  const auto T = static_cast<std::size_t>(steps.size(0)), n = all.size() / T;
  std::vector<double> out(T);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto v = static_cast<double>(all[i]);
    out[i / n] += v * v;
  }
  for (double& v : out) v = std::sqrt(v);
  return out;
}

template <class Layer>
MemoryRun measure(const MemorySystem& system, const VanishingSettings& s) {
  Layer layer(kInputs, s.hidden);
  begin(layer, system.start, s.longest);
  const Tensor weights = randn({kBatch, s.hidden});
  MemoryRun run{.system = &system};
  for (const std::int64_t length : kLengths) {
    if (length > s.longest) break;
    const Tensor x = randn({length, kBatch, kInputs}).requires_grad_();
    sum(layer(x).select(0, length - 1) * weights).backward();
    run.through = norms(x.grad());
    run.lengths.push_back(length);
    run.shares.push_back(run.through.front() / run.through.back());
  }
  return run;
}

MemoryRun measure_system(const MemorySystem& system, const VanishingSettings& s) {
  switch (system.mode) {
    case RnnMode::lstm:
      return measure<LSTM>(system, s);
    case RnnMode::gru:
      return measure<GRU>(system, s);
    case RnnMode::tanh:
    case RnnMode::relu:
      break;
  }
  return measure<RNN>(system, s);
}

// A ReLU net whose recurrent weight is a multiple of the identity (Le, Jaitly and Hinton, "A simple way to
// initialize recurrent networks of rectified linear units", 2015, with the factor 1): gradients grow by it at
// each step. It learns the mean of a sequence.
struct ExplodingNet : Module {
  RNN rnn{1, kExplodingUnits, {.nonlinearity = RnnNonlinearity::relu}};
  Linear head{kExplodingUnits, 1};
  explicit ExplodingNet(double weight) {
    const NoGrad no_grad;
    const Recurrent::Weights& w = rnn.weights(0);
    w.hh.zero_();
    for (std::int64_t i = 0; i < kExplodingUnits; ++i) w.hh.select(0, i).narrow(0, i, 1).fill_(weight);
    w.bias_ih.zero_();
    w.bias_hh.zero_();
  }
  GPUNN_MEMBERS(rnn, head)
  using Module::forward;
};

struct ExplodingStep {
  double loss, norm, norm_after, growth;
};

ExplodingStep explode(ExplodingNet& net, const Tensor& x, Optimizer& optimizer, double clip) {
  optimizer.zero_grad();
  x.requires_grad_();
  const Tensor last = net.rnn(x).select(0, x.size(0) - 1);
  const Tensor loss = mse_loss(net.head(last), mean(x.detach(), {0}));
  loss.backward();
  // An infinite bound measures without clipping.
  const double norm = clip_grad_norm_(net.parameters(), clip > 0 ? clip : HUGE_VAL).item();
  const double after = clip > 0 ? clip_grad_norm_(net.parameters(), HUGE_VAL).item() : norm;
  optimizer.step();
  const std::vector<double> through = norms(x.grad());
  return {loss.item(), norm, after, through.front() / through.back()};
}

std::vector<double> train_exploding(RecipeContext& context, double clip, detail::ExplodingRun& run,
                                    std::int64_t& steps) {
  const auto& s = static_cast<const VanishingSettings&>(context.settings());
  manual_seed(s.seed);  // the same weights and data with and without clipping
  ExplodingNet net(s.weight);
  SGD optimizer(net.parameters(), {.lr = s.lr});
  std::vector<double> losses;
  const std::int64_t length = std::min(s.longest, kExplodingSteps);
  for (std::int64_t i = 0; i < s.steps && !context.stopped(); ++i) {
    const ExplodingStep step = explode(net, rand({length, kBatch, 1}), optimizer, clip);
    ++steps;
    if (i == 0 && clip > 0)
      run.norm_before = step.norm, run.norm_after = step.norm_after, run.growth = step.growth;
    if (!std::isfinite(step.loss)) {
      run.diverged = run.diverged || clip == 0;
      break;
    }
    losses.push_back(step.loss);
  }
  return losses;
}

void add_metrics(RecipeContext& context, RecipeResult& result, const detail::VanishingRun& run) {
  result.metric("closed_form_error", run.chain_error);
  for (const MemoryRun& m : run.memory) {
    result.metric(std::string(m.system->key) + "_share", m.last_share());
    for (std::size_t i = 0; i < m.lengths.size(); ++i) {
      JsonWriter json;
      json.begin_object().field("system", m.system->key).field("steps", m.lengths[i]);
      context.folder().append_metrics(json.field("share", m.shares[i]).end_object().take());
    }
    context.say(std::string(m.system->title) + ": of the gradient " + detail::short_text(m.last_share()) +
                " is left after " + std::to_string(m.lengths.back()) + " steps");
  }
  result.metric("clipped_norm", run.exploding.norm_after);
  result.metric("unclipped_norm", run.exploding.norm_before);
  result.metric("growth_through_time", run.exploding.growth);
  result.metric("diverged_without_clipping", run.exploding.diverged ? 1 : 0);
  result.metric("clipped_first_loss", run.exploding.clipped.empty() ? 0 : run.exploding.clipped.front());
  result.metric("clipped_last_loss", run.exploding.clipped.empty() ? 0 : run.exploding.clipped.back());
}

bool reached(const detail::VanishingRun& run, double clip) {
  const detail::ExplodingRun& e = run.exploding;
  const auto share = [&](std::string_view key) {
    for (const MemoryRun& m : run.memory)
      if (m.system->key == key && m.lengths.back() == 100) return m.last_share();
    return std::nan("");
  };
  const bool rescued = e.diverged && !e.clipped.empty() && e.clipped.back() < 1e-2 * e.clipped.front();
  return run.chain_error <= kExact && share("rnn") < kVanished && share("rnn_tenth") < kVanished &&
         share("lstm_open") > kKept && e.norm_before > clip && std::abs(e.norm_after / clip - 1) <= 1e-4 &&
         rescued;
}

RecipeResult run(RecipeContext& context) {
  const auto& s = static_cast<const VanishingSettings&>(context.settings());
  RunFolder& folder = context.folder();
  const auto start = std::chrono::steady_clock::now();
  detail::VanishingRun run;
  for (const std::int64_t length : kLengths) {
    if (length > s.longest) break;
    run.chain.push_back(measure_chain(length, context.device()));
    run.chain_error = std::max(run.chain_error, chain_error(run.chain.back()));
  }
  for (const MemorySystem& system : kSystems) {
    manual_seed(s.seed);
    run.memory.push_back(measure_system(system, s));
  }
  run.exploding.clipped = train_exploding(context, s.clip, run.exploding, run.steps);
  run.exploding.free = train_exploding(context, 0, run.exploding, run.steps);

  RecipeResult result;
  result.steps = run.steps;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.stopped = context.stopped();
  if (!run.exploding.clipped.empty()) result.train_loss = run.exploding.clipped.back();
  add_metrics(context, result, run);
  result.reached = !result.stopped && reached(run, s.clip);
  folder.write_weights({});
  result.weights_sha256 = weights_sha256({});
  write_vanishing_report(context, run, result);
  return result;
}

}  // namespace

const Recipe kVanishingGradient{
    "vanishing-gradient",
    "sequences",
    "gradients through time: they vanish, survive behind open gates, explode, and are clipped",
    "none",
    "(.5 .25)^T to 1e-5; of 100 steps RNN keeps < 1e-6, LSTM (open gates) > 1e-2; clipped norm = 1",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<VanishingSettings>()); },
    run};

}  // namespace gpunn
