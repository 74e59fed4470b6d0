// shapes-cnn: circles against squares with eight filters and one dense layer, all of it trained.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/conv.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/pool.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/feature_pictures.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/training/history.h"
#include "gpunn/training/picture_generators.h"
#include "gpunn/training/report.h"
#include "gpunn/training/trainer.h"

namespace gpunn {
namespace {

constexpr int kSide = 16;
constexpr std::uint64_t kFreshSeed = 1'000'000;  // added to the seed for the pictures that are not trained on
constexpr std::size_t kShown = 12;

struct ShapesSettings : SgdSettings {
  std::int64_t rows = 160;
  std::int64_t fresh_rows = 2000;
  double noise = 0.1;
  double shift = 1;
  ShapesSettings() { epochs = 50, lr = 0.05, batch_size = 16; }
  std::vector<Field> fields() override {
    std::vector<Field> all = SgdSettings::fields();
    all.push_back({"rows", &rows, "pictures to train on", 2, 1000000});
    all.push_back({"fresh_rows", &fresh_rows, "pictures to judge by", 1, 1000000});
    all.push_back({"noise", &noise, "deviation of each pixel", 0});
    all.push_back({"shift", &shift, "pixels that a shape's middle may be away from the picture's", 0});
    return all;
  }
};

struct Rows {
  Tensor x, y;  // f32 [n, 1, side, side] and [n, 1], on the CPU
};

Rows make_rows(const ShapesSettings& settings, std::int64_t count, std::uint64_t seed) {
  const LabelledPictures made = make_shapes({.samples = count,
                                             .size = kSide,
                                             .noise = settings.noise,
                                             .min_radius = 0.25,
                                             .max_radius = 0.375,
                                             .max_shift = settings.shift,
                                             .seed = seed});
  return {made.pictures, made.labels.to(DType::f32).reshape({count, 1})};
}

/// Logits of "square" in evaluation mode.
std::vector<float> logits_of(Module& model, const Tensor& x, Device device) {
  const NoGrad no_grad;
  return model(x.to(device)).to_vector<float>();
}

double accuracy(const std::vector<float>& logits, const Tensor& targets) {
  const std::vector<float> y = targets.to_vector<float>();
  std::size_t right = 0;
  for (std::size_t i = 0; i < y.size(); ++i) right += (logits[i] > 0) == (y[i] > 0.5f) ? 1 : 0;
  return static_cast<double>(right) / static_cast<double>(std::max<std::size_t>(y.size(), 1));
}

/// The first pictures of each kind of answer.
void report_answers(HtmlReport& report, const Rows& fresh, const std::vector<float>& logits) {
  const std::vector<float> y = fresh.y.to_vector<float>(), x = fresh.x.to_vector<float>();
  constexpr std::size_t kArea = kSide * kSide;
  for (const bool wanted : {true, false}) {
    std::vector<CaptionedPicture> pictures;
    for (std::size_t i = 0; i < y.size() && pictures.size() < kShown; ++i) {
      const bool square = logits[i] > 0;
      if ((square == (y[i] > 0.5f)) != wanted) continue;
      const double p = 1 / (1 + std::exp(-static_cast<double>(logits[i])));
      pictures.push_back(
          {gray_picture(std::span(x).subspan(i * kArea, kArea), kSide, kSide),
           (square ? "square " : "circle ") + detail::fixed(100 * (square ? p : 1 - p), 1) + " %"});
    }
    report.section(wanted ? "Right answers" : "Wrong answers");
    if (pictures.empty())
      report.text("There are none.");
    else
      report.pictures(pictures, 5);
  }
}

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<ShapesSettings&>(context.settings());
  const Rows rows = make_rows(settings, settings.rows, settings.seed),
             fresh = make_rows(settings, settings.fresh_rows, settings.seed + kFreshSeed);
  Sequential model(Conv2d(1, 8, 3), ReLU(), MaxPool2d(2), Flatten(), Linear(8 * 7 * 7, 1));
  BCEWithLogitsLoss loss;
  const DataLoader fresh_loader(std::make_shared<TensorDataset>(fresh.x, fresh.y),
                                {.batch_size = settings.fresh_rows, .device = context.device()});
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = std::make_shared<TensorDataset>(rows.x, rows.y),
                .loss = [&](const Batch& batch) { return loss(model(batch.inputs), batch.targets); },
                .test = [&] { return evaluate(model, loss, fresh_loader); },
                .quiet = true});

  RecipeResult result = detail::batch_result(context, trained, model);
  const std::vector<float> logits = logits_of(model, fresh.x, context.device());
  const double own = accuracy(logits_of(model, rows.x, context.device()), rows.y),
               right = accuracy(logits, fresh.y);
  result.metric("train_accuracy", own);
  result.metric("fresh_accuracy", right);
  result.reached = !result.stopped && right >= 0.985;
  char text[120];
  std::snprintf(text, sizeof text, "train loss %.4f  accuracy %.2f %%, on %lld fresh pictures %.2f %%",
                trained.train_loss, 100 * own, static_cast<long long>(settings.fresh_rows), 100 * right);
  context.say(text);

  HtmlReport report("shapes-cnn", find_recipe("shapes-cnn").summary);
  report.figure("fresh pictures", detail::fixed(100 * right, 2) + " %", "told apart",
                result.reached ? Tone::good : Tone::neutral);
  report.figure("training pictures", detail::fixed(100 * own, 2) + " %");
  detail::report_verdict(report, context, result);
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Filters");
  detail::report_filters(report, static_cast<Conv2d&>(model[0]).weight, 16);
  report_answers(report, fresh, logits);
  detail::finish_report(report, context);
  return result;
}

}  // namespace

const Recipe kShapesCnn{"shapes-cnn",
                        "convolution",
                        "circles against squares: eight filters and one dense layer, 473 parameters",
                        "generated",
                        "accuracy >= 98.5 % on 2,000 fresh pictures",
                        [] { return std::unique_ptr<RunSettings>(std::make_unique<ShapesSettings>()); },
                        run};

}  // namespace gpunn
