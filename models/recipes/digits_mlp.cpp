// digits-mlp: full-batch gradient descent on the small digits table that is built in.
#include "gpunn/layers/activations.h"
#include "gpunn/layers/init.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/digits.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"

namespace gpunn {

namespace {

struct DigitsSettings : SgdSettings {
  std::string init = "pytorch";
  DigitsSettings() { epochs = 1000, lr = 0.1, batch_size = kDigitsTrainRows; }
  std::vector<Field> fields() override {
    std::vector<Field> all = SgdSettings::fields();
    all.push_back({.name = "init",
                   .value = &init,
                   .help = "initial values: pytorch, or normal for N(0, .01^2)",
                   .choices = {"pytorch", "normal"}});
    return all;
  }
};

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<DigitsSettings&>(context.settings());
  const DigitsData digits = load_digits();
  const detail::ClassifierData data{digits.train, digits.test, detail::digit_names(), kDigitsSide,
                                    kDigitsSide};
  Linear hidden(64, 32), out(32, 10);
  const bool normal = settings.init == "normal";
  if (normal) {
    for (Linear* layer : {&hidden, &out}) {
      init::normal(layer->weight, 0, 0.01);
      init::zeros(layer->bias);
    }
  }
  Sequential model(std::move(hidden), ReLU(), std::move(out));
  // One batch holds everything: its order would only change rounding.
  return detail::train_classifier(context, {.model = model,
                                            .data = data,
                                            .settings = settings,
                                            .shuffle = settings.batch_size < kDigitsTrainRows,
                                            .evaluate_every = 100,
                                            .reached = [normal](const RecipeResult& r, double accuracy) {
                                              return normal ? accuracy >= 0.94
                                                            : accuracy >= 0.956 && r.train_loss <= 0.115;
                                            }});
}

}  // namespace

const Recipe kDigitsMlp{
    "digits-mlp",
    "feed-forward networks",
    "64-32-10 ReLU network on 8x8 digits, full batch",
    "digits",
    "mean over seeds 0-4: test accuracy >= 95.6 %, train loss <= 0.115; with --init normal >= 94 %",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<DigitsSettings>()); },
    run,
    true,
    true};

}  // namespace gpunn
