#pragma once
// The outer form of a PNG file: what can be said before anything is decompressed.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace gpunn::detail {

/// What the header chunk says, and what decoding needs to know of the others.
struct PngHeader {
  std::uint32_t width = 0, height = 0;
  int depth = 0;             // bits a channel
  int colour = 0;            // 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha
  bool transparent = false;  // a tRNS chunk
  // Of palettes; both stand in the file.
  std::span<const std::uint8_t> palette{};        // [colours, 3]
  std::span<const std::uint8_t> palette_alpha{};  // for the first colours

  bool indexed() const noexcept { return colour == 3; }
  bool coloured() const noexcept { return (colour & 2) != 0; }
  bool has_alpha() const noexcept { return (colour & 4) != 0 || transparent; }
};

/// Walks the chunks: signature, lengths, names, check sums, their order, nothing after the end. Throws
/// DataError "<path>: …" naming offset and chunk.
PngHeader check_png_chunks(std::span<const std::uint8_t> file, std::string_view path);

}  // namespace gpunn::detail
