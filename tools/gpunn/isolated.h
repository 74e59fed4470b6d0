#pragma once
// Work in a child process: what crashes or hangs there does no harm here.
#include <functional>
#include <string>
#include <vector>

namespace gpunn::tool {

struct Isolated {
  std::vector<std::string> fields;  // what the work returned
  std::string problem;              // "crashes (signal 11)"; empty when it came to its end
};

/// Runs `work` in a copy of this process, for so many seconds at most; its output goes nowhere. Call it
/// before this process has threads of its own.
Isolated run_isolated(const std::function<std::vector<std::string>()>& work, int seconds);

}  // namespace gpunn::tool
