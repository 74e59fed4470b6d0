#pragma once
// Files: reading with a bound, writing that leaves either the old file or the whole new one.
//
// Every failing system call becomes an exception that names the path and the system's reason: DataError when
// reading, Error when writing. Interrupted calls are repeated, short reads and writes are continued.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

using Bytes = std::vector<std::uint8_t>;

/// Largest file that the readers of whole files accept unless told otherwise.
inline constexpr std::uint64_t kMaxFileBytes = std::uint64_t{4} << 30;

/// The bytes of text, and the text of bytes, without a copy.
inline std::span<const std::uint8_t> as_bytes(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(std::span<const std::uint8_t> bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The whole file. Pipes and the like are read to their end. Throws DataError when it cannot be read, or is
/// larger than `max_bytes`; nothing near the file's size is allocated in that case.
GPUNN_API Bytes read_file(const std::string& path, std::uint64_t max_bytes = kMaxFileBytes);
/// The same as text; the encoding is not looked at.
GPUNN_API std::string read_text_file(const std::string& path, std::uint64_t max_bytes = kMaxFileBytes);

/// Whether `path` names something that exists (a file, folder, …); an unreadable parent counts as no.
GPUNN_API bool path_exists(const std::string& path) noexcept;
/// Makes `path` and the folders above it; those that exist are fine. Throws Error.
GPUNN_API void create_directories(const std::string& path);

/// Writes `data` to `path` through an AtomicFile. Throws Error; the old file, if any, is intact then.
GPUNN_API void write_file_atomic(const std::string& path, std::span<const std::uint8_t> data);
GPUNN_API void write_file_atomic(const std::string& path, std::string_view text);

/// An open regular file for reading at offsets. Reads from several threads are safe.
class GPUNN_API InputFile {
 public:
  /// Throws DataError when `path` cannot be opened or is no regular file.
  explicit InputFile(std::string path);
  ~InputFile();
  InputFile(const InputFile&) = delete;
  InputFile& operator=(const InputFile&) = delete;

  const std::string& path() const noexcept { return path_; }
  /// Size when it was opened.
  std::uint64_t size() const noexcept { return size_; }
  /// Fills `out` from `offset` on. Throws DataError when the file ends before, or a read fails.
  void read_at(std::uint64_t offset, std::span<std::uint8_t> out) const;

 private:
  std::string path_;
  int fd_ = -1;
  std::uint64_t size_ = 0;
};

/// Writes a new version of a file beside the old one: a temporary file `.gpunn-<pid>-<n>.tmp` in the same
/// folder, then flush to disk, rename over `path`, flush of the folder. A crash at any moment leaves the old
/// file or the new one, each whole. A symbolic link at `path` is replaced, not followed. Without commit()
/// nothing happens to `path`.
class GPUNN_API AtomicFile {
 public:
  /// Throws Error when the temporary file cannot be made.
  explicit AtomicFile(std::string path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::span<const std::uint8_t> data);
  void write(std::string_view text) { write(as_bytes(text)); }
  /// Makes the written bytes the file. Throws Error; `path` is then untouched, unless only the last step
  /// failed (the folder's flush): then the new file is in place, and the message says so.
  void commit();

 private:
  [[noreturn]] void fail(const char* action, int error);
  void discard() noexcept;

  std::string path_, folder_, temporary_;
  int fd_ = -1;
};

/// A log that grows by whole lines (metrics, traces): each append is one write at the end of the file.
class GPUNN_API AppendFile {
 public:
  /// Opens or creates `path`; `truncate` drops what was there. Throws Error.
  explicit AppendFile(std::string path, bool truncate = false);
  ~AppendFile();
  AppendFile(const AppendFile&) = delete;
  AppendFile& operator=(const AppendFile&) = delete;

  /// Throws Error; part of the text may then be in the file.
  void append(std::string_view text);

 private:
  std::string path_;
  int fd_ = -1;
};

}  // namespace gpunn
