// Recipes on sequences: small runs of each, what they refuse, and their models.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/forecasters.h"
#include "gpunn/models/recipes/detail/forecast_run.h"
#include "gpunn/models/recipes/detail/sentiment_run.h"
#include "gpunn/models/sentence_classifier.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;

class SequenceRecipeTest : public testing::RecipeTest {
 protected:
  // Praise and blame by their words, with fillers; the same number of each.
  void write_reviews(int count) {
    const std::vector<std::string> good{"superb", "lovely", "brilliant"}, bad{"awful", "dull", "dreadful"},
        plain{"film", "the", "plot", "actor", "scene", "with", "a"};
    PhiloxStream random(3, 1);
    for (const auto& [file, words] :
         {std::pair{"sentiment/rt-polarity.neg", bad}, {"sentiment/rt-polarity.pos", good}}) {
      std::string text;
      for (int i = 0; i < count; ++i) {
        const std::size_t length = 2 + random.below(9), at = random.below(length);
        for (std::size_t w = 0; w < length; ++w)
          text += (w == at ? words[random.below(3)] : plain[random.below(7)]) + " ";
        text += ".\n";
      }
      write_data(file, text);
    }
  }
};
GPUNN_ON_EVERY_DEVICE(SequenceRecipeTest);

TEST_P(SequenceRecipeTest, GeneratedSeriesIsForecastNearItsFloor) {
  const bool whole = full_length(device());
  const RecipeResult result =
      run("forecast-lstm", whole ? R"({"series": "generated"})"
                                 : R"({"series": "generated", "epochs": 1, "steps": 1, "hidden": 4})");
  EXPECT_FALSE(result.reached) << "one of three series";
  // Not the model's doing: these are the data's. A normal error of deviation 3 has a mean of 2.39.
  EXPECT_NEAR(metric(result, "generated_floor_mae"), 2.39, 0.6);
  EXPECT_GT(metric(result, "generated_naive_mae"), metric(result, "generated_floor_mae"));
  EXPECT_GT(metric(result, "generated_seasonal_mae"), 6) << "a season before, the trend was 7.5 lower";
  for (const char* model : {"lstm", "gru"}) {
    const double error = metric(result, std::string("generated_") + model + "_mae");
    EXPECT_GT(error, 0.8 * metric(result, "generated_floor_mae")) << "better than can be";
    if (whole) {
      EXPECT_LE(error, 2.9) << model;
    }
  }
  EXPECT_TRUE(std::isfinite(metric(result, "generated_tcn_mape")));
  EXPECT_EQ(result.steps, whole ? 3 * 60 * 8 : 3);
  expect_report(result, {"Errors: forecast less truth", "LSTM", "temporal convolution", "the value before"});
}

TEST_P(SequenceRecipeTest, FilesAreReadWithTheirCalendar) {
  std::string months = "\"Month\",\"Passengers\"\n";
  for (int i = 0; i < 60; ++i)
    months += date_text({i, DateUnit::month}) + "," +
              std::to_string(100 + 3 * i + 20 * (i % 12 == 6 ? 1 : 0)) + "\n";
  write_data("timeseries/airline-passengers.csv", months);
  const std::string json = "{" + data() +
                           R"(, "series": "airline-passengers", "models": "gru", "epochs": 1, "hidden": 4,
      "horizon": 2})";
  const RecipeResult result = run("forecast-lstm", json);
  EXPECT_GT(metric(result, "airline-passengers_gru_mae"), 0);
  // A year is twelve steps of 3, and the peak of July is in both.
  EXPECT_NEAR(metric(result, "airline-passengers_seasonal_mae"), 36, 1e-9);
  expect_report(result, {"1970-01", "1974-12", "3 variables"});
  for (const auto& [name, tensor] : load_safetensors(result.run_dir + "/weights.safetensors"))
    EXPECT_EQ(name.rfind("airline-passengers.gru.", 0), 0U) << name;

  write_data("timeseries/airline-passengers.csv", months.substr(0, months.find("1971")));
  EXPECT_THROW(run("forecast-lstm", json), DataError) << "too short";
  write_data("timeseries/airline-passengers.csv", months + "1975-01,0\n");
  EXPECT_THROW(run("forecast-lstm", json), DataError) << "no logarithm";
  write_data("timeseries/airline-passengers.csv", months + "1976-01,7\n" + "1976-01,8\n");
  EXPECT_THROW(run("forecast-lstm", json), DataError) << "a date twice";
  EXPECT_THROW(run("forecast-lstm", R"({"series": "generated", "weights": "w"})"), InvalidArgument);
}

