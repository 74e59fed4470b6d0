// transfer: a net that has seen five kinds of clothes learns the other five from ten pictures of each, with
// its convolutions frozen, and beats one that starts from nothing. Few passes are made over the few pictures:
// with many, the other net catches up but for one to three points.
#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "gpunn/io/html_report.h"
#include "gpunn/layers/freeze.h"
#include "gpunn/layers/losses.h"
#include "gpunn/models/recipes/detail/batch_run.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/classifier.h"
#include "gpunn/models/recipes/detail/image_cnn.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/run_totals.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/metrics.h"
#include "gpunn/training/trainer.h"

namespace gpunn {
namespace {

constexpr std::int64_t kNewClasses = 5, kClasses = 10;
constexpr std::int64_t kTestBatch = 1000;
constexpr double kMargin = 0.05;

struct TransferSettings : AdamSettings {
  std::int64_t labels = 10;
  std::int64_t tune_epochs = 4;
  double dropout = 0.25;
  std::int64_t draws = 3;
  std::string late = "5,6,7,8,9";
  TransferSettings() { epochs = 2; }
  std::vector<Field> fields() override {
    std::vector<Field> all = AdamSettings::fields();
    all.push_back({"labels", &labels, "labelled pictures of each new class", 1, 1000});
    all.push_back({"dropout", &dropout, "part of the hidden units left out in training", 0});
    all.push_back({"tune_epochs", &tune_epochs, "passes over those pictures", 1});
    all.push_back({.name = "late",
                   .value = &late,
                   .help = "the five classes learnt from few pictures",
                   .metavar = "C,C"});
    all.push_back({"draws", &draws, "choices of those pictures to average over", 1, 100});
    return all;
  }
};

/// Five different classes.
std::vector<std::int64_t> parse_classes(const std::string& text) {
  std::set<std::int64_t> classes;
  std::istringstream words(text);
  for (std::string word; std::getline(words, word, ',');)
    if (word.size() == 1 && word[0] >= '0' && word[0] <= '9') classes.insert(word[0] - '0');
  GPUNN_CHECK(classes.size() == kNewClasses && text.size() == 2 * kNewClasses - 1,
              "expected --late with five classes like 5,6,7,8,9, got ", text);
  return {classes.begin(), classes.end()};
}

std::vector<std::int64_t> others(const std::vector<std::int64_t>& classes) {
  std::vector<std::int64_t> out;
  for (std::int64_t c = 0; c < kClasses; ++c)
    if (std::find(classes.begin(), classes.end(), c) == classes.end()) out.push_back(c);
  return out;
}

/// Pictures of `classes`, numbered in that order; at most `most` of each, from row `start` on.
std::shared_ptr<const Dataset> rows_of(const ImageDataset& images, const std::vector<std::int64_t>& classes,
                                       std::int64_t start = 0, std::int64_t most = INT64_MAX) {
  std::vector<std::int64_t> rows, labels, taken(classes.size());
  for (std::int64_t i = 0; i < images.size(); ++i) {
    const std::int64_t row = (start + i) % images.size();
    const auto found = std::find(classes.begin(), classes.end(), images.label(row));
    const auto label = static_cast<std::size_t>(found - classes.begin());
    if (found == classes.end() || taken[label] >= most) continue;
    ++taken[label];
    rows.push_back(row);
    labels.push_back(static_cast<std::int64_t>(label));
  }
  return std::make_shared<TensorDataset>(images.get(rows).inputs,
                                         Tensor::from(labels, {static_cast<std::int64_t>(labels.size())}));
}

struct Tuned {
  double accuracy = 0;
  TrainResult trained;
};

/// Trains `model` on `train_rows` and counts right answers on `test_rows`.
Tuned fit(RecipeContext& context, Module& model, const std::shared_ptr<const Dataset>& train_rows,
          const std::shared_ptr<const Dataset>& test_rows, std::int64_t epochs, std::int64_t batch_size,
          bool use_weights, const char* what) {
  CrossEntropyLoss loss({.check_targets = false});
  const DataLoader test(test_rows, {.batch_size = kTestBatch, .device = context.device()});
  Tuned out;
  out.trained = detail::train_batches(
      context, {.model = model,
                .data = train_rows,
                .loss = [&](const Batch& batch) { return loss(model(batch.inputs), batch.targets); },
                .test = [&] { return evaluate(model, loss, test); },
                .epochs = epochs,
                .batch_size = batch_size,
                .evaluate_every = epochs,
                .quiet = true,
                .use_weights = use_weights});
  if (out.trained.test) out.accuracy = out.trained.test->accuracy.value_or(0);
  char text[120];
  std::snprintf(text, sizeof text, "%-22s train loss %.4f  test accuracy %.2f %%", what,
                out.trained.train_loss, 100 * out.accuracy);
  context.say(text);
  return out;
}

/// A copy of `pretrained` whose convolutions stay as they are, with new dense layers.
Sequential frozen_copy(const Sequential& pretrained, double dropout) {
  Sequential model = detail::small_cnn(kNewClasses, dropout);
  Sequential source = pretrained;
  for (std::size_t i = 0; i < detail::kSmallCnnFeatures; ++i) {
    model[i].load_state_dict(source[i].state_dict());
    if (model[i].parameter_count() > 0) freeze(model[i]);
  }
  return model;
}

/// Batch norm of frozen layers keeps the statistics it has learnt, whatever mode the trainer sets.
struct FrozenFront : Module {
  Sequential net;
  explicit FrozenFront(Sequential layers) : net(std::move(layers)) {}
  Tensor forward(const Tensor& x) override {
    for (std::size_t i = 0; i < detail::kSmallCnnFeatures; ++i) net[i].eval();
    return net(x);
  }
  GPUNN_MEMBERS(net)
};

struct Comparison {
  std::vector<double> transfer, scratch;  // for each draw
  double mean(const std::vector<double>& v) const {
    double sum = 0;
    for (const double x : v) sum += x;
    return v.empty() ? 0 : sum / static_cast<double>(v.size());
  }
};

void write_report(RecipeContext& context, Sequential& model, const Dataset& test, const Comparison& c,
                  double old_accuracy, const RecipeResult& result) {
  HtmlReport report("transfer", find_recipe("transfer").summary);
  const double transfer = c.mean(c.transfer), scratch = c.mean(c.scratch);
  report.figure("frozen features", detail::fixed(100 * transfer, 1) + " %",
                "of the new classes' test pictures", result.reached ? Tone::good : Tone::neutral);
  report.figure("from scratch", detail::fixed(100 * scratch, 1) + " %", "the same pictures and steps");
  report.figure("the other classes", detail::fixed(100 * old_accuracy, 1) + " %", "before the transfer");
  detail::report_verdict(report, context, result);
  report.section("Each draw of the labelled pictures");
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < c.transfer.size(); ++i)
    rows.push_back(
        {std::to_string(i), detail::fixed(100 * c.transfer[i], 2), detail::fixed(100 * c.scratch[i], 2)});
  report.table({"draw", "frozen features, %", "from scratch, %"}, rows);
  detail::report_small_cnn(report, model, test, context.device());
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  auto& settings = static_cast<TransferSettings&>(context.settings());
  const detail::ClassifierData data = detail::load_fashion(settings, {.flatten = false});
  const auto& train_images = static_cast<const ImageDataset&>(*data.train);
  const auto& test_images = static_cast<const ImageDataset&>(*data.test);
  const std::vector<std::int64_t> late = parse_classes(settings.late);
  RecipeResult result;
  detail::RunTotals totals;

