#pragma once
// What an error says.
#include <string>

#include "gpunn/core/error.h"

namespace gpunn::testing {

/// Text of the InvalidArgument that `f` throws, "no error" when it throws nothing.
template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const InvalidArgument& e) {
    return e.what();
  }
  return "no error";
}

}  // namespace gpunn::testing