TEST_P(SequenceRecipeTest, SentimentLearnsWords) {
  write_reviews(full_length(device()) ? 300 : 20);
  const bool whole = full_length(device());
  const RecipeResult result = run(
      "sentiment",
      "{" + data() +
          (whole
               ? R"(, "epochs": 6, "batch_size": 16, "lr": 0.01, "hidden": 16, "embedding": 16})"
               : R"(, "epochs": 1, "batch_size": 4, "steps": 2, "hidden": 4, "embedding": 4, "max_length": 6})"));
  if (whole) {
    EXPECT_GE(metric(result, "test_accuracy"), 0.98);
    EXPECT_TRUE(result.reached);
  } else {
    EXPECT_EQ(result.steps, 2);
  }
  EXPECT_EQ(metric(result, "words"), 2 + 3 + 3 + 7 + 1);
  const WordVocab vocab = WordVocab::from_state(read_text_file(result.run_dir + "/vocabulary.txt"));
  EXPECT_EQ(vocab.size(), 16);
  EXPECT_NE(vocab.id("superb"), WordVocab::kUnknown);
  expect_report(result, {"Six reviews", "a tedious , lifeless bore", "neutral band", "Confusion"});

  write_data("sentiment/rt-polarity.pos", "good\n");
  EXPECT_THROW(run("sentiment", "{" + data() + "}"), DataError) << "too few";
  write_data("sentiment/rt-polarity.pos", "good \xFF\n");
  EXPECT_THROW(run("sentiment", "{" + data() + "}"), DataError);
}

TEST_P(SequenceRecipeTest, TestSentencesAreTheSameForEverySeedAndNotTrainedOn) {
  write_reviews(50);
  detail::SentimentSettings settings;
  settings.data = path_ + "/data";
  const detail::SentimentData first = detail::load_sentiment(settings);
  settings.seed = 5;
  const detail::SentimentData second = detail::load_sentiment(settings);
  ASSERT_EQ(first.test.size(), 10U);
  EXPECT_EQ(first.train.size(), 90U);
  EXPECT_EQ(first.test_ids, second.test_ids);
  EXPECT_EQ(std::count_if(first.test.begin(), first.test.end(), [](const auto& r) { return r.label == 1; }),
            5);
  EXPECT_EQ(detail::encode_review(first.vocab, "  "), (TokenSequence{WordVocab::kUnknown}));
}

TEST(SentimentVerdictTest, TheBandIsAroundOneHalf) {
  EXPECT_STREQ(detail::verdict(0.61, 0.2), "positive");
  EXPECT_STREQ(detail::verdict(0.59, 0.2), "neutral");
  EXPECT_STREQ(detail::verdict(0.41, 0.2), "neutral");
  EXPECT_STREQ(detail::verdict(0.39, 0.2), "negative");
  const std::vector<detail::Review> reviews{{"", 1}, {"", 1}, {"", 0}, {"", 0}};
  const std::vector<double> positive{0.9, 0.55, 0.2, 0.7};
  const detail::Confidence all = detail::confidence(positive, reviews, -1),
                           sure = detail::confidence(positive, reviews, 0.2);
  EXPECT_EQ(all.accuracy(), 0.75);
  EXPECT_EQ(all.neutral(), 0);
  EXPECT_EQ(sure.sure, 3);
  EXPECT_EQ(sure.right, 2);
  EXPECT_EQ(sure.neutral(), 0.25);
  EXPECT_EQ(detail::confidence(positive, reviews, 1).accuracy(), 0);
}

class SequenceModelTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(SequenceModelTest);

TEST_P(SequenceModelTest, PaddingChangesNoLogit) {
  manual_seed(1);
  SentenceClassifier model({.words = 12, .embedding = 5, .hidden = 4});
  model.to(device());
  model.eval();
  const NoGrad no_grad;
  const auto logits = [&](std::vector<std::int64_t> ids, std::int64_t rows) {
    const auto columns = static_cast<std::int64_t>(ids.size()) / rows;
    return model(Tensor::from(ids, {rows, columns}).to(device())).to_vector<float>();
  };
  const std::vector<float> alone = logits({3, 4}, 1), longer = logits({5, 6, 7, 8, 9}, 1),
                           both = logits({3, 4, 0, 0, 0, 0, 5, 6, 7, 8, 9, 0}, 2);
  for (std::size_t c = 0; c < 2; ++c) {
    EXPECT_NEAR(both[c], alone[c], 1e-5);
    EXPECT_NEAR(both[2 + c], longer[c], 1e-5);
  }
  EXPECT_GT(std::abs(logits({4, 3}, 1)[0] - alone[0]), 1e-5) << "the order of words matters";
  EXPECT_THROW(logits({0, 0}, 1), InvalidArgument);
  EXPECT_THROW(logits({3, 12}, 1), InvalidArgument) << "no word of the vocabulary";
  EXPECT_THROW(SentenceClassifier({.embedding_scale = 0}), InvalidArgument);
}

TEST_P(SequenceModelTest, ForecastersFollowTheLevel) {
  for (const char* kind : {"lstm", "gru", "tcn"}) {
    manual_seed(2);
    const auto model = make_forecaster(kind, {.variables = 2, .hidden = 4, .horizon = 3});
    model->to(device());
    std::vector<float> low, high;
    for (int n = 0; n < 2; ++n)
      for (int t = 0; t < 16; ++t)
        for (int v = 0; v < 2; ++v) {
          low.push_back(static_cast<float>(std::sin(n + 0.7 * t + 2 * v)));
          high.push_back(low.back() + (v == 0 ? 10.0F : 0.0F));
        }
    const Tensor y = (*model)(Tensor::from(low, {2, 16, 2}).to(device())),
                 shifted = (*model)(Tensor::from(high, {2, 16, 2}).to(device()));
    ASSERT_EQ(y.shape(), (Shape{2, 3, 1})) << kind;
    for (std::size_t i = 0; i < 6; ++i)
      EXPECT_NEAR(shifted.to_vector<float>()[i] - y.to_vector<float>()[i], 10, 1e-4) << kind;
    low[63] += 1;  // the last step's second variable
    const Tensor other = (*model)(Tensor::from(low, {2, 16, 2}).to(device()));
    EXPECT_EQ(other.to_vector<float>()[0], y.to_vector<float>()[0]) << kind;
    EXPECT_NE(other.to_vector<float>()[3], y.to_vector<float>()[3]) << kind;
    sum(y).backward();
    for (const Tensor& parameter : model->parameters()) EXPECT_TRUE(parameter.grad().defined()) << kind;
    EXPECT_THROW((*model)(zeros({2, 16, 3}, {.device = device()})), InvalidArgument);
    EXPECT_THROW((*model)(zeros({2, 0, 2}, {.device = device()})), InvalidArgument);
  }
  EXPECT_THROW((*make_forecaster("tcn", {}))(zeros({1, 14, 1})), InvalidArgument);
  EXPECT_THROW(make_forecaster("transformer", {}), InvalidArgument);
  EXPECT_THROW(make_forecaster("lstm", {.variables = 0}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