  Sequential pretrained = detail::small_cnn(kClasses - kNewClasses, settings.dropout);
  const Tuned old =
      fit(context, pretrained, rows_of(train_images, others(late)), rows_of(test_images, others(late)),
          settings.epochs, settings.batch_size, true, "the other classes");
  totals.add(old.trained);
  const auto new_test = rows_of(test_images, late);
  Comparison c;
  for (std::int64_t draw = 0; draw < settings.draws && !context.stopped(); ++draw) {
    const auto few =
        rows_of(train_images, late, train_images.size() / settings.draws * draw, settings.labels);
    const std::int64_t batch = std::min<std::int64_t>(settings.batch_size, 10);
    FrozenFront tuned(frozen_copy(pretrained, settings.dropout));
    Sequential scratch = detail::small_cnn(kNewClasses, settings.dropout);
    const Tuned with =
                    fit(context, tuned, few, new_test, settings.tune_epochs, batch, false, "frozen features"),
                without =
                    fit(context, scratch, few, new_test, settings.tune_epochs, batch, false, "from scratch");
    c.transfer.push_back(with.accuracy);
    c.scratch.push_back(without.accuracy);
    totals.add(with.trained);
    totals.add(without.trained);
  }
  totals.write(result);
  result.train_loss = old.trained.train_loss;
  result.weights_sha256 = weights_sha256(pretrained.state_dict());
  context.folder().write_weights(pretrained.state_dict());
  result.metric("transfer_accuracy", c.mean(c.transfer));
  result.metric("scratch_accuracy", c.mean(c.scratch));
  result.reached = !result.stopped && c.mean(c.transfer) >= c.mean(c.scratch) + kMargin;
  write_report(context, pretrained, *new_test, c, old.accuracy, result);
  return result;
}

}  // namespace

const Recipe kTransfer{"transfer",
                       "convolution",
                       "learnt on five kinds of clothes, tuned on ten pictures of each of the other five",
                       "fashion-mnist",
                       "frozen features beat training from scratch by >= 5 points",
                       [] { return std::unique_ptr<RunSettings>(std::make_unique<TransferSettings>()); },
                       run};

}  // namespace gpunn
