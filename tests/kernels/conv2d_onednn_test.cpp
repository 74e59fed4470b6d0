// What is kept of oneDNN between calls.
#include "gpunn/core/dtype.h"
#if GPUNN_HAS_ONEDNN_HEADERS
#include <gtest/gtest.h>

#include <memory>

#include "gpunn/kernels/conv2d/conv2d_onednn_impl.h"

namespace gpunn::onednn {
namespace {

Conv2dSizes row_of(std::int64_t width) {
  Conv2dSizes s{};
  s.N = s.C = s.H = s.K = s.R = s.S = s.P = 1;
  s.W = s.Q = width;
  s.stride_h = s.stride_w = s.dilation_h = s.dilation_w = s.groups = 1;
  return s;
}

class Conv2dOnednn : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!library().engine) GTEST_SKIP() << "libdnnl.so.2 could not be opened";
  }
};

TEST_F(Conv2dOnednn, PlansAreKeptBySizesAndKind) {
  const auto plan = plan_for(Kind::forward, row_of(5), false);
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan_for(Kind::forward, row_of(5), false), plan);
  EXPECT_NE(plan_for(Kind::forward, row_of(5), true), plan);
  EXPECT_NE(plan_for(Kind::dw, row_of(5), false), plan);
  EXPECT_NE(plan_for(Kind::forward, row_of(6), false), plan);
}

TEST_F(Conv2dOnednn, OnlyTheLastPlansAreKept) {
  const std::weak_ptr<const Plan> first = plan_for(Kind::dx, row_of(7), false),
                                  used = plan_for(Kind::dx, row_of(8), false);
  for (std::int64_t width = 100; width < 163; ++width) {
    ASSERT_TRUE(plan_for(Kind::dx, row_of(width), false));
    ASSERT_TRUE(plan_for(Kind::dx, row_of(8), false));
  }
  EXPECT_TRUE(first.expired());
  EXPECT_FALSE(used.expired());
}

TEST_F(Conv2dOnednn, RefusesWhatItHasNoPrimitiveFor) {
  Conv2dProblem p{};
  p.dtype = DType::f32;
  p.sizes = row_of(5);
  EXPECT_STREQ(conv2d_onednn_reason(p), "leaves few channels to the entry cpu");
  p.sizes.C = 8;
  EXPECT_EQ(conv2d_onednn_reason(p), nullptr);
  p.sizes.Q = 2;  // fewer columns than fit, as with output padding
  EXPECT_STREQ(conv2d_onednn_reason(p), "has no primitive for these sizes");
  EXPECT_EQ(conv2d_onednn_workspace(p), 0u);
  p.dtype = DType::f16;
  EXPECT_STREQ(conv2d_onednn_reason(p), "takes f32");
}

}  // namespace
}  // namespace gpunn::onednn
#endif
