// The problems of the benchmark rows that `gpunn autotune OP` stores an order for are those of calls: a call
// of the same sizes asks with the same key.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "benchmarks/op_bench.h"
#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"
#include "gpunn/core/tuning.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/scan/scan.h"
#include "gpunn/kernels/sort/sort.h"

namespace gpunn::testing {
namespace {

constexpr double kSeconds = 1e-6;

using Keys = std::vector<std::string>;

Keys keys_of_rows(const char* op, const char* row) {
  DeviceContext& context = Device::cpu().context();
  const TuningRecorder recorder(context, kSeconds);
  bench::Bench bench(context, {.op = op, .row = row, .issues_only = true});
  bench::add_all_rows(bench);
  EXPECT_FALSE(bench.listed().empty()) << op << ' ' << row;
  EXPECT_TRUE(bench.results().empty());
  return recorder.keys();
}

Keys keys_of_call(const std::function<void()>& call) {
  const TuningRecorder recorder(Device::cpu().context(), kSeconds);
  const NoGrad off;
  call();
  return recorder.keys();
}

void expect_equal_keys(const char* op, const char* row, const std::function<void()>& call) {
  const Keys keys = keys_of_rows(op, row);
  ASSERT_EQ(keys.size(), 1u) << op << ' ' << row;
  EXPECT_EQ(keys, keys_of_call(call)) << op << ' ' << row;
}

TEST(AutotuneRows, ProductsAskAsCallsDo) {
  const auto tensor = [](std::int64_t rows, std::int64_t cols) { return zeros({rows, cols}); };
  expect_equal_keys("matmul", "64x64x10 y",
                    [&] { linear(tensor(64, 64), tensor(10, 64), zeros({10}), Activation::relu); });
  expect_equal_keys("matmul", "64x64x10 dw", [&] { matmul(tensor(64, 10).t(), tensor(64, 64)); });
  expect_equal_keys("matmul", "64x64x10 dx", [&] { matmul(tensor(64, 10), tensor(10, 64)); });
  expect_equal_keys("matmul", "P1 64x64x64 NN", [&] { matmul(tensor(64, 64), tensor(64, 64)); });
  expect_equal_keys("matmul", "P3 128x10x784 TN", [&] { matmul(tensor(128, 784), tensor(10, 784).t()); });
  expect_equal_keys("matmul", "1x1024x1024 y",
                    [&] { linear(tensor(1, 1024), tensor(1024, 1024), zeros({1024}), Activation::relu); });
}

TEST(AutotuneRows, OtherOpsAskAsCallsDo) {
  const Tensor x = zeros({64, 256}), wide = zeros({64, 1024});
  expect_equal_keys("sum", "64x256 by rows", [&] { sum(x, {1}); });
  expect_equal_keys("argmax", "64x256 by rows", [&] { argmax(x, 1); });
  expect_equal_keys("var", "64x1024 by rows", [&] { var(wide, {1}); });
  expect_equal_keys("norm", "64x1024 by rows", [&] { norm(wide, 2, {1}); });
  expect_equal_keys("cumsum", "64x1024 by rows", [&] { cumsum(wide, 1); });
  expect_equal_keys("sort", "1024x256", [&] { sort(zeros({1024, 256})); });
  expect_equal_keys("sort", "64x1000 top 5", [&] { topk(zeros({64, 1000}), 5); });
}

TEST(AutotuneRows, LargeOnesToo) {
  const Tensor x = zeros({4096, 1024});
  expect_equal_keys("sum", "4096x1024 by columns", [&] { sum(x, {0}); });
  expect_equal_keys("sum", "4096x1024 to one", [&] { sum(x); });
  expect_equal_keys("cumsum", "4096x1024 by columns", [&] { cumsum(x, 0); });
}

TEST(AutotuneRows, OpsWithoutAChoiceAskNothing) { EXPECT_TRUE(keys_of_rows("softmax", "64x10").empty()); }

}  // namespace
}  // namespace gpunn::testing
