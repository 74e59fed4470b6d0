// segment-unet: a label for every pixel of drawn scenes.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/picture_grid.h"
#include "gpunn/io/picture_tools.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/summary.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/unet.h"
#include "gpunn/training/history.h"
#include "gpunn/training/label_confusion.h"
#include "gpunn/training/picture_generators.h"
#include "gpunn/training/report.h"
#include "gpunn/training/trainer.h"

namespace gpunn {
namespace {

constexpr int kSide = 32;
constexpr std::int64_t kClasses = 4;
constexpr std::array<const char*, kClasses> kNames{"ground", "circle", "square", "triangle"};
constexpr std::uint64_t kTestSeed = 1'000'000;  // added to the seed for pictures that are not trained on
constexpr std::int64_t kShown = 6;

struct UnetSettings : AdamSettings {
  std::int64_t rows = 400;
  std::int64_t test_rows = 200;
  std::int64_t width = 16;
  UnetSettings() { epochs = 20, lr = 2e-3, batch_size = 16; }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"rows", &rows, "pictures to train on", 1, 1000000});
    all.push_back({"test_rows", &test_rows, "pictures to judge by", 1, 1000000});
    all.push_back({"width", &width, "channels at full size", 1, 1024});
    return all;
  }
};

/// Cross-entropy of every pixel, for train(); targets i64 [N, H, W].
Tensor pixel_loss(const Tensor& logits, const Tensor& labels) {
  const Tensor rows = logits.permute({0, 2, 3, 1}).reshape({labels.numel(), kClasses});
  return cross_entropy(rows, labels.reshape({labels.numel()}));
}

/// The class of every pixel, i64 [N, H, W].
Tensor labels_of(Module& model, const Tensor& x) {
  const NoGrad no_grad;
  model.eval();
  const Tensor y = argmax(model(x), 1);
  model.train();
  return y;
}

LabelConfusion confusion_of(Module& model, const SegmentedPictures& test, std::int64_t batch, Device device) {
  LabelConfusion confusion(kClasses);
  for (std::int64_t n = 0; n < test.pictures.size(0); n += batch) {
    const std::int64_t rows = std::min(batch, test.pictures.size(0) - n);
    confusion.add(labels_of(model, test.pictures.narrow(0, n, rows).to(device)),
                  test.labels.narrow(0, n, rows).contiguous());
  }
  return confusion;
}

void report_pictures(HtmlReport& report, Module& model, const SegmentedPictures& test, Device device) {
  const std::int64_t rows = std::min(kShown, test.pictures.size(0));
  const std::vector<float> x = test.pictures.narrow(0, 0, rows).to_vector<float>();
  const std::vector<std::int64_t> truth = test.labels.narrow(0, 0, rows).to_vector<std::int64_t>();
  const std::vector<std::int64_t> found =
      labels_of(model, test.pictures.narrow(0, 0, rows).to(device)).to_vector<std::int64_t>();
  constexpr std::size_t kArea = kSide * kSide;
  PictureGrid grid{.title = "Pictures, their labels, and the labels found", .columns = 6, .scale = 4};
  for (std::size_t i = 0; i < static_cast<std::size_t>(rows); ++i) {
    const Picture picture = planes_picture(std::span(x).subspan(3 * i * kArea, 3 * kArea), 3, kSide, kSide);
    const auto labels = [&](const std::vector<std::int64_t>& all) {
      const auto own = std::span(all).subspan(i * kArea, kArea);
      return std::vector<std::int64_t>(own.begin(), own.end());
    };
    grid.pictures.push_back({.picture = picture, .caption = "picture " + std::to_string(i)});
    grid.pictures.push_back({.picture = picture, .caption = "its labels", .mask = labels(truth)});
    grid.pictures.push_back({.picture = picture, .caption = "as found", .mask = labels(found)});
  }
  report.drawing(draw(grid));
}

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<UnetSettings&>(context.settings());
  const SegmentedPictures rows =
      make_segmentation({.samples = settings.rows, .size = kSide, .seed = settings.seed});
  const SegmentedPictures test =
      make_segmentation({.samples = settings.test_rows, .size = kSide, .seed = settings.seed + kTestSeed});
  UNet model({.in_channels = 3, .num_classes = kClasses, .width = settings.width});
  const TrainResult trained = detail::train_batches(
      context, {.model = model,
                .data = std::make_shared<TensorDataset>(rows.pictures, rows.labels),
                .loss = [&](const Batch& batch) { return pixel_loss(model(batch.inputs), batch.targets); }});

  RecipeResult result = detail::batch_result(context, trained, model);
  const LabelConfusion confusion = confusion_of(model, test, settings.batch_size, context.device());
  result.metric("mean_iou", confusion.mean_iou());
  result.metric("pixel_accuracy", confusion.accuracy());
  result.reached = !result.stopped && confusion.mean_iou() >= 0.9;

  HtmlReport report("segment-unet", find_recipe("segment-unet").summary);
  report.figure("mean IoU", detail::fixed(confusion.mean_iou(), 3), "of four classes on pictures not seen",
                result.reached ? Tone::good : Tone::neutral);
  report.figure("pixels", detail::fixed(100 * confusion.accuracy(), 2) + " %", "labelled right");
  detail::report_verdict(report, context, result);
  std::vector<std::vector<std::string>> table;
  const std::vector<double> iou = confusion.iou();
  for (std::size_t c = 0; c < iou.size(); ++c) table.push_back({kNames[c], detail::fixed(iou[c], 4)});
  report.table({"class", "IoU"}, table);
  report.section("Pictures, labels, and what was found");
  report_pictures(report, model, test, context.device());
  report.section("Training");
  report_history(report, read_history(context.folder().file("metrics.jsonl")));
  report.section("Model");
  report.preformatted(summary(model, {1, 3, kSide, kSide}));
  detail::finish_report(report, context);
  return result;
}

}  // namespace

const Recipe kSegmentUnet{"segment-unet",
                          "convolution",
                          "U-Net that labels every pixel of drawn shapes",
                          "generated",
                          "mean IoU >= 0.9",
                          [] { return std::unique_ptr<RunSettings>(std::make_unique<UnetSettings>()); },
                          run};

}  // namespace gpunn
