// fashion-cnn and mnist-cnn: two convolutions with batch norm on pictures of 28 x 28.
#include "gpunn/models/recipes/detail/image_cnn.h"
#include "gpunn/core/autograd.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/dropout.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/norm.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/feature_pictures.h"

namespace gpunn {

namespace detail {

Sequential small_cnn(std::int64_t classes, double dropout) {
  return Sequential(Conv2d(1, 32, 3, {.padding = 1}), BatchNorm2d(32), ReLU(), MaxPool2d(2),
                    Conv2d(32, 64, 3, {.padding = 1}), BatchNorm2d(64), ReLU(), MaxPool2d(2), Flatten(),
                    Linear(64 * 7 * 7, 128), ReLU(), Dropout(dropout), Linear(128, classes));
}

void report_small_cnn(HtmlReport& report, Sequential& model, const Dataset& data, Device device) {
  report.section("Filters of the first layer");
  report_filters(report, static_cast<Conv2d&>(model[0]).weight);
  report.section("What they see");
  report.text(
      "The first test picture after the first block, each map from its smallest value to its largest.");
  const NoGrad no_grad;
  const bool was_training = model.is_training();
  model.eval();
  const std::int64_t first[] = {0};
  Tensor x = data.get(first).inputs.to(device);
  for (std::size_t i = 0; i < kSmallCnnBlock; ++i) x = model[i](x);
  model.train(was_training);
  report_maps(report, x.select(0, 0), "map");
}

}  // namespace detail

namespace {

struct CnnSettings : AdamSettings {
  double dropout = 0.5;
  explicit CnnSettings(std::int64_t passes) { epochs = passes; }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"dropout", &dropout, "part of the hidden units left out in training", 0});
    return all;
  }
};

/// Three passes are few: the rate falls to nothing in them, and less is left out.
std::unique_ptr<RunSettings> mnist_settings() {
  auto settings = std::make_unique<CnnSettings>(3);
  settings->dropout = 0.25;
  settings->schedule.schedule = "cosine";
  return settings;
}

RecipeResult train_cnn(RecipeContext& context, const detail::ClassifierData& data, double wanted) {
  auto& settings = static_cast<CnnSettings&>(context.settings());
  Sequential model = detail::small_cnn(static_cast<std::int64_t>(data.classes.size()), settings.dropout);
  return detail::train_classifier(
      context, {.model = model,
                .data = data,
                .settings = settings,
                .reached = [wanted](const RecipeResult&, double accuracy) { return accuracy >= wanted; },
                .sections =
                    [&](HtmlReport& report) {
                      detail::report_small_cnn(report, model, *data.test, context.device());
                    }});
}

RecipeResult run_fashion(RecipeContext& context) {
  return train_cnn(context, detail::load_fashion(context.settings(), {.flatten = false}), 0.910);
}

RecipeResult run_mnist(RecipeContext& context) {
  return train_cnn(
      context, detail::load_images("mnist", detail::digit_names(), context.settings(), {.flatten = false}),
      0.990);
}

}  // namespace

const Recipe kFashionCnn{"fashion-cnn",
                         "convolution",
                         "two convolutions with batch norm on pictures of clothes",
                         "fashion-mnist",
                         "test accuracy >= 91.0 %",
                         [] { return std::unique_ptr<RunSettings>(std::make_unique<CnnSettings>(5)); },
                         run_fashion,
                         true,
                         true};

const Recipe kMnistCnn{"mnist-cnn",
                       "convolution",
                       "two convolutions with batch norm on handwritten digits",
                       "mnist",
                       "test accuracy >= 99.0 %",
                       mnist_settings,
                       run_mnist,
                       true,
                       true};

}  // namespace gpunn
