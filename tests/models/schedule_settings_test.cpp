// Schedules of recipes: what the settings stand for, and runs that use them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/models/recipes/detail/schedule.h"
#include "gpunn/training/history.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using detail::make_schedule;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr double kRate = 0.2;

/// Rates of the steps of a run of 6 epochs of 4 steps.
std::vector<double> rates_of(const ScheduleSettings& settings, std::int64_t max_steps = 0) {
  SGD optimizer({zeros({1})}, {.lr = kRate, .momentum = 0.9});
  const TrainSchedule schedule = make_schedule(settings, optimizer, {6, 4, max_steps});
  EXPECT_EQ(schedule.unit, ScheduleUnit::step);
  std::vector<double> rates{optimizer.learning_rate()};
  for (int k = 1; k < (max_steps > 0 ? max_steps : 24); ++k) {
    schedule.rate->step();
    rates.push_back(optimizer.learning_rate());
  }
  return rates;
}

void expect_rates(const std::vector<double>& rates, double (*wanted)(double step)) {
  for (std::size_t k = 0; k < rates.size(); ++k)
    EXPECT_NEAR(rates[k], kRate * wanted(static_cast<double>(k)), 1e-14) << "step " << k;
}

TEST(ScheduleSettingsTest, CurvesOfTheWholeRun) {
  expect_rates(rates_of({.schedule = "step", .epochs = 2, .factor = 0.5}),
               [](double k) { return std::pow(0.5, std::floor(k / 8)); });
  expect_rates(rates_of({.schedule = "multistep", .milestones = "1,4,9", .factor = 0.5}), [](double k) {
    return k < 4 ? 1 : k < 16 ? 0.5 : 0.25;
  });
  expect_rates(rates_of({.schedule = "exponential", .factor = 0.9}),
               [](double k) { return std::pow(0.9, std::floor(k / 4)); });
  expect_rates(rates_of({.schedule = "linear", .min_lr = 0.05}), [](double k) { return 1 - 0.75 * k / 24; });
  expect_rates(rates_of({.schedule = "polynomial", .power = 2}),
               [](double k) { return (1 - k / 24) * (1 - k / 24); });
  expect_rates(rates_of({.schedule = "cosine", .min_lr = 0.02}),
               [](double k) { return 0.1 + 0.9 * (1 + std::cos(std::numbers::pi * k / 24)) / 2; });
  expect_rates(rates_of({.schedule = "cosine-restarts", .epochs = 2}),
               [](double k) { return (1 + std::cos(std::numbers::pi * std::fmod(k, 8) / 8)) / 2; });
  expect_rates(rates_of({.schedule = "polynomial"}, 10), [](double k) { return 1 - k / 10; });
  const std::vector<double> cycle = rates_of({.schedule = "one-cycle"});
  EXPECT_NEAR(cycle[0], kRate / 25, 1e-15);
  EXPECT_NEAR(*std::max_element(cycle.begin(), cycle.end()), kRate, 0.01);
  EXPECT_NEAR(cycle[23], kRate / 25e4, 1e-15);
}

TEST(ScheduleSettingsTest, WarmUpComesBefore) {
  const auto warm = [](double k) { return (k + 1) / 6; };
  const std::vector<double> none = rates_of({.warmup_steps = 5});
  const std::vector<double> step =
      rates_of({.schedule = "step", .warmup_steps = 5, .epochs = 1, .factor = 0.5});
  const std::vector<double> late =
      rates_of({.schedule = "multistep", .warmup_steps = 5, .milestones = "1,3"});
  const std::vector<double> cosine = rates_of({.schedule = "cosine", .warmup_steps = 5});
  for (int k = 0; k < 24; ++k) {
    const auto i = static_cast<std::size_t>(k);
    const bool before = k < 5;
    EXPECT_NEAR(none[i], kRate * (before ? warm(k) : 1), 1e-14) << k;
    EXPECT_NEAR(step[i], kRate * (before ? warm(k) : std::pow(0.5, k / 4)), 1e-14) << k;
    EXPECT_NEAR(late[i], kRate * (before ? warm(k) : k < 12 ? 0.1 : 0.01), 1e-14) << k;
    EXPECT_NEAR(cosine[i], kRate * (before ? warm(k) : (1 + std::cos(std::numbers::pi * (k - 5) / 19)) / 2),
                1e-14)
        << k;
  }
}

