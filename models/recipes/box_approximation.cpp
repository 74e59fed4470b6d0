// box-approximation: functions from boxes, boxes from pairs of step neurons. Nothing is trained; heights are
// the function's values at the middles.
//
// The constructive proof that one hidden layer approximates any continuous function: with boxes of width
// delta the error is at most delta / 2 times the steepest slope, so it falls like 1 / N, while d dimensions
// need N^d boxes. After Cybenko, "Approximation by superpositions of a sigmoidal function" (1989), in the
// form with steps.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/box_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/plane.h"

namespace gpunn {

using detail::BoxError;
using detail::BoxRun;
using detail::kBoxFunctions;
using detail::kBoxTargets;

namespace {

constexpr std::int64_t kFewest = 8;
constexpr double kSlopeTolerance = 0.1;  // around -1
constexpr std::int64_t kRowsAtATime = 256;

struct BoxSettings : RunSettings {
  double half_width = 3;
  std::int64_t boxes = 512;
  std::int64_t boxes_2d = 64;
  std::int64_t points = 4096;
  BoxSettings() { epochs = 0; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"half_width", &half_width, "B: functions are approximated on [-B, B]", 0.1, 100});
    all.push_back({"boxes", &boxes, "most boxes; 8, 16, … up to it are measured", 16, 4096});
    all.push_back({"boxes_2d", &boxes_2d, "most boxes an axis in two dimensions", 16, 128});
    all.push_back(
        {"points", &points, "points besides the boxes' ends that errors are measured at", 1, 1000000});
    return all;
  }
};

double middle(std::int64_t i, std::int64_t count, double half_width) {
  return -half_width + 2 * half_width * (static_cast<double>(i) + 0.5) / static_cast<double>(count);
}

// Both ends of every box, where a function without turning points in it is farthest from its middle.
std::vector<float> box_ends(std::int64_t count, double half_width) {
  std::vector<float> ends;
  const double width = 2 * half_width / static_cast<double>(count);
  for (std::int64_t i = 0; i < count; ++i) {
    ends.push_back(static_cast<float>(-half_width + width * static_cast<double>(i)));
    // Just inside: the right end belongs to the next box.
    ends.push_back(static_cast<float>(-half_width + width * (static_cast<double>(i) + 1 - 0x1p-10)));
  }
  return ends;
}

void widen(double& largest, double error) {
  if (!(error <= largest)) largest = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
}

BoxError measure(std::int64_t count, const BoxSettings& settings, Device device) {
  detail::BoxNet net(count, settings.half_width);
  std::vector<float> x = box_ends(count, settings.half_width);
  for (std::int64_t i = 0; i < settings.points; ++i)
    x.push_back(static_cast<float>(middle(i, settings.points, settings.half_width)));
  const std::vector<float> y =
      detail::box_values(net, Tensor::from(x, {static_cast<std::int64_t>(x.size()), 1}).to(device));
  BoxError error{.boxes = count};
  for (std::size_t i = 0; i < x.size(); ++i)
    for (std::size_t k = 0; k < kBoxFunctions; ++k)
      widen(error.largest[k], std::abs(y[kBoxFunctions * i + k] - kBoxTargets[k].f(x[i])));
  return error;
}

BoxError measure_2d(std::int64_t count, const BoxSettings& settings, Device device) {
  detail::BoxNet2d net(count, settings.half_width);
  const std::vector<float> ends = box_ends(count, settings.half_width);
  std::vector<float> points;
  for (const float x : ends)
    for (const float y : ends) points.insert(points.end(), {x, y});
  const std::vector<float> values = detail::box_values(
      net, Tensor::from(points, {static_cast<std::int64_t>(points.size() / 2), 2}).to(device));
  BoxError error{.boxes = count};
  for (std::size_t i = 0; 2 * i < points.size(); ++i)
    for (std::size_t k = 0; k < kBoxFunctions; ++k)
      widen(error.largest[k],
            std::abs(values[kBoxFunctions * i + k] - kBoxTargets[k].f_2d(points[2 * i], points[2 * i + 1])));
  return error;
}

