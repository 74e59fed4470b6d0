#include "gpunn/io/detail/contour_lines.h"

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace gpunn::detail {
namespace {

// A line crosses each edge of the grid at most once, and each edge belongs to at most two cells. So crossings
// are numbered by edge (2 i: from point i to the right, 2 i + 1: upwards), and each has at most two
// neighbours.
constexpr std::int64_t kNone = -1;
using Neighbours = std::array<std::int64_t, 2>;

class Tracer {
 public:
  Tracer(std::span<const double> values, int rows, int columns, double level)
      : values_(values),
        rows_(rows),
        columns_(columns),
        level_(level),
        next_(2 * values.size(), Neighbours{kNone, kNone}) {}

  void visit_cells() {
    for (int r = 0; r + 1 < rows_; ++r)
      for (int c = 0; c + 1 < columns_; ++c) visit(r, c);
  }

  std::vector<std::vector<ContourPoint>> lines() {
    std::vector<std::vector<ContourPoint>> found;
    // Open lines first: they must be walked from an end.
    for (const bool closed : {false, true})
      for (std::size_t edge = 0; edge < next_.size(); ++edge) {
        const Neighbours& n = next_[edge];
        const bool starts = closed ? n[0] != kNone : (n[0] == kNone) != (n[1] == kNone);
        if (starts) found.push_back(walk(static_cast<std::int64_t>(edge), closed));
      }
    return found;
  }

 private:
  std::int64_t point(int r, int c) const { return std::int64_t{r} * columns_ + c; }
  double value(int r, int c) const { return values_[static_cast<std::size_t>(point(r, c))]; }

  void connect(std::int64_t a, std::int64_t b) {
    for (const auto& [from, to] : {std::pair{a, b}, {b, a}}) {
      Neighbours& n = next_[static_cast<std::size_t>(from)];
      n[n[0] == kNone ? 0 : 1] = to;
    }
  }

  void visit(int r, int c) {
    const std::array<double, 4> corner{value(r, c), value(r, c + 1), value(r + 1, c + 1), value(r + 1, c)};
    std::array<bool, 4> above{};
    for (std::size_t i = 0; i < 4; ++i) {
      if (!std::isfinite(corner[i])) return;
      above[i] = corner[i] >= level_;
    }
    // Edge i of the cell lies between corners i and i + 1.
    const std::array<std::int64_t, 4> edge{2 * point(r, c), 2 * point(r, c + 1) + 1, 2 * point(r + 1, c),
                                           2 * point(r, c) + 1};
    std::array<std::int64_t, 4> crossed{};
    std::size_t count = 0;
    for (std::size_t i = 0; i < 4; ++i)
      if (above[i] != above[(i + 1) % 4]) crossed[count++] = edge[i];
    if (count == 2) connect(crossed[0], crossed[1]);
    if (count < 4) return;
    // A saddle: the two corners that are unlike the middle are cut off. Corner i lies between edges i - 1 and
    // i.
    const bool middle = (corner[0] + corner[1] + corner[2] + corner[3]) / 4 >= level_;
    const std::size_t first = above[0] != middle ? 0 : 1;
    for (const std::size_t i : {first, first + 2}) connect(edge[(i + 3) % 4], edge[i]);
  }

  ContourPoint crossing(std::int64_t edge) const {
    const std::int64_t from = edge / 2, to = from + (edge % 2 == 0 ? 1 : columns_);
    const double a = values_[static_cast<std::size_t>(from)], b = values_[static_cast<std::size_t>(to)];
    // Halves: the difference of two large values must not overflow.
    const double part = (level_ / 2 - a / 2) / (b / 2 - a / 2);
    const double t = part >= 0 && part <= 1 ? part : 0.5;  // values so small that halving them loses them
    const auto column = static_cast<double>(from % columns_), row = static_cast<double>(from / columns_);
    return edge % 2 == 0 ? ContourPoint{column + t, row} : ContourPoint{column, row + t};
  }

  // Takes the line apart as it goes, so that none is walked twice.
  std::vector<ContourPoint> walk(std::int64_t start, bool closed) {
    std::vector<ContourPoint> line{crossing(start)};
    std::int64_t at = start, before = kNone;
    for (;;) {
      Neighbours& n = next_[static_cast<std::size_t>(at)];
      const std::int64_t on = n[0] != before && n[0] != kNone ? n[0] : n[1] != before ? n[1] : kNone;
      n = {kNone, kNone};
      if (on == kNone) return line;
      line.push_back(crossing(on));
      if (closed && on == start) return line;
      before = at;
      at = on;
    }
  }

  std::span<const double> values_;
  int rows_, columns_;
  double level_;
  std::vector<Neighbours> next_;
};

}  // namespace

std::vector<std::vector<ContourPoint>> contour_lines(std::span<const double> values, int rows, int columns,
                                                     double level) {
  Tracer tracer(values, rows, columns, level);
  tracer.visit_cells();
  return tracer.lines();
}

}  // namespace gpunn::detail
