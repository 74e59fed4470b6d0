#pragma once
// A program as a child process, with what it wrote; and folders with small data sets for it.
#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace gpunn::testing {

struct Outcome {
  int code = -1;  // exit code, or 128 + signal
  std::string out, err;
};

class Child {
 public:
  struct Options {
    std::vector<std::pair<std::string, std::string>> environment{};  // set on top of the test's own
    std::string folder{};                                            // working folder; empty: the test's
    std::uint64_t memory_bytes = 0;                                  // limit on its address space; 0: none
  };
  /// Starts the gpunn tool.
  explicit Child(const std::vector<std::string>& arguments) : Child(arguments, Options{}) {}
  Child(const std::vector<std::string>& arguments, const Options& options);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void signal(int number) const;
  /// Waits for its end; after two minutes it is killed, which a test sees as code 137.
  Outcome wait();

 private:
  pid_t pid_ = -1;
  std::string out_path_, err_path_;
};

/// Runs the gpunn tool to its end.
Outcome run(const std::vector<std::string>& arguments, const Child::Options& options = {});

/// A temporary folder, removed at the end.
class Folder {
 public:
  Folder();
  ~Folder();
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Waits until `path` has at least `bytes` bytes; false after a minute.
bool wait_for_file(const std::string& path, std::uint64_t bytes = 1);

/// Bytes of an IDX file of u8 elements.
std::vector<std::uint8_t> idx_bytes(const std::vector<std::uint32_t>& extents,
                                    const std::vector<std::uint8_t>& data);

/// Four files of MNIST's form in `folder`: `train` and `test` pictures of 28 x 28, whose class shows in the
/// picture.
void write_small_mnist(const std::string& folder, int train, int test);

}  // namespace gpunn::testing
