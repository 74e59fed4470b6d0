#pragma once
// PNG pictures in memory, and base64 to put them into a page.
//
// Only writing, with zlib: a picture without row filters is three chunks, and the project then needs no
// libpng to build.
#include <cstdint>
#include <span>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/io/file.h"

namespace gpunn {

/// A picture of 8 bits a channel, row by row from the top; channels interleaved.
struct Picture {
  int width = 0, height = 0;
  int channels = 1;  // 1: grey, 3: RGB
  Bytes pixels{};    // width * height * channels
};

/// Picture from values of the range [low, high] (gray, [height, width]), clamped; NaN becomes the middle.
/// Throws InvalidArgument unless values.size() == height * width and low < high.
GPUNN_API Picture gray_picture(std::span<const float> values, int height, int width, float low = 0,
                               float high = 1);

/// The picture as a PNG file. Throws InvalidArgument when a side is not 1 to 16384, channels are neither 1
/// nor 3, or the pixels are not as many as these say.
GPUNN_API Bytes encode_png(const Picture& picture);

/// Base64 (RFC 4648) with padding, on one line.
GPUNN_API std::string base64(std::span<const std::uint8_t> data);
/// "data:image/png;base64,…"
GPUNN_API std::string png_data_uri(const Picture& picture);

}  // namespace gpunn
