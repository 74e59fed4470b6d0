#pragma once
// Pictures of functions of two inputs: probability maps, decision regions, surfaces.
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/png.h"
#include "gpunn/models/recipes/detail/numbers.h"  // IWYU pragma: export

namespace gpunn::detail {

/// The inputs shown: the first to the right, the second upwards.
struct PlaneWindow {
  float x_low, x_high, y_low, y_high;
};

/// Around the four rows of a truth table.
inline constexpr PlaneWindow kTableWindow{-0.25f, 1.25f, -0.25f, 1.25f};

/// A row of the data; drawn white where `positive`, black where not.
struct PlanePoint {
  double x, y;
  bool positive;
};

/// Points of a side x side grid over the window, row by row from the top: f32 [side * side, 2] on the CPU,
/// where all pictures are made: equal weights then give equal pictures on every device.
Tensor plane_points(const PlaneWindow& window, int side);

/// Values on such a grid as a picture of side x side pixels with the data over it: 0 is blue, 1/2 white, 1
/// red. `regions` shows only which side of 1/2 a value is on. Throws InvalidArgument unless values.size() is
/// side * side.
Picture plane_map(std::span<const float> values, int side, const PlaneWindow& window,
                  std::span<const PlanePoint> points, bool regions = false);

/// Values on such a grid as a landscape seen from above, turned by 30 degrees. Throws likewise.
Picture plane_surface(std::span<const float> values, int side);

/// [n, 2] to n probabilities, on the CPU.
using PlaneFunction = std::function<Tensor(const Tensor& points)>;

/// Adds probability map, regions and surface of a classifier to a report; captions start with `name`.
void add_plane_pictures(HtmlReport& report, const std::string& name, const PlaneFunction& probability,
                        const PlaneWindow& window, std::span<const PlanePoint> points);

/// A chart of f, sampled over the window, ready for levels, labels and paths.
ContourChart contour_of(const std::function<double(double, double)>& f, const PlaneWindow& window,
                        int side = 120);

/// What readers of these pictures must know, and the pixels a side of a map.
extern const char* const kPlaneLegend;
inline constexpr int kPlaneSide = 96;

}  // namespace gpunn::detail
