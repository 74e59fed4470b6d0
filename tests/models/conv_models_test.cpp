// Convolutional models: keys and shapes as in PyTorch (tests/golden/model_keys.py), sizes, costs, folding,
// the detector's loss and boxes, refusals.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>
#include <set>

#include "gpunn/gpunn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Keys = std::map<std::string, std::string>;  // to the shape, "4x3x3x3"

const std::map<std::string, Keys>& golden() {
  static const std::map<std::string, Keys> stored = [] {
    const CsvTable table = CsvTable::read(testing::golden_path("model_keys.csv"), {.header = true});
    const auto models = table.text(0), keys = table.text(1), shapes = table.text(2);
    std::map<std::string, Keys> out;
    for (std::size_t i = 0; i < models.size(); ++i) out[models[i]][keys[i]] = shapes[i];
    return out;
  }();
  return stored;
}

Keys keys_of(Module& model) {
  Keys out;
  for (const auto& [key, tensor] : model.state_dict()) {
    std::string shape;
    for (const std::int64_t extent : tensor.shape())
      shape += (shape.empty() ? "" : "x") + std::to_string(extent);
    out[key] = shape.empty() ? "-" : shape;
  }
  return out;
}

constexpr DcganOptions kSmallDcgan{
    .picture_size = 16, .channels = 2, .latent = 6, .generator_width = 4, .discriminator_width = 4};

VggOptions small_vgg(bool batch_norm) {
  return {.stages = {{4}, {8}, {8, 8}},
          .batch_norm = batch_norm,
          .pooled = 2,
          .hidden = {6, 5},
          .num_classes = 3};
}

double products_of(const std::vector<LayerSummary>& calls) {
  double flops = 0;
  for (const LayerSummary& c : calls)
    if (c.type == "Conv2d" || c.type == "Linear") flops += c.flops;
  return flops;
}

// Multiply-adds of convolutions and the linear layer, at 224 x 224: counted by hand from the paper's table
// and by hooks on PyTorch's modules.
TEST(ConvModels, ResNetsAreTorchvisions) {
  ResNet resnet18(resnet18_options());
  EXPECT_EQ(keys_of(resnet18), golden().at("resnet18"));
  EXPECT_EQ(resnet18.parameter_count(), 11689512);
  const auto calls = summarize(resnet18, {1, 3, 224, 224});
  EXPECT_EQ(products_of(calls), 2.0 * 1814073344);
  EXPECT_EQ(calls[0].output, (Shape{1, 1000}));
  EXPECT_EQ(calls[0].parameters, 11689512);
  // Norms and poolings are less than a hundredth.
  EXPECT_GT(calls[0].flops, products_of(calls));
  EXPECT_LT(calls[0].flops, 1.01 * products_of(calls));

#if !defined(GPUNN_ASAN) && !defined(GPUNN_TSAN)  // drawing 25 million weights takes seconds there
  ResNet resnet50(resnet50_options());
  EXPECT_EQ(keys_of(resnet50), golden().at("resnet50"));
  EXPECT_EQ(resnet50.parameter_count(), 25557032);
  EXPECT_EQ(products_of(summarize(resnet50, {1, 3, 224, 224})), 2.0 * 4089184256);
#endif
}

TEST(ConvModels, KeysArePyTorchs) {
  ResNet cifar(cifar_resnet_options(3));
  EXPECT_EQ(keys_of(cifar), golden().at("cifar-resnet20"));
  Vgg plain(small_vgg(false)), normed(small_vgg(true));
  EXPECT_EQ(keys_of(plain), golden().at("vgg"));
  EXPECT_EQ(keys_of(normed), golden().at("vgg-bn"));
  UNet unet({.num_classes = 3, .width = 4, .depth = 2});
  EXPECT_EQ(keys_of(unet), golden().at("unet"));
  DcganGenerator generator(kSmallDcgan);
  EXPECT_EQ(keys_of(generator), golden().at("dcgan-generator"));
  DcganDiscriminator discriminator(kSmallDcgan);
  EXPECT_EQ(keys_of(discriminator), golden().at("dcgan-discriminator"));
  LeNet lenet;
  EXPECT_EQ(keys_of(lenet), golden().at("lenet"));
  ConvAutoencoder autoencoder({.picture = 8, .widths = {3, 4}, .code = 5});
  EXPECT_EQ(keys_of(autoencoder), golden().at("autoencoder"));
}

