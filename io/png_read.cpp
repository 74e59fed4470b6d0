// Reading PNG through libpng. Errors leave libpng by longjmp: between setjmp and the last call of libpng
// there is nothing with a destructor, neither here nor in the functions it calls.
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <new>

#include "gpunn/io/detail/data_fail.h"
#include "gpunn/io/detail/png_chunks.h"
#include "gpunn/io/png.h"

namespace gpunn {
namespace {

constexpr std::uint64_t kMaxPngFile = std::uint64_t{1} << 30;

/// What libpng's callbacks see.
struct Source {
  std::span<const std::uint8_t> file;
  std::size_t used = 0;
  char message[160] = "";
};

void read_bytes(png_structp png, png_bytep out, std::size_t count) {
  auto* source = static_cast<Source*>(png_get_io_ptr(png));
  if (count > source->file.size() - source->used) png_error(png, "the file ends early");
  std::memcpy(out, source->file.data() + source->used, count);
  source->used += count;
}

[[noreturn]] void keep_error(png_structp png, png_const_charp text) {
  auto* source = static_cast<Source*>(png_get_error_ptr(png));
  std::strncpy(source->message, text, sizeof source->message - 1);
  png_longjmp(png, 1);
}

void ignore_warning(png_structp, png_const_charp) {}

class Reader {
 public:
  explicit Reader(Source& source)
      : png_(png_create_read_struct(PNG_LIBPNG_VER_STRING, &source, keep_error, ignore_warning)),
        info_(png_ ? png_create_info_struct(png_) : nullptr) {
    if (!info_) {
      png_destroy_read_struct(&png_, nullptr, nullptr);
      throw std::bad_alloc();
    }
    png_set_read_fn(png_, &source, read_bytes);
  }
  ~Reader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;

  /// Fills rows of `stride` bytes; false when libpng refused.
  bool read(std::uint8_t* rows, std::size_t stride, std::uint32_t height) {
    // NOLINTNEXTLINE(cert-err52-cpp): libpng's way to report errors
    if (setjmp(png_jmpbuf(png_))) return false;
    prepare();
    if (png_get_rowbytes(png_, info_) != stride) png_error(png_, "rows of another size than the header says");
    const int passes = passes_;
    for (int pass = 0; pass < passes; ++pass)
      for (std::uint32_t row = 0; row < height; ++row) png_read_row(png_, rows + row * stride, nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

 private:
  void prepare() {
    png_set_benign_errors(png_, 0);  // pixels that are missing or too many are errors
    // Check sums were compared before; what is neither needed nor looked at shall not be parsed either.
    png_set_crc_action(png_, PNG_CRC_QUIET_USE, PNG_CRC_QUIET_USE);
    static constexpr png_byte kSkipped[] =
        "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0sTER\0tEXt\0tIME"
        "\0zTXt";
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, kSkipped, sizeof kSkipped / 5);
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, 0);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // ours hold
    png_read_info(png_, info_);
    // Indices stay: libpng would take those beyond the palette for black.
    if (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_PALETTE)
      png_set_packing(png_);
    else
      png_set_expand(png_);  // 1, 2 and 4 bits to 8, tRNS to alpha
    png_set_scale_16(png_);  // v * 255 / 65535, rounded
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
  }

  png_structp png_;
  png_infop info_;
  int passes_ = 1;
};

std::uint8_t blended(int value, int alpha, int background) {
  return static_cast<std::uint8_t>((value * alpha + background * (255 - alpha) + 127) / 255);
}

std::uint8_t grey_of(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((299 * rgb[0] + 587 * rgb[1] + 114 * rgb[2] + 500) / 1000);
}

/// Bytes that libpng gives for a pixel: an index, or colours and alpha.
int decoded_bytes(const detail::PngHeader& header) {
  if (header.indexed()) return 1;
  return (header.coloured() ? 3 : 1) + (header.has_alpha() ? 1 : 0);
}

/// One pixel as colours and, at [colours], alpha; looks indices up.
class PixelReader {
 public:
  PixelReader(const detail::PngHeader& header, std::string_view path)
      : header_(header), path_(path), bytes_(static_cast<std::size_t>(decoded_bytes(header))) {}

