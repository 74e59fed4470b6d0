#include "gpunn/models/recipes/detail/plane.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"

namespace gpunn::detail {

const char* const kPlaneLegend =
    "In the maps the first input grows to the right and the second upwards; red is 1, blue is 0. The dots "
    "are "
    "rows of the data, white where the answer is 1.";

namespace {

constexpr int kSurfaceSide = 73;        // points a side of the surface
constexpr std::size_t kFewPoints = 32;  // up to here a point is five pixels wide, beyond three

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

void check_values(std::span<const float> values, int side) {
  GPUNN_CHECK(side >= 2 && values.size() == static_cast<std::size_t>(side) * static_cast<std::size_t>(side),
              "a map of ", side, " x ", side, " points: got ", values.size(), " values");
}

void mark_points(Picture& picture, const PlaneWindow& window, std::span<const PlanePoint> points) {
  const int last = picture.width - 1, radius = points.size() <= kFewPoints ? 2 : 1;
  const auto place = [&](double v, double low, double high) {
    return static_cast<int>(std::lround((v - low) / (high - low) * last));
  };
  for (const PlanePoint& point : points) {
    const int x = place(point.x, window.x_low, window.x_high),
              y = last - place(point.y, window.y_low, window.y_high);
    for (int dx = -radius; dx <= radius; ++dx)
      for (int dy = -radius; dy <= radius; ++dy) {
        // The rim is grey, so that a white dot shows on a pale ground; a small black one needs none.
        const bool rim = std::max(std::abs(dx), std::abs(dy)) == radius && (radius > 1 || point.positive);
        const double ink = rim ? 110 : point.positive ? 255 : 0;
        put(picture, x + dx, y + dy, {ink, ink, ink});
      }
  }
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

}  // namespace

Tensor plane_points(const PlaneWindow& window, int side) {
  GPUNN_CHECK(side >= 2, "plane_points: expected a side of at least 2, got ", side);
  std::vector<float> points;
  points.reserve(2 * static_cast<std::size_t>(side) * static_cast<std::size_t>(side));
  const float dx = (window.x_high - window.x_low) / static_cast<float>(side - 1),
              dy = (window.y_high - window.y_low) / static_cast<float>(side - 1);
  for (int row = 0; row < side; ++row)
    for (int column = 0; column < side; ++column)
      points.insert(points.end(), {window.x_low + dx * static_cast<float>(column),
                                   window.y_high - dy * static_cast<float>(row)});
  return Tensor::from(points, {std::int64_t{side} * side, 2}, {.device = Device::cpu()});
}

Picture plane_map(std::span<const float> values, int side, const PlaneWindow& window,
                  std::span<const PlanePoint> points, bool regions) {
  check_values(values, side);
  Picture picture = blank(side, side);
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const double p = values[static_cast<std::size_t>(y * side + x)];
      put(picture, x, y, colour_of(regions ? (p > 0.5 ? 0.85 : 0.15) : std::clamp(p, 0.0, 1.0)));
    }
  mark_points(picture, window, points);
  return picture;
}

// Cells are drawn from the far end on, so that near ones cover them.
Picture plane_surface(std::span<const float> values, int side) {
  check_values(values, side);
  constexpr int kWidth = 420, kHeight = 316, kBase = 222;
  constexpr double kCos = 0.866, kSin = 0.5, kScale = 290;
  Picture picture = blank(kWidth, kHeight);
  const auto value = [&](int row, int column) {
    return values[static_cast<std::size_t>(row * side + column)];
  };
  const auto place = [&](int row, int column) -> Point {
    const double u = static_cast<double>(column) / (side - 1) - 0.5,
                 v = static_cast<double>(row) / (side - 1) - 0.5;
    return {kWidth / 2.0 + kScale * (u * kCos - v * kSin),
            kBase + kScale * (0.45 * (u * kSin + v * kCos) - 0.4 * value(row, column))};
  };
  const auto shade = [&](double p, double slope) {
    // Facets darken with their slope, so that the shape shows where the colour does not change.
    Rgb colour = colour_of(std::clamp(p, 0.0, 1.0));
    for (double& c : colour) c *= 0.95 - std::min(0.35, 3 * std::abs(slope));
    return colour;
  };
  for (int row = 0; row + 1 < side; ++row)
    for (int column = 0; column + 1 < side; ++column) {
      const double a = value(row, column), b = value(row, column + 1), c = value(row + 1, column + 1),
                   d = value(row + 1, column);
      const Point at = place(row, column), across = place(row + 1, column + 1);
      fill_triangle(picture, at, place(row, column + 1), across, shade((a + b + c) / 3, a - b));
      fill_triangle(picture, at, across, place(row + 1, column), shade((a + c + d) / 3, d - c));
    }
  return picture;
}

void add_plane_pictures(HtmlReport& report, const std::string& name, const PlaneFunction& probability,
                        const PlaneWindow& window, std::span<const PlanePoint> points) {
  NoGrad no_grad;
  const std::vector<float> p = probability(plane_points(window, kPlaneSide)).to_vector<float>();
  const CaptionedPicture maps[] = {{plane_map(p, kPlaneSide, window, points), name + ": probability of 1"},
                                   {plane_map(p, kPlaneSide, window, points, true), name + ": regions"}};
  report.pictures(maps, 3);
  const std::vector<float> heights = probability(plane_points(window, kSurfaceSide)).to_vector<float>();
  const CaptionedPicture surface[] = {
      {plane_surface(heights, kSurfaceSide), name + ": the output as a surface"}};
  report.pictures(surface, 1);
}

ContourChart contour_of(const std::function<double(double, double)>& f, const PlaneWindow& window, int side) {
  ContourChart chart;
  chart.rows = chart.columns = side;
  chart.x_low = window.x_low, chart.x_high = window.x_high;
  chart.y_low = window.y_low, chart.y_high = window.y_high;
  for (int r = 0; r < side; ++r)
    for (int c = 0; c < side; ++c)
      chart.values.push_back(f(chart.x_low + (chart.x_high - chart.x_low) * c / (side - 1),
                               chart.y_low + (chart.y_high - chart.y_low) * r / (side - 1)));
  return chart;
}

}  // namespace gpunn::detail
