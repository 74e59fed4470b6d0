// The persistent recurrent kernels under 16 orders of blocks and threads. A suite of its own, because each
// suite runs in a process of its own: what TSan does at a barrier grows with the CUDA threads that the
// process has ever had, and here they are these kernels' alone.
#include <gtest/gtest.h>

#include "gpunn/core/device.h"
#include "tests/support/parity.h"
#include "tests/support/thread_orders.h"

#if GPUNN_EMULATED
namespace gpunn::parity {

void add_rnn_race_cases(Suite& suite);

namespace {

constexpr int kOrders = 16, kSchedules = 4;

// Four orders for each dtype in turn: all kinds of schedules and all moments of asynchronous copies.
TEST(RnnPersistentRace, SixteenOrders) {
  constexpr DType kDtypes[] = {DType::f32, DType::f16, DType::bf16};
  Suite suite;
  add_rnn_race_cases(suite);
  const Device device = Device::cuda(0);
  ThreadOrders orders(device, 1, kOrders);
  int runs = 0;
  for (; orders.next(); ++runs) {
    const DType dtype = kDtypes[runs / kSchedules % 3];
    const Report report = run(suite, {.device = device, .implementation = "persistent", .dtypes = {dtype}});
    for (const Failure& f : report.failures)
      ADD_FAILURE() << name_of(f.kind) << ": " << f.message << " (" << orders.description() << ')';
    ASSERT_EQ(report.rows.size(), 2u);  // forward and backward
    for (const Row& row : report.rows) EXPECT_EQ(row.cases, 3) << row.direction << " skipped some";
  }
  EXPECT_EQ(runs, kOrders);
}

}  // namespace
}  // namespace gpunn::parity
#endif
