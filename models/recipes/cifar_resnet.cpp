// cifar-resnet: a small residual net on colour photographs, with augmentation.
#include <memory>

#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/feature_pictures.h"
#include "gpunn/models/resnet.h"
#include "gpunn/training/colour_images.h"
#include "gpunn/training/transforms.h"

namespace gpunn {
namespace {

constexpr int kSide = 32;
constexpr std::int64_t kPadding = 4;
constexpr float kMean = 0.5f,
                kDeviation = 0.25f;  // of every channel, so that black and white are the same in all

struct CifarSettings : SgdSettings {
  std::int64_t blocks = 1;
  std::int64_t width = 32;
  bool augment = true;
  CifarSettings() {
    epochs = 40, lr = 0.1, momentum = 0.9, weight_decay = 5e-4, batch_size = 64;
    schedule.schedule = "one-cycle";
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = SgdSettings::fields();
    all.push_back({"blocks", &blocks, "residual blocks in each of the three stages", 1, 100});
    all.push_back({"width", &width, "channels of the first stage", 1, 1024});
    all.push_back({"augment", &augment, "mirror and shift training pictures"});
    return all;
  }
};

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<CifarSettings&>(context.settings());
  const std::vector<float> mean(3, kMean), deviation(3, kDeviation);
  const Cifar10 raw = load_cifar10(settings.data);
  const auto scaled = std::make_shared<Normalize>(mean, deviation);
  TransformPtr training = scaled;
  if (settings.augment)
    training = std::make_shared<Compose>(std::vector<TransformPtr>{
        std::make_shared<RandomCrop>(kSide, kPadding), std::make_shared<RandomHorizontalFlip>(), scaled});
  const detail::ClassifierData data{
      .train = std::make_shared<AugmentedDataset>(raw.train, training, settings.seed),
      .test = std::make_shared<AugmentedDataset>(raw.test, scaled),
      .classes = {"airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"},
      .height = kSide,
      .width = kSide,
      .channels = 3,
      .black = -kMean / kDeviation,
      .white = (1 - kMean) / kDeviation};
  ResNetOptions options = cifar_resnet_options(settings.blocks);
  options.width = settings.width;
  ResNet model(options);
  // Few pictures are asked for less than all of them.
  const double wanted = raw.subset ? 0.60 : 0.93;
  return detail::train_classifier(
      context, {.model = model,
                .data = data,
                .settings = settings,
                .reached = [wanted](const RecipeResult&, double accuracy) { return accuracy >= wanted; },
                .sections =
                    [&](HtmlReport& report) {
                      report.section("Filters of the first layer");
                      detail::report_filters(report, model.conv1.weight);
                    }});
}

}  // namespace

const Recipe kCifarResnet{"cifar-resnet",
                          "convolution",
                          "small residual net on photographs of ten kinds of things",
                          "cifar10",
                          "test accuracy >= 60 % on the subset of 4,000 pictures, >= 93 % on all",
                          [] { return std::unique_ptr<RunSettings>(std::make_unique<CifarSettings>()); },
                          run,
                          true,
                          true};

}  // namespace gpunn
