// dimensionality: how far random points are from each other as the number of dimensions grows, and what
// larger pictures cost in training.
//
// With x and y uniform in [0, 1], E (x - y)^2 = 1/6 and its variance is 7/180. So the mean square of the
// distance in d dimensions is d/6 exactly; the mean itself is smaller, by 7/(40 d) in the first order.
#include <algorithm>
#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/dimensionality_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/training/image_dataset.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

namespace detail {

double DistanceStudy::theory(std::size_t d) { return std::sqrt(static_cast<double>(d) / 6); }

double DistanceStudy::spread(std::size_t d) const {
  const double m = mean[d - 1], r = rms[d - 1];
  return std::sqrt(std::max(0.0, r * r - m * m)) / m;
}

// The square's relative variance is (7/180) d / (d/6)^2 = 1.4 / d; a root halves relative deviations.
double DistanceStudy::rms_error(std::size_t d) const {
  return 0.5 * std::sqrt(1.4 / (static_cast<double>(d) * static_cast<double>(pairs)));
}

std::size_t DistanceStudy::checked_from(double bound) const {
  for (std::size_t d = 1; d <= mean.size(); ++d)
    if (std::abs(correction(d)) + 4 * rms_error(d) <= bound) return d;  // both shrink as d grows
  return 0;
}

std::size_t DistanceStudy::holds_from(double bound) const {
  std::size_t from = 0;
  for (std::size_t d = mean.size(); d >= 1 && std::abs(difference(d)) <= bound; --d) from = d;
  return from;
}

bool DistanceStudy::agrees(double bound) const {
  const std::size_t checked = checked_from(bound), holds = holds_from(bound);
  bool agrees = checked > 0 && holds > 0 && holds <= checked;
  for (std::size_t d = 1; d <= mean.size(); ++d)
    agrees = agrees && std::abs(rms_difference(d)) <= 4 * rms_error(d);
  return agrees;
}

}  // namespace detail

namespace {

using detail::DistanceStudy;
using detail::SizeRun;

constexpr std::int64_t kChunk = 1000;  // pairs at a time: 4 MB a tensor at 1,000 dimensions
constexpr std::int64_t kSides[] = {32, 64, 128};
constexpr std::int64_t kClasses = 10, kHidden = 64, kBatch = 64;
constexpr std::uint64_t kPictureStream = std::uint64_t{0x5049} << 48;  // apart from weights and shuffles

struct DimensionalitySettings : RunSettings {
  std::int64_t pairs = 40000;
  std::int64_t dimensions = 1000;
  std::int64_t pictures = 2560;
  DimensionalitySettings() { epochs = 5; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"pairs", &pairs, "pairs of points", 1, 1e7});
    all.push_back({"dimensions", &dimensions, "most dimensions", 1, 100000});
    all.push_back({"pictures", &pictures, "random pictures to train on", 1, 100000});
    return all;
  }
};

// A pair's running sum over its coordinates is its squared distance in 1, 2, 3, ... dimensions.
DistanceStudy measure_distances(RecipeContext& context, const DimensionalitySettings& settings) {
  NoGrad no_grad;
  const auto dimensions = static_cast<std::size_t>(settings.dimensions);
  const TensorOptions options{.device = context.device()};
  std::vector<double> sums(dimensions), squares(dimensions);
  DistanceStudy study;
  while (study.pairs < settings.pairs && !context.stopped()) {
    const std::int64_t n = std::min(kChunk, settings.pairs - study.pairs);
    const Tensor x = rand({n, settings.dimensions}, options), y = rand({n, settings.dimensions}, options);
    const Tensor squared = cumsum(square(x - y), 1);
    const std::vector<float> s = sum(sqrt(squared), {0}).to_vector<float>();
    const std::vector<float> q = sum(squared, {0}).to_vector<float>();
    for (std::size_t d = 0; d < dimensions; ++d) sums[d] += s[d], squares[d] += q[d];
    study.pairs += n;
  }
  if (study.pairs == 0) return study;
  const auto pairs = static_cast<double>(study.pairs);
  for (std::size_t d = 0; d < dimensions; ++d) {
    study.mean.push_back(sums[d] / pairs);
    study.rms.push_back(std::sqrt(squares[d] / pairs));
  }
  return study;
}

std::shared_ptr<ImageDataset> random_pictures(std::int64_t count, std::int64_t side, std::uint64_t seed) {
  PhiloxStream random(seed, kPictureStream + static_cast<std::uint64_t>(side));
  std::vector<std::int64_t> labels(static_cast<std::size_t>(count));
  for (std::int64_t& label : labels) label = static_cast<std::int64_t>(random.below(kClasses));
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(count * side * side));
  for (std::uint8_t& pixel : pixels) pixel = static_cast<std::uint8_t>(random.bits() >> 24);
  return std::make_shared<ImageDataset>(std::move(pixels), Shape{count, side, side}, std::move(labels));
}

