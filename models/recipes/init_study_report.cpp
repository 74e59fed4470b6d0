// The report of init-study: sizes through depth, and how values are distributed.
#include <algorithm>
#include <cmath>

#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/init_study.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr std::size_t kShownLayers[] = {0, 1, 4, 9};

// Measured points over theory's lines; rules that give zero have no place on a logarithmic axis. Series take
// seven colours in turn, so that the points of each of the seven other rules get the colour of their line.
LineChart depth_chart(const std::string& title, const std::vector<SchemeResult>& all, bool relu,
                      bool gradients) {
  LineChart chart{.title = title,
                  .x_label = gradients ? "gradient of the input (0) and of layer" : "layer",
                  .y_label = "standard deviation",
                  .series = {},
                  .log_y = true};
  for (const bool theory : {false, true})
    for (const SchemeResult& r : all) {
      const StackResult& stack = relu ? r.relu : r.linear;
      const auto& values = gradients ? stack.gradients : stack.activations;
      if (values.front().expected == 0) continue;
      ChartSeries s{.name = theory ? std::string("theory") : r.scheme->title,
                    .style = theory ? ChartSeries::Style::dashed : ChartSeries::Style::points};
      // Points between the layers keep the chart from marking theory's with dots.
      const std::size_t between = theory ? 6 : 1;
      for (std::size_t i = 0; i + between <= values.size() * between; ++i) {
        const std::size_t l = i / between, next = std::min(l + 1, values.size() - 1);
        const double t = static_cast<double>(i % between) / static_cast<double>(between);
        s.x.push_back(static_cast<double>(gradients ? l : l + 1) + t);
        s.y.push_back(theory ? std::pow(values[l].expected, 1 - t) * std::pow(values[next].expected, t)
                             : values[l].measured);
      }
      chart.series.push_back(std::move(s));
    }
  return chart;
}

void add_layer_section(HtmlReport& report, const std::vector<SchemeResult>& all) {
  report.section("One layer, 784 to 128");
  report.text(
      "Inputs and output gradients are N(0, 1). Weights of standard deviation s give z = Wx one of "
      "s sqrt(784) and dx one of s sqrt(128); ReLU keeps half of the mean square.");
  std::vector<std::vector<std::string>> rows;
  LineChart densities{.title = "Density of the weights",
                      .x_label = "weight",
                      .y_label = "density",
                      .series = {},
                      .log_y = true};
  for (const SchemeResult& r : all) {
    const LayerResult& l = r.layer;
    rows.push_back({r.scheme->title});
    for (const Deviation& d : {l.weight, l.forward, l.forward_relu, l.backward, l.backward_relu})
      rows.back().push_back(significant(d.measured, 4) + " (" + significant(d.expected, 4) + ")");
    rows.back().push_back(percent(worst_of_layer(l)));
    if (l.weight.expected > 0) densities.series.push_back(l.weights.series(r.scheme->title));
  }
  report.table({"measured (theory)", "weights", "z", "ReLU(z)", "dx", "dx through ReLU", "largest deviation"},
               rows);
  report.line_chart(densities);
}

void add_stack_section(HtmlReport& report, const std::vector<SchemeResult>& all) {
  report.section("Ten layers");
  report.text(
      "Layers of 64 and 128 units in turn, so that rules for inputs, outputs and both differ. Points are "
      "measured, dashed lines are theory: a layer multiplies the variance of what goes forward by s² n_in "
      "and "
      "of gradients by s² n_out, and ReLU halves both. All rules scale the same random numbers, so that "
      "their "
      "chance deviations are alike.");
  report.line_chart(depth_chart("Activations (before ReLU), with ReLU", all, true, false));
  report.line_chart(depth_chart("Gradients, with ReLU", all, true, true));
  report.line_chart(depth_chart("Activations, linear layers", all, false, false));
  report.line_chart(depth_chart("Gradients, linear layers", all, false, true));
  std::vector<std::vector<std::string>> rows;
  for (const SchemeResult& r : all) {
    const auto both = [](const Deviation& d) {
      return significant(d.measured, 4) + " (" + significant(d.expected, 4) + ")";
    };
    rows.push_back({r.scheme->title, both(r.linear.activations.back()), both(r.linear.gradients.front()),
                    percent(worst_of_stack(r.linear)), both(r.relu.activations.back()),
                    both(r.relu.gradients.front()), percent(worst_of_stack(r.relu))});
  }
  report.table({"measured (theory)", "linear: z10", "dx", "deviation", "ReLU: z10", "dx", "deviation"}, rows);
}

LineChart density_chart(const std::string& title, const std::vector<Histogram>& histograms, bool gradients) {
  LineChart chart{.title = title,
                  .x_label = gradients ? "gradient" : "z",
                  .y_label = "density",
                  .series = {},
                  .log_y = true,
                  .width = kHalfWidth,
                  .height = 240};
  for (const std::size_t l : kShownLayers)
    chart.series.push_back(
        histograms[l].series(gradients ? (l == 0 ? std::string("input") : "layer " + std::to_string(l))
                                       : "layer " + std::to_string(l + 1)));
  return chart;
}

void add_density_section(HtmlReport& report, const std::vector<SchemeResult>& all) {
  report.section("Distributions in the ReLU stack");
  report.text(
      "A spike in the middle is a layer whose values have all but vanished; gradients of layers also have "
      "one "
      "from the neurons that ReLU switches off.");
  for (const SchemeResult& r : all) {
    if (r.layer.weight.expected == 0) continue;
    const std::string name = r.scheme->title;
    report.line_chart(density_chart(name + ": activations", r.relu.activation_histograms, false));
    report.line_chart(density_chart(name + ": gradients", r.relu.gradient_histograms, true));
  }
}

}  // namespace

void write_init_report(RecipeContext& context, const std::vector<SchemeResult>& all,
                       const RecipeResult& result) {
  HtmlReport report("init-study",
                    "Activations and gradients through depth, by the rule of the initial weights");
  const Tone tone = result.reached ? Tone::good : Tone::bad;
  report.figure("784 to 128", percent(result.metrics[1].second), "largest deviation from theory", tone);
  report.figure("linear stack", percent(result.metrics[2].second), "largest deviation from theory", tone);
  report.figure("ReLU stack", percent(result.metrics[3].second), "largest deviation from theory", tone);
  report.figure("standard error", percent(result.metrics[4].second), "the largest one of the stacks' means");
  add_layer_section(report, all);
  add_stack_section(report, all);
  add_density_section(report, all);
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