// Slope of the least-squares line through (ln N, ln error).
std::array<double, kBoxFunctions> slopes(const std::vector<BoxError>& errors) {
  std::array<double, kBoxFunctions> result{};
  const auto n = static_cast<double>(errors.size());
  for (std::size_t k = 0; k < kBoxFunctions; ++k) {
    double sx = 0, sy = 0, sxx = 0, sxy = 0;
    for (const BoxError& e : errors) {
      const double x = std::log(static_cast<double>(e.boxes)), y = std::log(e.largest[k]);
      sx += x, sy += y, sxx += x * x, sxy += x * y;
    }
    result[k] = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  }
  return result;
}

// The single box at its ends, beside them and far away.
void check_single_box(BoxRun& run, Device device) {
  constexpr float kDelta = 0.75f;  // with its steps of 1/1024 exact in f32
  std::vector<float> x;
  for (int i = -1024; i <= 2048; ++i) x.push_back(static_cast<float>(i) / 1024);
  const std::vector<float> y =
      detail::single_box(Tensor::from(x, {static_cast<std::int64_t>(x.size())}).to(device), kDelta)
          .to_vector<float>();
  run.checked = static_cast<std::int64_t>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i)
    run.mismatches += y[i] == (x[i] > 0 && x[i] < kDelta ? 1.0f : 0.0f) ? 0 : 1;
}

bool figure_reached(const BoxRun& run) {
  bool reached = run.mismatches == 0;
  for (const auto& found : {run.line_slope, run.plane_slope})
    for (const double slope : found) reached = reached && std::abs(slope + 1) <= kSlopeTolerance;
  return reached;
}

void note(RecipeContext& context, int dimensions, const BoxError& error) {
  const std::int64_t all = dimensions == 1 ? error.boxes : error.boxes * error.boxes;
  JsonWriter json;
  json.begin_object().field("dimensions", dimensions).field("boxes_an_axis", error.boxes).field("boxes", all);
  for (std::size_t k = 0; k < kBoxFunctions; ++k) json.field(kBoxTargets[k].key, error.largest[k]);
  context.folder().append_metrics(json.end_object().take());
  char text[160];
  std::snprintf(text, sizeof text, "%d-D, %5lld boxes: largest error %.5f (%s) %.5f (%s) %.5f (%s)",
                dimensions, static_cast<long long>(all), error.largest[0], kBoxTargets[0].key,
                error.largest[1], kBoxTargets[1].key, error.largest[2], kBoxTargets[2].key);
  context.say(text);
}

RecipeResult run(RecipeContext& context) {
  NoGrad no_grad;
  const auto& settings = static_cast<const BoxSettings&>(context.settings());
  const Device device = context.device();
  RunFolder& folder = context.folder();
  BoxRun run{.half_width = settings.half_width};
  const auto start = std::chrono::steady_clock::now();
  check_single_box(run, device);
  for (std::int64_t n = kFewest; n <= settings.boxes && !context.stopped(); n *= 2) {
    run.line.push_back(measure(n, settings, device));
    note(context, 1, run.line.back());
  }
  for (std::int64_t n = kFewest; n <= settings.boxes_2d && !context.stopped(); n *= 2) {
    run.plane.push_back(measure_2d(n, settings, device));
    note(context, 2, run.plane.back());
  }
  run.line_slope = slopes(run.line);
  run.plane_slope = slopes(run.plane);

  RecipeResult result;
  result.stopped = context.stopped();
  result.train_loss = std::numeric_limits<double>::quiet_NaN();  // nothing is trained
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  result.metric("single_box_mismatches", static_cast<double>(run.mismatches));
  for (std::size_t k = 0; k < kBoxFunctions; ++k) {
    const std::string key = kBoxTargets[k].key;
    result.metric(key + "_slope", run.line_slope[k]);
    result.metric(key + "_slope_2d", run.plane_slope[k]);
    if (!run.line.empty()) result.metric(key + "_largest_error", run.line.back().largest[k]);
    if (!run.plane.empty()) result.metric(key + "_largest_error_2d", run.plane.back().largest[k]);
  }
  detail::BoxNet shown(kFewest, settings.half_width);
  folder.write_weights(shown.state_dict());
  result.weights_sha256 = weights_sha256(shown.state_dict());
  result.reached = !result.stopped && figure_reached(run);
  detail::write_box_report(context, run, result);
  return result;
}

