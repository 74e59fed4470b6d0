#pragma once
// Every op's parity cases in one suite, for `gpunn parity` and the coverage test.
#include "tests/support/parity.h"

namespace gpunn::parity {

Suite all_cases();

}  // namespace gpunn::parity