TEST(ScheduleSettingsTest, RefusesWhatCannotBe) {
  SGD optimizer({zeros({1})}, {.lr = kRate});
  const auto refuses = [&](const ScheduleSettings& settings, const char* flag) {
    EXPECT_THAT([&] { make_schedule(settings, optimizer, {6, 4, 0}); },
                ThrowsMessage<InvalidArgument>(HasSubstr(flag)))
        << flag;
  };
  for (const char* text : {"", "3,", ",3", "3,3", "4,2", "0", "x", "3 5"})
    refuses({.schedule = "multistep", .milestones = text}, "--schedule-milestones");
  refuses({.schedule = "cosine", .min_lr = 0.3}, "--schedule-min-lr");
  refuses({.schedule = "plateau", .factor = 1}, "--schedule-factor");
  refuses({.schedule = "plateau", .warmup_steps = 1}, "--warmup-steps");
  refuses({.schedule = "one-cycle", .warmup_steps = 1}, "--warmup-steps");
  refuses({.schedule = "cosin"}, "--schedule");
  EXPECT_TRUE(make_schedule({}, optimizer, {6, 4, 0}).empty());
  EXPECT_NO_THROW(make_schedule({.schedule = "one-cycle"}, optimizer, {6, 4, 0})) << "without momentum";
  // Products that overflow would be undefined, and caught by the sanitizer.
  EXPECT_NO_THROW(make_schedule({.schedule = "cosine-restarts", .epochs = 1000000}, optimizer,
                                {std::int64_t{1} << 62, std::int64_t{1} << 40, 0}));
}

// The trainer's tests cover the other devices.
class ScheduledRecipeTest : public testing::RecipeTest {};
INSTANTIATE_TEST_SUITE_P(Devices, ScheduledRecipeTest, ::testing::Values("cpu"), testing::device_test_name);

TEST_P(ScheduledRecipeTest, ResumedRunsEqualUninterruptedOnes) {
  const std::string common = R"({"epochs": 4, "batch_size": 400, "momentum": 0.9, "schedule": )";
  for (const char* schedule : {R"("one-cycle"})", R"("cosine", "warmup_steps": 6})"}) {
    const std::string json = common + schedule;
    const RecipeResult whole = run("digits-mlp", json, {}, "whole");
    int asked = 0;
    RecipeHooks stop, resume;
    stop.stop = [&] { return ++asked == 7; };
    EXPECT_TRUE(run("digits-mlp", json, stop, "part").stopped);
    resume.resume = true;
    const RecipeResult resumed = run("digits-mlp", json, resume, "part");
    EXPECT_EQ(resumed.steps, whole.steps);
    EXPECT_EQ(resumed.weights_sha256, whole.weights_sha256) << schedule;
    EXPECT_NE(run("digits-mlp", common + "\"none\"}").weights_sha256, whole.weights_sha256);
    EXPECT_THROW(run("digits-mlp", common + "\"none\"}", resume, "part"), DataError);
  }
}

TEST_P(ScheduledRecipeTest, PlateauOfEvaluations) {
  // A rate at which the loss hardly moves: after the first, no evaluation (each hundredth epoch) is better.
  const char* json =
      R"({"epochs": 310, "batch_size": 1500, "lr": 1e-6, "schedule": "plateau", "schedule_epochs": 1})";
  const RecipeResult whole = run("digits-mlp", json, {}, "whole");
  int asked = 0;
  RecipeHooks stop, resume;
  stop.stop = [&] { return ++asked == 290; };
  resume.resume = true;
  run("digits-mlp", json, stop, "part");
  EXPECT_EQ(run("digits-mlp", json, resume, "part").weights_sha256, whole.weights_sha256);
  std::vector<double> rates;
  for (const EpochRecord& r : read_history(path_ + "/part/metrics.jsonl"))
    rates.push_back(std::round(*r.learning_rate * 1e8) / 1e8);
  // Records of epochs 1, 100, 200, 290 (stopped), 300 and 310.
  EXPECT_EQ(rates, (std::vector<double>{1e-6, 1e-6, 1e-6, 1e-6, 1e-6, 1e-7}));
}

TEST_P(ScheduledRecipeTest, RatesAreRecordedAndDrawn) {
  const RecipeResult result =
      run("digits-mlp", R"({"epochs": 3, "batch_size": 500, "lr": 0.2, "schedule": "polynomial"})");
  const std::vector<EpochRecord> history = read_history(result.run_dir + "/metrics.jsonl");
  ASSERT_EQ(history.size(), 2u);  // the first epoch and the last
  EXPECT_NEAR(history[0].learning_rate.value(), 0.2 * (1 - 2 / 9.0), 1e-12);
  EXPECT_NEAR(history[1].learning_rate.value(), 0.2 * (1 - 8 / 9.0), 1e-12);
  EXPECT_THAT(read_text_file(result.report), HasSubstr("Learning rate"));
  EXPECT_THAT(read_text_file(result.run_dir + "/config.json"), HasSubstr("\"schedule\": \"polynomial\""));

  const RecipeResult plain = run("digits-mlp", R"({"epochs": 1, "batch_size": 500})", {}, "plain");
  EXPECT_FALSE(read_history(plain.run_dir + "/metrics.jsonl")[0].learning_rate);
  EXPECT_THAT(read_text_file(plain.report), ::testing::Not(HasSubstr("Learning rate")));
}

}  // namespace
}  // namespace gpunn
