#include "isolated.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>

namespace gpunn::tool {

namespace {

constexpr char kEnd = '\0';  // behind each field on the pipe

void write_all(int fd, const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

// What the child wrote until it ended, or until the time is up.
std::string read_all(int fd, int seconds, bool& in_time) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  std::string text;
  std::array<char, 4096> buffer{};
  in_time = true;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    pollfd waiting{fd, POLLIN, 0};
    const int ready = left > 0 ? ::poll(&waiting, 1, static_cast<int>(left)) : 0;
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      in_time = false;
      return text;
    }
    const ssize_t n = ::read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return text;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
}

[[noreturn]] void be_child(int fd, const std::function<std::vector<std::string>()>& work) {
  // A library's own complaints, and a sanitizer's report of its crash, are not our output.
  if (const int null = ::open("/dev/null", O_WRONLY); null >= 0) {
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
  }
  std::string text;
  try {
    for (const std::string& field : work()) (text += field) += kEnd;
  } catch (...) {
    ::_exit(1);
  }
  write_all(fd, text);
  ::_exit(0);
}

std::string end_of(pid_t child, bool in_time) {
  if (!in_time) ::kill(child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (!in_time) return "does not come to its end";
  if (WIFSIGNALED(status)) return "crashes (signal " + std::to_string(WTERMSIG(status)) + ")";
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "" : "ends the process";
}

}  // namespace

Isolated run_isolated(const std::function<std::vector<std::string>()>& work, int seconds) {
  Isolated out;
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) {
    out.problem = std::string("cannot be tried: ") + std::strerror(errno);
    return out;
  }
  const pid_t child = ::fork();
  if (child == 0) be_child(ends[1], work);
  out.problem = child < 0 ? std::string("cannot be tried: ") + std::strerror(errno) : "";
  ::close(ends[1]);
  if (child > 0) {
    bool in_time = true;
    const std::string text = read_all(ends[0], seconds, in_time);
    out.problem = end_of(child, in_time);
    for (std::size_t begin = 0, end; (end = text.find(kEnd, begin)) != std::string::npos; begin = end + 1)
      out.fields.push_back(text.substr(begin, end - begin));
  }
  ::close(ends[0]);
  return out;
}

}  // namespace gpunn::tool