TEST(ConvModels, InitialValues) {
  manual_seed(2);
  ResNet resnet({.blocks = {1, 1}, .width = 32, .num_classes = 4, .small_pictures = true});
  const auto deviation = [](const Tensor& t) { return std(t.detach()).item(); };
  auto& block = static_cast<BasicBlock&>(resnet.layers[1][0]);
  // sqrt(2 / fan_out), fan_out = 64 * 9
  EXPECT_NEAR(deviation(block.conv1.weight), std::sqrt(2.0 / 576), 0.003);
  EXPECT_EQ(block.bn1.weight.detach().to_vector<float>(), std::vector<float>(64, 1));
  EXPECT_NEAR(deviation(resnet.fc.weight), std::sqrt(1.0 / 64 / 3), 0.02);

  Vgg vgg(small_vgg(false));
  auto& first = static_cast<Conv2d&>(vgg.features[0]);
  EXPECT_NEAR(deviation(first.weight), std::sqrt(2.0 / 36), 0.06);
  EXPECT_EQ(first.bias.detach().to_vector<float>(), std::vector<float>(4, 0));
  EXPECT_NEAR(deviation(static_cast<Linear&>(vgg.classifier[0]).weight), 0.01, 0.002);

  DcganGenerator generator(kSmallDcgan);
  EXPECT_NEAR(deviation(static_cast<ConvTranspose2d&>(generator.main[0]).weight), 0.02, 0.002);
  auto& norm = static_cast<BatchNorm2d&>(generator.main[1]);
  EXPECT_NEAR(mean(norm.weight).item(), 1, 0.02);
  EXPECT_GT(deviation(norm.weight), 0.005);
  EXPECT_EQ(norm.bias.detach().to_vector<float>(), std::vector<float>(8, 0));
}

TEST(ConvModels, DcganHalvesFitEachOther) {
  DcganGenerator generator(kSmallDcgan);
  DcganDiscriminator discriminator(kSmallDcgan);
  const Tensor noise = testing::hashed({3, 6}, 1);
  const Tensor pictures = generator(noise);
  EXPECT_EQ(pictures.shape(), (Shape{3, 2, 16, 16}));
  EXPECT_LE(amax(pictures * pictures, {}).item(), 1);
  EXPECT_EQ(generator(noise.reshape({3, 6, 1, 1})).shape(), pictures.shape());
  EXPECT_EQ(discriminator(pictures).shape(), (Shape{3}));
}

// Copies and moves of nets whose members are lists and options.
TEST(ConvModels, CopiesAreWhole) {
  ResNet net({.blocks = {1, 1}, .width = 4, .num_classes = 3, .small_pictures = true});
  net.eval();
  const Tensor x = testing::hashed({1, 3, 8, 8}, 1);
  const std::vector<float> want = net(x).to_vector<float>();
  ResNet copy = clone(net);
  const std::unique_ptr<Module> behind_base = net.copy_module();
  const ResNet moved = std::move(net);
  (void)moved;
  EXPECT_EQ(copy(x).to_vector<float>(), want);
  EXPECT_EQ((*behind_base)(x).to_vector<float>(), want);
  copy.conv1.weight.detach().fill_(0);
  EXPECT_EQ((*behind_base)(x).to_vector<float>(), want);
}

TEST(FoldBatchNorm, KeepsWhatANetComputes) {
  for (const bool bottleneck : {false, true}) {
    ResNet net({.blocks = {1, 1}, .bottleneck = bottleneck, .width = 4, .num_classes = 3});
    testing::fill_state(net);
    net.eval();
    const Tensor x = testing::hashed({2, 3, 32, 32}, 1);
    NoGrad no_grad;
    const std::vector<float> want = net(x).to_vector<float>();
    const std::size_t keys = net.state_dict().size();
    // The stem, two or three pairs a block and those of the shortcuts.
    const std::int64_t pairs = bottleneck ? 1 + 2 * 3 + 2 : 1 + 2 * 2 + 1;
    EXPECT_EQ(fold_batch_norm(net), pairs);
    // Five tensors of each norm are gone, a bias of each convolution has come.
    EXPECT_EQ(net.state_dict().size(), keys - static_cast<std::size_t>(4 * pairs));
    const std::vector<float> got = net(x).to_vector<float>();
    for (std::size_t i = 0; i < want.size(); ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4f * (1 + std::abs(want[i])));
    EXPECT_EQ(fold_batch_norm(net), 0);
  }
}

