// init-study: how large activations and gradients are, layer after layer, for eight rules of initial weights.
//
// Theory. Weights are independent, symmetric around 0 and of variance s^2, biases 0. A layer z = W h with
// n_in inputs has E z^2 = n_in s^2 E h^2, and z is symmetric given h, so that ReLU keeps half: E relu(z)^2 =
// E z^2 / 2. Backward, dh = W^T dz has E dh^2 = n_out s^2 E dz^2, and ReLU's mask, which is as likely 0 as 1
// whatever the weights of other layers are, halves that again. From inputs and output gradients N(0, 1):
//   std z_l = prod_{k <= l} s_k sqrt(n_{k-1} c_k),  c_1 = 1, c_k = 1/2 with ReLU else 1
//   std dz_l = prod_{k > l} s_k sqrt(n_k c),        c = 1/2 with ReLU else 1 (1 for the input itself)
// Exact at any width as means over networks. A single ReLU network strays from them: the mean square of a
// layer of n units has a relative variance of up to 5 / n, and ten layers multiply. Hence many networks.
#include "gpunn/layers/init.h"

#include <algorithm>
#include <chrono>

#include "gpunn/core/autograd.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/init_study.h"
#include "gpunn/models/recipes/detail/numbers.h"

namespace gpunn {

namespace detail {

namespace {

constexpr std::int64_t kTogether = 16;  // most networks computed as one batch of matrix products
constexpr std::int64_t kRows = 8;       // inputs of each network
constexpr std::int64_t kPictured = 4;   // batches whose values go into the histograms

double root_of(double variance) { return std::sqrt(variance); }

constexpr InitScheme kSchemes[] = {
    {"zeros", "zeros", [](double, double) { return 0.0; }, [](const Tensor& w) { init::zeros(w); }},
    {"normal", "normal 0.01", [](double, double) { return 0.01; },
     [](const Tensor& w) { init::normal(w, 0, 0.01); }},
    {"xavier", "Xavier, std 1/sqrt(in)", [](double in, double) { return root_of(1 / in); },
     [](const Tensor& w) { init::normal(w, 0, root_of(1 / init::fans_of(w).in)); }},
    {"he", "He, std sqrt(2/in)", [](double in, double) { return root_of(2 / in); },
     [](const Tensor& w) { init::he_normal(w); }},
    {"sqrt_max", "std 1/sqrt(max)", [](double in, double out) { return root_of(1 / std::max(in, out)); },
     [](const Tensor& w) { init::sqrt_max(w); }},
    {"one_over_max", "std 1/max", [](double in, double out) { return 1 / std::max(in, out); },
     [](const Tensor& w) {
       const init::Fans fans = init::fans_of(w);
       init::normal(w, 0, 1 / std::max(fans.in, fans.out));
     }},
    {"glorot", "Glorot, variance 2/(in+out)", [](double in, double out) { return root_of(2 / (in + out)); },
     [](const Tensor& w) { init::xavier_normal(w); }},
    {"relu_glorot", "ReLU-Glorot, variance 4/(in+out)",
     [](double in, double out) { return root_of(4 / (in + out)); },
     [](const Tensor& w) { init::xavier_normal(w, root_of(2)); }},
};

double mean_square(const Tensor& x) { return mean(square(x)).item(); }
double root_mean_square(const Tensor& x) { return std::sqrt(mean_square(x)); }

LayerResult measure_layer(const InitScheme& scheme, std::int64_t rows) {
  LayerResult r;
  const double s = scheme.deviation(kLayerIn, kLayerOut);
  const Tensor w = empty({kLayerOut, kLayerIn});
  scheme.fill(w);
  const Tensor x = randn({rows, kLayerIn}).requires_grad_(), dz = randn({rows, kLayerOut});
  const Tensor z = linear(x, w), h = relu(z);
  const auto gradient = [&](const Tensor& y) {
    return autograd::grad(std::span(&y, 1), std::span(&x, 1), std::span(&dz, 1), true)[0];
  };
  r.weight = {root_mean_square(w), s};
  r.forward = {root_mean_square(z.detach()), s * root_of(kLayerIn)};
  r.forward_relu = {root_mean_square(h.detach()), s * root_of(kLayerIn / 2.0)};
  r.backward = {root_mean_square(gradient(z)), s * root_of(kLayerOut)};
  r.backward_relu = {root_mean_square(gradient(h)), s * root_of(kLayerOut / 2.0)};
  r.weights = Histogram(0.2);
  r.weights.add(w);
  return r;
}

/// What is kept of one scheme's stack while networks go by.
class StackStudy {
 public:
  StackStudy(const InitScheme& scheme, bool with_relu)
      : scheme_(scheme), relu_(with_relu), z_(kStackLayers), dz_(kStackLayers) {
    result_.activations.resize(kStackLayers);
    result_.gradients.resize(kStackLayers);
    const auto z = expected_activations(scheme, with_relu), dz = expected_gradients(scheme, with_relu);
    const double z_limit = 3.5 * *std::max_element(z.begin(), z.end());
    const double dz_limit = 3.5 * *std::max_element(dz.begin(), dz.end());
    for (std::size_t l = 0; l < kStackLayers; ++l) {
      result_.activations[l].expected = z[l];
      result_.gradients[l].expected = dz[l];
      result_.activation_histograms.emplace_back(z_limit > 0 ? z_limit : 1);
      result_.gradient_histograms.emplace_back(dz_limit > 0 ? dz_limit : 1);
    }
  }

