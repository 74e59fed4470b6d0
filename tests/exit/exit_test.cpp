// 200 processes that end with live tensors, threads, pending work and failed devices: exit code 0, nothing on
// standard error. Each is a process of its own, made without copying this one.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <map>
#include <sstream>
#include <string>
#include <vector>

extern char** environ;

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Environment = std::map<std::string, std::string>;

#if GPUNN_ASAN || GPUNN_TSAN
constexpr int kExits = 40;
#else
constexpr int kExits = 200;
#endif
constexpr int kAtOnce = 4;

std::vector<std::string> environment_with(const Environment& extra) {
  std::vector<std::string> out;
  for (char** e = environ; *e; ++e)
    if (const std::string entry(*e); !extra.count(entry.substr(0, entry.find('=')))) out.push_back(entry);
  for (const auto& [name, value] : extra) out.push_back(name + "=" + value);
  return out;
}

std::string drain(int descriptor) {
  std::string out;
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t n = ::read(descriptor, buffer.data(), buffer.size());
    if (n <= 0) break;
    out.append(buffer.data(), static_cast<std::size_t>(n));
  }
  ::close(descriptor);
  return out;
}

struct Ended {
  int code;  // -signal when one ended it
  std::string out, err;
};

class Process {
 public:
  explicit Process(const std::string& scenario, const Environment& extra = {}) : scenario_(scenario) {
    int out[2], err[2];
    if (::pipe2(out, O_CLOEXEC) != 0 || ::pipe2(err, O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err[1], STDERR_FILENO);
    auto variables = environment_with(extra);
    std::vector<char*> pointers;
    for (std::string& v : variables) pointers.push_back(v.data());
    pointers.push_back(nullptr);
    std::string program = GPUNN_EXIT_SCENARIOS, argument = scenario;
    char* const arguments[] = {program.data(), argument.data(), nullptr};
    if (posix_spawn(&id_, program.c_str(), &actions, nullptr, arguments, pointers.data()) != 0) id_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    ::close(out[1]);
    ::close(err[1]);
    out_ = out[0];
    err_ = err[0];
  }

  const std::string& scenario() const { return scenario_; }
  // What it writes fits into a pipe, unless it is an error report, which comes on standard error.
  Ended wait() {
    Ended e{-1, {}, {}};
    if (id_ < 0) return e;
    e.err = drain(err_);
    e.out = drain(out_);
    int status = 0;
    ::waitpid(id_, &status, 0);
    e.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
    return e;
  }

 private:
  std::string scenario_;
  pid_t id_ = -1;
  int out_ = -1, err_ = -1;
};

std::vector<std::string> scenarios() {
  std::istringstream list(Process("").wait().out);
  std::vector<std::string> names;
  for (std::string name; std::getline(list, name);) names.push_back(name);
  return names;
}

TEST(ExitTest, AnUnknownScenarioIsNoSuccess) {
  EXPECT_EQ(Process("no such scenario").wait().code, 2) << "the harness would see nothing";
  EXPECT_GE(scenarios().size(), 7u);
}

TEST(ExitTest, IsCleanWhateverIsAlive) {
  const auto names = scenarios();
  ASSERT_FALSE(names.empty());
  int ended = 0;
  while (ended < kExits && !HasFailure()) {
    std::vector<Process> running;
    for (int i = 0; i < kAtOnce; ++i)
      running.emplace_back(names[static_cast<std::size_t>(ended + i) % names.size()]);
    for (Process& process : running) {
      const Ended e = process.wait();
      EXPECT_EQ(e.code, 0) << process.scenario();
      EXPECT_EQ(e.err, "") << process.scenario();
      EXPECT_THAT(e.out, Not(HasSubstr("wrong"))) << process.scenario();
      ++ended;
    }
  }
}

#if GPUNN_EMULATED
std::map<std::string, std::string> lines_of(const std::string& text) {
  std::istringstream in(text);
  std::map<std::string, std::string> out;
  for (std::string line; std::getline(in, line);)
    if (const auto colon = line.find(": "); colon != std::string::npos)
      out[line.substr(0, colon)] = line.substr(colon + 2);
  return out;
}

TEST(LostProcessTest, TellsTheFirstCauseWithItsOp) {
  const Ended e = Process("lost_device", {{"GPUNN_EMU_DEVICES", "2"}}).wait();
  EXPECT_EQ(e.code, 0);
  EXPECT_EQ(e.err, "");
  auto told = lines_of(e.out);
  const std::string first = told["first"];
  for (const char* part : {"cuda:0 is lost", "CUDA error 700", "newest first", "[encoder: fill_]",
                           "[encoder: clone]", "GPUNN_SYNC=1"})
    EXPECT_THAT(first, HasSubstr(part));
  const std::string cause = first.substr(std::min(first.size(), first.find("cuda:0 is lost")));
  for (const char* call : {"launch", "allocation", "to host", "copy", "wait"})
    EXPECT_THAT(told[call], HasSubstr(cause)) << call;
  EXPECT_EQ(told["other"], "7") << "the other device goes on";
}

TEST(LostProcessTest, SynchronousModeNamesTheWorkThatFailed) {
  const Ended e = Process("lost_device", {{"GPUNN_SYNC", "1"}}).wait();
  EXPECT_EQ(e.code, 0);
  EXPECT_EQ(e.err, "");
  auto told = lines_of(e.out);
  EXPECT_THAT(told["first"], HasSubstr("cuda:0 is lost: [encoder: clone] copy_"));
  EXPECT_THAT(told["first"], Not(HasSubstr("fill")));
  EXPECT_THAT(told["wait"], HasSubstr(told["first"].substr(told["first"].find("cuda:0 is lost"))));
}
#endif

}  // namespace
}  // namespace gpunn
