#include "gpunn/io/png.h"

#include <zlib.h>

#include <cmath>

#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

std::uint32_t be32(const Bytes& data, std::size_t at) {
  return std::uint32_t{data.at(at)} << 24 | std::uint32_t{data.at(at + 1)} << 16 |
         std::uint32_t{data.at(at + 2)} << 8 | data.at(at + 3);
}

/// A reader of exactly what the format says of such files, written against the specification (W3C PNG, third
/// edition).
Picture decode(const Bytes& png) {
  EXPECT_EQ(std::string(png.begin(), png.begin() + 8), "\x89PNG\r\n\x1a\n");
  Picture picture;
  Bytes packed;
  std::string order;
  for (std::size_t at = 8; at < png.size();) {
    const std::uint32_t length = be32(png, at);
    const std::string type(png.begin() + static_cast<std::ptrdiff_t>(at) + 4,
                           png.begin() + static_cast<std::ptrdiff_t>(at) + 8);
    order += type + " ";
    EXPECT_EQ(be32(png, at + 8 + length), crc32(0, png.data() + at + 4, length + 4));
    if (type == "IHDR") {
      picture.width = static_cast<int>(be32(png, at + 8));
      picture.height = static_cast<int>(be32(png, at + 12));
      EXPECT_EQ(png.at(at + 16), 8);
      picture.channels = png.at(at + 17) == 2 ? 3 : 1;
    } else if (type == "IDAT") {
      packed.assign(png.begin() + static_cast<std::ptrdiff_t>(at) + 8,
                    png.begin() + static_cast<std::ptrdiff_t>(at + 8 + length));
    }
    at += 12 + length;
  }
  EXPECT_EQ(order, "IHDR IDAT IEND ");
  const std::size_t row = static_cast<std::size_t>(picture.width * picture.channels) + 1;
  Bytes raw(row * static_cast<std::size_t>(picture.height));
  uLongf size = raw.size();
  EXPECT_EQ(uncompress(raw.data(), &size, packed.data(), packed.size()), Z_OK);
  EXPECT_EQ(size, raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    if (i % row == 0) {
      EXPECT_EQ(raw[i], 0);
    } else {
      picture.pixels.push_back(raw[i]);
    }
  }
  return picture;
}

TEST(Png, RoundTrips) {
  for (const int channels : {1, 3}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {28, 28}, {5, 300}, {257, 2}}) {
      Picture picture{width, height, channels, Bytes(static_cast<std::size_t>(width * height * channels))};
      for (std::size_t i = 0; i < picture.pixels.size(); ++i)
        picture.pixels[i] = static_cast<std::uint8_t>(i * 37 + i / 7);
      const Picture back = decode(encode_png(picture));
      EXPECT_EQ(back.width, width);
      EXPECT_EQ(back.height, height);
      EXPECT_EQ(back.channels, channels);
      EXPECT_EQ(back.pixels, picture.pixels);
    }
  }
}

TEST(Png, WrongPicturesAreRefused) {
  EXPECT_THROW(encode_png({2, 2, 1, Bytes(3)}), InvalidArgument);
  EXPECT_THROW(encode_png({2, 2, 1, Bytes(5)}), InvalidArgument);
  EXPECT_THROW(encode_png({2, 2, 2, Bytes(8)}), InvalidArgument);
  EXPECT_THROW(encode_png({0, 2, 1, {}}), InvalidArgument);
  EXPECT_THROW(encode_png({-1, 2, 1, {}}), InvalidArgument);
  EXPECT_THROW(encode_png({16'385, 1, 1, Bytes(16'385)}), InvalidArgument);
}

TEST(Png, GrayPictureMapsTheRange) {
  const std::vector<float> values = {-1, 0, 0.5f, 1, 2, std::nanf("")};
  EXPECT_EQ(gray_picture(values, 2, 3).pixels, (Bytes{0, 0, 128, 255, 255, 128}));
  EXPECT_EQ(gray_picture(values, 3, 2, -1, 3).pixels, (Bytes{0, 64, 96, 128, 191, 128}));
  EXPECT_THROW(gray_picture(values, 2, 2), InvalidArgument);
  EXPECT_THROW(gray_picture(values, 2, 3, 1, 1), InvalidArgument);
  EXPECT_THROW(gray_picture({}, 0, 3), InvalidArgument);
}

// The vectors of RFC 4648, section 10.
TEST(Base64, KnownTexts) {
  const std::vector<std::pair<std::string, std::string>> vectors = {{"", ""},
                                                                    {"f", "Zg=="},
                                                                    {"fo", "Zm8="},
                                                                    {"foo", "Zm9v"},
                                                                    {"foob", "Zm9vYg=="},
                                                                    {"fooba", "Zm9vYmE="},
                                                                    {"foobar", "Zm9vYmFy"}};
  for (const auto& [text, encoded] : vectors) EXPECT_EQ(base64(as_bytes(text)), encoded);
  EXPECT_EQ(base64(Bytes{0xfb, 0xff, 0xbf}), "+/+/");
  EXPECT_TRUE(png_data_uri({1, 1, 1, {0}}).starts_with("data:image/png;base64,iVBORw0KGgo"));
}

}  // namespace
}  // namespace gpunn