// Seconds of a step in the fastest epoch: what else the machine does only ever adds. 0 without steps.
double fastest_step(const std::vector<EpochRecord>& history) {
  double best = 0, seconds = 0;
  std::int64_t steps = 0;
  for (const EpochRecord& r : history) {
    const double step =
        (r.seconds - seconds) / static_cast<double>(std::max<std::int64_t>(1, r.steps - steps));
    if (r.steps > steps && (steps == 0 || step < best)) best = step;
    seconds = r.seconds;
    steps = r.steps;
  }
  return best;
}

SizeRun train_on(std::int64_t side, RecipeContext& context, const DimensionalitySettings& settings,
                 StateDict& weights) {
  manual_seed(settings.seed);
  Sequential model(Linear(side * side, kHidden), ReLU(), Linear(kHidden, kClasses));
  CrossEntropyLoss loss({.check_targets = false});  // drawn within the classes
  SGD optimizer(model.parameters(), {.lr = 0.01});
  const DataLoader loader(random_pictures(settings.pictures, side, settings.seed),
                          {.batch_size = kBatch, .device = context.device()});
  const TrainResult trained = train(supervised_step(model, loss, optimizer), loader, {},
                                    {.epochs = settings.epochs,
                                     .max_steps = settings.steps,
                                     .evaluate_every = 0,
                                     .stop = context.hooks().stop,
                                     .progress = context.hooks().progress});
  for (const auto& [key, tensor] : model.state_dict())
    weights.emplace_back("side_" + std::to_string(side) + "." + key, tensor);
  return {side,
          model.parameter_count(),
          trained.steps,
          fastest_step(trained.history),
          trained.seconds,
          trained.train_loss};
}

void write_distances(RunFolder& folder, const DistanceStudy& study) {
  for (std::size_t d = 1; d <= study.mean.size(); ++d) {
    JsonWriter json;
    json.begin_object().field("dimensions", d).field("mean_distance", study.mean[d - 1]);
    json.field("rms_distance", study.rms[d - 1]).field("theory", DistanceStudy::theory(d));
    folder.append_metrics(json.end_object().take());
  }
}

void add_distances(RecipeResult& result, const DistanceStudy& study) {
  for (const std::size_t d : {1, 10, 100, 1000}) {
    if (d > study.mean.size()) continue;
    result.metric("mean_distance_" + std::to_string(d), study.mean[d - 1]);
    result.metric("rms_distance_" + std::to_string(d), study.rms[d - 1]);
  }
  const std::size_t checked = study.checked_from(detail::kDistanceBound);
  double worst = 0;
  for (std::size_t d = std::max<std::size_t>(1, checked); checked > 0 && d <= study.mean.size(); ++d)
    worst = std::max(worst, std::abs(study.difference(d)));
  result.metric("checked_from_dimension", static_cast<double>(checked));
  result.metric("holds_from_dimension", static_cast<double>(study.holds_from(detail::kDistanceBound)));
  result.metric("worst_difference_checked", worst);
}

RecipeResult run(RecipeContext& context) {
  const auto& settings = static_cast<const DimensionalitySettings&>(context.settings());
  RunFolder& folder = context.folder();
  const DistanceStudy study = measure_distances(context, settings);
  write_distances(folder, study);
  RecipeResult result;
  add_distances(result, study);
  result.reached = study.agrees(detail::kDistanceBound);
  context.say("mean distance within 2 % of sqrt(d/6) from d = " +
              std::to_string(study.holds_from(detail::kDistanceBound)) + " on, of " +
              std::to_string(study.mean.size()));

  std::vector<SizeRun> sizes;
  StateDict weights;
  double measured_seconds = 0;
  for (const std::int64_t side : kSides) {
    if (context.stopped()) break;
    sizes.push_back(train_on(side, context, settings, weights));
    const SizeRun& s = sizes.back();
    result.metric("step_seconds_" + std::to_string(side), s.step_seconds);
    result.steps += s.steps;
    result.seconds += s.seconds;
    result.train_loss = s.train_loss;
    measured_seconds += static_cast<double>(s.steps) * s.step_seconds;
    context.say(std::to_string(side) + " x " + std::to_string(side) + ": " +
                detail::fixed(1e3 * s.step_seconds, 3) + " ms a step, " + std::to_string(s.parameters) +
                " parameters");
  }
  result.stopped = context.stopped();
  result.reached = result.reached && !result.stopped;
  result.epochs = settings.epochs;
  if (measured_seconds > 0) result.steps_per_second = static_cast<double>(result.steps) / measured_seconds;
  result.weights_sha256 = weights_sha256(weights);
  folder.write_weights(weights);
  detail::write_dimensionality_report(context, study, sizes, result);
  return result;
}

}  // namespace

const Recipe kDimensionality{
    "dimensionality",
    "feed-forward networks",
    "distances of random points in up to 1000 dimensions, and the cost of larger pictures",
    "random",
    "mean pairwise distance within 2 % of sqrt(d/6) for all d where theory's own difference allows it, root "
    "mean square equal to sqrt(d/6) for every d",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<DimensionalitySettings>()); },
    run};

}  // namespace gpunn
