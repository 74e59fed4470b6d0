#pragma once
// The commands of `gpunn` and what they share: exit codes, errors, output.
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>

#include "gpunn/core/device.h"

namespace gpunn::tool {

enum ExitCode : int {
  kOk = 0,
  kFailure = 1,
  kUsage = 2,
  kBadInput = 3,
  kNoDevice = 4,
  kOutOfMemory = 5,
  kVerificationFailed = 6,
  kDeviceLost = 7,
  kSignal = 128,  // plus the signal's number
};

/// The command line is wrong; the message says how.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};
/// The device asked for is not there.
struct NoDeviceError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Words = std::span<const std::string>;

struct Command {
  const char* name;
  const char* summary;
  int (*run)(Words arguments);
};

int run_train(Words arguments);
int run_generate(Words arguments);
int run_recipes(Words arguments);
int run_data(Words arguments);
int run_info(Words arguments);
int run_doctor(Words arguments);
int run_verify(Words arguments);
int run_parity(Words arguments);
int run_bench(Words arguments);
int run_autotune(Words arguments);

/// Options that every command takes.
struct Common {
  bool json = false;
  bool quiet = false;
  bool verbose = false;
  std::string color = "auto";
  /// Whether messages on stderr are coloured.
  bool colored() const;
};

/// Device::parse with NoDeviceError for an absent device and UsageError for text that names none.
Device open_device(const std::string& text);

/// "text\n" on stdout.
void print_line(std::string_view text);

}  // namespace gpunn::tool
