#pragma once
// Lines of equal value of a function given on a grid, by marching squares.
#include <span>
#include <utility>
#include <vector>

namespace gpunn::detail {

using ContourPoint = std::pair<double, double>;  // column, row; whole numbers are grid points

/// The lines where values [rows, columns], linear between neighbours, cross `level`: each either ends at the
/// rim (of the grid, or of a cell with a corner that is not finite) or is closed, its last point then equal
/// to its first. A value equal to the level counts as above it. In a saddle the lines part as the mean of the
/// four corners says. Lorensen and Cline, "Marching cubes" (1987), in two dimensions.
std::vector<std::vector<ContourPoint>> contour_lines(std::span<const double> values, int rows, int columns,
                                                     double level);

}  // namespace gpunn::detail
