#include "gpunn/io/png.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <new>
#include <string_view>

#include "gpunn/core/error.h"

namespace gpunn {
namespace {

constexpr int kMaxSide = 16'384;

void append_be32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

/// Length, type, data, check sum of type and data.
void append_chunk(Bytes& out, std::string_view type, std::span<const std::uint8_t> data) {
  append_be32(out, static_cast<std::uint32_t>(data.size()));
  const std::size_t begin = out.size();
  out.insert(out.end(), type.begin(), type.end());
  out.insert(out.end(), data.begin(), data.end());
  append_be32(
      out, static_cast<std::uint32_t>(crc32(0, out.data() + begin, static_cast<uInt>(out.size() - begin))));
}

/// Rows, each after its filter byte 0 (none), compressed.
Bytes compressed_rows(const Picture& picture) {
  const auto row = static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.channels);
  Bytes raw;
  raw.reserve((row + 1) * static_cast<std::size_t>(picture.height));
  for (auto at = picture.pixels.begin(); at != picture.pixels.end(); at += static_cast<std::ptrdiff_t>(row)) {
    raw.push_back(0);
    raw.insert(raw.end(), at, at + static_cast<std::ptrdiff_t>(row));
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  Bytes out(size);
  if (compress2(out.data(), &size, raw.data(), static_cast<uLong>(raw.size()), 9) != Z_OK)
    throw std::bad_alloc();
  out.resize(size);
  return out;
}

}  // namespace

Picture gray_picture(std::span<const float> values, int height, int width, float low, float high) {
  GPUNN_CHECK(height >= 1 && height <= kMaxSide && width >= 1 && width <= kMaxSide &&
                  values.size() == static_cast<std::size_t>(height) * static_cast<std::size_t>(width) &&
                  low < high,
              "gray_picture: expected height x width values and low < high, got ", values.size(),
              " values for ", height, " x ", width, ", range ", low, " to ", high);
  Picture picture{width, height, 1, Bytes(values.size())};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float unit =
        std::isnan(values[i]) ? 0.5f : std::clamp((values[i] - low) / (high - low), 0.0f, 1.0f);
    picture.pixels[i] = static_cast<std::uint8_t>(std::lround(unit * 255));
  }
  return picture;
}

Bytes encode_png(const Picture& picture) {
  const auto& [width, height, channels, pixels] = picture;
  GPUNN_CHECK(width >= 1 && width <= kMaxSide && height >= 1 && height <= kMaxSide,
              "encode_png: expected sides of 1 to ", kMaxSide, ", got ", width, " x ", height);
  GPUNN_CHECK(channels == 1 || channels == 3, "encode_png: expected 1 or 3 channels, got ", channels);
  const std::size_t expected =
      static_cast<std::size_t>(width) * static_cast<std::size_t>(height) * static_cast<std::size_t>(channels);
  GPUNN_CHECK(pixels.size() == expected, "encode_png: expected ", expected, " bytes of pixels, got ",
              pixels.size());

  Bytes out = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Bytes header;
  append_be32(header, static_cast<std::uint32_t>(width));
  append_be32(header, static_cast<std::uint32_t>(height));
  // Bits a channel, colour type (0 grey, 2 RGB), compression, filter and interlace methods.
  for (const int byte : {8, channels == 3 ? 2 : 0, 0, 0, 0})
    header.push_back(static_cast<std::uint8_t>(byte));
  append_chunk(out, "IHDR", header);
  append_chunk(out, "IDAT", compressed_rows(picture));
  append_chunk(out, "IEND", {});
  return out;
}

void write_png(const std::string& path, const Picture& picture) {
  write_file_atomic(path, encode_png(picture));
}

std::string base64(std::span<const std::uint8_t> data) {
  constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((data.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < data.size(); i += 3) {
    const std::size_t present = std::min<std::size_t>(3, data.size() - i);
    std::uint32_t group = 0;
    for (std::size_t b = 0; b < 3; ++b) group = group << 8 | (b < present ? data[i + b] : 0u);
    for (std::size_t c = 0; c < 4; ++c) out += c <= present ? kAlphabet[group >> (18 - 6 * c) & 63] : '=';
  }
  return out;
}

std::string png_data_uri(const Picture& picture) {
  return "data:image/png;base64," + base64(encode_png(picture));
}

}  // namespace gpunn
