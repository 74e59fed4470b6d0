// Stands for a vendor library that is broken: opening it ends the process.
#include <cstdlib>

namespace {
struct Crash {
  Crash() { std::abort(); }
} crash;
}  // namespace
