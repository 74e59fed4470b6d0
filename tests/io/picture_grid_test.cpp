#include "gpunn/io/picture_grid.h"

#include <cmath>

#include "gpunn/io/detail/report_style.h"
#include "tests/io/io_testing.h"
#include "tests/io/markup.h"

namespace gpunn {
namespace {

Picture plain(int width, int height, std::uint8_t value, int channels = 1) {
  return {width, height, channels, Bytes(static_cast<std::size_t>(width * height * channels), value)};
}

Bytes pixel(const Picture& picture, int x, int y) {
  const auto at = static_cast<std::ptrdiff_t>(3 * (y * picture.width + x));
  return {picture.pixels.begin() + at, picture.pixels.begin() + at + 3};
}

Bytes colour(int series) {
  const auto rgb = series_rgb(series);
  return {rgb.begin(), rgb.end()};
}

TEST(PictureGrid, ColoursAreTheStyleSheets) {
  const std::string style = detail::drawing_style();
  for (int s = 0; s < 7; ++s) {
    std::string hex;
    for (const std::uint8_t v : series_rgb(s)) {
      hex += "0123456789abcdef"[v >> 4];
      hex += "0123456789abcdef"[v & 15];
    }
    EXPECT_NE(style.find("--s" + std::to_string(s) + ":#" + hex + ";"), std::string::npos) << s;
  }
  EXPECT_THROW(series_rgb(7), InvalidArgument);
  EXPECT_THROW(series_rgb(-1), InvalidArgument);
}

TEST(PictureGrid, MasksMixColours) {
  const std::vector<std::int64_t> mask = {0, 1, 2, 8};
  const Picture out = with_mask(plain(2, 2, 100), mask, 1);
  EXPECT_EQ(out.channels, 3);
  EXPECT_EQ(pixel(out, 0, 0), (Bytes{100, 100, 100}));
  EXPECT_EQ(pixel(out, 1, 0), colour(0));
  EXPECT_EQ(pixel(out, 0, 1), colour(1));
  EXPECT_EQ(pixel(out, 1, 1), colour(0));  // seven colours, then again
  const Picture half = with_mask(plain(2, 2, 100, 3), mask, 0.25);
  for (std::size_t c = 0; c < 3; ++c) EXPECT_EQ(pixel(half, 1, 0)[c], std::lround(75 + 0.25 * colour(0)[c]));
  EXPECT_EQ(with_mask(plain(2, 2, 100, 3), mask, 0).pixels, plain(2, 2, 100, 3).pixels);
  EXPECT_THROW(with_mask(plain(2, 2, 0), std::vector<std::int64_t>{0, 1, 2}), InvalidArgument);
  EXPECT_THROW(with_mask(plain(2, 1, 0), std::vector<std::int64_t>{0, -1}), InvalidArgument);
  EXPECT_THROW(with_mask(plain(2, 2, 0), mask, 1.5), InvalidArgument);
  EXPECT_THROW(with_mask({2, 2, 2, Bytes(8)}, mask), InvalidArgument);
  EXPECT_THROW(with_mask({2, 2, 1, Bytes(3)}, mask), InvalidArgument);
}

/// "#" where a picture of one colour was painted over.
std::string shape_of(const Picture& picture, std::uint8_t ground) {
  std::string out;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x)
      out += pixel(picture, x, y) == Bytes{ground, ground, ground} ? '.' : '#';
    out += '|';
  }
  return out;
}

TEST(PictureGrid, BoxesAreOutlinesInside) {
  const auto boxed = [](const BoxMark& b) { return shape_of(with_boxes(plain(6, 5, 9), {&b, 1}), 9); };
  EXPECT_EQ(boxed({1, 1, 5, 4}), "......|.####.|.#..#.|.####.|......|");
  EXPECT_EQ(boxed({0, 0, 6, 5}), "######|#....#|#....#|#....#|######|");
  EXPECT_EQ(boxed({-3, 1, 3, 9}), "......|###...|..#...|..#...|..#...|");  // cut off
  EXPECT_EQ(boxed({1.5, 1.2, 2.5, 3.9}), "......|.##...|.##...|.##...|......|");
  for (const BoxMark& nothing :
       {BoxMark{7, 1, 9, 3}, BoxMark{-3, -3, -1, -1}, BoxMark{2, 2, 2, 4}, BoxMark{-9, -9, 99, 99}})
    EXPECT_EQ(boxed(nothing), "......|......|......|......|......|");
  const BoxMark green{0, 0, 1, 1, "", 2};
  EXPECT_EQ(pixel(with_boxes(plain(2, 2, 9), {&green, 1}), 0, 0), colour(2));
  for (const BoxMark& wrong : {BoxMark{3, 0, 1, 1}, BoxMark{0, 3, 1, 1}, BoxMark{NAN, 0, 1, 1},
                               BoxMark{0, 0, INFINITY, 1}, BoxMark{0, 0, 1, 1, "", 7}})
    EXPECT_THROW(with_boxes(plain(2, 2, 9), {&wrong, 1}), InvalidArgument);
}

