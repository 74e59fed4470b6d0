#include "gpunn/io/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/file_calls.h"

namespace gpunn {
namespace {

using detail::concat;
using detail::file_calls;

// Linux transfers at most 2 GiB - 4 KiB in one call; a smaller round step keeps the arithmetic plain.
constexpr std::size_t kMaxTransfer = std::size_t{1} << 30;

std::string reason(int error) { return std::generic_category().message(error); }

std::string message(const std::string& path, const char* action, int error) {
  // c_str(): a zero byte in the name would hide the rest of the message from what().
  return concat(path.c_str(), ": cannot ", action, ": ", reason(error));
}

[[noreturn]] void fail_reading(const std::string& path, const char* action, int error) {
  detail::throw_data(message(path, action, error));
}

[[noreturn]] void fail_writing(const std::string& path, const char* action, int error) {
  throw Error(message(path, action, error));
}

/// Repeats `call` while a signal interrupts it.
template <class Call>
auto uninterrupted(Call&& call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

/// close() must not be repeated: Linux has released the descriptor even when a signal came. 0 or an error
/// number.
int close_file(int fd) noexcept {
  const int result = file_calls().close(fd);
  return result < 0 && errno != EINTR ? errno : 0;
}

struct OpenFile {
  explicit OpenFile(int descriptor) noexcept : fd(descriptor) {}
  ~OpenFile() { close_file(fd); }
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  int fd;
};

// The system would stop reading such a name at the zero byte and touch another file.
bool is_nameable(const std::string& path) { return !path.empty() && path.find('\0') == std::string::npos; }

int open_for_reading(const std::string& path) {
  if (!is_nameable(path)) fail_reading(path, "open", EINVAL);
  const int fd = uninterrupted([&] { return file_calls().open(path.c_str(), O_RDONLY | O_CLOEXEC, 0); });
  if (fd < 0) fail_reading(path, "open", errno);
  return fd;
}

struct stat status_of(int fd, const std::string& path) {
  struct stat status{};
  if (file_calls().fstat(fd, &status) < 0) fail_reading(path, "read its size", errno);
  if (S_ISDIR(status.st_mode)) fail_reading(path, "read", EISDIR);
  return status;
}

[[noreturn]] void fail_too_large(const std::string& path, std::uint64_t max_bytes) {
  detail::throw_data(concat(path, ": expected at most ", max_bytes, " bytes, got more"));
}

/// 0 or an error number; continues short writes.
int write_all(int fd, std::span<const std::uint8_t> data) {
  while (!data.empty()) {
    const ssize_t written = uninterrupted(
        [&] { return file_calls().write(fd, data.data(), std::min(data.size(), kMaxTransfer)); });
    if (written < 0) return errno;
    if (written == 0) return EIO;  // no progress and no reason: repeating could go on for ever
    data = data.subspan(static_cast<std::size_t>(written));
  }
  return 0;
}

template <class Container>
Container read_whole(const std::string& path, std::uint64_t max_bytes) {
  const OpenFile file(open_for_reading(path));
  const struct stat status = status_of(file.fd, path);
  const std::uint64_t announced = status.st_size > 0 ? static_cast<std::uint64_t>(status.st_size) : 0;
  if (announced > max_bytes) fail_too_large(path, max_bytes);

  // One byte more than announced lets the end show without a second allocation; pipes announce nothing and
  // grow.
  constexpr std::size_t kFirstBlock = std::size_t{64} << 10;
  Container out;
  out.resize(announced > 0 ? static_cast<std::size_t>(announced) + 1 : kFirstBlock);
  std::size_t filled = 0;
  for (;;) {
    if (filled > max_bytes) fail_too_large(path, max_bytes);
    if (filled == out.size()) out.resize(out.size() * 2);
    const std::size_t wanted = std::min(out.size() - filled, kMaxTransfer);
    const ssize_t got = uninterrupted([&] { return file_calls().read(file.fd, &out[filled], wanted); });
    if (got < 0) fail_reading(path, "read", errno);
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  out.resize(filled);
  return out;
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string next_temporary(const std::string& folder) {
  static std::atomic<std::uint64_t> counter{0};
  return concat(folder, "/.gpunn-", static_cast<std::int64_t>(::getpid()), "-", counter.fetch_add(1), ".tmp");
}

}  // namespace

Bytes read_file(const std::string& path, std::uint64_t max_bytes) {
  return read_whole<Bytes>(path, max_bytes);
}

std::string read_text_file(const std::string& path, std::uint64_t max_bytes) {
  return read_whole<std::string>(path, max_bytes);
}

bool path_exists(const std::string& path) noexcept { return ::access(path.c_str(), F_OK) == 0; }

void create_directories(const std::string& path) {
  if (!is_nameable(path)) fail_writing(path, "create folder", EINVAL);
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    if (folder.empty() || file_calls().mkdir(folder.c_str(), 0777) == 0) continue;
    const int error = errno;
    // Existing folders report EEXIST, or EROFS and the like on some systems: what counts is that a folder is
    // there.
    struct stat status{};
    if (::stat(folder.c_str(), &status) == 0 && S_ISDIR(status.st_mode)) continue;
    fail_writing(path, concat("create folder ", folder).c_str(), error == EEXIST ? ENOTDIR : error);
  }
}

void write_file_atomic(const std::string& path, std::span<const std::uint8_t> data) {
  AtomicFile file(path);
  file.write(data);
  file.commit();
}

void write_file_atomic(const std::string& path, std::string_view text) {
  write_file_atomic(path, as_bytes(text));
}

InputFile::InputFile(std::string path) : path_(std::move(path)), fd_(open_for_reading(path_)) {
  try {
    const struct stat status = status_of(fd_, path_);
    if (!S_ISREG(status.st_mode)) detail::throw_data(concat(path_, ": expected a regular file"));
    size_ = static_cast<std::uint64_t>(status.st_size);
  } catch (...) {
    close_file(fd_);
    throw;
  }
}

InputFile::~InputFile() { close_file(fd_); }

void InputFile::read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t got = uninterrupted([&] {
      return file_calls().pread(fd_, out.data(), std::min(out.size(), kMaxTransfer),
                                static_cast<off_t>(offset));
    });
    if (got < 0) fail_reading(path_, concat("read at offset ", offset).c_str(), errno);
    if (got == 0) {
      detail::throw_data(concat(path_, ": expected ", out.size(), " more bytes at offset ", offset,
                                ", got the end of the file"));
    }
    offset += static_cast<std::uint64_t>(got);
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

AtomicFile::AtomicFile(std::string path) : path_(std::move(path)), folder_(folder_of(path_)) {
  if (!is_nameable(path_)) fail_writing(path_, "write", EINVAL);
  if (path_.back() == '/') fail_writing(path_, "write", EISDIR);
  // A process that died may have left a file of this name behind (ids come round again): take the next number
  // then.
  for (int attempt = 0; attempt < 100 && fd_ < 0; ++attempt) {
    temporary_ = next_temporary(folder_);
    constexpr int kFlags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
    fd_ = uninterrupted([&] { return file_calls().open(temporary_.c_str(), kFlags, 0666); });
    if (fd_ < 0 && errno != EEXIST) break;
  }
  if (fd_ < 0) fail_writing(path_, "create a temporary file beside it", errno);
}

AtomicFile::~AtomicFile() { discard(); }

void AtomicFile::discard() noexcept {
  if (fd_ >= 0) close_file(std::exchange(fd_, -1));
  if (!temporary_.empty()) file_calls().unlink(temporary_.c_str());
  temporary_.clear();
}

void AtomicFile::fail(const char* action, int error) {
  discard();
  fail_writing(path_, action, error);
}

void AtomicFile::write(std::span<const std::uint8_t> data) {
  GPUNN_CHECK(fd_ >= 0, path_, ": write after commit or after a failure");
  if (const int error = write_all(fd_, data)) fail("write", error);
}

void AtomicFile::commit() {
  GPUNN_CHECK(fd_ >= 0, path_, ": commit after commit or after a failure");
  if (uninterrupted([&] { return file_calls().fsync(fd_); }) < 0) fail("flush to disk", errno);
  // Network file systems report a failed write only here.
  if (const int error = close_file(std::exchange(fd_, -1))) fail("close", error);
  if (uninterrupted([&] { return file_calls().rename(temporary_.c_str(), path_.c_str()); }) < 0) {
    fail("rename the temporary file to it", errno);
  }
  temporary_.clear();

  const char* const kLate = "flush its folder to disk (the new file is in place)";
  const int folder = uninterrupted(
      [&] { return file_calls().open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0); });
  if (folder < 0) {
    // A folder may be writable and not readable; its flush is then out of reach.
    if (errno == EACCES) return;
    fail(kLate, errno);
  }
  const int flushed = uninterrupted([&] { return file_calls().fsync(folder); });
  const int error = flushed < 0 ? errno : 0;
  close_file(folder);
  // Some file systems have no flush for folders and say so; theirs is done by the file's.
  if (error != 0 && error != EINVAL && error != ENOTSUP) fail(kLate, error);
}

AppendFile::AppendFile(std::string path, bool truncate) : path_(std::move(path)) {
  if (!is_nameable(path_)) fail_writing(path_, "open for appending", EINVAL);
  const int flags = O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (truncate ? O_TRUNC : 0);
  fd_ = uninterrupted([&] { return file_calls().open(path_.c_str(), flags, 0666); });
  if (fd_ < 0) fail_writing(path_, "open for appending", errno);
}

AppendFile::~AppendFile() { close_file(fd_); }

void AppendFile::append(std::string_view text) {
  if (const int error = write_all(fd_, as_bytes(text))) fail_writing(path_, "append", error);
}

}  // namespace gpunn
