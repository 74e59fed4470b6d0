// learning-rates: one network and one problem with four learning rates, and what each curve says.
#include <cmath>

#include "gpunn/core/random.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/losses.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/digits.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/learning_rates_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/run_totals.h"

namespace gpunn {

namespace detail {

const char* name_of(RateVerdict verdict) noexcept {
  switch (verdict) {
    case RateVerdict::too_slow:
      return "too slow";
    case RateVerdict::slow:
      return "slow";
    case RateVerdict::good:
      return "good";
    case RateVerdict::unstable:
      return "unstable";
    case RateVerdict::diverges:
      return "diverges";
  }
  return "";
}

double share_of_rises(double start, std::span<const double> losses) {
  std::size_t rises = 0;
  double before = start;
  for (const double loss : losses) {
    rises += loss > before ? 1U : 0U;
    before = loss;
  }
  return losses.empty() ? 0 : static_cast<double>(rises) / static_cast<double>(losses.size());
}

RateVerdict judge_rate(double start, std::span<const double> losses) {
  GPUNN_CHECK(!losses.empty(), "expected the losses of at least one epoch");
  for (const double loss : losses)
    if (!std::isfinite(loss)) return RateVerdict::diverges;
  const double last = losses.back();
  if (!(last < start)) return RateVerdict::diverges;
  if (last <= kGoodShare * start) return RateVerdict::good;
  if (share_of_rises(start, losses) >= kUnstableShare) return RateVerdict::unstable;
  return last <= kSlowShare * start ? RateVerdict::slow : RateVerdict::too_slow;
}

}  // namespace detail

namespace {

using detail::RateRun;
using detail::RateVerdict;

struct Rate {
  const char* text;
  double value;
};
constexpr Rate kRates[] = {{"0.001", 0.001}, {"0.01", 0.01}, {"0.1", 0.1}, {"1.0", 1.0}};
constexpr std::int64_t kInputs = kDigitsSide * kDigitsSide, kClasses = 10;
constexpr std::int64_t kRows = 512;  // at a time when nothing is trained

struct LearningRatesSettings : RunSettings {
  std::int64_t batch_size = 16;
  std::int64_t hidden = 64;
  LearningRatesSettings() { epochs = 30; }
  std::vector<Field> fields() override {
    std::vector<Field> all = RunSettings::fields();
    all.push_back({"batch_size", &batch_size, "rows a step", 1});
    all.push_back({"hidden", &hidden, "neurons of each of the two hidden layers", 1, 4096});
    return all;
  }
};

RateRun run_rate(const Rate& rate, const DigitsData& digits, RecipeContext& context, StateDict& weights) {
  const auto& s = static_cast<const LearningRatesSettings&>(context.settings());
  manual_seed(s.seed);  // the same weights and the same order for every rate
  Sequential model(Linear(kInputs, s.hidden), ReLU(), Linear(s.hidden, s.hidden), ReLU(),
                   Linear(s.hidden, kClasses));
  CrossEntropyLoss loss({.check_targets = false});  // the table is the library's own
  SGD optimizer(model.parameters(), {.lr = rate.value});
  const DataLoader train_loader(
      digits.train,
      {.batch_size = s.batch_size, .shuffle = true, .seed = s.seed, .device = context.device()});
  const DataLoader all_train(digits.train, {.batch_size = kRows, .device = context.device()});
  const DataLoader all_test(digits.test, {.batch_size = kRows, .device = context.device()});
  RateRun run{.rate = rate.text};
  run.start = evaluate(model, loss, all_train).loss;
  TrainerOptions options{.epochs = s.epochs,
                         .max_steps = s.steps,
                         .stop = context.hooks().stop,
                         .progress = context.hooks().progress};
  options.on_epoch = [&](const EpochRecord& r) {
    JsonWriter json;
    json.begin_object().field("rate", rate.value).field("epoch", r.epoch).field("step", r.steps);
    json.field("train_loss", run.losses.back()).field("test_loss", r.test->loss);
    context.folder().append_metrics(
        json.field("test_accuracy", r.test->accuracy.value_or(0)).end_object().take());
  };
  run.trained = train(
      supervised_step(model, loss, optimizer), train_loader,
      [&] {
        run.losses.push_back(evaluate(model, loss, all_train).loss);
        return evaluate(model, loss, all_test);
      },
      options);
  run.verdict = detail::judge_rate(run.start, run.losses);
  for (const auto& [key, tensor] : model.state_dict())
    weights.emplace_back(std::string("lr_") + rate.text + "." + key, tensor);
  context.say("lr " + run.rate + ": training loss " + detail::fixed(run.start, 3) + " to " +
              detail::fixed(run.losses.back(), 3) + ", test accuracy " + detail::percent(run.accuracy()) +
              ": " + name_of(run.verdict));
  return run;
}

// What the four rates are expected to show, in their order.
bool as_expected(const std::vector<RateRun>& runs) {
  if (runs.size() != std::size(kRates)) return false;
  return runs[0].verdict == RateVerdict::too_slow && runs[1].verdict == RateVerdict::slow &&
         runs[2].verdict == RateVerdict::good &&
         (runs[3].verdict == RateVerdict::unstable || runs[3].verdict == RateVerdict::diverges);
}

RecipeResult run(RecipeContext& context) {
  const DigitsData digits = load_digits();
  RunFolder& folder = context.folder();
  RecipeResult result;
  std::vector<RateRun> runs;
  StateDict weights;
  detail::RunTotals totals;
  for (const Rate& rate : kRates) {
    if (context.stopped()) break;
    runs.push_back(run_rate(rate, digits, context, weights));
    const RateRun& r = runs.back();
    const std::string prefix = "lr_" + r.rate + "_";
    result.metric(prefix + "train_loss", r.losses.back());
    result.metric(prefix + "test_accuracy", r.accuracy());
    result.metric(prefix + "share_of_rises", detail::share_of_rises(r.start, r.losses));
    totals.add(r.trained);
    // The result's own losses are those of the lowest curve.
    if (runs.size() == 1 || r.losses.back() < result.train_loss) {
      result.train_loss = r.losses.back();
      result.test_loss = r.trained.test->loss;
    }
  }
  totals.write(result);
  result.stopped = result.stopped || context.stopped();
  result.reached = !result.stopped && as_expected(runs);
  result.weights_sha256 = weights_sha256(weights);
  folder.write_weights(weights);
  detail::write_learning_rates_report(context, runs, result);
  return result;
}

}  // namespace

const Recipe kLearningRates{
    "learning-rates",
    "practice",
    "four learning rates on one problem, with a verdict on each curve",
    "digits",
    "verdicts by the stated rules: 0.001 too slow, 0.01 slow, 0.1 good, 1.0 unstable or diverging",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<LearningRatesSettings>()); },
    run};

}  // namespace gpunn
