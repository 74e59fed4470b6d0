// gradient-descent: paths down two quadratic functions against their closed forms, and one regression by
// batch, stochastic and mini-batch descent.
//
// For c (w - m)² a step of gradient descent multiplies the distance from m by 1 - 2 c lr, so that after k
// steps w = m + (w0 - m) (1 - 2 c lr)^k.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/descent.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "gpunn/training/report.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

using detail::DescentPath;
using detail::fixed;
using detail::short_text;
using Points = std::vector<std::vector<double>>;

namespace {

constexpr double kBound = 1e-6;  // of the difference from the closed form

struct DescentSettings : RunSettings {
  std::int64_t rows = 100;
  double noise = 0.2;
  double lr = 0.1;
  std::int64_t batch_size = 16;
  DescentSettings() { epochs = 30; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"rows", &rows, "rows of the regression", 2, 100000});
    all.push_back({"noise", &noise, "deviation of its targets", 0});
    all.push_back({"lr", &lr, "learning rate of the regression", 0});
    all.push_back({"batch_size", &batch_size, "rows a step of mini-batch descent", 1});
    return all;
  }
};

// The sum of curvature_i (w_i - least_i)².
struct Quadratic {
  std::string name;
  std::vector<double> start, least, curvature;
  double lr;
  std::int64_t steps;
};

std::vector<Quadratic> quadratics() {
  std::vector<Quadratic> all;
  for (const double start : {0.0, 7.0})
    for (const double lr : {0.1, 0.5, 0.01})
      all.push_back({"from " + fixed(start, 0) + ", lr " + short_text(lr), {start}, {3}, {1}, lr, 50});
  all.push_back({"from (0, 0), lr 0.01", {0, 0}, {2, -1}, {1, 2}, 0.01, 100});
  return all;
}

Points closed_form(const Quadratic& q, std::int64_t steps) {
  Points points;
  for (std::int64_t k = 0; k <= steps; ++k) {
    std::vector<double>& w = points.emplace_back();
    for (std::size_t i = 0; i < q.start.size(); ++i)
      w.push_back(q.least[i] + (q.start[i] - q.least[i]) *
                                   std::pow(1 - 2 * q.curvature[i] * q.lr, static_cast<double>(k)));
  }
  return points;
}

struct QuadraticRun {
  Quadratic problem;
  DescentPath path;
  double difference = 0;
};

QuadraticRun follow(const Quadratic& q, const RecipeContext& context) {
  const RunSettings& settings = context.settings();
  const std::int64_t steps = settings.steps > 0 ? std::min(settings.steps, q.steps) : q.steps;
  const auto tensor = [&](const std::vector<double>& v) {
    return Tensor::from(std::vector<float>(v.begin(), v.end()), {static_cast<std::int64_t>(v.size())})
        .to(context.device());
  };
  const Tensor least = tensor(q.least), curvature = tensor(q.curvature);
  QuadraticRun run{.problem = q, .path = {}};
  run.path = detail::descend(
      context, q.start,
      [&](const Tensor& w) {
        const Tensor d = w - least;
        return sum(curvature * (d * d));
      },
      [&](std::vector<Tensor> w) { return std::make_unique<SGD>(std::move(w), SgdOptions{.lr = q.lr}); },
      steps);
  run.difference = detail::largest_difference(run.path.points, closed_form(q, steps), run.path.points.size());
  return run;
}

// ---- the regression: y = 2 x - 1 + noise, x even over [-1, 1]

struct RegressionData {
  std::vector<float> x, y;
  // Mean squared error as a function of slope and intercept, from the rows' moments.
  double xx = 0, x1 = 0, xy = 0, y1 = 0, yy = 0;
  double loss(double w, double b) const {
    return w * w * xx + b * b + yy + 2 * w * b * x1 - 2 * w * xy - 2 * b * y1;
  }
  double best_slope() const { return (xy - x1 * y1) / (xx - x1 * x1); }
  double best_intercept() const { return y1 - best_slope() * x1; }
};

constexpr std::uint64_t kNoiseStream = std::uint64_t{0x4744} << 48;  // a Philox subsequence of its own

RegressionData make_rows(const DescentSettings& settings) {
  RegressionData data;
  PhiloxStream random(settings.seed, kNoiseStream);
  const auto n = static_cast<double>(settings.rows);
  for (std::int64_t i = 0; i < settings.rows; ++i) {
    const double x = -1 + 2 * static_cast<double>(i) / (n - 1);
    data.x.push_back(static_cast<float>(x));
    data.y.push_back(static_cast<float>(2 * x - 1 + settings.noise * static_cast<double>(random.normal())));
    const double xf = data.x.back(), yf = data.y.back();
    data.xx += xf * xf / n, data.x1 += xf / n, data.xy += xf * yf / n;
    data.y1 += yf / n, data.yy += yf * yf / n;
  }
  return data;
}

