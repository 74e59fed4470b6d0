#include "gpunn/io/picture_grid.h"

#include <algorithm>
#include <cmath>

#include "gpunn/core/error.h"

namespace gpunn {

namespace {

constexpr int kSeries = 7, kMaxSide = 10'000;
// --s0 … --s6 of the light style sheet.
constexpr std::uint8_t kColours[kSeries][3] = {{0x0b, 0x63, 0xa5}, {0xcc, 0x55, 0x08}, {0x17, 0x82, 0x59},
                                               {0x8a, 0x55, 0xa3}, {0xa8, 0x78, 0x00}, {0x3b, 0x8f, 0xc0},
                                               {0x74, 0x7a, 0x83}};

/// Columns and rows of cells, and the size of one in pictures' pixels.
struct Cells {
  int columns, rows, width, height;
};

Cells cells_of(const PictureGrid& grid) {
  GPUNN_CHECK(!grid.pictures.empty(), "PictureGrid: expected pictures, got none");
  GPUNN_CHECK(grid.columns >= 1 && grid.columns <= 64, "PictureGrid: expected 1 to 64 columns, got ",
              grid.columns);
  GPUNN_CHECK(grid.scale >= 1 && grid.scale <= 32, "PictureGrid: expected a scale of 1 to 32, got ",
              grid.scale);
  const auto count = static_cast<int>(std::min<std::size_t>(grid.pictures.size(), kMaxSide));
  Cells cells{std::min(grid.columns, count), 0, 0, 0};
  cells.rows = (count + cells.columns - 1) / cells.columns;
  for (const GridPicture& p : grid.pictures) {
    cells.width = std::max(cells.width, p.picture.width);
    cells.height = std::max(cells.height, p.picture.height);
  }
  return cells;
}

void check_side(double side) {
  GPUNN_CHECK(side >= 1 && side <= kMaxSide, "PictureGrid: expected a drawing of at most ", kMaxSide,
              " pixels in each direction, got ", side);
}

void check_mark(const BoxMark& b) {
  GPUNN_CHECK(std::isfinite(b.left) && std::isfinite(b.top) && std::isfinite(b.right) &&
                  std::isfinite(b.bottom) && b.left <= b.right && b.top <= b.bottom,
              "expected a box with left <= right and top <= bottom, got ", b.left, ", ", b.top, ", ", b.right,
              ", ", b.bottom);
}

Picture in_rgb(const Picture& picture) {
  GPUNN_CHECK((picture.channels == 1 || picture.channels == 3) && picture.width >= 1 && picture.height >= 1 &&
                  picture.pixels.size() == static_cast<std::size_t>(picture.width) *
                                               static_cast<std::size_t>(picture.height) *
                                               static_cast<std::size_t>(picture.channels),
              "expected a picture with 1 or 3 channels and their pixels, got ", picture.width, " x ",
              picture.height, " x ", picture.channels, " and ", picture.pixels.size(), " bytes");
  if (picture.channels == 3) return picture;
  Picture out{picture.width, picture.height, 3, {}};
  out.pixels.reserve(3 * picture.pixels.size());
  for (const std::uint8_t v : picture.pixels) out.pixels.insert(out.pixels.end(), {v, v, v});
  return out;
}

void paint(Picture& picture, int x, int y, int series) {
  std::uint8_t* pixel =
      picture.pixels.data() + 3 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(picture.width) +
                                   static_cast<std::size_t>(x));
  std::copy_n(kColours[series], 3, pixel);
}

/// The first pixel that a coordinate is in, and the last.
int first_pixel(double at, int size) {
  return static_cast<int>(std::floor(std::clamp(at, 0.0, static_cast<double>(size))));
}
int last_pixel(double at, int size) {
  return static_cast<int>(std::ceil(std::clamp(at, 0.0, static_cast<double>(size)))) - 1;
}

Picture painted(const GridPicture& p, double opacity) {
  Picture out = p.mask.empty() ? in_rgb(p.picture) : with_mask(p.picture, p.mask, opacity);
  return p.boxes.empty() ? out : with_boxes(out, p.boxes);
}

}  // namespace

std::span<const std::uint8_t, 3> series_rgb(int series) {
  GPUNN_CHECK(series >= 0 && series < kSeries, "expected a series colour of 0 to ", kSeries - 1, ", got ",
              series);
  return kColours[series];
}

Picture with_mask(const Picture& picture, std::span<const std::int64_t> mask, double opacity) {
  Picture out = in_rgb(picture);
  GPUNN_CHECK(3 * mask.size() == out.pixels.size(), "expected a class for each of ", out.pixels.size() / 3,
              " pixels, got ", mask.size());
  GPUNN_CHECK(opacity >= 0 && opacity <= 1, "expected an opacity in [0, 1], got ", opacity);
  for (std::size_t i = 0; i < mask.size(); ++i) {
    GPUNN_CHECK(mask[i] >= 0, "expected classes of at least 0 in a mask, got ", mask[i], " at pixel ", i);
    if (mask[i] == 0) continue;
    for (std::size_t c = 0; c < 3; ++c) {
      std::uint8_t& v = out.pixels[3 * i + c];
      v = static_cast<std::uint8_t>(std::lround(v + opacity * (kColours[(mask[i] - 1) % kSeries][c] - v)));
    }
  }
  return out;
}

