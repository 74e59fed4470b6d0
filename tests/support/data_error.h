#pragma once
// What bad data is refused with.
#include <string>

#include "gpunn/core/error.h"

namespace gpunn::testing {

/// The message of the DataError that f() throws, or "no DataError".
template <class F>
std::string data_error(F f) {
  try {
    f();
  } catch (const DataError& e) {
    return e.what();
  }
  return "no DataError";
}

}  // namespace gpunn::testing
