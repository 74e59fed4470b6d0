#include "tests/tools/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>
#include <thread>

#include "gpunn/io/file.h"

namespace gpunn::testing {

namespace {

std::string temporary_file() {
  std::string pattern = std::filesystem::temp_directory_path() / "gpunn-child-XXXXXX";
  const int fd = ::mkstemp(pattern.data());
  if (fd < 0) throw std::runtime_error("cannot make a temporary file");
  ::close(fd);
  return pattern;
}

std::string take_file(const std::string& path) {
  std::string text = read_text_file(path);
  ::unlink(path.c_str());
  return text;
}

}  // namespace

Child::Child(const std::vector<std::string>& arguments, const Options& options)
    : out_path_(temporary_file()), err_path_(temporary_file()) {
  // Everything is allocated before fork(): in the child only system calls follow.
  std::vector<std::string> words{GPUNN_TOOL_PATH};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  std::vector<std::string> settings;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    bool replaced = false;
    for (const auto& [name, value] : options.environment)
      replaced = replaced || text.rfind(name + "=", 0) == 0;
    if (!replaced) settings.push_back(text);
  }
  for (const auto& [name, value] : options.environment) settings.push_back(name + "=" + value);
  std::vector<char*> envp;
  for (std::string& setting : settings) envp.push_back(setting.data());
  envp.push_back(nullptr);

  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("fork failed");
  if (pid_ > 0) return;
  const int out = ::open(out_path_.c_str(), O_WRONLY | O_TRUNC),
            err = ::open(err_path_.c_str(), O_WRONLY | O_TRUNC);
  const int in = ::open("/dev/null", O_RDONLY);
  if (options.memory_bytes > 0) {
    const rlimit limit{options.memory_bytes, options.memory_bytes};
    ::setrlimit(RLIMIT_AS, &limit);
  }
  if (out < 0 || err < 0 || in < 0 || ::dup2(in, 0) < 0 || ::dup2(out, 1) < 0 || ::dup2(err, 2) < 0 ||
      (!options.folder.empty() && ::chdir(options.folder.c_str()) != 0))
    ::_exit(127);
  ::execve(argv[0], argv.data(), envp.data());
  ::_exit(127);
}

Child::~Child() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait();
}

void Child::signal(int number) const { ::kill(pid_, number); }

Outcome Child::wait() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(2);
  int status = 0;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  pid_ = -1;
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), take_file(out_path_),
          take_file(err_path_)};
}

Outcome run(const std::vector<std::string>& arguments, const Child::Options& options) {
  return Child(arguments, options).wait();
}

Folder::Folder() {
  std::string pattern = std::filesystem::temp_directory_path() / "gpunn-test-XXXXXX";
  if (!::mkdtemp(pattern.data())) throw std::runtime_error("cannot make a temporary folder");
  path_ = pattern;
}
Folder::~Folder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

bool wait_for_file(const std::string& path, std::uint64_t bytes) {
  for (int i = 0; i < 6000; ++i) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (!error && size >= bytes) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::vector<std::uint8_t> idx_bytes(const std::vector<std::uint32_t>& extents,
                                    const std::vector<std::uint8_t>& data) {
  std::vector<std::uint8_t> out{0, 0, 8, static_cast<std::uint8_t>(extents.size())};
  for (const std::uint32_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(extent >> shift));
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

void write_small_mnist(const std::string& folder, int train, int test) {
  create_directories(folder);
  const auto write = [&](const char* images, const char* labels, int count) {
    std::vector<std::uint8_t> pixels, classes;
    for (int i = 0; i < count; ++i) {
      classes.push_back(static_cast<std::uint8_t>(i % 10));
      // A bright band at the height of the class, and a little noise that depends on the picture.
      for (int p = 0; p < 28 * 28; ++p)
        pixels.push_back(static_cast<std::uint8_t>((p / 28) / 2 == i % 10 ? 220 : (p * 7 + i * 13) % 40));
    }
    const auto n = static_cast<std::uint32_t>(count);
    write_file_atomic(folder + "/" + images, idx_bytes({n, 28, 28}, pixels));
    write_file_atomic(folder + "/" + labels, idx_bytes({n}, classes));
  };
  write("train-images-idx3-ubyte", "train-labels-idx1-ubyte", train);
  write("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte", test);
}

}  // namespace gpunn::testing
