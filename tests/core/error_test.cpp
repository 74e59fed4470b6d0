#include "gpunn/core/error.h"

#include <gtest/gtest.h>

#include <limits>
#include <memory>
#include <vector>

namespace gpunn {
namespace {

std::string message_of(void (*f)()) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "nothing thrown";
}

TEST(Error, NamesLayerAndOp) {
  const LayerScope root(""), outer("encoder"), inner("fc1");
  const OpScope op("linear");
  EXPECT_EQ(message_of([] { GPUNN_CHECK(false, "expected input [*, ", 784, "], got ", "[64, 783]"); }),
            "[encoder.fc1: linear] expected input [*, 784], got [64, 783]");
}

TEST(Error, PlacesUnwind) {
  {
    const LayerScope layer("fc1");
    const OpScope op("relu");
    const OpScope nested("mul");  // an op inside an op: the one the caller wrote is named
    EXPECT_STREQ(current_op(), "relu");
  }
  EXPECT_EQ(where(), "");
  EXPECT_EQ(message_of([] { GPUNN_CHECK(1 > 2, "x"); }), "x");
}

TEST(Error, DeepNestingIsCountedNotStored) {
  constexpr int kDepth = 100;
  std::vector<std::unique_ptr<LayerScope>> scopes;
  for (int i = 0; i < kDepth; ++i) scopes.push_back(std::make_unique<LayerScope>("a"));
  EXPECT_EQ(layer_path().size(), 32 * 2 - 1);
  while (!scopes.empty()) scopes.pop_back();
  EXPECT_EQ(layer_path(), "");
}

TEST(Error, CheckEvaluatesItsMessageOnlyOnFailure) {
  int evaluated = 0;
  const auto count = [&] { return ++evaluated; };
  GPUNN_CHECK(true, count());
  EXPECT_EQ(evaluated, 0);
}

TEST(Error, NumbersInMessages) {
  EXPECT_EQ(detail::concat(0.1, ' ', -3, ' ', std::size_t{7}, ' ', true, ' ', 1e300), "0.1 -3 7 true 1e+300");
  EXPECT_EQ(detail::concat(std::numeric_limits<double>::infinity()), "inf");
  EXPECT_EQ(detail::concat(-std::numeric_limits<float>::infinity()), "-inf");
  EXPECT_EQ(detail::concat(std::numeric_limits<float>::quiet_NaN()), "nan");
}

TEST(Error, HierarchyIsCaughtByItsBase) {
  EXPECT_THROW(throw DeviceLost("gone", 719), CudaError);
  EXPECT_THROW(throw DataError("file"), Error);
  EXPECT_THROW(throw OutOfMemory("full"), std::runtime_error);
  try {
    throw CudaError("bad", 700);
  } catch (const CudaError& e) {
    EXPECT_EQ(e.code(), 700);
  }
}

}  // namespace
}  // namespace gpunn
