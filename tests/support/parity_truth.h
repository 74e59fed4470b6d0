#pragma once
// What parity compares with: a case's inputs in one dtype, and what the reference makes of them.
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/support/guarded_buffers.h"
#include "tests/support/parity.h"

namespace gpunn::parity {

using Values = std::vector<std::vector<double>>;  // by operand; empty for inputs

struct Prepared {
  std::unique_ptr<BoundProblem> problem;
  std::vector<Operand> operands;    // of `problem`
  std::vector<std::size_t> shared;  // by operand: whose buffer it uses, itself unless aliased
  Contents initial;                 // inputs drawn and rounded, outputs poisoned
  Values truth;                     // the reference in f64 on the widened inputs
  Values rounded;                   // the reference in the dtype
  Contents reference;               // the same as bytes; empty for inputs
  Values scale;                     // what the f32 bound of each element is relative to
};

/// Throws InvalidArgument when the case names an operand that the problem does not have.
Prepared prepare(const Case& c, DType dtype, std::uint64_t seed);

}  // namespace gpunn::parity
