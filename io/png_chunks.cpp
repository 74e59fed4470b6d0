#include "gpunn/io/detail/png_chunks.h"

#include <zlib.h>

#include <algorithm>

#include "gpunn/io/detail/data_fail.h"

namespace gpunn::detail {

namespace {

constexpr std::uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
constexpr std::size_t kAround = 12;  // length, name and check sum of a chunk
constexpr std::uint32_t kMaxLength = 0x7fffffff;

std::uint32_t be32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

struct Chunk {
  std::size_t offset;  // of its length
  std::string_view name;
  std::span<const std::uint8_t> data;

  bool critical() const { return (name[0] & 0x20) == 0; }
};

class Walk {
 public:
  Walk(std::span<const std::uint8_t> file, std::string_view path) : file_(file), path_(path) {
    if (file.size() < sizeof kSignature ||
        !std::equal(std::begin(kSignature), std::end(kSignature), file.begin()))
      fail_data(path, "expected the signature of a PNG file at offset 0");
  }

  bool over() const { return at_ == file_.size(); }
  std::size_t offset() const { return at_; }

  Chunk next() {
    const std::size_t left = file_.size() - at_;
    if (left < kAround)
      fail_data(path_, "PNG data ends early, at offset ", file_.size(), ": expected a chunk at offset ", at_);
    const std::uint8_t* p = file_.data() + at_;
    const std::string_view name = as_name(p + 4);
    for (const char c : name)
      if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
        fail_data(path_, "expected a chunk name of four letters at offset ", at_ + 4, ", got ",
                  in_quotes(name));
    const std::uint32_t length = be32(p);
    if (length > kMaxLength || length > left - kAround)
      fail_data(path_, "PNG data ends early, at offset ", file_.size(), ": chunk ", name, " at offset ", at_,
                " has ", length, " bytes");
    const std::uint32_t stored = be32(p + 8 + length);
    const auto computed = static_cast<std::uint32_t>(crc32(0, p + 4, static_cast<uInt>(length + 4)));
    if (stored != computed)
      fail_data(path_, "chunk ", name, " at offset ", at_, " is damaged: its check sum is ", hex(stored, 8),
                ", its bytes give ", hex(computed, 8));
    const Chunk chunk{at_, name, file_.subspan(at_ + 8, length)};
    at_ += kAround + length;
    return chunk;
  }

 private:
  static std::string_view as_name(const std::uint8_t* p) { return {reinterpret_cast<const char*>(p), 4}; }