  void read(const std::uint8_t* from, std::size_t number, std::uint8_t (&pixel)[4]) const {
    if (!header_.indexed()) {
      std::memcpy(pixel, from, bytes_);
      return;
    }
    const std::size_t index = *from;
    if (3 * index >= header_.palette.size())
      detail::fail_data(path_, "pixel ", number % header_.width, ", ", number / header_.width,
                        " (chunk IDAT) has index ", index, ", the palette has ", header_.palette.size() / 3,
                        " colours");
    std::memcpy(pixel, header_.palette.data() + 3 * index, 3);
    pixel[3] = index < header_.palette_alpha.size() ? header_.palette_alpha[index] : 255;
  }

 private:
  const detail::PngHeader& header_;
  std::string_view path_;
  std::size_t bytes_;
};

/// In place: what libpng gave to `channels` channels a pixel. `pixels` has room for both forms; the wider one
/// is made from the end.
void convert(Bytes& pixels, const detail::PngHeader& header, const PngOptions& options, std::size_t channels,
             std::string_view path) {
  const auto from = static_cast<std::size_t>(decoded_bytes(header));
  const int colours = header.coloured() ? 3 : 1;
  if (from == channels && !header.indexed() && !header.has_alpha()) return;
  const PixelReader reader(header, path);
  const std::size_t count = std::size_t{header.width} * header.height;
  for (std::size_t k = 0; k < count; ++k) {
    const std::size_t i = channels > from ? count - 1 - k : k;
    std::uint8_t pixel[4] = {};
    reader.read(pixels.data() + i * from, i, pixel);
    if (header.has_alpha() && options.background)
      for (int c = 0; c < colours; ++c) pixel[c] = blended(pixel[c], pixel[colours], *options.background);
    if (colours == 3 && channels == 1) pixel[0] = grey_of(pixel);
    if (colours == 1 && channels == 3) pixel[1] = pixel[2] = pixel[0];
    std::memcpy(pixels.data() + i * channels, pixel, channels);
  }
  pixels.resize(count * channels);
}

void check_sides(const detail::PngHeader& header, std::string_view path, const PngOptions& options) {
  const auto side = static_cast<std::uint32_t>(options.max_side);
  if (header.width > side || header.height > side)
    detail::fail_data(path, "expected sides of at most ", side, " in chunk IHDR at offset 16, got ",
                      header.width, " x ", header.height);
}

void check_size(const detail::PngHeader& header, std::uint64_t bytes, std::uint64_t file,
                std::string_view path, const PngOptions& options) {
  std::uint64_t allowed = 0;
  if (__builtin_mul_overflow(file, options.max_ratio, &allowed)) allowed = ~std::uint64_t{0};
  allowed = std::max(allowed, options.free_bytes);
  if (bytes > allowed)
    detail::fail_data(path, "decodes to ", bytes, " bytes (chunk IHDR at offset 16: ", header.width, " x ",
                      header.height, "), more than the limit of ", allowed, " for a file of ", file,
                      " bytes");
}

}  // namespace

Picture decode_png(std::span<const std::uint8_t> file, std::string_view path, const PngOptions& options) {
  GPUNN_CHECK(options.channels == 0 || options.channels == 1 || options.channels == 3,
              "decode_png: expected 0, 1 or 3 channels, got ", options.channels);
  GPUNN_CHECK(options.max_side >= 1 && options.max_side <= 65'535,
              "decode_png: expected max_side of 1 to 65535, got ", options.max_side);
  const detail::PngHeader header = detail::check_png_chunks(file, path);
  const int channels = options.channels != 0 ? options.channels : header.coloured() ? 3 : 1;
  const int decoded = decoded_bytes(header);
  check_sides(header, path, options);
  const std::uint64_t bytes =
      std::uint64_t{header.width} * header.height * static_cast<std::uint64_t>(std::max(decoded, channels));
  check_size(header, bytes, file.size(), path, options);

  Picture picture{static_cast<int>(header.width), static_cast<int>(header.height), channels, Bytes(bytes)};
  Source source{file};
  Reader reader(source);
  if (!reader.read(picture.pixels.data(), std::size_t{header.width} * static_cast<std::size_t>(decoded),
                   header.height))
    detail::fail_data(path, "pixels of the PNG file (chunk IDAT) damaged, found at offset ", source.used,
                      ": ", source.message);
  convert(picture.pixels, header, options, static_cast<std::size_t>(channels), path);
  return picture;
}

Picture read_png(const std::string& path, const PngOptions& options) {
  return decode_png(read_file(path, kMaxPngFile), path, options);
}

}  // namespace gpunn