TEST(PictureGrid, OnePictureOfAll) {
  PictureGrid grid{.columns = 2, .scale = 3};
  grid.pictures = {{plain(2, 1, 10)}, {plain(1, 2, 20, 3)}, {plain(2, 2, 30)}};
  grid.pictures[2].boxes.push_back({0, 0, 1, 1});
  const Picture out = grid_picture(grid);
  EXPECT_EQ(out.width, 2 * 6 + 2);
  EXPECT_EQ(out.height, 2 * 6 + 2);
  const Bytes white = {255, 255, 255};
  EXPECT_EQ(pixel(out, 5, 2), (Bytes{10, 10, 10}));
  EXPECT_EQ(pixel(out, 5, 3), white);  // the cell is larger than the picture
  EXPECT_EQ(pixel(out, 6, 0), white);
  EXPECT_EQ(pixel(out, 8, 5), (Bytes{20, 20, 20}));
  EXPECT_EQ(pixel(out, 11, 5), white);
  EXPECT_EQ(pixel(out, 2, 8), colour(0));
  EXPECT_EQ(pixel(out, 3, 8), (Bytes{30, 30, 30}));
  EXPECT_EQ(pixel(out, 8, 8), white);  // no fourth picture
  EXPECT_NO_THROW(encode_png(out));
}

TEST(PictureGrid, DrawingHasPicturesBoxesAndTexts) {
  PictureGrid grid{.title = "Scenes <1>", .columns = 3, .scale = 4};
  for (int i = 0; i < 4; ++i) grid.pictures.push_back({plain(8, 6, 50, 3), "picture " + std::to_string(i)});
  grid.pictures[1].boxes = {{1, 2, 5, 20, "circle .93", 1}, {2, 2, 5, 5, "", 2, true}};
  grid.pictures[3].mask.assign(48, 1);
  const std::string svg = draw(grid).markup();
  testing::expect_well_formed(svg);
  const auto count = [&](std::string_view part) {
    std::size_t n = 0;
    for (std::size_t at = svg.find(part); at != svg.npos; at = svg.find(part, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count("<image"), 4u);
  EXPECT_EQ(count("<polyline"), 2u);
  EXPECT_EQ(count("class=\"s2 dashed\""), 1u);
  EXPECT_EQ(count("circle .93"), 2u);  // the text and what hovering shows
  EXPECT_EQ(count("Scenes &lt;1&gt;"), 2u);
  EXPECT_EQ(count("picture 3"), 1u);
  // Second cell: 4 * 8 + 8 to the right; the box's lower edge is cut to the picture's.
  EXPECT_EQ(count("points=\"44,36 60,36 60,52 44,52 44,36\""), 1u) << svg;
  EXPECT_EQ(count(png_data_uri(plain(8, 6, 50, 3))), 3u);  // the fourth is masked
}

TEST(PictureGrid, WrongGridsAreRefused) {
  const PictureGrid good{.title = "", .pictures = {{plain(4, 4, 1)}}};
  EXPECT_NO_THROW(draw(good));
  const auto refused = [&](auto change) {
    PictureGrid grid = good;
    change(grid);
    EXPECT_THROW(draw(grid), InvalidArgument);
    EXPECT_THROW(grid_picture(grid), InvalidArgument);
  };
  refused([](PictureGrid& g) { g.pictures.clear(); });
  refused([](PictureGrid& g) { g.columns = 0; });
  refused([](PictureGrid& g) { g.columns = 65; });
  refused([](PictureGrid& g) { g.scale = 0; });
  refused([](PictureGrid& g) { g.scale = 33; });
  refused([](PictureGrid& g) { g.pictures[0].picture.pixels.pop_back(); });
  refused([](PictureGrid& g) { g.pictures[0].mask = {1}; });
  refused([](PictureGrid& g) { g.pictures[0].boxes = {{2, 2, 1, 1}}; });
  refused([](PictureGrid& g) {
    g.pictures[0].picture = plain(500, 1, 1);
    g.scale = 32;
  });
  refused([](PictureGrid& g) {
    g.pictures.resize(600, g.pictures[0]);
    g.columns = 1;
    g.scale = 5;
  });
}

}  // namespace
}  // namespace gpunn
