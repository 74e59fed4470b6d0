#include "gpunn/io/picture_tools.h"

#include <cmath>

#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

TEST(ResizePicture, SameSizeIsTheSame) {
  const Picture picture{3, 2, 1, {1, 2, 3, 4, 5, 6}};
  EXPECT_EQ(resize_picture(picture, 3, 2).pixels, picture.pixels);
}

// By hand: at twice the width, pixel centres lie at -1/4, 1/4, 3/4, 5/4 of the old ones.
TEST(ResizePicture, LargerIsBilinear) {
  const Picture out = resize_picture({2, 1, 1, {0, 100}}, 4, 1);
  EXPECT_EQ(out.pixels, (Bytes{0, 25, 75, 100}));
  EXPECT_EQ(resize_picture({1, 2, 1, {0, 100}}, 1, 4).pixels, (Bytes{0, 25, 75, 100}));
  EXPECT_EQ(resize_picture({1, 1, 3, {7, 8, 9}}, 2, 2).pixels, (Bytes{7, 8, 9, 7, 8, 9, 7, 8, 9, 7, 8, 9}));
}

// By hand: half the width has triangles of half-width 2 around 1 and 3, weights 3/8, 3/8, 1/8 and their
// mirror, over 7/8 at the edge.
TEST(ResizePicture, SmallerCoversAllPixels) {
  const Picture out = resize_picture({4, 1, 1, {70, 0, 0, 210}}, 2, 1);
  EXPECT_EQ(out.pixels, (Bytes{30, 90}));
  // A chequered picture becomes grey, not one of its colours.
  Picture board{32, 32, 1, Bytes(32 * 32)};
  for (std::size_t i = 0; i < board.pixels.size(); ++i)
    board.pixels[i] = (i % 32 + i / 32) % 2 == 0 ? 0 : 255;
  for (const std::uint8_t v : resize_picture(board, 4, 4).pixels) EXPECT_NEAR(v, 127.5, 3);
}

TEST(ResizePicture, ChannelsStayApart) {
  Picture picture{5, 7, 3, Bytes(105)};
  for (std::size_t i = 0; i < picture.pixels.size(); ++i)
    picture.pixels[i] = static_cast<std::uint8_t>(i * 53);
  const Picture all = resize_picture(picture, 9, 3);
  for (std::size_t c = 0; c < 3; ++c) {
    Picture one{5, 7, 1, {}};
    for (std::size_t i = c; i < picture.pixels.size(); i += 3) one.pixels.push_back(picture.pixels[i]);
    const Picture alone = resize_picture(one, 9, 3);
    for (std::size_t i = 0; i < alone.pixels.size(); ++i) EXPECT_EQ(all.pixels[3 * i + c], alone.pixels[i]);
  }
}

TEST(ResizePicture, WrongSizesAreRefused) {
  const Picture picture{2, 1, 1, {0, 1}};
  EXPECT_THROW(resize_picture(picture, 0, 1), InvalidArgument);
  EXPECT_THROW(resize_picture(picture, 1, 16'385), InvalidArgument);
  EXPECT_THROW(resize_picture({2, 1, 1, {0}}, 1, 1), InvalidArgument);
  EXPECT_THROW(resize_picture({1, 1, 2, {0, 1}}, 1, 1), InvalidArgument);
}

TEST(PlanesPicture, InterleavesAndScales) {
  const std::vector<float> values = {0, 1, 0.5F, 2, -1, std::nanf("")};  // 3 planes of 1 x 2
  EXPECT_EQ(planes_picture(values, 3, 1, 2).pixels, (Bytes{0, 128, 0, 255, 255, 128}));
  EXPECT_EQ(planes_picture(values, 1, 2, 3, -1, 3).pixels, (Bytes{64, 128, 96, 191, 0, 128}));
  EXPECT_THROW(planes_picture(values, 2, 1, 3), InvalidArgument);
  EXPECT_THROW(planes_picture(values, 3, 2, 2), InvalidArgument);
  EXPECT_THROW(planes_picture(values, 3, 1, 2, 1, 1), InvalidArgument);
  EXPECT_THROW(planes_picture({}, 3, 2'000'000'000, 1), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
