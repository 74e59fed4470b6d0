#include "gpunn/io/detail/file_calls.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include <new>

namespace gpunn::detail {
namespace {

constinit thread_local FileCalls* current = nullptr;

}  // namespace

FileCalls::~FileCalls() = default;
int FileCalls::open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
int FileCalls::fstat(int fd, struct stat* out) { return ::fstat(fd, out); }
ssize_t FileCalls::read(int fd, void* data, std::size_t bytes) { return ::read(fd, data, bytes); }
ssize_t FileCalls::pread(int fd, void* data, std::size_t bytes, off_t offset) {
  return ::pread(fd, data, bytes, offset);
}
ssize_t FileCalls::write(int fd, const void* data, std::size_t bytes) { return ::write(fd, data, bytes); }
int FileCalls::fsync(int fd) { return ::fsync(fd); }
int FileCalls::close(int fd) { return ::close(fd); }
int FileCalls::rename(const char* from, const char* to) { return ::rename(from, to); }
int FileCalls::unlink(const char* path) { return ::unlink(path); }
int FileCalls::mkdir(const char* path, mode_t mode) { return ::mkdir(path, mode); }

FileCalls& file_calls() noexcept {
  // Never destroyed: files may still be closed while the process exits.
  alignas(FileCalls) static std::byte place[sizeof(FileCalls)];
  static FileCalls* const real = new (place) FileCalls;
  return current ? *current : *real;
}

FileCallsScope::FileCallsScope(FileCalls& calls) noexcept : previous_(current) { current = &calls; }
FileCallsScope::~FileCallsScope() { current = previous_; }

}  // namespace gpunn::detail
