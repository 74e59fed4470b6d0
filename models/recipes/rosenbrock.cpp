// rosenbrock: three optimizers in a curved valley, beside the same formulas in double on the host.
//
// f(x, y) = (1 - x)² + 100 (y - x²)², least at (1, 1). H. H. Rosenbrock, "An automatic method for finding the
// greatest or least value of a function" (1960).
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <limits>

#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/descent.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/training/report.h"

namespace gpunn {

using detail::DescentPath;
using detail::fixed;
using detail::short_text;
using Points = std::vector<std::vector<double>>;

namespace {

const std::vector<double> kStart{-1.5, 2.5};
constexpr std::int64_t kSteps = 500;
constexpr double kMomentum = 0.9, kAlpha = 0.9, kBeta1 = 0.9, kBeta2 = 0.999, kEps = 1e-8;

struct RosenbrockSettings : RunSettings {
  double sgd_lr = 0.001;
  double rmsprop_lr = 0.01;
  double adam_lr = 0.01;
  RosenbrockSettings() { epochs = 0, steps = kSteps; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"sgd_lr", &sgd_lr, "learning rate of SGD with momentum 0.9", 0});
    all.push_back({"rmsprop_lr", &rmsprop_lr, "learning rate of RMSprop with alpha 0.9", 0});
    all.push_back({"adam_lr", &adam_lr, "learning rate of Adam", 0});
    return all;
  }
};

double rosenbrock(double x, double y) { return (1 - x) * (1 - x) + 100 * (y - x * x) * (y - x * x); }

Tensor rosenbrock_loss(const Tensor& w) {
  const Tensor x = w.select(0, 0), y = w.select(0, 1);
  const Tensor a = 1.0 - x, u = y - x * x;
  return a * a + 100.0 * (u * u);
}

enum class Rule : std::uint8_t { sgd, rmsprop, adam };

// An optimizer's rule in plain doubles: a state for each of the two variables.
struct HostRule {
  Rule rule;
  double lr;
  std::array<double, 2> first{}, second{};

  double update(std::size_t i, double g, double k) {
    double &v = first[i], &s = second[i];
    switch (rule) {
      case Rule::sgd:
        v = kMomentum * v + g;
        return lr * v;
      case Rule::rmsprop:
        s = kAlpha * s + (1 - kAlpha) * g * g;
        return lr * g / (std::sqrt(s) + kEps);
      case Rule::adam:
        v = kBeta1 * v + (1 - kBeta1) * g;
        s = kBeta2 * s + (1 - kBeta2) * g * g;
        return lr * (v / (1 - std::pow(kBeta1, k))) / (std::sqrt(s / (1 - std::pow(kBeta2, k))) + kEps);
    }
    return 0;
  }
};

Points host_path(HostRule rule, std::int64_t steps) {
  Points points{kStart};
  double x = kStart[0], y = kStart[1];
  for (std::int64_t k = 1; k <= steps; ++k) {
    const double dx = -2 * (1 - x) - 400 * x * (y - x * x), dy = 200 * (y - x * x);
    x -= rule.update(0, dx, static_cast<double>(k));
    y -= rule.update(1, dy, static_cast<double>(k));
    points.push_back({x, y});
  }
  return points;
}

struct Entry {
  const char* key;
  const char* title;
  Rule rule;
  std::int64_t compared;  // steps over which the two paths must agree
  double bound;
};
// RMSprop divides by the root of ten steps' squares: in the valley that doubles a difference every few steps.
constexpr Entry kEntries[] = {{"sgd", "SGD, momentum 0.9", Rule::sgd, kSteps, 1e-5},
                              {"rmsprop", "RMSprop", Rule::rmsprop, 40, 1e-4},
                              {"adam", "Adam", Rule::adam, kSteps, 1e-5}};

struct Walk {
  const Entry* entry;
  DescentPath path;
  Points host;
  double difference = 0;  // over the compared steps
  double loss = 0;        // at the end
};

double rate_of(const RosenbrockSettings& s, Rule rule) {
  return rule == Rule::sgd ? s.sgd_lr : rule == Rule::rmsprop ? s.rmsprop_lr : s.adam_lr;
}

Walk walk(const Entry& entry, const RecipeContext& context) {
  const auto& settings = static_cast<const RosenbrockSettings&>(context.settings());
  const double lr = rate_of(settings, entry.rule);
  const detail::MakeOptimizer make = [&](std::vector<Tensor> w) -> std::unique_ptr<Optimizer> {
    switch (entry.rule) {
      case Rule::sgd:
        return std::make_unique<SGD>(std::move(w), SgdOptions{.lr = lr, .momentum = kMomentum});
      case Rule::rmsprop:
        return std::make_unique<RMSprop>(std::move(w),
                                         RmspropOptions{.lr = lr, .alpha = kAlpha, .eps = kEps});
      case Rule::adam:
        break;
    }
    return std::make_unique<Adam>(std::move(w),
                                  AdamOptions{.lr = lr, .betas = {kBeta1, kBeta2}, .eps = kEps});
  };
  const std::int64_t steps = settings.steps > 0 ? settings.steps : kSteps;
  Walk result{.entry = &entry,
              .path = detail::descend(context, kStart, rosenbrock_loss, make, steps),
              .host = host_path({.rule = entry.rule, .lr = lr}, steps)};
  result.difference = detail::largest_difference(result.path.points, result.host,
                                                 static_cast<std::size_t>(entry.compared) + 1);
  const std::vector<double>& end = result.path.points.back();
  result.loss = rosenbrock(end[0], end[1]);
  return result;
}

