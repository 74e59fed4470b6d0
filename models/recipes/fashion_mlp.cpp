// fashion-mlp and fashion-logistic: the README's main job, and the linear model beside it.
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"

namespace gpunn {

namespace {

struct FashionSettings : SgdSettings {
  FashionSettings() { epochs = 20, lr = 0.01, batch_size = 64; }
};

std::unique_ptr<RunSettings> settings() { return std::make_unique<FashionSettings>(); }

RecipeResult run_mlp(RecipeContext& context) {
  auto& settings = static_cast<FashionSettings&>(context.settings());
  const detail::ClassifierData data = detail::load_fashion(settings);
  Sequential model(Linear(784, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, 64), ReLU(),
                   Linear(64, 10));
  return detail::train_classifier(context, {.model = model,
                                            .data = data,
                                            .settings = settings,
                                            .reached = [](const RecipeResult& r, double accuracy) {
                                              return accuracy >= 0.856 && *r.test_loss <= 0.405;
                                            }});
}

RecipeResult run_logistic(RecipeContext& context) {
  auto& settings = static_cast<FashionSettings&>(context.settings());
  const detail::ClassifierData data = detail::load_fashion(settings);
  Sequential model(Linear(784, 10));
  return detail::train_classifier(context, {.model = model,
                                            .data = data,
                                            .settings = settings,
                                            .reached = [](const RecipeResult& r, double accuracy) {
                                              return accuracy >= 0.830 && *r.test_loss <= 0.487;
                                            }});
}

}  // namespace

const Recipe kFashionMlp{"fashion-mlp",
                         "feed-forward networks",
                         "784-256-128-64-10 ReLU network on pictures of clothes",
                         "fashion-mnist",
                         "mean over seeds 0-4: test accuracy >= 85.6 %, test loss <= 0.405",
                         settings,
                         run_mlp,
                         true,
                         true};

const Recipe kFashionLogistic{"fashion-logistic",
                              "feed-forward networks",
                              "784-10 logistic regression on pictures of clothes",
                              "fashion-mnist",
                              "mean over seeds 0-4: test loss <= 0.487, test accuracy >= 83.0 %",
                              settings,
                              run_logistic,
                              true,
                              true};

}  // namespace gpunn
