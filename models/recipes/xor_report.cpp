// The report of xor: what two networks learned, as maps over the square of inputs.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>

#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/xor_run.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

namespace {

constexpr int kGrid = 96;                      // pixels a side of a map
constexpr int kMesh = 72;                      // cells a side of the surface
constexpr float kLow = -0.25f, kHigh = 1.25f;  // the inputs shown

using Rgb = std::array<double, 3>;
constexpr Rgb kZero{33, 102, 172}, kHalf{247, 247, 247}, kOne{178, 24, 43};

Rgb colour_of(double p) {
  const Rgb &from = p < 0.5 ? kZero : kHalf, &to = p < 0.5 ? kHalf : kOne;
  const double t = p < 0.5 ? 2 * p : 2 * p - 1;
  Rgb out;
  for (std::size_t c = 0; c < 3; ++c) out[c] = from[c] + t * (to[c] - from[c]);
  return out;
}

void put(Picture& picture, int x, int y, const Rgb& colour) {
  if (x < 0 || y < 0 || x >= picture.width || y >= picture.height) return;
  for (std::size_t c = 0; c < 3; ++c)
    picture.pixels[3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
                        static_cast<std::size_t>(x)) +
                   c] = static_cast<std::uint8_t>(std::lround(colour[c]));
}

Picture blank(int width, int height) {
  return {.width = width,
          .height = height,
          .channels = 3,
          .pixels = Bytes(static_cast<std::size_t>(3 * width * height), std::uint8_t{255})};
}

// Points of a side x side grid over the square, row by row from the top (large second input).
Tensor grid_points(int side, Device device) {
  std::vector<float> points;
  const float step = (kHigh - kLow) / static_cast<float>(side - 1);
  for (int row = 0; row < side; ++row)
    for (int column = 0; column < side; ++column)
      points.insert(points.end(),
                    {kLow + step * static_cast<float>(column), kHigh - step * static_cast<float>(row)});
  return Tensor::from(points, {std::int64_t{side} * side, 2}).to(device);
}

// The four rows of the table as dots: white for 1, black for 0.
void mark_table(Picture& picture) {
  const auto place = [&](float v) {
    return static_cast<int>((v - kLow) / (kHigh - kLow) * (kGrid - 1) + 0.5f);
  };
  for (const int a : {0, 1})
    for (const int b : {0, 1})
      for (int dx = -2; dx <= 2; ++dx)
        for (int dy = -2; dy <= 2; ++dy) {
          const double ink = std::abs(dx) == 2 || std::abs(dy) == 2 ? 128 : a != b ? 255 : 0;
          put(picture, place(static_cast<float>(a)) + dx, kGrid - 1 - place(static_cast<float>(b)) + dy,
              {ink, ink, ink});
        }
}

Picture map_of(std::span<const float> values, bool regions) {
  Picture picture = blank(kGrid, kGrid);
  for (int y = 0; y < kGrid; ++y)
    for (int x = 0; x < kGrid; ++x) {
      const double p = values[static_cast<std::size_t>(y * kGrid + x)];
      put(picture, x, y, colour_of(regions ? (p > 0.5 ? 0.85 : 0.15) : std::clamp(p, 0.0, 1.0)));
    }
  mark_table(picture);
  return picture;
}

struct Point {
  double x, y;
};

void fill_triangle(Picture& picture, const Point& a, const Point& b, const Point& c, const Rgb& colour) {
  const auto edge = [](const Point& p, const Point& q, double x, double y) {
    return (q.x - p.x) * (y - p.y) - (q.y - p.y) * (x - p.x);
  };
  const double area = edge(a, b, c.x, c.y);
  if (area == 0) return;
  const auto [x0, x1] = std::minmax({a.x, b.x, c.x});
  const auto [y0, y1] = std::minmax({a.y, b.y, c.y});
  for (int y = static_cast<int>(y0); y <= static_cast<int>(y1) + 1; ++y)
    for (int x = static_cast<int>(x0); x <= static_cast<int>(x1) + 1; ++x)
      if (edge(a, b, x, y) * area >= 0 && edge(b, c, x, y) * area >= 0 && edge(c, a, x, y) * area >= 0)
        put(picture, x, y, colour);
}

