// Layers of convolutional nets: forward, gradients and buffers as in PyTorch (tests/golden/conv_layers.py),
// initial values, modes, copies and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>

#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/norm.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/layers/weight_norms.h"
#include "tests/support/devices.h"
#include "tests/support/golden_lists.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Values = std::vector<double>;

const testing::GoldenLists& golden() {
  static const testing::GoldenLists stored = testing::golden_lists("conv_layers.csv");
  return stored;
}

struct Case {
  std::string name;
  std::function<std::unique_ptr<Module>()> make;
  Shape shape;
};

template <class M, class... A>
Case row(const char* name, const Shape& shape, A... arguments) {
  return {name, [=] { return std::make_unique<M>(arguments...); }, shape};
}

std::vector<Case> cases() {
  const Shape p{2, 3, 5, 6};
  using C1 = Conv1dLayerOptions;
  using C2 = Conv2dLayerOptions;
  using CT = ConvTranspose2dLayerOptions;
  using BN = BatchNormLayerOptions;
  using IN = InstanceNormLayerOptions;
  const Padding2d same = Padding2d::same();
  return {
      row<Conv2d>("conv2d", p, 3, 4, 3),
      row<Conv2d>("conv2d-options", {2, 4, 5, 6}, 4, 6, Size2d(3, 2),
                  C2{.stride = {2, 1}, .padding = {2, 1}, .dilation = {2, 1}, .groups = 2, .bias = false}),
      row<Conv2d>("conv2d-same", p, 3, 2, Size2d(4, 3), C2{.padding = same, .dilation = {1, 2}}),
      row<Conv2d>("conv2d-reflect", p, 3, 2, 3,
                  C2{.stride = 2, .padding = {2, 1}, .padding_mode = PaddingMode::reflect}),
      row<Conv2d>("conv2d-replicate", p, 3, 2, 3, C2{.padding = 1, .padding_mode = PaddingMode::replicate}),
      row<Conv2d>("conv2d-circular", p, 3, 2, Size2d(2, 4),
                  C2{.padding = same, .padding_mode = PaddingMode::circular}),
      row<Conv2d>("conv2d-sample", {3, 4, 5}, 3, 2, 3),
      row<Conv1d>("conv1d", {2, 4, 9}, 4, 6, 3, C1{.stride = 2, .padding = 1, .dilation = 2, .groups = 2}),
      row<Conv1d>("conv1d-same-circular", {2, 2, 7}, 2, 3, 4,
                  C1{.padding_mode = PaddingMode::circular, .same = true}),
      row<ConvTranspose2d>(
          "conv-transpose2d", {2, 4, 3, 4}, 4, 6, 3,
          CT{.stride = 2, .padding = 1, .output_padding = 1, .groups = 2, .dilation = {1, 2}}),
      row<BatchNorm1d>("batch-norm1d", {5, 4}, 4, BN{.momentum = 0.3}),
      row<BatchNorm1d>("batch-norm1d-series", {2, 3, 5}, 3, BN{.eps = 1e-2}),
      row<BatchNorm2d>("batch-norm2d", p, 3),
      row<BatchNorm2d>("batch-norm2d-cumulative", p, 3, BN{.momentum = {}}),
      row<BatchNorm2d>("batch-norm2d-plain", p, 3, BN{.affine = false, .track_running_stats = false}),
      row<InstanceNorm1d>("instance-norm1d", {2, 3, 5}, 3),
      row<InstanceNorm2d>("instance-norm2d", p, 3, IN{.affine = true, .track_running_stats = true}),
      row<LayerNorm>("layer-norm", p, Shape{5, 6}),
      row<RMSNorm>("rms-norm", p, 6, RMSNormOptions{.eps = 1e-5}),
      row<GroupNorm>("group-norm", {2, 4, 3, 3}, 2, 4),
      row<LocalResponseNorm>("local-response-norm", {2, 4, 3, 3}, 3,
                             LocalResponseNormOptions{.alpha = 0.2, .beta = 0.6, .k = 1.5}),
      row<MaxPool1d>("max-pool1d", {2, 2, 7}, 3, Pool1dOptions{.stride = 2, .padding = 1}),
      row<MaxPool2d>("max-pool2d", p, Size2d(2, 3),
                     PoolOptions{.stride = 2, .padding = 1, .ceil_mode = true}),
      row<AvgPool1d>("avg-pool1d", {2, 2, 7}, 3,
                     Pool1dOptions{.stride = 2, .padding = 1, .count_include_pad = false}),
      row<AvgPool2d>("avg-pool2d", p, 3, PoolOptions{.stride = 2, .padding = 1}),
      row<LPPool2d>("lp-pool2d", {2, 2, 4, 6}, 2, Size2d(2, 3)),
      row<AdaptiveAvgPool1d>("adaptive-avg-pool1d", {2, 2, 7}, 3),
      row<AdaptiveAvgPool2d>("adaptive-avg-pool2d", p, Size2d(2, 4)),
      row<AdaptiveMaxPool2d>("adaptive-max-pool2d", p, Size2d(3, 2)),
      row<Upsample>("upsample-nearest", {1, 2, 3, 4}, UpsampleOptions{.scale_factor = 2}),
      row<Upsample>("upsample-bilinear", {1, 2, 3, 4},
                    UpsampleOptions{.size = Size2d(7, 5), .mode = Interpolation::bilinear}),
      row<Upsample>(
          "upsample-corners", {1, 2, 3, 4},
          UpsampleOptions{.scale_factor = 2.5, .mode = Interpolation::bilinear, .align_corners = true}),
      row<WeightNorm<Conv2d>>("weight-norm-conv2d", p, Conv2d(3, 4, 3)),
      row<WeightNorm<Linear>>("weight-norm-linear", {2, 4}, Linear(4, 3), -1),
      row<SpectralNorm<Conv2d>>("spectral-norm-conv2d", p, Conv2d(3, 4, 3)),
      row<SpectralNorm<Linear>>("spectral-norm-linear", {2, 4}, Linear(4, 3),
                                SpectralNormOptions{.n_power_iterations = 3}),
      row<SpectralNorm<ConvTranspose2d>>("spectral-norm-transpose", {1, 3, 3, 3},
                                         ConvTranspose2d(3, 2, 3, {.stride = 2})),
  };
}

