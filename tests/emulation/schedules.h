#pragma once
// Runs a test under several orders of threads and several moments for asynchronous copies.

#include <gtest/gtest.h>

#include <string>

#include "gpunn/core/emulation/config.h"

namespace gpunn::test {

struct Order {
  const char* name;
  emu::Schedule schedule;
  emu::Async async;
  std::uint64_t seed;
};

inline const Order kOrders[] = {
    {"seq_late", emu::Schedule::seq, emu::Async::late, 1},
    {"seq_early", emu::Schedule::seq, emu::Async::early, 1},
    {"reverse_random", emu::Schedule::reverse, emu::Async::random, 2},
    {"random_late", emu::Schedule::random, emu::Async::late, 3},
    {"random_random", emu::Schedule::random, emu::Async::random, 4},
    {"pct_late", emu::Schedule::pct, emu::Async::late, 5},
    {"pct_random", emu::Schedule::pct, emu::Async::random, 6},
};

class OrderedTest : public testing::TestWithParam<Order> {
 protected:
  void SetUp() override {
    saved_ = emu::config();
    emu::Config changed = saved_;
    changed.schedule = GetParam().schedule;
    changed.async = GetParam().async;
    changed.seed = GetParam().seed;
    emu::set_config(changed);
  }
  void TearDown() override {
    emu::reset_device();
    emu::set_config(saved_);
  }

 private:
  emu::Config saved_;
};

inline std::string order_name(const testing::TestParamInfo<Order>& info) { return info.param.name; }

}  // namespace gpunn::test
