#pragma once
// A writer of PNG files of every kind, for tests of the reader: written from the specification (W3C PNG,
// third edition), apart from the library's own writer. Nothing is checked, so that it can also write wrong
// files.
#include <zlib.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/io/file.h"

namespace gpunn::testing {

inline void put_be32(Bytes& out, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(value >> shift));
}

inline Bytes png_chunk(std::string_view name, const Bytes& data) {
  Bytes out;
  put_be32(out, static_cast<std::uint32_t>(data.size()));
  out.insert(out.end(), name.begin(), name.end());
  out.insert(out.end(), data.begin(), data.end());
  put_be32(out, static_cast<std::uint32_t>(
                    crc32(0, out.data() + 4, static_cast<uInt>(data.size() + name.size()))));
  return out;
}

inline Bytes deflated(const Bytes& raw) {
  uLongf size = compressBound(raw.size());
  Bytes out(size);
  compress2(out.data(), &size, raw.data(), raw.size(), 6);
  out.resize(size);
  return out;
}

inline const std::string kPngSignature("\x89PNG\r\n\x1a\n", 8);

struct PngMaker {
  std::uint32_t width = 1, height = 1;
  int depth = 8, colour = 0;
  bool interlaced = false;
  int filter = -1;                       // 0 to 4 for all rows; -1: all in turn
  std::vector<std::uint16_t> samples{};  // [height, width, samples of a pixel]
  Bytes palette{}, transparency{};       // chunks that are left out when empty
  std::size_t data_chunk = 50;           // bytes of pixels in a chunk

  int per_pixel() const { return colour == 2 ? 3 : colour == 6 ? 4 : colour == 4 ? 2 : 1; }
  std::uint16_t sample(std::uint32_t y, std::uint32_t x, int c) const {
    return samples[(std::size_t{y} * width + x) * static_cast<std::size_t>(per_pixel()) +
                   static_cast<std::size_t>(c)];
  }

  Bytes header() const {
    Bytes out;
    put_be32(out, width);
    put_be32(out, height);
    for (const int byte : {depth, colour, 0, 0, interlaced ? 1 : 0})
      out.push_back(static_cast<std::uint8_t>(byte));
    return out;
  }

  /// Filtered rows of all passes.
  Bytes rows() const {
    if (!interlaced) return pass(0, 0, 1, 1);
    constexpr std::uint32_t kAdam7[7][4] = {{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4},
                                            {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}};
    Bytes out;
    for (const auto& [x, y, dx, dy] : kAdam7) {
      const Bytes part = pass(x, y, dx, dy);
      out.insert(out.end(), part.begin(), part.end());
    }
    return out;
  }

  /// The chunks in order, header first.
  std::vector<Bytes> chunks() const {
    std::vector<Bytes> out = {png_chunk("IHDR", header())};
    if (!palette.empty()) out.push_back(png_chunk("PLTE", palette));
    if (!transparency.empty()) out.push_back(png_chunk("tRNS", transparency));
    const Bytes data = deflated(rows());
    for (std::size_t at = 0; at < data.size(); at += data_chunk) {
      const std::size_t end = std::min(data.size(), at + data_chunk);
      out.push_back(png_chunk("IDAT", Bytes(data.begin() + static_cast<std::ptrdiff_t>(at),
                                            data.begin() + static_cast<std::ptrdiff_t>(end))));
    }
    out.push_back(png_chunk("IEND", {}));
    return out;
  }

  static Bytes file_of(const std::vector<Bytes>& chunks) {
    Bytes out(kPngSignature.begin(), kPngSignature.end());
    for (const Bytes& chunk : chunks) out.insert(out.end(), chunk.begin(), chunk.end());
    return out;
  }
  Bytes file() const { return file_of(chunks()); }

 private:
  Bytes pass(std::uint32_t x0, std::uint32_t y0, std::uint32_t dx, std::uint32_t dy) const {
    Bytes out, above;
    if (x0 >= width) return out;
    const std::size_t step = std::max<std::size_t>(1, static_cast<std::size_t>(depth * per_pixel()) / 8);
    int row_number = 0;
    for (std::uint32_t y = y0; y < height; y += dy) {
      const Bytes row = packed(y, x0, dx);
      above.resize(row.size());
      const int type = filter >= 0 ? filter : row_number++ % 5;
      out.push_back(static_cast<std::uint8_t>(type));
      for (std::size_t i = 0; i < row.size(); ++i) {
        const int left = i >= step ? row[i - step] : 0, up = above[i],
                  corner = i >= step ? above[i - step] : 0;
        out.push_back(static_cast<std::uint8_t>(row[i] - predicted(type, left, up, corner)));
      }
      above = row;
    }
    return out;
  }

  Bytes packed(std::uint32_t y, std::uint32_t x0, std::uint32_t dx) const {
    Bytes row;
    int used = 8;
    for (std::uint32_t x = x0; x < width; x += dx) {
      for (int c = 0; c < per_pixel(); ++c) {
        const std::uint16_t v = sample(y, x, c);
        if (depth == 16) row.push_back(static_cast<std::uint8_t>(v >> 8));
        if (depth >= 8) {
          row.push_back(static_cast<std::uint8_t>(v));
          continue;
        }
        if (used == 8) {
          row.push_back(0);
          used = 0;
        }
        used += depth;
        row.back() = static_cast<std::uint8_t>(row.back() | v << (8 - used));
      }
    }
    return row;
  }

  static int predicted(int type, int left, int up, int corner) {
    if (type == 1) return left;
    if (type == 2) return up;
    if (type == 3) return (left + up) / 2;
    if (type != 4) return 0;
    const int guess = left + up - corner;
    const int a = std::abs(guess - left), b = std::abs(guess - up), c = std::abs(guess - corner);
    return a <= b && a <= c ? left : b <= c ? up : corner;
  }
};

/// Check sums of all chunks made right again, as far as the lengths lead.
inline void repair_check_sums(Bytes& file) {
  for (std::size_t at = 8; at + 12 <= file.size();) {
    const std::size_t length = std::size_t{file[at]} << 24 | std::size_t{file[at + 1]} << 16 |
                               std::size_t{file[at + 2]} << 8 | file[at + 3];
    if (length > file.size() - at - 12) return;
    const auto sum =
        static_cast<std::uint32_t>(crc32(0, file.data() + at + 4, static_cast<uInt>(length + 4)));
    for (std::size_t i = 0; i < 4; ++i)
      file[at + 8 + length + i] = static_cast<std::uint8_t>(sum >> (24 - 8 * i));
    at += 12 + length;
  }
}

}  // namespace gpunn::testing
