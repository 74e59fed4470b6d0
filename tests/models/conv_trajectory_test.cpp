// Ten training steps of convolutional nets, and the loss in evaluation mode after them, against losses stored
// from PyTorch (tests/golden/conv_trajectory.py).
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <memory>

#include "gpunn/gpunn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

struct Family {
  const char* name;
  std::unique_ptr<Module> (*make)();
  Shape shape;
  std::int64_t classes;  // 0: the target is a picture
  bool adam;
  bool on_device;  // small enough for the emulated GPU
};

template <bool kBias>
std::unique_ptr<Module> small_cnn() {
  const Conv2dLayerOptions options{.padding = 1, .bias = kBias};
  return std::make_unique<Sequential>(Conv2d(1, 4, 3, options), BatchNorm2d(4), ReLU(), MaxPool2d(2),
                                      Conv2d(4, 8, 3, options), BatchNorm2d(8), ReLU(), MaxPool2d(2),
                                      Flatten(), Linear(32, 16), ReLU(), Linear(16, 5));
}
template <bool kBottleneck>
std::unique_ptr<Module> small_resnet() {
  return std::make_unique<ResNet>(ResNetOptions{.blocks = {1, 1},
                                                .bottleneck = kBottleneck,
                                                .width = 4,
                                                .num_classes = 5,
                                                .small_pictures = !kBottleneck});
}
std::unique_ptr<Module> small_unet() {
  return std::make_unique<UNet>(UNetOptions{.num_classes = 3, .width = 4, .depth = 1});
}
std::unique_ptr<Module> small_autoencoder() {
  return std::make_unique<ConvAutoencoder>(ConvAutoencoderOptions{.picture = 8, .widths = {3, 4}, .code = 5});
}
std::unique_ptr<Module> lenet() { return std::make_unique<LeNet>(); }
std::unique_ptr<Module> small_vgg() {
  return std::make_unique<Vgg>(
      VggOptions{.stages = {{4}, {8, 8}}, .batch_norm = true, .pooled = 2, .hidden = {}, .num_classes = 5});
}

const Family kFamilies[] = {
    {"cnn-sgd", small_cnn<true>, {8, 1, 8, 8}, 5, false, true},
    {"cnn-adam", small_cnn<false>, {8, 1, 8, 8}, 5, true, false},
    {"resnet-basic", small_resnet<false>, {4, 3, 8, 8}, 5, false, true},
    {"resnet-bottleneck", small_resnet<true>, {4, 3, 16, 16}, 5, false, false},
    {"unet", small_unet, {2, 1, 8, 8}, 3, false, true},
    {"autoencoder", small_autoencoder, {4, 1, 8, 8}, 0, true, true},
    {"lenet", lenet, {2, 1, 28, 28}, 10, true, false},
    {"vgg", small_vgg, {4, 3, 8, 8}, 5, false, false},
};

Tensor target_of(const Family& f, const Tensor& x, const Tensor& out) {
  if (f.classes == 0) {
    std::vector<float> v = x.to_vector<float>();
    for (float& value : v) value = value > 0 ? 1.0f : 0.0f;
    return Tensor::from(v, x.shape());
  }
  Shape shape{x.size(0)};
  for (int i = 2; i < out.dim(); ++i) shape.push_back(out.size(i));
  std::vector<std::int64_t> labels;
  for (std::int64_t i = 0; i < shape.numel(); ++i) labels.push_back(i * 7 % f.classes);
  return Tensor::from(labels, shape);
}

std::vector<double> losses_of(const Family& f, Device device, int steps, Layout layout) {
  const std::unique_ptr<Module> model = f.make();
  testing::fill_state(*model);
  model->to(device);
  std::unique_ptr<Optimizer> optimizer;
  if (f.adam)
    optimizer = std::make_unique<Adam>(model->parameters(), AdamOptions{.lr = 0.003});
  else
    optimizer = std::make_unique<SGD>(model->parameters(),
                                      SgdOptions{.lr = 0.05, .momentum = 0.9, .weight_decay = 5e-4});
  const Tensor host = testing::hashed(f.shape, 1000);
  const Tensor x = host.to(device).contiguous(layout);
  Tensor target;
  std::vector<double> losses;
  const auto loss_now = [&] {
    const Tensor out = (*model)(x);
    if (!target.defined()) target = target_of(f, host, out).to(device);
    return f.classes == 0 ? mse_loss(out, target) : cross_entropy(out, target);
  };
  for (int step = 0; step < steps; ++step) {
    optimizer->zero_grad();
    const Tensor loss = loss_now();
    loss.backward();
    optimizer->step();
    losses.push_back(loss.item());
  }
  model->eval();
  losses.push_back(loss_now().item());
  return losses;
}

std::map<std::string, std::vector<double>> stored() {
  const CsvTable golden = CsvTable::read(testing::golden_path("conv_trajectory.csv"), {.header = true});
  const auto names = golden.text(0);
  const auto values = golden.numbers(2);
  std::map<std::string, std::vector<double>> out;
  for (std::size_t i = 0; i < names.size(); ++i) out[names[i]].push_back(values[i]);
  return out;
}

void compare(Device device, Layout layout) {
  const auto golden = stored();
  EXPECT_EQ(golden.size(), std::size(kFamilies));
  for (const Family& f : kFamilies) {
    if (!device.is_cpu() && !f.on_device) continue;
    const auto& want = golden.at(f.name);
    ASSERT_EQ(want.size(), 11u);
    // The emulated GPU multiplies slowly; what evaluation gives is known after ten steps only.
    const int steps = device.is_cpu() ? 10 : 3;
    const auto got = losses_of(f, device, steps, layout);
    for (std::size_t i = 0; i < (steps == 10 ? got.size() : got.size() - 1); ++i)
      EXPECT_NEAR(got[i], want[i], 1e-4 * want[i]) << f.name << ", step " << i;
  }
}

class ConvTrajectoryTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ConvTrajectoryTest);

TEST_P(ConvTrajectoryTest, EqualsPyTorchWithin1e4) { compare(device(), Layout::contiguous); }

TEST(ConvTrajectory, ChannelsLastEqualsPyTorchAsWell) { compare(Device::cpu(), Layout::channels_last); }

}  // namespace
}  // namespace gpunn