  /// `unit`: standard normal weights [networks, out, in] of each layer, which the scheme scales.
  void add(const std::vector<Tensor>& unit, const Tensor& x, const Tensor& gradient, bool picture) {
    std::vector<Tensor> inputs{x.detach().requires_grad_()};  // of which gradients are asked
    Tensor h = inputs[0], z;
    for (std::size_t l = 0; l < kStackLayers; ++l) {
      const double s =
          scheme_.deviation(static_cast<double>(kStackWidths[l]), static_cast<double>(kStackWidths[l + 1]));
      z = matmul(h, (unit[l] * s).transpose(1, 2));
      z_[l].add(mean_square(z.detach()));
      if (picture) result_.activation_histograms[l].add(z.detach());
      if (l + 1 == kStackLayers) break;
      inputs.push_back(z);
      h = relu_ ? relu(z) : z;
    }
    const auto gradients = autograd::grad(std::span(&z, 1), inputs, std::span(&gradient, 1));
    for (std::size_t l = 0; l < kStackLayers; ++l) {
      dz_[l].add(mean_square(gradients[l]));
      if (picture) result_.gradient_histograms[l].add(gradients[l]);
    }
  }

  StackResult take() {
    for (std::size_t l = 0; l < kStackLayers; ++l) {
      result_.activations[l].measured = z_[l].value();
      result_.gradients[l].measured = dz_[l].value();
      result_.standard_error =
          std::max({result_.standard_error, z_[l].relative_error(), dz_[l].relative_error()});
    }
    return std::move(result_);
  }

 private:
  const InitScheme& scheme_;
  bool relu_;
  std::vector<RootMean> z_, dz_;
  StackResult result_;
};

}  // namespace

std::span<const InitScheme> init_schemes() noexcept { return kSchemes; }

void Histogram::add(const Tensor& values) {
  for (const float v : values.to_vector<float>()) {
    const double place = (static_cast<double>(v) + limit_) / (2 * limit_) * kBins;
    if (place >= 0 && place < kBins) ++counts_[static_cast<std::size_t>(place)];
    ++total_;
  }
}

ChartSeries Histogram::series(std::string name) const {
  ChartSeries s{.name = std::move(name), .style = ChartSeries::Style::steps};
  const double width = 2 * limit_ / kBins;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    s.x.push_back(-limit_ + width * static_cast<double>(i));
    s.y.push_back(total_ > 0 ? counts_[i] / (total_ * width) : 0);
  }
  s.x.push_back(limit_);
  s.y.push_back(s.y.empty() ? 0 : s.y.back());
  return s;
}

std::vector<double> expected_activations(const InitScheme& scheme, bool relu) {
  std::vector<double> out;
  double now = 1;
  for (std::size_t l = 0; l < kStackLayers; ++l) {
    const auto in = static_cast<double>(kStackWidths[l]), units = static_cast<double>(kStackWidths[l + 1]);
    now *= scheme.deviation(in, units) * root_of(relu && l > 0 ? in / 2 : in);
    out.push_back(now);
  }
  return out;
}

std::vector<double> expected_gradients(const InitScheme& scheme, bool relu) {
  std::vector<double> out(kStackLayers);
  double now = 1;
  for (std::size_t l = kStackLayers; l-- > 0;) {
    const auto in = static_cast<double>(kStackWidths[l]), units = static_cast<double>(kStackWidths[l + 1]);
    now *= scheme.deviation(in, units) * root_of(relu && l > 0 ? units / 2 : units);
    out[l] = now;
  }
  return out;
}

double worst_of_layer(const LayerResult& r) {
  double worst = 0;
  for (const Deviation& d : {r.weight, r.forward, r.forward_relu, r.backward, r.backward_relu})
    worst = std::max(worst, d.relative());
  return worst;
}

double worst_of_stack(const StackResult& r) {
  double worst = 0;
  for (const auto* all : {&r.activations, &r.gradients})
    for (const Deviation& d : *all) worst = std::max(worst, d.relative());
  return worst;
}

}  // namespace detail

