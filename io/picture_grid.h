#pragma once
// Pictures side by side, with boxes and class masks over them: for reports (SVG) and as one picture (PNG).
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/png.h"
#include "gpunn/io/svg.h"

namespace gpunn {

/// A box over a picture, in its pixels; right and bottom are exclusive. What lies outside is cut off.
struct BoxMark {
  double left = 0, top = 0, right = 0, bottom = 0;
  std::string text{};   // in drawings: beside the box
  int series = 0;       // colour, 0 to 6
  bool dashed = false;  // in drawings: for the truth beside predictions
};

struct GridPicture {
  Picture picture{};
  std::string caption{};
  std::vector<BoxMark> boxes{};
  std::vector<std::int64_t>
      mask{};  // [height, width] classes, or none; 0 shows nothing, k the colour (k - 1) % 7
};

struct PictureGrid {
  std::string title{};
  std::vector<GridPicture> pictures{};
  int columns = 8;
  int scale = 2;              // drawn pixels for each of the pictures'
  double mask_opacity = 0.5;  // 0 to 1
};

/// Red, green and blue of series colour 0 to 6, as drawings have it on a light page.
GPUNN_API std::span<const std::uint8_t, 3> series_rgb(int series);

/// The picture in RGB with the colours of `mask` mixed in. Throws InvalidArgument unless the mask has a class
/// of at least 0 for each pixel, and the opacity is within [0, 1].
GPUNN_API Picture with_mask(const Picture& picture, std::span<const std::int64_t> mask, double opacity = 0.5);
/// The picture in RGB with outlines one pixel thick, just inside of the boxes. Throws InvalidArgument for
/// boxes that are not finite or the wrong way round.
GPUNN_API Picture with_boxes(const Picture& picture, std::span<const BoxMark> boxes);

/// Pictures of several sizes stand in cells of the largest one. Both throw InvalidArgument for a grid without
/// pictures, columns outside 1 to 64, a scale outside 1 to 32, sides of a result above 10,000, and as the two
/// above. The picture has no texts: boxes and masks are painted, two white pixels part the cells.
GPUNN_API Svg draw(const PictureGrid& grid);
GPUNN_API Picture grid_picture(const PictureGrid& grid);

}  // namespace gpunn
