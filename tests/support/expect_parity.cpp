#include "tests/support/expect_parity.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "gpunn/core/device.h"

namespace gpunn::parity {
namespace {

/// GPUNN_TEST_SEED overrides the seed that a failure names.
std::uint64_t test_seed() {
  const char* text = std::getenv("GPUNN_TEST_SEED");
  return text ? std::strtoull(text, nullptr, 10) : 1;
}

#if defined(GPUNN_TSAN)
// The emulator is thirty times slower there. Races show in small cases, and TSan finds them in any order.
constexpr int kOrders = 2;
constexpr std::int64_t kMostElements = 9000;
#else
constexpr int kOrders = 16;
constexpr std::int64_t kMostElements = 0;
#endif

void expect_parity(void (*add)(Suite&), Device device, int orders, std::int64_t most_elements) {
  Suite suite;
  add(suite);
  const Report report =
      run(suite, {.device = device, .seed = test_seed(), .orders = orders, .most_elements = most_elements});
  EXPECT_FALSE(report.rows.empty()) << "no implementation for " << to_string(device);
  for (const Failure& f : report.failures) ADD_FAILURE() << name_of(f.kind) << ": " << f.message;
}

}  // namespace

void expect_parity_on_cpu(void (*add)(Suite&)) { expect_parity(add, Device::cpu(), 0, 0); }

void expect_parity_on_cuda(void (*add)(Suite&)) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no GPU on this machine";
  expect_parity(add, Device::cuda(0), kOrders, kMostElements);
}

}  // namespace gpunn::parity