namespace {

using namespace detail;

constexpr double kTolerance = 0.02;
// Without ReLU the inputs of one network stray independently of each other: fewer networks do.
constexpr std::int64_t kLinearShare = 8;

struct InitSettings : RunSettings {
  std::int64_t networks = 4800;
  std::int64_t rows = 2048;
  InitSettings() { epochs = 0; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"networks", &networks, "random networks with ReLU to average over", 1, 1e6});
    all.push_back({"rows", &rows, "inputs of the single layer", 1, 1e6});
    return all;
  }
};

void measure_stacks(RecipeContext& context, std::vector<SchemeResult>& all) {
  const auto& settings = static_cast<const InitSettings&>(context.settings());
  const std::int64_t together = std::min(settings.networks, kTogether);
  const std::int64_t batches = (settings.networks + together - 1) / together;
  std::vector<StackStudy> linear, rectified;
  for (const InitScheme& scheme : init_schemes()) {
    linear.emplace_back(scheme, false);
    rectified.emplace_back(scheme, true);
  }
  for (std::int64_t b = 0; b < batches && !context.stopped(); ++b) {
    std::vector<Tensor> unit(kStackLayers);
    for (std::size_t l = 0; l < kStackLayers; ++l)
      unit[l] = randn({together, kStackWidths[l + 1], kStackWidths[l]});
    const Tensor x = randn({together, kRows, kStackWidths[0]});
    const Tensor gradient = randn({together, kRows, kStackWidths[kStackLayers]});
    for (std::size_t s = 0; s < rectified.size(); ++s) {
      // Zeros stay zeros, however often.
      if (b > 0 && all[s].layer.weight.expected == 0) continue;
      rectified[s].add(unit, x, gradient, b < kPictured);
      if (b % kLinearShare == 0) linear[s].add(unit, x, gradient, b < kPictured * kLinearShare);
    }
    if (context.hooks().progress)
      context.hooks().progress->update({b + 1, batches, b + 1, batches, std::nan("")});
  }
  for (std::size_t s = 0; s < all.size(); ++s) {
    all[s].linear = linear[s].take();
    all[s].relu = rectified[s].take();
  }
}

void record(RecipeContext& context, RecipeResult& result, const std::vector<SchemeResult>& all) {
  double layer = 0, linear = 0, rectified = 0, error = 0;
  for (const SchemeResult& r : all) {
    const double own_layer = worst_of_layer(r.layer), own_linear = worst_of_stack(r.linear),
                 own_relu = worst_of_stack(r.relu);
    layer = std::max(layer, own_layer);
    linear = std::max(linear, own_linear);
    rectified = std::max(rectified, own_relu);
    error = std::max({error, r.linear.standard_error, r.relu.standard_error});
    JsonWriter json;
    json.begin_object().field("scheme", r.scheme->key).field("layer_deviation", own_layer);
    json.field("linear_stack_deviation", own_linear).field("relu_stack_deviation", own_relu);
    json.field("relu_last_activation", r.relu.activations.back().measured);
    json.field("relu_first_gradient", r.relu.gradients.front().measured);
    context.folder().append_metrics(json.end_object().take());
    context.say("  " + std::string(r.scheme->title) + ": off by " + fixed(100 * own_layer, 2) +
                " % (784 to 128), " + fixed(100 * own_linear, 2) + " % (linear stack), " +
                fixed(100 * own_relu, 2) + " % (ReLU stack); std of z10 " +
                significant(r.relu.activations.back().measured, 3));
  }
  const double worst = std::max({layer, linear, rectified});
  result.metric("worst_deviation", worst);
  result.metric("worst_deviation_layer", layer);
  result.metric("worst_deviation_linear_stack", linear);
  result.metric("worst_deviation_relu_stack", rectified);
  result.metric("standard_error", error);
  result.reached = !result.stopped && worst <= kTolerance;
}

RecipeResult run(RecipeContext& context) {
  const auto start = std::chrono::steady_clock::now();
  const auto& settings = static_cast<const InitSettings&>(context.settings());
  RecipeResult result;
  context.folder();
  std::vector<SchemeResult> all;
  for (const InitScheme& scheme : init_schemes())
    all.push_back(
        {.scheme = &scheme, .layer = measure_layer(scheme, settings.rows), .linear = {}, .relu = {}});
  measure_stacks(context, all);
  result.stopped = context.stopped();
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  record(context, result, all);
  write_init_report(context, all, result);
  return result;
}

}  // namespace

const Recipe kInitStudy{"init-study",
                        "feed-forward networks",
                        "sizes of activations and gradients through depth for eight rules of initial weights",
                        "random inputs",
                        "every measured standard deviation within 2 % of theory",
                        [] { return std::unique_ptr<RunSettings>(std::make_unique<InitSettings>()); },
                        run};

}  // namespace gpunn
