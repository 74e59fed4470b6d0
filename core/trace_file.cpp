#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <vector>

#include "gpunn/core/detail/trace_file.h"
#include "gpunn/core/error.h"

namespace gpunn::detail {

namespace {

constexpr std::size_t kBuffer = 64 << 10;
constexpr std::string_view kHeader = "time_ns,event,id,bytes,tag,stream,thread,device,layer,op\n";

std::string reason(int number) { return std::generic_category().message(number); }

struct OpenFiles {
  std::mutex mutex;
  std::vector<std::pair<std::string, std::weak_ptr<TraceFile>>> files;

  std::vector<std::shared_ptr<TraceFile>> all() {
    const std::lock_guard lock(mutex);
    std::vector<std::shared_ptr<TraceFile>> out;
    for (const auto& [path, file] : files)
      if (auto open = file.lock()) out.push_back(std::move(open));
    return out;
  }
};

// Leaked: files of the process-wide Runtime are never closed, and its threads may run to the very end.
OpenFiles& open_files() {
  static OpenFiles* const files = [] {
    std::atexit([] {
      for (const auto& file : open_files().all()) file->flush_at_exit();
    });
    return new OpenFiles;
  }();
  return *files;
}

}  // namespace

std::shared_ptr<TraceFile> TraceFile::open(const std::string& path, Complaint complaint) {
  OpenFiles& open = open_files();
  const std::lock_guard lock(open.mutex);
  std::erase_if(open.files, [](const auto& entry) { return entry.second.expired(); });
  for (const auto& [name, file] : open.files)
    if (name == path)
      if (auto shared = file.lock()) return shared;
  std::shared_ptr<TraceFile> file(new TraceFile(path, complaint));
  open.files.emplace_back(path, file);
  return file;
}

TraceFile::TraceFile(std::string path, Complaint complaint)
    : path_(std::move(path)), complaint_(complaint), owner_(getpid()) {
  fd_ = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) throw Error(concat("memory trace ", path_, ": cannot open: ", reason(errno)));
  buffer_ = kHeader;
}

TraceFile::~TraceFile() {
  flush();
  if (fd_ >= 0) ::close(fd_);
}

void TraceFile::write(std::string_view event) noexcept {
  const std::lock_guard lock(mutex_);
  if (fd_ < 0) return;
  // Under the lock, so that times never go back in the file.
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now() - start_);
  char time[24];
  char* end = std::to_chars(time, time + sizeof time - 1, now.count()).ptr;
  *end++ = ',';
  try {
    buffer_.append(time, end);
    buffer_ += event;
  } catch (...) {
    fail(ENOMEM);
    return;
  }
  if (buffer_.size() >= kBuffer) write_buffer();
}

void TraceFile::flush() noexcept {
  const std::lock_guard lock(mutex_);
  write_buffer();
}

void TraceFile::flush_at_exit() noexcept {
  for (int i = 0; i < 100; ++i) {
    if (mutex_.try_lock()) {
      write_buffer();
      mutex_.unlock();
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string TraceFile::error() const {
  const std::lock_guard lock(mutex_);
  return error_;
}

void TraceFile::write_buffer() noexcept {
  if (fd_ < 0 || getpid() != owner_) return;
  std::size_t done = 0;
  while (done < buffer_.size()) {
    const ssize_t n = ::write(fd_, buffer_.data() + done, buffer_.size() - done);
    if (n > 0) {
      done += static_cast<std::size_t>(n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      fail(n < 0 ? errno : EIO);
      return;
    }
  }
  buffer_.clear();
}

void TraceFile::fail(int number) noexcept {
  ::close(fd_);
  fd_ = -1;
  buffer_.clear();
  try {
    error_ = concat("memory trace ", path_, ": cannot write: ", reason(number), "; it is incomplete");
  } catch (...) {
    return;  // no memory for words, either
  }
  if (complaint_ == Complaint::to_stderr) std::fprintf(stderr, "gpunn: %s\n", error_.c_str());
}

}  // namespace gpunn::detail