// Sums of up to some hundred products in f32, of values around 1, and PyTorch's own rounding.
void expect_equal(const Tensor& got, const Values& want, const std::string& what) {
  ASSERT_TRUE(got.defined()) << what;
  const std::vector<double> values = got.detach().to_vector<double>();
  ASSERT_EQ(values.size(), want.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(values[i], want[i], 1e-5 * (1 + std::abs(want[i]))) << what << ", element " << i;
}

class ConvLayersTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ConvLayersTest);

TEST_P(ConvLayersTest, EqualPyTorchs) {
  std::size_t run = 0;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const auto& want = golden().at(c.name);
    const std::unique_ptr<Module> layer = c.make();
    testing::fill_state(*layer);
    layer->to(device());
    const Tensor x = testing::hashed(c.shape, 100).to(device()).requires_grad_();
    const Tensor y = (*layer)(x);
    expect_equal(y, want.at("train"), "train");
    sum(y * testing::hashed(y.shape(), 101).to(device())).backward();
    expect_equal(x.grad(), want.at("grad"), "grad");
    std::size_t parts = 3;
    for (const auto& [key, parameter] : layer->named_parameters()) {
      expect_equal(parameter.grad(), want.at("grad " + key), "grad " + key);
      ++parts;
    }
    for (const auto& [key, buffer] : layer->named_buffers()) {
      expect_equal(buffer, want.at("after " + key), "after " + key);
      ++parts;
    }
    // Neither more nor fewer keys than PyTorch has.
    EXPECT_EQ(parts, want.size());
    layer->eval();
    expect_equal((*layer)(x), want.at("eval"), "eval");
    ++run;
  }
  EXPECT_EQ(run, golden().size());
}

TEST(ConvLayers, InitialValuesAreWithinPyTorchsBounds) {
  manual_seed(1);
  // fan_in: what one result sums over; of a transposed convolution PyTorch takes the same dimensions.
  const auto check = [](const Tensor& weight, const Tensor& bias, double fan_in) {
    const double bound = 1 / std::sqrt(fan_in);
    for (const Tensor& t : {weight, bias}) {
      const double largest = amax(t * t, {}).item();
      EXPECT_LE(largest, bound * bound * (1 + 1e-6));
      EXPECT_GT(largest, 0.8 * bound * bound);
    }
  };
  const Conv2d conv(6, 40, {3, 5}, {.groups = 2});
  check(conv.weight, conv.bias, 3 * 15);
  const Conv1d series(6, 40, 3);
  check(series.weight, series.bias, 6 * 3);
  const ConvTranspose2d transposed(6, 80, 3, {.groups = 2});
  check(transposed.weight, transposed.bias, 40 * 9);
}

