#pragma once
// The file behind memory traces: buffered lines, written also when the process exits.
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"

namespace gpunn::detail {

/// Thread-safe. Disk errors are kept, not thrown: the first one ends the file.
class GPUNN_API TraceFile {
 public:
  /// to_stderr: for files that nobody asks; one line says that the trace is incomplete.
  enum class Complaint : std::uint8_t { kept, to_stderr };

  /// The file of that path that is open already, else a new, empty one. Throws Error.
  static std::shared_ptr<TraceFile> open(const std::string& path, Complaint complaint);
  ~TraceFile();
  TraceFile(const TraceFile&) = delete;
  TraceFile& operator=(const TraceFile&) = delete;

  /// `event`: all fields after the time, with the line's end.
  void write(std::string_view event) noexcept;
  void flush() noexcept;
  /// Like flush(), unless another thread holds the file for long.
  void flush_at_exit() noexcept;
  /// Why writing failed, naming the path; "" if it did not.
  std::string error() const;

 private:
  TraceFile(std::string path, Complaint complaint);
  void write_buffer() noexcept;
  void fail(int number) noexcept;

  const std::string path_;
  const Complaint complaint_;
  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  const pid_t owner_;  // a forked child must not write its copy of the buffer
  mutable std::mutex mutex_;
  std::string buffer_, error_;
  int fd_ = -1;
};

}  // namespace gpunn::detail