  std::span<const std::uint8_t> file_;
  std::string_view path_;
  std::size_t at_ = sizeof kSignature;
};

bool depth_fits(int colour, int depth) {
  if (colour == 0) return depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
  if (colour == 3) return depth == 1 || depth == 2 || depth == 4 || depth == 8;
  return (colour == 2 || colour == 4 || colour == 6) && (depth == 8 || depth == 16);
}

PngHeader parse_header(const Chunk& chunk, std::string_view path) {
  constexpr std::size_t kHeaderBytes = 13;
  if (chunk.name != "IHDR" || chunk.data.size() != kHeaderBytes)
    fail_data(path, "expected chunk IHDR of 13 bytes at offset ", chunk.offset, ", got ", chunk.name, " of ",
              chunk.data.size());
  const std::uint8_t* p = chunk.data.data();
  const std::size_t offset = chunk.offset + 8;
  PngHeader header;
  header.width = be32(p);
  header.height = be32(p + 4);
  header.depth = p[8];
  header.colour = p[9];
  if (header.width == 0 || header.height == 0)
    fail_data(path, "expected sides of at least 1 in chunk IHDR at offset ", offset, ", got ", header.width,
              " x ", header.height);
  if (!depth_fits(header.colour, header.depth))
    fail_data(path, "chunk IHDR: no PNG has ", header.depth, " bits a channel with colour type ",
              header.colour, " (offset ", offset + 8, ")");
  if (p[10] != 0 || p[11] != 0 || p[12] > 1)
    fail_data(path, "chunk IHDR: expected compression 0, filter 0 and interlacing 0 or 1 at offset ",
              offset + 10, ", got ", int{p[10]}, ", ", int{p[11]}, " and ", int{p[12]});
  return header;
}

void check_palette(const Chunk& chunk, const PngHeader& header, std::string_view path) {
  const std::size_t entries = chunk.data.size() / 3;
  const std::size_t most = header.colour == 3 ? std::size_t{1} << header.depth : 256;
  if (!header.coloured()) fail_data(path, "chunk PLTE at offset ", chunk.offset, " in a grey picture");
  if (chunk.data.size() % 3 != 0 || entries < 1 || entries > most)
    fail_data(path, "chunk PLTE at offset ", chunk.offset, ": expected 1 to ", most,
              " colours of 3 bytes, got ", chunk.data.size(), " bytes");
}

void check_transparency(const Chunk& chunk, const PngHeader& header, std::size_t palette,
                        std::string_view path) {
  const std::size_t size = chunk.data.size();
  const bool fits = header.colour == 0   ? size == 2
                    : header.colour == 2 ? size == 6
                    : header.colour == 3 ? size >= 1 && size <= palette
                                         : false;
  if (!fits)
    fail_data(path, "chunk tRNS at offset ", chunk.offset, " of ", size, " bytes does not fit colour type ",
              header.colour, header.colour == 3 ? " and its palette" : "");
}

/// What came so far, to say what may come next.
struct Seen {
  std::size_t palette = 0;  // colours
  bool transparency = false, data = false, data_over = false;
};

void check_order(const Chunk& chunk, Seen& seen, std::string_view path) {
  const bool again = (chunk.name == "PLTE" && seen.palette > 0) ||
                     (chunk.name == "tRNS" && seen.transparency) ||
                     (chunk.name == "IDAT" && seen.data_over) || chunk.name == "IHDR";
  if (again) fail_data(path, "chunk ", chunk.name, " at offset ", chunk.offset, " comes a second time");
  if (seen.data && (chunk.name == "PLTE" || chunk.name == "tRNS"))
    fail_data(path, "chunk ", chunk.name, " at offset ", chunk.offset, " comes after the pixels");
  seen.data_over = seen.data && chunk.name != "IDAT";
}

}  // namespace

PngHeader check_png_chunks(std::span<const std::uint8_t> file, std::string_view path) {
  Walk walk(file, path);
  PngHeader header = parse_header(walk.next(), path);
  Seen seen;
  for (;;) {
    const Chunk chunk = walk.next();
    check_order(chunk, seen, path);
    if (chunk.name == "IEND") {
      if (!seen.data) fail_data(path, "no chunk IDAT before the end of the picture at offset ", chunk.offset);
      if (!chunk.data.empty() || !walk.over())
        fail_data(path, "expected an empty chunk IEND at offset ", chunk.offset,
                  " and nothing after it, got ", file.size() - chunk.offset - kAround, " more bytes");
      return header;
    }
    if (chunk.name == "PLTE") {
      check_palette(chunk, header, path);
      seen.palette = chunk.data.size() / 3;
      header.palette = chunk.data;
    } else if (chunk.name == "tRNS") {
      check_transparency(chunk, header, seen.palette, path);
      seen.transparency = header.transparent = true;
      if (header.indexed()) header.palette_alpha = chunk.data;
    } else if (chunk.name == "IDAT") {
      if (header.colour == 3 && seen.palette == 0)
        fail_data(path, "no chunk PLTE before the pixels at offset ", chunk.offset);
      seen.data = true;
    } else if (chunk.critical()) {
      fail_data(path, "unknown chunk ", chunk.name, " at offset ", chunk.offset,
                " is needed to read the picture");
    }
  }
}

}  // namespace gpunn::detail