TEST(ConvLayers, ChannelsLastPassesThrough) {
  Sequential net(Conv2d(3, 4, 3, {.padding = 1}), BatchNorm2d(4), ReLU(), MaxPool2d(2), Conv2d(4, 2, 3),
                 ReLU(), Conv2d(2, 2, 1, {.padding = 1, .padding_mode = PaddingMode::replicate}),
                 Upsample({.scale_factor = 2}), AvgPool2d(2));
  testing::fill_state(net);
  const Tensor x = testing::hashed({2, 3, 8, 8}, 3);
  for (const bool training : {true, false}) {
    net.train(training);
    const Tensor plain = net(x), last = net(x.contiguous(Layout::channels_last));
    EXPECT_EQ(plain.layout(), Layout::contiguous);
    EXPECT_EQ(last.layout(), Layout::channels_last);
    const std::vector<float> want = plain.to_vector<float>(), got = last.to_vector<float>();
    for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5f);
  }
}

TEST(ConvLayers, FusedPairsHaveTheSameValues) {
  Sequential fused(Conv2d(2, 3, 3), ReLU(), BatchNorm2d(3), ReLU(), Flatten(), BatchNorm1d(48), ReLU());
  testing::fill_state(fused);
  Sequential plain(fused);
  const Tensor x = testing::hashed({2, 2, 6, 6}, 1);
  Tensor y = x;
  for (std::size_t i = 0; i < plain.size(); ++i) y = plain[i](y);
  const Tensor z = fused(x);
  EXPECT_EQ(z.to_vector<float>(), y.to_vector<float>());
  sum(z * testing::hashed(z.shape(), 2)).backward();
  sum(y * testing::hashed(y.shape(), 2)).backward();
  const auto got = fused.parameters(), want = plain.parameters();
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_EQ(got[i].grad().to_vector<float>(), want[i].grad().to_vector<float>()) << "parameter " << i;
}

TEST(BatchNormLayer, RunningStatisticsDecideEvaluation) {
  BatchNorm2d layer(2);
  const Tensor x = testing::hashed({2, 2, 3, 3}, 5);
  layer.eval();
  // Mean 0 and variance 1 at the start.
  const std::vector<float> same = layer(x).to_vector<float>(), from = x.to_vector<float>();
  for (std::size_t i = 0; i < from.size(); ++i) EXPECT_NEAR(same[i], from[i], 1e-5f);
  EXPECT_EQ(layer.num_batches_tracked.item(), 0);
  layer.train();
  layer(x);
  layer(x);
  EXPECT_EQ(layer.num_batches_tracked.item(), 2);
  EXPECT_NE(layer.running_mean.to_vector<float>(), std::vector<float>(2, 0));
  layer.reset_running_stats();
  EXPECT_EQ(layer.num_batches_tracked.item(), 0);
  EXPECT_THAT(layer.running_var.to_vector<float>(), Each(1));
  EXPECT_THAT(layer.running_mean.to_vector<float>(), Each(0));
}

TEST(BatchNormLayer, CumulativeIsTheMeanOfBatches) {
  BatchNorm1d layer(1, {.momentum = {}});
  layer(Tensor::from({1, 3}).reshape({2, 1}));
  layer(Tensor::from({5, 9}).reshape({2, 1}));
  EXPECT_FLOAT_EQ(static_cast<float>(layer.running_mean.item()), 4.5f);
  EXPECT_FLOAT_EQ(static_cast<float>(layer.running_var.item()), 5);
}

TEST(BatchNormLayer, CopiesHaveStatisticsOfTheirOwn) {
  BatchNorm2d layer(2);
  const Tensor x = testing::hashed({2, 2, 3, 3}, 5);
  BatchNorm2d copy = layer;
  const std::unique_ptr<Module> behind_base = layer.copy_module();
  const Tensor handle = layer.running_mean;
  const BatchNorm2d moved = std::move(layer);
  EXPECT_TRUE(moved.running_mean.is_same(handle));
  copy(x);
  EXPECT_EQ(copy.num_batches_tracked.item(), 1);
  EXPECT_EQ(moved.num_batches_tracked.item(), 0);
  EXPECT_EQ(behind_base->type_name(), "BatchNorm2d");
  EXPECT_EQ(behind_base->state_dict().size(), 5u);
}

