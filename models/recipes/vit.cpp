// vit: a small vision transformer on pictures of clothes.
#include "gpunn/models/vit.h"

#include <algorithm>

#include "gpunn/core/autograd.h"
#include "gpunn/io/charts.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/feature_pictures.h"
#include "gpunn/training/transforms.h"

namespace gpunn {
namespace {

constexpr double kWanted = 0.88;
constexpr std::int64_t kImage = 28;
constexpr std::int64_t kShown = 3;  // pictures with their maps

struct VitSettings : AdamSettings {
  std::int64_t patch = 4, features = 64, layers = 4, heads = 4, inner = 128;
  double dropout = 0;
  bool mirror = true;
  VitSettings() {
    epochs = 14, lr = 1e-3;
    schedule.schedule = "cosine";
    schedule.warmup_steps = 200;
  }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"patch", &patch, "height and width of a patch, a divisor of 28", 1, kImage});
    all.push_back({"features", &features, "of a patch", 1, 4096});
    all.push_back({"layers", &layers, "encoder layers", 1, 64});
    all.push_back({"heads", &heads, "heads of attention, a divisor of the features", 1, 64});
    all.push_back({"inner", &inner, "of the feed forward part", 1, 65536});
    all.push_back({"dropout", &dropout, "part of the units left out in training", 0, 0.99});
    all.push_back({"mirror", &mirror, "turn half of the training pictures left to right"});
    return all;
  }
};

/// Where the class token of the last layer looks: a map of patches for each head.
void report_looks(HtmlReport& report, Vit& model, const detail::ClassifierData& data, Device device) {
  report.section("Where the class token looks");
  report.text(
      "Weights of the last layer's heads over the patches of three test pictures, each map relative to its "
      "own "
      "largest weight.");
  std::vector<std::int64_t> rows(static_cast<std::size_t>(std::min(kShown, data.test->size())));
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::int64_t>(i);
  const Tensor pictures = data.test->get(rows).inputs.to(device);
  const Tensor maps = model.attention_maps(pictures).back();
  const std::int64_t grid = model.grid();
  for (std::int64_t n = 0; n < pictures.size(0); ++n) {
    detail::report_maps(report, pictures.select(0, n), "picture");
    const Tensor looks = maps.select(0, n).select(1, 0).narrow(1, 1, grid * grid);  // [heads, patches]
    // As large as the picture: a square for each patch.
    const std::int64_t heads = looks.size(0), side = kImage / grid;
    const Tensor squares = expand(looks.reshape({heads, grid, 1, grid, 1}), {heads, grid, side, grid, side});
    detail::report_maps(report, squares.reshape({heads, kImage, kImage}), "head");
  }
}

RecipeResult run(RecipeContext& context) {
  auto& s = static_cast<VitSettings&>(context.settings());
  detail::ClassifierData data = detail::load_fashion(s, {.flatten = false});
  if (s.mirror)
    data.train =
        std::make_shared<AugmentedDataset>(data.train, std::make_shared<RandomHorizontalFlip>(), s.seed);
  Vit model({.image = kImage,
             .patch = s.patch,
             .channels = 1,
             .classes = std::ssize(data.classes),
             .features = s.features,
             .layers = s.layers,
             .heads = s.heads,
             .inner = s.inner,
             .dropout = s.dropout});
  return detail::train_classifier(
      context,
      {.model = model,
       .data = data,
       .settings = s,
       .reached = [](const RecipeResult&, double accuracy) { return accuracy >= kWanted; },
       .sections = [&](HtmlReport& report) { report_looks(report, model, data, context.device()); }});
}

}  // namespace

const Recipe kVit{"vit",
                  "attention",
                  "a vision transformer on pictures of clothes",
                  "fashion-mnist",
                  "test accuracy >= 88.0 %",
                  [] { return std::unique_ptr<RunSettings>(std::make_unique<VitSettings>()); },
                  run,
                  true,
                  true};

}  // namespace gpunn