// The output as a landscape seen from above, turned by 30 degrees, far cells first.
Picture surface_of(std::span<const float> values) {
  constexpr int kWidth = 420, kHeight = 300, kSide = kMesh + 1;
  constexpr double kCos = 0.866, kSin = 0.5, kScale = 290;
  Picture picture = blank(kWidth, kHeight);
  const auto value = [&](int row, int column) {
    return values[static_cast<std::size_t>(row * kSide + column)];
  };
  const auto place = [&](int row, int column) -> Point {
    const double u = static_cast<double>(column) / kMesh - 0.5, v = static_cast<double>(row) / kMesh - 0.5;
    return {kWidth / 2.0 + kScale * (u * kCos - v * kSin),
            kHeight * 0.74 + kScale * (0.45 * (u * kSin + v * kCos) - 0.4 * value(row, column))};
  };
  const auto shade = [&](double p, double slope) {
    // Facets darken with their slope, so that the shape shows where the colour does not change.
    Rgb colour = colour_of(std::clamp(p, 0.0, 1.0));
    for (double& c : colour) c *= 0.95 - std::min(0.35, 3 * std::abs(slope));
    return colour;
  };
  for (int row = 0; row < kMesh; ++row)
    for (int column = 0; column < kMesh; ++column) {
      const double a = value(row, column), b = value(row, column + 1), c = value(row + 1, column + 1),
                   d = value(row + 1, column);
      const Point at = place(row, column), across = place(row + 1, column + 1);
      fill_triangle(picture, at, place(row, column + 1), across, shade((a + b + c) / 3, a - b));
      fill_triangle(picture, at, across, place(row + 1, column), shade((a + c + d) / 3, d - c));
    }
  return picture;
}

// Two significant digits: errors range from 1e-8 to 0.3.
std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2g", value);
  return text;
}

std::string fixed(double value, int digits) {
  char text[40];
  std::snprintf(text, sizeof text, "%.*f", digits, value);
  return text;
}

void add_system(HtmlReport& report, XorSummary& summary, Device device) {
  const XorSystem& system = *summary.system;
  report.section(std::string("(") + system.key + ") " + system.title);
  report.text(std::to_string(summary.successes) + " of " + std::to_string(summary.runs) +
              " seeds end below a mean squared error of 0.01 (mean " + short_number(summary.mean_mse) +
              ", worst " + short_number(summary.worst_mse) + ").");
  if (summary.shown.empty()) return;
  XorRun& run = summary.shown[0];
  report.text("Shown: seed " + std::to_string(run.seed) + ", mean squared error " + short_number(run.mse) +
              ".");
  std::vector<std::vector<std::string>> rows;
  for (const XorSnapshot& s : run.snapshots) {
    rows.push_back({std::to_string(s.epoch)});
    for (const float p : s.outputs) rows.back().push_back(fixed(p, 3));
  }
  report.table({"epoch", "0 0", "0 1", "1 0", "1 1"}, rows);
  if (!run.curve.empty())
    report.line_chart({.title = "Training loss",
                       .x_label = "epoch",
                       .y_label = "loss of the table",
                       .series = {{.name = "loss", .y = run.curve, .x = run.curve_epochs}},
                       .log_y = true});

  NoGrad no_grad;
  const Tensor points = grid_points(kGrid, device);
  const std::vector<float> p = run.net.probability(points).to_vector<float>();
  const CaptionedPicture maps[] = {{map_of(p, false), "probability of 1"}, {map_of(p, true), "regions"}};
  report.pictures(maps, 3);
  const CaptionedPicture surface[] = {
      {surface_of(run.net.probability(grid_points(kMesh + 1, device)).to_vector<float>()),
       "the output as a surface"}};
  report.pictures(surface, 1);

  const Tensor features = run.net.features(points);
  std::vector<CaptionedPicture> neurons;
  for (std::int64_t n = 0; n < system.neurons; ++n)
    neurons.push_back({map_of(features.select(1, n).contiguous().to_vector<float>(), false),
                       "hidden neuron " + std::to_string(n + 1)});
  report.pictures(neurons, 2);
}

}  // namespace

void write_xor_report(RecipeContext& context, std::vector<XorSummary>& systems,
                      const std::vector<XorSummary>& study, const RecipeResult& result) {
  HtmlReport report("xor", "Exclusive-or learned by small networks of sigmoids");
  for (const XorSummary& s : systems)
    report.figure(std::string("(") + s.system->key + ") learned",
                  std::to_string(s.successes) + " of " + std::to_string(s.runs), "seeds",
                  result.reached ? Tone::good : Tone::neutral);
  report.figure("training", fixed(result.seconds, 1) + " s", std::to_string(result.steps) + " steps");
  report.text(
      "Maps show inputs from -0.25 to 1.25, the first to the right, the second upwards; red is 1, blue is 0. "
      "The dots are the rows of the table, white where the answer is 1.");
  for (XorSummary& s : systems) add_system(report, s, context.device());
  if (!study.empty()) {
    report.section("Initial values of system (a)");
    BarChart chart{.title = "Seeds that learn the table", .bars = {}, .percent = true, .maximum = 1};
    std::vector<std::vector<std::string>> rows;
    for (const XorSummary& s : study) {
      const double share = s.runs > 0 ? static_cast<double>(s.successes) / static_cast<double>(s.runs) : 0;
      chart.bars.push_back({s.system->title, share});
      rows.push_back({s.system->title, std::to_string(s.successes) + " of " + std::to_string(s.runs),
                      fixed(s.mean_mse, 4), fixed(s.best_mse, 4)});
    }
    report.bar_chart(chart);
    report.table({"initial values", "learned", "mean error", "best error"}, rows);
  }
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
