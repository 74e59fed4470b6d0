#pragma once
// What `gpunn doctor` looks at. Each check answers whatever state the machine is in: none of them throws.
#include <string>
#include <vector>

namespace gpunn::tool {

/// warning: works, but not as it could; problem: something does not work.
enum class Level : unsigned char { ok, warning, problem };

struct Finding {
  Level level;
  std::string topic, text;
  std::string cure;  // what to do; empty when there is nothing to do
};
using Findings = std::vector<Finding>;

/// Vendor libraries and driver, looked at in child processes: to be called before there are threads.
struct Machine {
  Findings libraries;  // in the order to show
  bool has_driver = false;
  std::string driver;  // version, or why there is none
};
inline constexpr const char* kNoDriver = "none found";  // Machine::driver then
Machine look_at_machine();

void check_environment(Findings& out);
/// Makes the Runtime. False: it could not be made, and nothing that computes can be checked.
bool check_runtime(Findings& out);
void check_cpu(Findings& out);
void check_memory(Findings& out);
/// Driver, build and devices; says in `verdict` what can be computed on ("CPU only", "CPU and cuda:0").
void check_gpus(Findings& out, const Machine& machine, std::string& verdict);
void check_data(Findings& out);
void check_folders(Findings& out);
/// An op of each family against its reference, on the CPU and on each device, in a child process: to be
/// called before there are threads.
Findings check_results();

/// Names of the environment variables that the library, its emulation and its tests read.
std::vector<std::string> known_variables();

}  // namespace gpunn::tool
