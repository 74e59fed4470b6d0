#include "gpunn/io/gzip.h"

#include <zlib.h>

#include <algorithm>
#include <limits>
#include <new>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/data_fail.h"

namespace gpunn {
namespace {

constexpr int kGzipWindow = 15 + 16;    // 32 KiB window, gzip header and trailer
constexpr std::size_t kMinMember = 18;  // header, empty block, check sum, size

/// One z_stream for decompression; counts input and output itself, because zlib's counters restart with each
/// member.
class Inflater {
 public:
  Inflater(std::span<const std::uint8_t> data, std::string_view path) : data_(data), path_(path) {
    if (inflateInit2(&stream_, kGzipWindow) != Z_OK) throw std::bad_alloc();
  }
  ~Inflater() { inflateEnd(&stream_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  bool finished() const noexcept { return finished_; }
  std::size_t offset() const noexcept { return used_; }

  /// Writes up to `out.size()` decompressed bytes; fewer only at the end of the file.
  std::size_t read(std::span<std::uint8_t> out) {
    std::size_t written = 0;
    while (written < out.size() && !finished_) {
      const uInt room = clamp(out.size() - written);
      const uInt fed = clamp(data_.size() - used_);
      stream_.next_out = out.data() + written;
      stream_.avail_out = room;
      stream_.next_in = const_cast<Bytef*>(data_.data()) + used_;  // zlib does not write through it
      stream_.avail_in = fed;
      const int status = inflate(&stream_, Z_NO_FLUSH);
      used_ += fed - stream_.avail_in;
      written += room - stream_.avail_out;
      handle(status, written < out.size());
    }
    return written;
  }

 private:
  static uInt clamp(std::size_t n) { return static_cast<uInt>(std::min<std::size_t>(n, 1u << 30)); }

  void handle(int status, bool has_room) {
    if (status == Z_STREAM_END) {
      finish_member();
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (status != Z_OK && status != Z_BUF_ERROR) {
      const char* reason = stream_.msg             ? stream_.msg
                           : status == Z_NEED_DICT ? "needs a dictionary"
                                                   : "damaged";
      detail::fail_data(path_, "gzip data damaged at offset ", used_, ": ", reason);
    } else if (used_ == data_.size() && has_room) {
      detail::fail_data(path_, "gzip data ends early, at offset ", used_);
    }
  }

  void finish_member() {
    if (used_ == data_.size()) {
      finished_ = true;
    } else if (is_gzip(data_.subspan(used_))) {
      inflateReset(&stream_);
    } else {
      detail::fail_data(path_, "expected the end of the gzip data at offset ", used_, ", got ",
                        data_.size() - used_, " more bytes");
    }
  }

  std::span<const std::uint8_t> data_;
  std::string_view path_;
  z_stream stream_{};
  std::size_t used_ = 0;
  bool finished_ = false;
};

/// Size stored in the last four bytes (modulo 2^32): a hint, wrong for several members or damaged files.
std::uint64_t stored_size(std::span<const std::uint8_t> data) {
  std::uint64_t size = 0;
  for (std::size_t i = 1; i <= 4; ++i) size = size << 8 | data[data.size() - i];
  return size;
}

std::uint64_t allowed_size(std::size_t compressed, const GzipLimits& limits) {
  std::uint64_t by_ratio;
  if (__builtin_mul_overflow(std::uint64_t{compressed}, limits.max_ratio, &by_ratio))
    by_ratio = limits.max_bytes;
  return std::min(limits.max_bytes, std::max(limits.free_bytes, by_ratio));
}

}  // namespace

bool is_gzip(std::span<const std::uint8_t> data) noexcept {
  return data.size() >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

Bytes gunzip(std::span<const std::uint8_t> data, std::string_view path, const GzipLimits& limits) {
  if (!is_gzip(data)) detail::fail_data(path, "expected gzip data (1f 8b) at offset 0");
  if (data.size() < kMinMember) detail::fail_data(path, "gzip data ends early, at offset ", data.size());
  const std::uint64_t allowed = allowed_size(data.size(), limits);

  Inflater inflater(data, path);
  Bytes out;
  // The hint is worth at most what deflate could make of the bytes that are there.
  const std::uint64_t hint = std::min({stored_size(data), allowed, std::uint64_t{data.size()} * 1032});
  out.resize(static_cast<std::size_t>(hint));
  std::size_t filled = inflater.read(out);
  constexpr std::size_t kSmallestStep = std::size_t{64} << 10;
  while (!inflater.finished()) {
    // A full buffer is no proof of more data: the check sum may be all that is left.
    std::uint8_t next;
    if (inflater.read({&next, 1}) == 0) break;
    if (filled >= allowed) {
      detail::fail_data(path, "decompresses to more than ", allowed, " bytes (limit for a file of ",
                        data.size(), " bytes), reached at offset ", inflater.offset());
    }
    out.resize(
        static_cast<std::size_t>(std::min<std::uint64_t>(allowed, filled + std::max(filled, kSmallestStep))));
    out[filled++] = next;
    filled += inflater.read(std::span(out).subspan(filled));
  }
  out.resize(filled);
  return out;
}

Bytes gzip(std::span<const std::uint8_t> data, int level) {
  GPUNN_CHECK(level >= 1 && level <= 9, "gzip: expected a level of 1 to 9, got ", level);
  z_stream stream{};
  if (deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw std::bad_alloc();
  Bytes out;
  std::size_t fed = 0, filled = 0;
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    if (filled == out.size()) out.resize(out.empty() ? data.size() / 4 + 256 : out.size() * 2);
    const auto chunk = static_cast<uInt>(std::min<std::size_t>(data.size() - fed, 1u << 30));
    const auto room = static_cast<uInt>(std::min<std::size_t>(out.size() - filled, 1u << 30));
    stream.next_in = const_cast<Bytef*>(data.data()) + fed;
    stream.avail_in = chunk;
    stream.next_out = out.data() + filled;
    stream.avail_out = room;
    status = deflate(&stream, fed + chunk == data.size() ? Z_FINISH : Z_NO_FLUSH);
    fed += chunk - stream.avail_in;
    filled += room - stream.avail_out;
  }
  deflateEnd(&stream);
  out.resize(filled);
  return out;
}

Bytes read_file_maybe_gzip(const std::string& path, const GzipLimits& limits) {
  Bytes file = read_file(path, limits.max_bytes);
  return is_gzip(file) ? gunzip(file, path, limits) : file;
}

}  // namespace gpunn
