#pragma once
// PNG pictures, and base64 to put them into a page.
//
// Writing needs zlib alone: a picture without row filters is three chunks. Reading is libpng's, behind a
// check of the chunks that names what is wrong and where. Format: https://www.w3.org/TR/png-3/.
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

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

/// Writes the picture through an AtomicFile. Throws InvalidArgument as encode_png() does, and Error.
GPUNN_API void write_png(const std::string& path, const Picture& picture);

struct PngOptions {
  int channels = 0;  // of the result, 1 grey or 3 RGB; 0: grey for files without colours, else RGB
  // What is not opaque lies over this grey. None: alpha is dropped, a pixel has the colour stored for it.
  std::optional<std::uint8_t> background{};
  int max_side = 16'384;
  // Decoded (1 to 4 bytes a pixel: grey or RGB, 1 more with alpha) a picture may have `free_bytes`, and
  // beyond them no more than `max_ratio` times its file. Deflate can reach 1032 : 1, photographs stay under
  // 20 : 1.
  std::uint64_t free_bytes = std::uint64_t{32} << 20;
  std::uint64_t max_ratio = 200;
};

/// A PNG file as a picture of 8 bits a channel: palettes looked up, fewer bits spread over 0 to 255, 16 bits
/// rounded to 8, interlaced rows put in order. Grey from colours is (299 R + 587 G + 114 B) / 1000, rounded.
/// No colour management: gamma and colour profiles are not looked at.
/// Throws InvalidArgument for options, DataError "<path>: …" naming offset and chunk for everything that is
/// not a whole, valid PNG file without bytes after its end, or passes the limits; these are checked before
/// the picture's memory is taken. Needs that memory, at most max(free_bytes, max_ratio * file), plus 1 MiB.
GPUNN_API Picture decode_png(std::span<const std::uint8_t> file, std::string_view path,
                             const PngOptions& options = {});
/// The same of a file, which is held meanwhile; it may have 1 GiB.
GPUNN_API Picture read_png(const std::string& path, const PngOptions& options = {});

/// Base64 (RFC 4648) with padding, on one line.
GPUNN_API std::string base64(std::span<const std::uint8_t> data);
/// "data:image/png;base64,…"
GPUNN_API std::string png_data_uri(const Picture& picture);

}  // namespace gpunn