TEST(FoldBatchNorm, SequentialRunsTheActivationWithTheConvolution) {
  Sequential net(Conv2d(2, 3, 3), BatchNorm2d(3), ReLU(), Conv2d(3, 2, 1), ReLU(), BatchNorm2d(2));
  testing::fill_state(net);
  EXPECT_THAT([&] { fold_batch_norm(net); }, ThrowsMessage<InvalidArgument>(HasSubstr("evaluation mode")));
  net.eval();
  const Tensor x = testing::hashed({2, 2, 5, 5}, 1);
  const std::vector<float> want = net(x).to_vector<float>();
  EXPECT_EQ(fold_batch_norm(net), 1);  // a norm behind a ReLU is no part of the convolution
  const std::vector<float> got = net(x).to_vector<float>();
  for (std::size_t i = 0; i < want.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-5f);
  EXPECT_EQ(summarize(net, {2, 2, 5, 5}).back().output, (Shape{2, 2, 3, 3}));

  Conv2d conv(2, 3, 1);
  BatchNorm2d other(4), own({3}, {.track_running_stats = false});
  other.eval();
  own.eval();
  EXPECT_THAT([&] { fold_batch_norm(conv, other); },
              ThrowsMessage<InvalidArgument>(HasSubstr("of 3 channels, got 4")));
  EXPECT_THAT([&] { fold_batch_norm(conv, own); },
              ThrowsMessage<InvalidArgument>(HasSubstr("running statistics")));
}

using Boxes = std::vector<std::vector<LabelledBox>>;

class DetectorTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(DetectorTest);

const DetectorOptions kSmallDetector{.in_channels = 1, .num_classes = 2, .widths = {2, 3}, .head_width = 4};

TEST_P(DetectorTest, LossIsThatOfItsParts) {
  const Detector detector(kSmallDetector);
  // One picture of 2 x 3 cells of 4 pixels; the box has its centre in row 1, column 2.
  const LabelledBox box{{7, 3, 12, 8}, 1};
  const Tensor host = testing::hashed({1, 7, 2, 3}, 9);
  const Tensor prediction = host.to(device()).requires_grad_();
  const Tensor loss = detector.loss(prediction, Boxes{{box}});

  const std::vector<float> z = host.to_vector<float>();
  const auto at = [&](int channel, int cell) {
    return static_cast<double>(z[static_cast<std::size_t>(channel * 6 + cell)]);
  };
  double want = 0;
  for (int cell = 0; cell < 6; ++cell)
    want += cell == 5 ? std::log1p(std::exp(-at(0, cell))) : 0.5 * std::log1p(std::exp(at(0, cell)));
  const double places[] = {9.5 / 4 - 2, 5.5 / 4 - 1, 5.0 / 12, 5.0 / 8};
  for (int i = 0; i < 4; ++i) want += 5 * std::pow(1 / (1 + std::exp(-at(1 + i, 5))) - places[i], 2);
  want += std::log(std::exp(at(5, 5)) + std::exp(at(6, 5))) - at(6, 5);
  EXPECT_NEAR(loss.item(), want, 1e-5 * want);
  loss.backward();
  // Places and classes of cells without an object learn nothing.
  const std::vector<float> grad = prediction.grad().to_vector<float>();
  for (int channel = 0; channel < 7; ++channel)
    for (int cell = 0; cell < 6; ++cell)
      EXPECT_EQ(grad[static_cast<std::size_t>(channel * 6 + cell)] != 0, channel == 0 || cell == 5)
          << channel << ", " << cell;
  // Of two boxes in one cell the larger counts, whatever the order.
  const LabelledBox small{{9, 5, 10, 6}, 0};
  EXPECT_EQ(detector.loss(prediction, Boxes{{small, box}}).item(), loss.item());
  EXPECT_EQ(detector.loss(prediction, Boxes{{box, small}}).item(), loss.item());
  EXPECT_GT(detector.loss(prediction, Boxes(1)).item(), 0);
}

TEST_P(DetectorTest, DecodesWhatTheLossAskedFor) {
  Detector detector(kSmallDetector);
  // Logits that say: a box in cell (1, 2), left and top at 7 and 3, of label 1.
  const auto logit = [](double p) { return static_cast<float>(std::log(p / (1 - p))); };
  std::vector<float> z(42, 0.0f);
  const auto set = [&](std::size_t channel, float value) { z[channel * 6 + 5] = value; };
  for (std::size_t cell = 0; cell < 6; ++cell) z[cell] = -20;
  set(0, 20);
  set(1, logit(9.5 / 4 - 2));
  set(2, logit(5.5 / 4 - 1));
  set(3, logit(5.0 / 12));
  set(4, logit(5.0 / 8));
  set(6, 3);
  const Tensor prediction = Tensor::from(z, {1, 7, 2, 3}).to(device());
  const auto found = detector.decode(prediction);
  ASSERT_EQ(found.size(), 1u);
  ASSERT_EQ(found[0].size(), 1u);
  const Detection& b = found[0][0];
  EXPECT_NEAR(b.box.left, 7, 1e-4);
  EXPECT_NEAR(b.box.top, 3, 1e-4);
  EXPECT_NEAR(b.box.right, 12, 1e-4);
  EXPECT_NEAR(b.box.bottom, 8, 1e-4);
  EXPECT_EQ(b.label, 1);
  EXPECT_NEAR(b.score, 1 / (1 + std::exp(-3.0)), 1e-5);
  EXPECT_TRUE(detector.decode(prediction, {.threshold = 0.96})[0].empty());
  std::size_t asked = 0;
  const auto none = [&](std::vector<Detection> boxes) {
    asked += boxes.size();
    return std::vector<Detection>();
  };
  EXPECT_TRUE(detector.decode(prediction, {.threshold = 0, .filter = none})[0].empty());
  EXPECT_EQ(asked, 6u);
}