TEST(SpectralNormLayer, EvaluationLeavesTheVectorsAlone) {
  manual_seed(4);
  auto layer = spectral_norm(Linear(6, 4), {.n_power_iterations = 50});
  const Tensor x = testing::hashed({3, 6}, 1);
  layer(x);
  const std::vector<float> u = layer.weight_u.to_vector<float>();
  // The weight that acts has a largest singular value of 1: its power iteration stays where it is.
  layer.eval();
  const Tensor y = layer(x);
  EXPECT_EQ(layer.weight_u.to_vector<float>(), u);
  layer.train();
  const Tensor again = layer(x);
  for (std::int64_t i = 0; i < y.numel(); ++i) EXPECT_NEAR(y.host<float>()[i], again.host<float>()[i], 1e-5f);
  EXPECT_EQ(layer.type_name(), "SpectralNorm<Linear>");
}

TEST(SpectralNormLayer, TwoForwardsHaveTheirOwnVectors) {
  // A second forward moves u and v; the first one's backward must still run, as a discriminator's on real
  // and on made pictures does.
  auto layer = spectral_norm(Conv2d(2, 2, 2));
  const Tensor x = testing::hashed({1, 2, 3, 3}, 1);
  const Tensor loss = sum(layer(x)) + sum(layer(x * 2));
  loss.backward();
  EXPECT_TRUE(layer.weight_orig.grad().defined());
  SpectralNorm<Conv2d> copy = layer;
  EXPECT_EQ(copy.state_dict().size(), 4u);
  EXPECT_EQ(copy.weight_u.to_vector<float>(), layer.weight_u.to_vector<float>());
}

TEST(WeightNormLayer, StartsWithTheLayersWeight) {
  Conv2d conv(2, 3, 2);
  const Tensor x = testing::hashed({1, 2, 3, 3}, 1);
  const std::vector<float> want = conv(x).to_vector<float>();
  auto layer = weight_norm(std::move(conv));
  EXPECT_EQ(layer.weight_g.shape(), (Shape{3, 1, 1, 1}));
  const std::vector<float> got = layer(x).to_vector<float>();
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6f);
}

TEST(AdaINLayer, GivesTheStylesStatistics) {
  const Tensor content = testing::hashed({2, 3, 4, 5}, 1), style = testing::hashed({2, 3, 6, 2}, 2) * 3 + 2;
  AdaIN layer;
  const Tensor y = layer(content, style);
  const VarMean got = var_mean(y, {2, 3}, 0), want = var_mean(style, {2, 3}, 0);
  for (std::int64_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(got.mean.host<float>()[i], want.mean.host<float>()[i], 1e-5f);
    EXPECT_NEAR(got.var.host<float>()[i], want.var.host<float>()[i], 1e-3f);
  }
  EXPECT_THAT(
      [&] { layer(content, style.narrow(1, 0, 2)); },
      ThrowsMessage<InvalidArgument>(HasSubstr("[adaptive_instance_norm] expected content and style")));
}

TEST(Dropout2dLayer, DropsWholeChannels) {
  manual_seed(7);
  Dropout2d layer(0.5);
  const Tensor y = layer(ones({8, 16, 3, 3}));
  const Tensor sums = sum(y, {2, 3});
  int dropped = 0;
  for (const float s : sums.to_vector<float>()) {
    EXPECT_TRUE(s == 0 || s == 18) << s;
    dropped += s == 0;
  }
  EXPECT_GT(dropped, 32);
  EXPECT_LT(dropped, 96);
  layer.eval();
  EXPECT_THAT(layer(ones({2, 2, 2, 2})).to_vector<float>(), Each(1));
  EXPECT_THAT([] { Dropout2d(1.5); }, ThrowsMessage<InvalidArgument>(HasSubstr("in [0, 1]")));
}

