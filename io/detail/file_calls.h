#pragma once
// The system calls behind io/file, in one table, so that tests can make any of them fail, stop short or be
// interrupted.
#include <sys/stat.h>
#include <sys/types.h>

#include <cstddef>

namespace gpunn::detail {

/// Each function behaves as the system call of its name: -1 and errno on failure. The base class makes the
/// real calls.
class FileCalls {
 public:
  virtual ~FileCalls();
  virtual int open(const char* path, int flags, mode_t mode);
  virtual int fstat(int fd, struct stat* out);
  virtual ssize_t read(int fd, void* data, std::size_t bytes);
  virtual ssize_t pread(int fd, void* data, std::size_t bytes, off_t offset);
  virtual ssize_t write(int fd, const void* data, std::size_t bytes);
  virtual int fsync(int fd);
  virtual int close(int fd);
  virtual int rename(const char* from, const char* to);
  virtual int unlink(const char* path);
  virtual int mkdir(const char* path, mode_t mode);
};

/// The calls that the calling thread uses: the innermost scope's, else the real ones.
FileCalls& file_calls() noexcept;

/// Installs `calls` for the calling thread; they must outlive the scope.
class FileCallsScope {
 public:
  explicit FileCallsScope(FileCalls& calls) noexcept;
  ~FileCallsScope();
  FileCallsScope(const FileCallsScope&) = delete;
  FileCallsScope& operator=(const FileCallsScope&) = delete;

 private:
  FileCalls* previous_;
};

}  // namespace gpunn::detail
