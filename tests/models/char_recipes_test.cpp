// Recipes of character models and of gradients through time: whole runs where that is quick, else few steps
// on small data.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "gpunn/io/file.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

class CharRecipeTest : public testing::RecipeTest {};
GPUNN_ON_EVERY_DEVICE(CharRecipeTest);

TEST_P(CharRecipeTest, SmallestNetLearnsItsSentence) {
  if (full_length(device())) {
    const RecipeResult result = run("char-rnn", "{}");
    EXPECT_LE(metric(result, "last_500_loss"), 0.30);
    EXPECT_GE(metric(result, "known_4_grams"), 0.75);
    EXPECT_NEAR(metric(result, "first_loss"), std::log(15.0), 0.01);
    EXPECT_TRUE(result.reached);
    expect_report(result, {"The net, unrolled", "After 3000 steps:", "hello world"});
    return;
  }
  const RecipeResult result =
      run("char-rnn", R"({"steps": 5, "hidden": 6, "length": 8, "samples": 1, "sample_length": 6})");
  EXPECT_EQ(result.steps, 5);
  EXPECT_FALSE(result.reached);
  EXPECT_NEAR(metric(result, "first_loss"), std::log(15.0), 0.01);
  expect_report(result, {"The net, unrolled", "Before training:", "Output of the recurrent layer"});
}

TEST_P(CharRecipeTest, GradientsVanishSurviveAndExplode) {
  const bool whole = full_length(device());
  const RecipeResult result =
      run("vanishing-gradient", whole ? "{}" : R"({"steps": 3, "hidden": 6, "longest": 10})");
  EXPECT_LE(metric(result, "closed_form_error"), 1e-5);
  EXPECT_NEAR(metric(result, "clipped_norm"), 1, 1e-4);
  EXPECT_GT(metric(result, "unclipped_norm"), 1);
  EXPECT_LT(metric(result, "rnn_tenth_share"), metric(result, "lstm_open_share"));
  if (whole) {
    EXPECT_LT(metric(result, "rnn_share"), 1e-6);
    EXPECT_GT(metric(result, "lstm_open_share"), 1e-2);
    EXPECT_EQ(metric(result, "diverged_without_clipping"), 1);
  }
  EXPECT_EQ(result.reached, whole);
  expect_report(result, {"In closed form", "LSTM, open gates", "Explosion, and the rescue"});
}

TEST_P(CharRecipeTest, ShakespeareRunsOnAnyText) {
  std::string text;
  for (int i = 0; i < 40; ++i)
    text += "All the world's a stage,\nand all the men and women merely players.\n";
  write_data("text/tinyshakespeare.txt", text);
  const std::string json =
      "{" + data() +
      R"(, "hidden": 8, "embedding": 4, "length": 6, "batch_size": 4, "sample": 12, "steps": 3})";
  for (const char* name : {"shakespeare-lstm", "shakespeare-gru"}) {
    const RecipeResult result = run(name, json);
    EXPECT_EQ(result.steps, 3);
    EXPECT_FALSE(result.reached);
    // Untrained, but for three steps: about as many nats as characters are equally likely.
    EXPECT_NEAR(metric(result, "validation_loss"), std::log(20.0), 0.6);
    expect_report(result, {"Samples through training", "Gates over a line", "After 3 steps:", "CharRnn"});
  }
  if (!full_length(device())) return;
  const RecipeResult learnt = run("shakespeare-lstm", "{" + data() + R"(, "hidden": 64, "length": 20,
      "batch_size": 4, "steps": 300})",
                                  {}, "learnt");
  EXPECT_LT(metric(learnt, "validation_loss"), 0.3);
  EXPECT_TRUE(learnt.reached);
}

TEST_P(CharRecipeTest, NamesAreInvented) {
  std::string names;
  for (const char* first : {"an", "be", "ca", "do", "el", "fi", "gu", "ha", "is", "ju"})
    for (const char* last : {"na", "lla", "ra", "ris", "mo"}) names += std::string(first) + last + "\n";
  write_data("text/names.txt", names);
  const std::string json = "{" + data() + R"(, "hidden": 8, "embedding": 4, "batch_size": 8, "epochs": 1,
      "temperature": 0.7, "new_names": 2)";
  const RecipeResult result = run("names", json + R"(, "steps": 2})");
  EXPECT_EQ(result.steps, 2);
  EXPECT_NEAR(metric(result, "validation_loss"), std::log(20.0), 0.6);
  EXPECT_FALSE(result.reached);
  expect_report(result, {"New names", "Names through training", "Gates over a name"});
  // The order of names is the seed's: the same run again is the same.
  EXPECT_EQ(run("names", json + R"(, "steps": 2})", {}, "again").weights_sha256, result.weights_sha256);
  write_data("text/names.txt", "anna\nb.b\n");
  EXPECT_THAT([&] { run("names", json + "}", {}, "bad"); },
              ThrowsMessage<DataError>(HasSubstr("names without '.', got b.b")));
}

TEST_P(CharRecipeTest, DataThatIsMissingIsNamed) {
  create_directories(path_ + "/data/text");
  EXPECT_THAT([&] { run("names", "{" + data() + "}"); }, ThrowsMessage<DataError>(HasSubstr("names.txt")));
  write_data("text/tinyshakespeare.txt", "too short");
  EXPECT_THAT([&] { run("shakespeare-gru", "{" + data() + "}"); },
              ThrowsMessage<InvalidArgument>(HasSubstr("tokens for a window")));
}

}  // namespace
}  // namespace gpunn