Picture with_boxes(const Picture& picture, std::span<const BoxMark> boxes) {
  Picture out = in_rgb(picture);
  for (const BoxMark& b : boxes) {
    check_mark(b);
    series_rgb(b.series);
    const bool outside = b.right <= 0 || b.bottom <= 0 || b.left >= out.width || b.top >= out.height;
    if (outside || b.left == b.right || b.top == b.bottom) continue;
    const int left = first_pixel(b.left, out.width), right = last_pixel(b.right, out.width);
    const int top = first_pixel(b.top, out.height), bottom = last_pixel(b.bottom, out.height);
    // An edge beyond the picture is not drawn at its rim.
    for (int x = left; x <= right; ++x) {
      if (b.top >= 0) paint(out, x, top, b.series);
      if (b.bottom <= out.height) paint(out, x, bottom, b.series);
    }
    for (int y = top; y <= bottom; ++y) {
      if (b.left >= 0) paint(out, left, y, b.series);
      if (b.right <= out.width) paint(out, right, y, b.series);
    }
  }
  return out;
}

Picture grid_picture(const PictureGrid& grid) {
  constexpr int kGap = 2;
  const Cells cells = cells_of(grid);
  const auto side = [&](int count, int size) {
    const double all = static_cast<double>(count) * (static_cast<double>(size) * grid.scale + kGap) - kGap;
    check_side(all);
    return static_cast<int>(all);
  };
  Picture out{side(cells.columns, cells.width), side(cells.rows, cells.height), 3, {}};
  out.pixels.assign(3 * static_cast<std::size_t>(out.width) * static_cast<std::size_t>(out.height), 255);
  for (std::size_t i = 0; i < grid.pictures.size(); ++i) {
    const Picture cell = painted(grid.pictures[i], grid.mask_opacity);
    const int column = static_cast<int>(i) % cells.columns, row = static_cast<int>(i) / cells.columns;
    const int x0 = column * (cells.width * grid.scale + kGap), y0 = row * (cells.height * grid.scale + kGap);
    for (int y = 0; y < cell.height * grid.scale; ++y) {
      for (int x = 0; x < cell.width * grid.scale; ++x) {
        const auto from = static_cast<std::size_t>(y / grid.scale) * static_cast<std::size_t>(cell.width) +
                          static_cast<std::size_t>(x / grid.scale);
        const auto to = static_cast<std::size_t>(y0 + y) * static_cast<std::size_t>(out.width) +
                        static_cast<std::size_t>(x0 + x);
        std::copy_n(cell.pixels.data() + 3 * from, 3, out.pixels.data() + 3 * to);
      }
    }
  }
  return out;
}

namespace {

/// Corners cut to the picture, as a closed line.
void draw_box(Svg& svg, const BoxMark& b, const Picture& picture, double x0, double y0, int scale) {
  check_mark(b);
  series_rgb(b.series);
  const auto x = [&](double at) {
    return x0 + scale * std::clamp(at, 0.0, static_cast<double>(picture.width));
  };
  const auto y = [&](double at) {
    return y0 + scale * std::clamp(at, 0.0, static_cast<double>(picture.height));
  };
  const std::pair<double, double> corners[] = {{x(b.left), y(b.top)},
                                               {x(b.right), y(b.top)},
                                               {x(b.right), y(b.bottom)},
                                               {x(b.left), y(b.bottom)},
                                               {x(b.left), y(b.top)}};
  svg.begin_group("hover", b.text);
  svg.polyline(corners, "s" + std::to_string(b.series) + (b.dashed ? " dashed" : ""));
  if (!b.text.empty()) svg.text(x(b.left) + 2, y(b.top) + 11, b.text, "halo f" + std::to_string(b.series));
  svg.end_group();
}

}  // namespace

Svg draw(const PictureGrid& grid) {
  constexpr double kGap = 8, kCaption = 18, kTitle = 28;
  const Cells cells = cells_of(grid);
  const bool captions = std::any_of(grid.pictures.begin(), grid.pictures.end(),
                                    [](const GridPicture& p) { return !p.caption.empty(); });
  const double cell_width = cells.width * grid.scale + kGap;
  const double cell_height = cells.height * grid.scale + (captions ? kCaption : 0) + kGap;
  const double above = grid.title.empty() ? 0 : kTitle;
  const double width = std::max(cells.columns * cell_width, grid.title.empty() ? 1.0 : 200.0);
  const double height = above + cells.rows * cell_height;
  check_side(width);
  check_side(height);
  Svg svg(width, height, grid.title.empty() ? "pictures" : grid.title);
  if (!grid.title.empty()) svg.text(0, 16, grid.title, "title");
  for (std::size_t i = 0; i < grid.pictures.size(); ++i) {
    const GridPicture& p = grid.pictures[i];
    const auto columns = static_cast<std::size_t>(cells.columns);
    const std::size_t row = i / columns;
    const double x = static_cast<double>(i % columns) * cell_width,
                 y = above + static_cast<double>(row) * cell_height;
    // Boxes are drawn as lines over the picture, masks are in it.
    const Picture shown = p.mask.empty() ? p.picture : with_mask(p.picture, p.mask, grid.mask_opacity);
    svg.image(x, y, shown.width * grid.scale, shown.height * grid.scale, png_data_uri(shown));
    for (const BoxMark& b : p.boxes) draw_box(svg, b, shown, x, y, grid.scale);
    if (!p.caption.empty()) svg.text(x, y + cells.height * grid.scale + 13, p.caption, "tick");
  }
  return svg;
}

}  // namespace gpunn