struct RegressionRun {
  std::string key, title;
  DescentPath path;  // slope and intercept before the first and after each step
  TrainResult trained;
  double distance = 0;  // from the least-squares solution, at the end
};

RegressionRun fit(const RegressionData& data, std::string key, std::string title, std::int64_t batch_size,
                  const RecipeContext& context) {
  const auto& settings = static_cast<const DescentSettings&>(context.settings());
  Linear line(1, 1);
  init::zeros(line.weight);
  init::zeros(line.bias);
  SGD optimizer(line.parameters(), {.lr = settings.lr});
  MSELoss loss;
  const DataLoader rows(
      std::make_shared<TensorDataset>(Tensor::from(data.x, {settings.rows, 1}, {.device = Device::cpu()}),
                                      Tensor::from(data.y, {settings.rows, 1}, {.device = Device::cpu()})),
      {.batch_size = batch_size, .shuffle = true, .seed = settings.seed, .device = context.device()});
  RegressionRun run{.key = std::move(key), .title = std::move(title), .path = {}, .trained = {}};
  const auto note = [&] {
    run.path.points.push_back({line.weight.detach().item(), line.bias.detach().item()});
  };
  note();
  const TrainStep step = supervised_step(line, loss, optimizer);
  run.trained = train(
      [&](const Batch& batch) {
        const Tensor value = step(batch);
        note();
        return value;
      },
      rows, {},
      {.epochs = settings.epochs,
       .max_steps = settings.steps,
       .evaluate_every = 0,
       .stop = context.hooks().stop});
  const std::vector<double>& end = run.path.points.back();
  run.distance = std::hypot(end[0] - data.best_slope(), end[1] - data.best_intercept());
  return run;
}

// ---- report

void add_quadratics(HtmlReport& report, const std::vector<QuadraticRun>& runs) {
  report.section("(w - 3)²");
  for (const double start : {0.0, 7.0}) {
    LineChart chart{.title = "From " + fixed(start, 0),
                    .x_label = "step",
                    .y_label = "w",
                    .series = {},
                    .references = {{"least at", 3}},
                    .width = kHalfWidth};
    for (const QuadraticRun& run : runs) {
      if (run.problem.start != std::vector<double>{start}) continue;
      ChartSeries series{.name = "lr " + short_text(run.problem.lr), .y = run.path.coordinate(0)};
      for (std::size_t k = 0; k < series.y.size(); ++k) series.x.push_back(static_cast<double>(k));
      chart.series.push_back(std::move(series));
    }
    report.line_chart(chart);
  }
  report.text("Learning rate 0.5 lands on the minimum in one step: the factor 1 - 2 lr is 0.");
  report.section("(w1 - 2)² + 2 (w2 + 1)²");
  ContourChart chart =
      detail::contour_of([](double x, double y) { return (x - 2) * (x - 2) + 2 * (y + 1) * (y + 1); },
                         {-0.5f, 3.5f, -2.0f, 0.5f});
  chart.x_label = "w1", chart.y_label = "w2";
  chart.levels = {0.1, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5, 6, 8};
  chart.paths = {detail::contour_path(runs.back().problem.name, runs.back().path)};
  chart.width = 620, chart.height = 420;
  report.contour_chart(chart);
}

void add_regression(HtmlReport& report, const RegressionData& data, const std::vector<RegressionRun>& runs) {
  report.section("One regression, three batch sizes");
  report.text(
      "y = 2 x - 1 and noise; mean squared error over slope and intercept, all from (0, 0). The least "
      "squares solution is (" +
      fixed(data.best_slope(), 4) + ", " + fixed(data.best_intercept(), 4) + ").");
  ContourChart chart =
      detail::contour_of([&](double w, double b) { return data.loss(w, b); }, {-0.25f, 2.75f, -1.5f, 0.25f});
  chart.x_label = "slope", chart.y_label = "intercept";
  chart.levels = {0.05, 0.1, 0.2, 0.4, 0.7, 1, 1.5, 2, 2.5};
  chart.width = 540, chart.height = 420;
  LineChart losses{.title = "Loss of all rows",
                   .x_label = "epoch",
                   .y_label = "mean squared error",
                   .series = {},
                   .log_y = true,
                   .width = 396,
                   .height = 420};
  std::vector<std::vector<std::string>> rows;
  for (const RegressionRun& run : runs) {
    chart.paths.push_back(detail::contour_path(run.title, run.path));
    ChartSeries series{.name = run.title, .y = {}};
    const std::size_t n = run.path.points.size();
    for (std::size_t k = 0; k < n; ++k) {
      series.x.push_back(static_cast<double>(run.trained.epochs) * static_cast<double>(k) /
                         static_cast<double>(std::max<std::size_t>(1, n - 1)));
      series.y.push_back(data.loss(run.path.points[k][0], run.path.points[k][1]));
    }
    losses.series.push_back(std::move(series));
    const std::vector<double>& end = run.path.points.back();
    rows.push_back({run.title, std::to_string(run.trained.steps), fixed(end[0], 4), fixed(end[1], 4),
                    fixed(run.distance, 4)});
  }
  report.contour_chart(chart);
  report.line_chart(losses);
  report.table({"descent", "steps", "slope", "intercept", "from least squares"}, rows);
}