TEST(Detector, LeavesOutRepeatedBoxes) {
  Detector detector({.in_channels = 1, .num_classes = 2, .widths = {2}, .head_width = 2});
  // Two neighbouring cells of 2 pixels, sure of boxes as large as the picture: almost the same ones.
  std::vector<float> z(14, 0.0f);
  for (std::size_t cell = 0; cell < 2; ++cell) {
    z[cell] = 20 + static_cast<float>(cell);
    z[2 + cell] = cell == 0 ? 20 : -20;  // centres on the border between the cells
    z[6 + cell] = z[8 + cell] = 20;
  }
  for (const float second : {0.0f, 10.0f}) {  // the label of the second box: as the first one's, or the other
    z[10] = z[11] = 5;
    z[13] = second;
    const auto found = detector.decode(Tensor::from(z, {1, 7, 1, 2}));
    EXPECT_EQ(found[0].size(), second > 0 ? 2u : 1u);
  }
}

TEST(Detector, ForwardAndRefusals) {
  Detector detector(kSmallDetector);
  EXPECT_EQ(detector.stride(), 4);
  EXPECT_EQ(detector(testing::hashed({2, 1, 8, 12}, 1)).shape(), (Shape{2, 7, 2, 3}));
  EXPECT_EQ(static_cast<Conv2d&>(detector.head[3]).bias.detach().to_vector<float>()[0], -2);
  EXPECT_THAT([&] { detector(ones({1, 1, 8, 10})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("multiples of 4, got [1, 1, 8, 10]")));
  const Tensor prediction = zeros({1, 7, 2, 3});
  const auto loss = [&](LabelledBox b) { detector.loss(prediction, Boxes{{b}}); };
  EXPECT_THAT([&] { loss({{1, 1, 1, 3}, 0}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected a box with its centre in")));
  EXPECT_THROW(loss({{11, 1, 14, 3}, 0}), InvalidArgument);
  EXPECT_THROW(loss({{NAN, 1, 3, 3}, 0}), InvalidArgument);
  EXPECT_THAT([&] { loss({{1, 1, 2, 3}, 2}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("label from 0 to 1, got 2")));
  EXPECT_THAT([&] { detector.loss(prediction, {}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("of 1 pictures, got 0")));
  EXPECT_THROW(detector.decode(zeros({1, 6, 2, 3})), InvalidArgument);
}

TEST(ConvModels, Refusals) {
  EXPECT_THAT([] { ResNet({.blocks = {}}); }, ThrowsMessage<InvalidArgument>(HasSubstr("1 to 8 stages")));
  EXPECT_THAT([] { ResNet({.blocks = {1, 0}, .width = 2}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at least one block")));
  EXPECT_THAT([] { vgg_options(12); }, ThrowsMessage<InvalidArgument>(HasSubstr("11, 13, 16 or 19")));
  EXPECT_THAT([] { Vgg({.stages = {{4}, {}}}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("at least one convolution")));
  EXPECT_THAT([] { UNet({.depth = 0}); }, ThrowsMessage<InvalidArgument>(HasSubstr("depth from 1 to 10")));
  UNet unet({.width = 2, .depth = 2});
  EXPECT_THAT([&] { unet(ones({1, 1, 8, 6})); }, ThrowsMessage<InvalidArgument>(HasSubstr("multiples of 4")));
  EXPECT_THAT([] { DcganGenerator({.picture_size = 24}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("8, 16, ..., 1024, got 24")));
  EXPECT_THAT([] { ConvAutoencoder({.picture = 30}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("multiple of 4, got 30 x 30")));
  EXPECT_EQ(vgg_options(16).stages[4].size(), 3u);
}

}  // namespace
}  // namespace gpunn
