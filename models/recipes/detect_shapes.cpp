// detect-shapes: boxes around drawn shapes, by a grid that answers once for each cell.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <numeric>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/picture_grid.h"
#include "gpunn/io/picture_tools.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/detector.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/training/detection_metrics.h"
#include "gpunn/training/history.h"
#include "gpunn/training/picture_generators.h"
#include "gpunn/training/report.h"
#include "gpunn/training/trainer.h"

namespace gpunn {
namespace {

constexpr int kSide = 48;
constexpr std::int64_t kClasses = 3;
constexpr std::array<const char*, kClasses> kNames{"circle", "square", "triangle"};
constexpr std::uint64_t kTestSeed = 1'000'000;  // added to the seed for scenes that are not trained on
constexpr std::int64_t kShown = 8;
// Low, so that the whole curve of precision over recall is seen; pictures show what is more likely than not.
constexpr double kLeastScore = 0.05, kShownScore = 0.5;

struct DetectSettings : AdamSettings {
  std::int64_t rows = 800;
  std::int64_t test_rows = 200;
  DetectSettings() { epochs = 25, lr = 2e-3, batch_size = 16; }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"rows", &rows, "scenes to train on", 1, 1000000});
    all.push_back({"test_rows", &test_rows, "scenes to judge by", 1, 1000000});
    return all;
  }
};

/// Scenes whose targets are their own numbers: boxes have no fixed count, so the step looks them up.
std::shared_ptr<const Dataset> numbered(const Scenes& scenes) {
  std::vector<std::int64_t> numbers(scenes.boxes.size());
  std::iota(numbers.begin(), numbers.end(), 0);
  return std::make_shared<TensorDataset>(scenes.pictures,
                                         Tensor::from(numbers, {static_cast<std::int64_t>(numbers.size())}));
}

/// What the model finds in rows [first, first + count).
std::vector<std::vector<Detection>> detections(Detector& model, const Scenes& scenes, std::int64_t first,
                                               std::int64_t count, double threshold, Device device) {
  const NoGrad no_grad;
  model.eval();
  const Tensor prediction = model(scenes.pictures.narrow(0, first, count).to(device));
  model.train();
  return model.decode(prediction, {.threshold = threshold});
}

MeanAp precision_of(Detector& model, const Scenes& test, std::int64_t batch, Device device) {
  MeanAveragePrecision metric;
  const auto rows = static_cast<std::int64_t>(test.boxes.size());
  for (std::int64_t n = 0; n < rows; n += batch) {
    const std::int64_t count = std::min(batch, rows - n);
    const auto found = detections(model, test, n, count, kLeastScore, device);
    for (std::int64_t i = 0; i < count; ++i)
      metric.add(found[static_cast<std::size_t>(i)], test.boxes[static_cast<std::size_t>(n + i)]);
  }
  return metric.result();
}

void report_scenes(HtmlReport& report, Detector& model, const Scenes& test, Device device) {
  const auto rows = std::min<std::int64_t>(kShown, static_cast<std::int64_t>(test.boxes.size()));
  const auto found = detections(model, test, 0, rows, kShownScore, device);
  const std::vector<float> x = test.pictures.narrow(0, 0, rows).to_vector<float>();
  constexpr std::size_t kPlanes = 3 * kSide * kSide;
  PictureGrid grid{.title = "Scenes", .columns = 4, .scale = 4};
  for (std::size_t i = 0; i < found.size(); ++i) {
    GridPicture p{.picture = planes_picture(std::span(x).subspan(i * kPlanes, kPlanes), 3, kSide, kSide),
                  .caption = std::to_string(found[i].size()) + " found, " +
                             std::to_string(test.boxes[i].size()) + " there"};
    const auto mark = [&](const Box& b, std::int64_t label, const std::string& text, bool dashed) {
      p.boxes.push_back({b.left, b.top, b.right, b.bottom, text, static_cast<int>(label), dashed});
    };
    for (const LabelledBox& b : test.boxes[i]) mark(b.box, b.label, "", true);
    for (const Detection& d : found[i])
      mark(d.box, d.label,
           std::string(kNames[static_cast<std::size_t>(d.label)]) + " " + detail::fixed(d.score, 2), false);
    grid.pictures.push_back(std::move(p));
  }
  report.text("Dashed boxes are the truth, the others were found.");
  report.drawing(draw(grid));
}

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<DetectSettings&>(context.settings());
  const Scenes rows = make_scenes({.samples = settings.rows, .size = kSide, .seed = settings.seed});
  const Scenes test =
      make_scenes({.samples = settings.test_rows, .size = kSide, .seed = settings.seed + kTestSeed});
  Detector model({.num_classes = kClasses});
  const auto loss = [&](const Batch& batch) {
    std::vector<std::vector<LabelledBox>> boxes;
    for (const std::int64_t row : batch.targets.to_vector<std::int64_t>())
      boxes.push_back(rows.boxes[static_cast<std::size_t>(row)]);
    return model.loss(model(batch.inputs), boxes);
  };
  const TrainResult trained =
      detail::train_batches(context, {.model = model, .data = numbered(rows), .loss = loss});

  RecipeResult result = detail::batch_result(context, trained, model);
  const MeanAp precision = precision_of(model, test, settings.batch_size, context.device());
  result.metric("map_50", precision.mean);
  result.reached = !result.stopped && precision.mean >= 0.9;

  HtmlReport report("detect-shapes", find_recipe("detect-shapes").summary);
  report.figure("mAP at IoU 0.5", detail::fixed(precision.mean, 3), "three classes on scenes not seen",
                result.reached ? Tone::good : Tone::neutral);
  detail::report_verdict(report, context, result);
  std::vector<std::vector<std::string>> table;
  for (const auto& [label, values] : precision.by_class)
    table.push_back({kNames[static_cast<std::size_t>(label)], detail::fixed(values[0], 4)});
  report.table({"class", "average precision"}, table);
  report.section("Scenes");
  report_scenes(report, model, test, context.device());
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Model");
  report.preformatted(summary(model, {1, 3, kSide, kSide}));
  detail::finish_report(report, context);
  return result;
}

}  // namespace

const Recipe kDetectShapes{"detect-shapes",
                           "convolution",
                           "one-stage detector that draws boxes around shapes",
                           "generated",
                           "mAP at IoU 0.5 >= 0.9",
                           [] { return std::unique_ptr<RunSettings>(std::make_unique<DetectSettings>()); },
                           run};

}  // namespace gpunn
