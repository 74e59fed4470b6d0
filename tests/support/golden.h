#pragma once
// Golden files: results of other libraries, stored in tests/golden beside the scripts that made them.
#include <cstdlib>
#include <string>

namespace gpunn::testing {

/// Path of tests/golden/<name>. ctest says where the sources are; by hand, tests run from the top of the
/// checkout.
inline std::string golden_path(const std::string& name) {
  const char* sources = std::getenv("GPUNN_SOURCE_DIR");
  return std::string(sources ? sources : ".") + "/tests/golden/" + name;
}

}  // namespace gpunn::testing
