// forward-trace: a 2-3-1 network followed through every product, bias and activation.
#include <algorithm>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/io/diagrams.h"
#include "gpunn/io/file.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/report.h"

namespace gpunn {

namespace {

using detail::fixed;
using detail::significant;
using Values = std::vector<double>;

constexpr double kTolerance = 1e-6;

struct TraceSettings : RunSettings {
  TraceSettings() { epochs = 0; }
};

struct TraceNet : Module {
  Linear hidden{2, 3}, out{3, 1};
  GPUNN_MEMBERS(hidden, out)
  Tensor forward(const Tensor& x) override { return sigmoid(out(relu(hidden(x)))); }
};

// The weights as the exercise writes them, [in, out]; a Linear holds the transpose.
const Values kInput{2, 3};
const Values kWeight1{0.5, -0.3, 0.8, 0.2, 0.6, -0.4}, kBias1{0.1, -0.2, 0.3};
const Values kWeight2{0.4, -0.5, 0.7}, kBias2{0.2};

Tensor matrix(const Values& values, std::int64_t rows, std::int64_t columns) {
  const std::vector<float> f(values.begin(), values.end());
  return Tensor::from(f, {rows, columns});
}

void load(TraceNet& net) {
  NoGrad no_grad;
  net.hidden.weight.copy_(matrix(kWeight1, 2, 3).t());
  net.hidden.bias.copy_(matrix(kBias1, 1, 3).reshape({3}));
  net.out.weight.copy_(matrix(kWeight2, 3, 1).t());
  net.out.bias.copy_(matrix(kBias2, 1, 1).reshape({1}));
}

/// One line of the trace. `hand` is the result on paper, `ours` the library's.
struct Step {
  const char* symbol;
  const char* what;
  std::vector<std::string> on_paper;  // of each element: the computation written out
  Values hand, ours;
  double error() const { return detail::largest_difference(ours, hand); }
  bool ok() const { return error() <= kTolerance; }
};

// "2*0.5 + 3*0.2" for each column of w [in, out].
std::vector<std::string> products(const Values& x, const Values& w) {
  const std::size_t columns = w.size() / x.size();
  std::vector<std::string> lines(columns);
  for (std::size_t j = 0; j < columns; ++j)
    for (std::size_t i = 0; i < x.size(); ++i)
      lines[j] += (i ? " + " : "") + significant(x[i], 6) + "*" + significant(w[i * columns + j], 6);
  return lines;
}

std::vector<std::string> sums(const Values& a, const Values& b) {
  std::vector<std::string> lines(a.size());
  for (std::size_t i = 0; i < a.size(); ++i) lines[i] = significant(a[i], 6) + " + " + significant(b[i], 6);
  return lines;
}

std::vector<std::string> applied(const char* function, const Values& x) {
  std::vector<std::string> lines;
  for (const double v : x) lines.push_back(std::string(function) + "(" + significant(v, 6) + ")");
  return lines;
}

// The hand computation:
//   x W1  = (1 + 0.6, -0.6 + 1.8, 1.6 - 1.2)    = (1.6, 1.2, 0.4)
//   z1    = (1.6 + 0.1, 1.2 - 0.2, 0.4 + 0.3)   = (1.7, 1, 0.7)
//   h     = z1, nothing is negative
//   h W2  = 0.68 - 0.5 + 0.49                   = 0.67
//   z2    = 0.67 + 0.2                          = 0.87
//   y     = 1 / (1 + e^-0.87), e^-0.87 = 0.418951549247639
std::vector<Step> trace() {
  const Values product1{1.6, 1.2, 0.4}, z1{1.7, 1, 0.7}, h{1.7, 1, 0.7}, product2{0.67}, z2{0.87};
  const Values y{1 / 1.418951549247639};
  const Tensor x = matrix(kInput, 1, 2);
  const Tensor xw = matmul(x, matrix(kWeight1, 2, 3));
  const Tensor sum1 = xw + matrix(kBias1, 1, 3);
  const Tensor active = relu(sum1);
  const Tensor hw = matmul(active, matrix(kWeight2, 3, 1));
  const Tensor sum2 = hw + matrix(kBias2, 1, 1);
  const Tensor probability = sigmoid(sum2);
  const auto values = [](const Tensor& t) { return t.to_vector<double>(); };
  return {
      {"x", "input", {"", ""}, kInput, values(x)},
      {"x W1", "hidden layer: products", products(kInput, kWeight1), product1, values(xw)},
      {"z1", "hidden layer: plus bias", sums(product1, kBias1), z1, values(sum1)},
      {"h", "hidden layer: ReLU", applied("relu", z1), h, values(active)},
      {"h W2", "output: products", products(h, kWeight2), product2, values(hw)},
      {"z2", "output: plus bias", sums(product2, kBias2), z2, values(sum2)},
      {"y", "output: sigmoid", applied("sigmoid", z2), y, values(probability)},
  };
}

std::vector<std::string> notes_of(const Values& biases) {
  std::vector<std::string> notes;
  for (const double b : biases) notes.push_back("bias " + significant(b, 4));
  return notes;
}

std::vector<std::string> labels_of(const Values& values, int digits) {
  std::vector<std::string> labels;
  for (const double v : values) labels.push_back(significant(v, digits));
  return labels;
}

NetworkDiagram diagram_of(TraceNet& net, const std::vector<Step>& steps) {
  return {.title = "The network and what flows through it",
          .layers = {{.name = "input x", .neurons = 2, .labels = labels_of(steps[0].ours, 4)},
                     {.name = "hidden, ReLU",
                      .neurons = 3,
                      .labels = labels_of(steps[3].ours, 4),
                      .notes = notes_of(kBias1)},
                     {.name = "output, sigmoid",
                      .neurons = 1,
                      .labels = labels_of(steps[6].ours, 4),
                      .notes = notes_of(kBias2)}},
          .weights = {net.hidden.weight.detach().to_vector<double>(),
                      net.out.weight.detach().to_vector<double>()}};
}

void write_report(RecipeContext& context, TraceNet& net, const std::vector<Step>& steps, double module_output,
                  const RecipeResult& result) {
  HtmlReport report("forward-trace", "One input through a 2-3-1 network, step by step");
  report.figure("output", fixed(module_output, 6), "the network's forward()",
                result.reached ? Tone::good : Tone::bad);
  report.figure("largest error", significant(result.metrics[0].second, 2), "against the hand computation",
                result.reached ? Tone::good : Tone::bad);
  const Svg picture = draw(diagram_of(net, steps));
  report.drawing(picture);
  write_file_atomic(context.folder().file("network.svg"), picture.document());
  report.section("Every intermediate");
  report.text("Blue connections have positive weights, orange ones negative; the thicker, the larger.");
  std::vector<std::vector<std::string>> rows;
  for (const Step& step : steps)
    for (std::size_t i = 0; i < step.hand.size(); ++i)
      rows.push_back({i == 0 ? step.what : "", step.symbol + ("[" + std::to_string(i + 1) + "]"),
                      step.on_paper[i], significant(step.hand[i], 9),
                      i < step.ours.size() ? significant(step.ours[i], 9) : "none",
                      step.ok() ? "✓" : "✗ differs"});
  report.table({"step", "value", "on paper", "by hand", "ours", "agrees"}, rows);
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

RecipeResult run(RecipeContext& context) {
  NoGrad no_grad;
  TraceNet net;
  load(net);
  const std::vector<Step> steps = trace();
  RecipeResult result;
  double worst = 0;
  for (const Step& step : steps) {
    worst = std::max(worst, step.error());
    for (std::size_t i = 0; i < step.hand.size(); ++i)
      context.say("  " + std::string(step.symbol) + "[" + std::to_string(i + 1) +
                  "] = " + (step.on_paper[i].empty() ? "" : step.on_paper[i] + " = ") +
                  significant(step.ours.at(i), 9));
    JsonWriter json;
    json.begin_object()
        .field("step", step.symbol)
        .field("what", step.what)
        .field("ours", significant(step.ours, 9));
    context.folder().append_metrics(json.field("error", step.error()).end_object().take());
  }
  // The whole network at once must give what the steps gave.
  const double output = net(matrix(kInput, 1, 2)).item();
  const double output_error = std::abs(output - steps.back().hand[0]);
  result.metric("worst_error", worst);
  result.metric("output", output);
  result.metric("output_error", output_error);
  result.reached = worst <= kTolerance && output_error <= kTolerance;
  const StateDict weights = net.state_dict();
  context.folder().write_weights(weights);
  result.weights_sha256 = weights_sha256(weights);
  write_report(context, net, steps, output, result);
  return result;
}

}  // namespace

const Recipe kForwardTrace{"forward-trace",
                           "feed-forward networks",
                           "2-3-1 network with fixed weights, followed step by step",
                           "none",
                           "every intermediate equals the hand computation to 1e-6",
                           [] { return std::unique_ptr<RunSettings>(std::make_unique<TraceSettings>()); },
                           run};

}  // namespace gpunn