// Differences and losses below this are drawn on the axis' floor: log scales have no zero.
constexpr double kFloor = 1e-10;

void add_curves(HtmlReport& report, const std::vector<Walk>& walks) {
  LineChart losses{.title = "Value along the paths",
                   .x_label = "step",
                   .y_label = "f",
                   .series = {},
                   .log_y = true,
                   .width = kHalfWidth};
  LineChart differences{.title = "Distance of the f32 path from the f64 one",
                        .x_label = "step",
                        .y_label = "largest coordinate",
                        .series = {},
                        .log_y = true,
                        .width = kHalfWidth};
  for (const Walk& w : walks) {
    ChartSeries loss{.name = w.entry->title, .y = {}}, difference{.name = w.entry->title, .y = {}};
    for (std::size_t k = 0; k < w.path.points.size(); ++k) {
      const std::vector<double>&p = w.path.points[k], &q = w.host[k];
      loss.x.push_back(static_cast<double>(k));
      loss.y.push_back(rosenbrock(p[0], p[1]));
      difference.x.push_back(static_cast<double>(k));
      difference.y.push_back(std::max({std::abs(p[0] - q[0]), std::abs(p[1] - q[1]), kFloor}));
    }
    losses.series.push_back(std::move(loss));
    differences.series.push_back(std::move(difference));
  }
  differences.references = {{"asked for", 1e-5}};
  report.line_chart(losses);
  report.line_chart(differences);
}

void write_report(RecipeContext& context, const std::vector<Walk>& walks, const RecipeResult& result) {
  HtmlReport report("rosenbrock", "Three optimizers in Rosenbrock's valley");
  std::vector<std::vector<std::string>> rows;
  ContourChart chart = detail::contour_of(rosenbrock, {-2.0f, 1.6f, -0.8f, 3.0f}, 300);
  chart.title = "Paths from (-1.5, 2.5); the least value is at (1, 1)";
  chart.x_label = "x", chart.y_label = "y";
  chart.log_levels = true;
  chart.levels = {0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000};
  chart.width = kFullWidth, chart.height = 560;
  for (const Walk& w : walks) {
    report.figure(w.entry->title, short_text(w.difference),
                  "from f64 over " + std::to_string(std::min(w.entry->compared, w.path.steps())) + " steps",
                  result.stopped                   ? Tone::neutral
                  : w.difference <= w.entry->bound ? Tone::good
                                                   : Tone::bad);
    chart.paths.push_back(detail::contour_path(w.entry->title, w.path));
    const std::vector<double>& end = w.path.points.back();
    rows.push_back({w.entry->title, fixed(end[0], 5), fixed(end[1], 5), short_text(w.loss),
                    short_text(w.difference), std::to_string(w.entry->compared), short_text(w.entry->bound)});
  }
  report.text(
      "The library's paths are in f32, by autograd and its optimizers, on the device of this run; beside "
      "them "
      "the same rules run in double on the host, written out without the library.");
  report.contour_chart(chart);
  add_curves(report, walks);
  report.table({"optimizer", "x", "y", "f", "distance from f64", "over steps", "at most"}, rows);
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

RecipeResult run(RecipeContext& context) {
  RunFolder& folder = context.folder();
  RecipeResult result;
  std::vector<Walk> walks;
  std::vector<const DescentPath*> paths;
  StateDict ends;
  for (const Entry& entry : kEntries) walks.push_back(walk(entry, context));
  bool agree = true, whole = true;
  for (const Walk& w : walks) {
    const std::string key = w.entry->key;
    paths.push_back(&w.path);
    agree = agree && w.difference <= w.entry->bound;
    whole = whole && w.path.steps() >= kSteps;
    const std::vector<double>& end = w.path.points.back();
    ends.emplace_back(key, Tensor::from(end, {2}, {.device = Device::cpu()}).to(DType::f32));
    result.metric(key + "_difference_from_f64", w.difference);
    result.metric(key + "_x", end[0]);
    result.metric(key + "_y", end[1]);
    result.metric(key + "_loss", w.loss);
    JsonWriter json;
    json.begin_object().field("optimizer", key).field("steps", w.path.steps());
    json.field("x", end[0]).field("y", end[1]).field("loss", w.loss).field("difference", w.difference);
    folder.append_metrics(json.end_object().take());
    char text[160];
    std::snprintf(text, sizeof text, "%-18s ends at (%.4f, %.4f), f = %.3g; %.1e from f64 over %lld steps",
                  w.entry->title, end[0], end[1], w.loss, w.difference,
                  static_cast<long long>(std::min(w.entry->compared, w.path.steps())));
    context.say(text);
  }
  folder.write_weights(ends);
  detail::add_work(result, paths);
  result.stopped = context.stopped();
  result.train_loss = std::numeric_limits<double>::quiet_NaN();  // each path has one of its own
  result.weights_sha256 = weights_sha256(ends);
  result.reached = agree && whole && !result.stopped;
  write_report(context, walks, result);
  return result;
}

}  // namespace

const Recipe kRosenbrock{
    "rosenbrock",
    "feed-forward networks",
    "SGD with momentum, RMSprop and Adam in Rosenbrock's valley",
    "none",
    "f32 path within 1e-5 of f64 over 500 steps (SGD, Adam), within 1e-4 over 40 (RMSprop)",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<RosenbrockSettings>()); },
    run};

}  // namespace gpunn