TEST(UnflattenLayer, UndoesFlatten) {
  EXPECT_EQ(Unflatten(1, {2, -1, 3})(ones({4, 12})).shape(), (Shape{4, 2, 2, 3}));
  EXPECT_THAT([] { Unflatten(1, {2, 5})(ones({4, 12})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("multiply to 12, got [2, 5]")));
  EXPECT_THROW(Unflatten(1, {-1, -1})(ones({4, 12})), InvalidArgument);
}

TEST(MaxUnpoolLayer, PutsMaximaBack) {
  MaxPool2d pool(2);
  MaxUnpool2d unpool(2);
  const Tensor x = testing::hashed({1, 2, 4, 4}, 1);
  const MaxPoolResult pooled = pool.forward_with_indices(x);
  const Tensor y = unpool(pooled.values, pooled.indices);
  EXPECT_EQ(y.shape(), x.shape());
  EXPECT_EQ(pool(y + 0.0 * x).shape(), pooled.values.shape());
  EXPECT_NEAR(sum(y).item(), sum(pooled.values).item(), 1e-5);
  const MaxPoolResult series = MaxPool1d(2).forward_with_indices(testing::hashed({1, 3, 6}, 2));
  MaxUnpool1d long_again(2);
  EXPECT_EQ(long_again(series.values, series.indices).shape(), (Shape{1, 3, 6}));
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const InvalidArgument& e) {
    return e.what();
  }
  return "no error";
}

struct Net : Module {
  Conv2d conv1{1, 2, 3};
  BatchNorm2d bn1{2};
  GPUNN_MEMBERS(conv1, bn1)
  Tensor forward(const Tensor& x) override { return bn1(conv1(x)); }
};

TEST(ConvLayers, ErrorsNameTheLayer) {
  Net net;
  EXPECT_THAT(message_of([&] { net(ones({1, 2, 8, 8})); }), HasSubstr("[conv1: conv2d] expected"));
  EXPECT_THAT(message_of([&] { net(ones({1, 8, 8})); }), HasSubstr("[bn1: batch_norm] expected"));
  Sequential list(Conv2d(1, 1, 3), ReLU());
  EXPECT_THAT(message_of([&] { list(ones({1, 1, 2, 2})); }), HasSubstr("[0: conv2d] expected"));
  EXPECT_THAT(message_of([] { BatchNorm1d(3)(ones({2, 3, 4, 5})); }), HasSubstr("[N, C] or [N, C, L]"));
  EXPECT_THAT(message_of([] { GroupNorm(2, 4)(ones({2, 6, 3})); }), HasSubstr("[N, 4, *], got [2, 6, 3]"));
  EXPECT_THAT(message_of([] { InstanceNorm2d(3)(ones({3, 4})); }), HasSubstr("rank 3 or 4"));
}

TEST(ConvLayers, ConstructorsRefuse) {
  const std::map<std::string, std::function<void()>> refused{
      {"channels and kernel of at least 1, got 0, 2 and 3 x 3", [] { Conv2d(0, 2, 3); }},
      {"groups that divide 4 and 6 channels, got 3", [] { Conv2d(4, 6, 3, {.groups = 3}); }},
      {"stride and dilation of at least 1, got 0 x 1", [] { Conv2d(1, 1, 3, {.stride = {0, 1}}); }},
      {"padding of at least 0", [] { Conv1d(1, 1, 3, {.padding = -1}); }},
      {"stride 1 with `same`, got 2", [] { Conv1d(1, 1, 3, {.stride = 2, .same = true}); }},
      {"stride 1 with `same`, got 2 x 2",
       [] { Conv2d(1, 1, 3, {.stride = 2, .padding = Padding2d::same()}); }},
      {"output_padding below stride or dilation", [] { ConvTranspose2d(1, 1, 3, {.output_padding = 1}); }},
      {"at least 1 feature, got 0", [] { BatchNorm2d(0); }},
      {"momentum in [0, 1], got 2", [] { BatchNorm2d(1, {.momentum = 2}); }},
      {"eps >= 0, got -1", [] { LayerNorm(4, {.eps = -1}); }},
      {"divide 4 channels, got 3", [] { GroupNorm(3, 4); }},
      {"at least 1 channel, got 0", [] { LocalResponseNorm(0); }},
      {"either a size or a scale factor", [] { Upsample({}); }},
      {"power iteration", [] { spectral_norm(Linear(2, 2), {.n_power_iterations = 0}); }},
      {"dim from -1 to 1, got 2", [] { weight_norm(Linear(2, 2), 2); }},
  };
  for (const auto& [text, make] : refused) EXPECT_THAT(message_of(make), HasSubstr(text));
}

}  // namespace
}  // namespace gpunn