// Heights of `count` boxes an axis, [3, count^dimensions], from a value at each middle.
void set_heights(Linear& heights, std::int64_t boxes,
                 const std::function<double(std::size_t, std::int64_t)>& at) {
  std::vector<float> values;
  for (std::size_t k = 0; k < kBoxFunctions; ++k)
    for (std::int64_t i = 0; i < boxes; ++i) values.push_back(static_cast<float>(at(k, i)));
  heights.weight.copy_(Tensor::from(values, {kBoxFunctions, boxes}, {.device = Device::cpu()}));
}

Tensor step(const Tensor& z, double at_zero) {
  return heaviside(z, full({1}, at_zero, {.device = z.device()}));
}

}  // namespace

namespace detail {

const std::array<BoxFunction, kBoxFunctions> kBoxTargets{{
    {"sin", "sin x", "sin x sin y", [](double x) { return std::sin(x); },
     [](double x, double y) { return std::sin(x) * std::sin(y); }},
    {"square", "x²", "x² + y²", [](double x) { return x * x; },
     [](double x, double y) { return x * x + y * y; }},
    {"gaussian", "exp(-x²)", "exp(-x² - y²)", [](double x) { return std::exp(-x * x); },
     [](double x, double y) { return std::exp(-x * x - y * y); }},
}};

BoxLayer::BoxLayer(std::int64_t boxes, double half_width) : steps(1, 2 * boxes), count(boxes) {
  NoGrad no_grad;
  std::vector<float> edges;
  for (const std::int64_t first : {0, 1})
    for (std::int64_t i = 0; i < boxes; ++i)
      edges.push_back(static_cast<float>(half_width - 2 * half_width * static_cast<double>(i + first) /
                                                          static_cast<double>(boxes)));
  steps.weight.fill_(1);
  steps.bias.copy_(Tensor::from(edges, {2 * boxes}, {.device = Device::cpu()}));
}

Tensor BoxLayer::forward(const Tensor& x) {
  const Tensor fired = step(steps(x), 1);  // [M, 2 N]
  return fired.narrow(1, 0, count) - fired.narrow(1, count, count);
}

BoxNet::BoxNet(std::int64_t count, double half_width)
    : boxes(count, half_width), heights(count, static_cast<std::int64_t>(kBoxFunctions), false) {
  NoGrad no_grad;
  set_heights(heights, count,
              [&](std::size_t k, std::int64_t i) { return kBoxTargets[k].f(middle(i, count, half_width)); });
}

BoxNet2d::BoxNet2d(std::int64_t count, double half_width)
    : boxes(count, half_width), heights(count * count, static_cast<std::int64_t>(kBoxFunctions), false) {
  NoGrad no_grad;
  set_heights(heights, count * count, [&](std::size_t k, std::int64_t i) {
    return kBoxTargets[k].f_2d(middle(i / count, count, half_width), middle(i % count, count, half_width));
  });
}

Tensor BoxNet2d::forward(const Tensor& x) {
  const std::int64_t n = boxes.count;
  const Tensor u = boxes(x.narrow(1, 0, 1)), v = boxes(x.narrow(1, 1, 1));  // [M, N]
  const Tensor both = u.unsqueeze(2) + v.unsqueeze(1) - 1.5;                // [M, N, N]
  return heights(step(both, 1).reshape({x.size(0), n * n}));
}

std::vector<float> box_values(Module& net, const Tensor& points) {
  std::vector<float> values;
  for (std::int64_t first = 0; first < points.size(0); first += kRowsAtATime) {
    const std::int64_t rows = std::min(kRowsAtATime, points.size(0) - first);
    const std::vector<float> part = net(points.narrow(0, first, rows).contiguous()).to_vector<float>();
    values.insert(values.end(), part.begin(), part.end());
  }
  return values;
}

Tensor single_box(const Tensor& x, double delta) { return step(x, 0) + step(delta - x, 0) - 1.0; }

}  // namespace detail

const Recipe kBoxApproximation{
    "box-approximation",
    "feed-forward networks",
    "functions of one and two variables from boxes of step neurons, without training",
    "sin, x², gaussian",
    "the single box exact; largest error falls like 1/N (slope -1 within 0.1), for N^d boxes",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<BoxSettings>()); },
    run};

}  // namespace gpunn
