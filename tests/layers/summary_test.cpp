// summary() of a forward: shapes, parameters, flops and bytes of every call, computed without running the
// layers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/embedding.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/residual.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/layers/summary.h"
#include "gpunn/layers/weight_norms.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class SummaryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(SummaryTest);

TEST_P(SummaryTest, CountsEveryCall) {
  Sequential net(Conv2d(2, 4, 3, {.padding = 1}), BatchNorm2d(4), ReLU(), MaxPool2d(2), Flatten(),
                 Linear(16, 3));
  net.to(device());
  const auto calls = summarize(net, {5, 2, 4, 4});
  ASSERT_EQ(calls.size(), 7u);
  const std::vector<std::string> types{"Sequential", "Conv2d",  "BatchNorm2d", "ReLU",
                                       "MaxPool2d",  "Flatten", "Linear"};
  for (std::size_t i = 0; i < calls.size(); ++i) {
    EXPECT_EQ(calls[i].type, types[i]);
    EXPECT_EQ(calls[i].name, i == 0 ? "" : std::to_string(i - 1));
    EXPECT_EQ(calls[i].depth, i == 0 ? 0 : 1);
  }
  EXPECT_EQ(calls[1].output, (Shape{5, 4, 4, 4}));
  EXPECT_EQ(calls[4].output, (Shape{5, 4, 2, 2}));
  EXPECT_EQ(calls[5].output, (Shape{5, 16}));
  EXPECT_EQ(calls[0].output, (Shape{5, 3}));
  EXPECT_EQ(calls[1].parameters, 4 * 2 * 9 + 4);
  EXPECT_EQ(calls[0].parameters, net.parameter_count());
  // 320 results of 18 products; two numbers an element; windows of four; 15 results of 16 products.
  EXPECT_EQ(calls[1].flops, 2 * 320 * 18);
  EXPECT_EQ(calls[2].flops, 2 * 320);
  EXPECT_EQ(calls[4].flops, 4 * 80);
  EXPECT_EQ(calls[6].flops, 2 * 15 * 16);
  EXPECT_EQ(calls[0].flops, 2 * 320 * 18 + 2 * 320 + 4 * 80 + 2 * 15 * 16);
  EXPECT_EQ(calls[1].bytes, 4 * (5 * 2 * 16 + 76 + 320));
  EXPECT_EQ(calls[6].bytes, 4 * (80 + 51 + 15));
}

// What a forward does to the module: nothing.
TEST(Summary, LeavesModesStatisticsAndGradientsAlone) {
  Sequential net(Conv2d(1, 2, 3), BatchNorm2d(2), Dropout(0.5));
  net[1].eval();
  summarize(net, {1, 1, 4, 4});
  EXPECT_TRUE(net.is_training());
  EXPECT_TRUE(net[0].is_training());
  EXPECT_FALSE(net[1].is_training());
  EXPECT_TRUE(net[2].is_training());
  EXPECT_EQ(static_cast<BatchNorm2d&>(net[1]).num_batches_tracked.item(), 0);
  EXPECT_FALSE(net.parameters()[0].grad().defined());
}

struct Shared : Module {
  Conv2d conv{2, 2, 1};
  GPUNN_MEMBERS(conv)
  Tensor forward(const Tensor& x) override { return conv(conv(x)) + x; }
};

TEST(Summary, ALayerCalledTwiceIsThereTwice) {
  Shared net;
  const auto calls = summarize(net, {1, 2, 3, 3});
  ASSERT_EQ(calls.size(), 3u);
  EXPECT_EQ(calls[0].parameters, 6);
  EXPECT_EQ(calls[0].flops, 2 * (2 * 18 * 2));
  const std::string text = summary(net, {1, 2, 3, 3});
  EXPECT_THAT(text, HasSubstr("layer   type    output        parameters  flops  bytes\n"));
  EXPECT_THAT(text, HasSubstr("  conv  Conv2d  [1, 2, 3, 3]           6     72    168\n"));
  EXPECT_THAT(text, HasSubstr("total                                  6    144    336\n"));
}

TEST(Summary, BlocksShowTheirLayersUnfused) {
  BasicBlock block(2, 4, 2);
  const auto calls = summarize(block, {1, 2, 4, 4});
  std::vector<std::string> names;
  for (const LayerSummary& c : calls) names.push_back(c.name);
  EXPECT_EQ(names, (std::vector<std::string>{"", "conv1", "bn1", "downsample", "downsample.0", "downsample.1",
                                             "conv2", "bn2"}));
  EXPECT_EQ(calls[4].depth, 2);
  // 16 results of 18, 36 and 2 products, norms of three times 16.
  EXPECT_EQ(calls[0].flops, 2 * 16 * (18 + 36 + 2) + 3 * 2 * 16);
}

TEST(Summary, OtherLayersAndInputs) {
  Sequential net(ConvTranspose2d(2, 3, 2, {.stride = 2}), spectral_norm(Conv2d(3, 2, 1)), GroupNorm(1, 2),
                 Upsample({.scale_factor = 2}), AdaptiveAvgPool2d(1), Flatten(), LayerNorm(2));
  const auto calls = summarize(net, {1, 2, 3, 3});
  EXPECT_EQ(calls[1].flops, 2 * (2 * 9) * (3 * 4));
  EXPECT_EQ(calls[2].flops, 2 * (2 * 36) * 3);
  EXPECT_EQ(calls.back().output, (Shape{1, 2}));
  Embedding table(4, 3);
  const Tensor index = zeros({2, 5}, {.dtype = DType::i64});
  EXPECT_EQ(summarize(table, index)[0].output, (Shape{2, 5, 3}));
  // A sample without a batch is computed.
  Conv2d conv(1, 2, 3);
  EXPECT_EQ(summarize(conv, {1, 5, 5})[0].output, (Shape{2, 3, 3}));
  EXPECT_THAT([&] { summarize(net, {1, 3, 3, 3}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[0: conv_transpose2d] expected")));
}

}  // namespace
}  // namespace gpunn