void write_report(RecipeContext& context, const std::vector<QuadraticRun>& quadratics,
                  const RegressionData& data, const std::vector<RegressionRun>& regressions,
                  const RecipeResult& result, double worst) {
  HtmlReport report("gradient-descent", "Gradient descent against its closed form");
  report.figure("largest difference from the closed form", short_text(worst), "at most 1e-6 asked, in f32",
                result.stopped    ? Tone::neutral
                : worst <= kBound ? Tone::good
                                  : Tone::bad);
  report.figure("steps", std::to_string(result.steps), fixed(result.seconds, 1) + " s");
  add_quadratics(report, quadratics);
  std::vector<std::vector<std::string>> rows;
  for (const QuadraticRun& run : quadratics) {
    std::string end;
    for (const double w : run.path.points.back()) end += (end.empty() ? "" : ", ") + fixed(w, 6);
    rows.push_back({run.problem.start.size() == 1 ? "(w - 3)²" : "(w1 - 2)² + 2 (w2 + 1)²", run.problem.name,
                    std::to_string(run.path.steps()), end, short_text(run.difference)});
  }
  report.table({"function", "path", "steps", "ends at", "from the closed form"}, rows);
  add_regression(report, data, regressions);
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const DescentSettings&>(context.settings());
  RunFolder& folder = context.folder();
  RecipeResult result;
  double worst = 0;
  bool whole = true;
  std::vector<QuadraticRun> runs;
  for (const Quadratic& q : quadratics()) runs.push_back(follow(q, context));
  std::vector<const DescentPath*> paths;
  for (const QuadraticRun& r : runs) {
    paths.push_back(&r.path);
    worst = std::max(worst, r.difference);
    whole = whole && r.path.steps() == r.problem.steps;
    JsonWriter json;
    json.begin_object().field("path", r.problem.name).field("steps", r.path.steps());
    folder.append_metrics(json.field("difference", r.difference).end_object().take());
  }
  detail::add_work(result, paths);

  const RegressionData data = make_rows(settings);
  std::vector<RegressionRun> fits;
  fits.push_back(fit(data, "batch", "batch", settings.rows, context));
  fits.push_back(fit(data, "stochastic", "stochastic", 1, context));
  fits.push_back(fit(data, "mini_batch", "mini-batch of " + std::to_string(settings.batch_size),
                     settings.batch_size, context));
  result.metric("largest_difference", worst);
  StateDict ends;
  for (const RegressionRun& f : fits) {
    result.steps += f.trained.steps;
    result.seconds += f.trained.seconds;
    result.metric(f.key + "_slope", f.path.points.back()[0]);
    result.metric(f.key + "_intercept", f.path.points.back()[1]);
    result.metric(f.key + "_from_least_squares", f.distance);
    ends.emplace_back(f.key,
                      Tensor::from(f.path.points.back(), {2}, {.device = Device::cpu()}).to(DType::f32));
  }
  folder.write_weights(ends);
  result.epochs = fits[0].trained.epochs;
  result.train_loss = data.loss(fits[0].path.points.back()[0], fits[0].path.points.back()[1]);
  result.stopped = context.stopped();
  result.weights_sha256 = weights_sha256(ends);
  result.reached = whole && !result.stopped && worst <= kBound;
  context.say("largest difference of seven paths from the closed form: " + short_text(worst) + " (f32)");
  for (const RegressionRun& f : fits)
    context.say(f.title + ": " + std::to_string(f.trained.steps) + " steps, " + fixed(f.distance, 4) +
                " from least squares");
  write_report(context, runs, data, fits, result, worst);
  return result;
}

}  // namespace

const Recipe kGradientDescent{
    "gradient-descent",
    "feed-forward networks",
    "gradient descent on two quadratic functions, and batch, stochastic and mini-batch on a regression",
    "generated",
    "seven paths within 1e-6 of their closed form",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<DescentSettings>()); },
    run};

}  // namespace gpunn
