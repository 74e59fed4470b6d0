// Recipes on pictures and random data: online learning, hand-made features, dimensionality, learning rates.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/recipes/detail/dimensionality_run.h"
#include "gpunn/models/recipes/detail/learning_rates_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/shape_features.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;
using Metrics = std::map<std::string, double>;

constexpr int kSide = 28, kPixels = kSide * kSide;

Metrics metrics_of(const RecipeResult& result) { return {result.metrics.begin(), result.metrics.end()}; }

// Values of a stored tensor.
std::vector<float> stored(const RecipeResult& result, const std::string& key) {
  for (const auto& [name, tensor] : load_safetensors(result.run_dir + "/weights.safetensors"))
    if (name == key) return tensor.to_vector<float>();
  ADD_FAILURE() << key << " is not among the weights";
  return {};
}

class DataRecipeTest : public testing::RecipeTest {
 protected:
  static std::uint8_t pixel_of(int row, int p, int salt) {
    // A bright band at the height of the class, and noise that depends on the picture.
    return static_cast<std::uint8_t>((p / kSide) / 2 == label_of(row) ? 220 : (p * 7 + row * 13 + salt) % 40);
  }
  // Steps of one row are slow where a GPU is only emulated.
  int few(int on_cpu, int elsewhere) const { return device().is_cpu() ? on_cpu : elsewhere; }
  static int label_of(int row) { return (row * 3) % 10; }

  // Four files of MNIST's form below `path_`/data; `salt` changes the test part's noise.
  void write_pictures(int train, int test, int salt = 0) {
    testing::write_pictures(path_ + "/data/mnist", "train", train, label_of,
                            [](int row, int p) { return pixel_of(row, p, 0); });
    testing::write_pictures(path_ + "/data/mnist", "t10k", test, label_of,
                            [=](int row, int p) { return pixel_of(row, p, salt); });
  }
  // Runs with `json` (without its braces) on the files of write_pictures().
  RecipeResult run_on_pictures(const char* recipe, const std::string& json, const char* folder = "run") {
    return run(recipe, R"({"data": ")" + path_ + "/data\"" + (json.empty() ? "" : ", ") + json + "}", {},
               folder);
  }
};
GPUNN_ON_EVERY_DEVICE(DataRecipeTest);

// 784-32-32-10 with sigmoids and softmax cross-entropy in double, one row at a time.
class OnlineReference {
 public:
  explicit OnlineReference(const RecipeResult& start, const std::string& prefix) {
    for (const char* name : {"first", "second", "out"}) {
      const std::vector<float> w = stored(start, prefix + name + ".weight");
      const std::vector<float> b = stored(start, prefix + name + ".bias");
      weights_.emplace_back(w.begin(), w.end());
      biases_.emplace_back(b.begin(), b.end());
    }
  }
  const std::vector<double>& weights(std::size_t layer) const { return weights_[layer]; }

  void step(const std::vector<double>& x, int label, double lr) {
    std::vector<std::vector<double>> values{x};
    for (std::size_t l = 0; l < 3; ++l) values.push_back(layer(l, values.back(), l < 2));
    std::vector<double> delta = values.back();
    const double top = *std::max_element(delta.begin(), delta.end());
    double total = 0;
    for (double& d : delta) total += d = std::exp(d - top);
    for (double& d : delta) d /= total;
    delta[static_cast<std::size_t>(label)] -= 1;
    for (std::size_t l = 3; l-- > 0;) {
      const std::vector<double>& in = values[l];
      std::vector<double> back(in.size());
      for (std::size_t o = 0; o < delta.size(); ++o) {
        for (std::size_t i = 0; i < in.size(); ++i) {
          double& w = weights_[l][o * in.size() + i];
          back[i] += delta[o] * w;
          w -= lr * delta[o] * in[i];
        }
        biases_[l][o] -= lr * delta[o];
      }
      for (std::size_t i = 0; i < in.size(); ++i) back[i] *= in[i] * (1 - in[i]);
      delta = std::move(back);
    }
  }

 private:
  std::vector<double> layer(std::size_t l, const std::vector<double>& in, bool squash) const {
    std::vector<double> out = biases_[l];
    for (std::size_t o = 0; o < out.size(); ++o) {
      for (std::size_t i = 0; i < in.size(); ++i) out[o] += weights_[l][o * in.size() + i] * in[i];
      if (squash) out[o] = 1 / (1 + std::exp(-out[o]));
    }
    return out;
  }
  std::vector<std::vector<double>> weights_, biases_;
};

TEST_P(DataRecipeTest, OnlineStepsAreThoseOfTheFileInOrder) {
  write_pictures(30, 10);
  const RecipeResult start = run_on_pictures("mnist-online", R"("epochs": 0)", "start");
  const int steps = few(12, 4);
  const RecipeResult moved =
      run_on_pictures("mnist-online", R"("lr": 0.2, "steps": )" + std::to_string(steps), "moved");
  EXPECT_EQ(moved.steps, 2 * steps);
  for (const auto& [prefix, divisor] : {std::pair{"raw.", 1.0}, std::pair{"scaled.", 255.0}}) {
    OnlineReference reference(start, prefix);
    for (int row = 0; row < steps; ++row) {
      std::vector<double> x;
      for (int p = 0; p < kPixels; ++p) x.push_back(pixel_of(row, p, 0) / divisor);
      reference.step(x, label_of(row), 0.2);
    }
    std::size_t layer = 0;
    for (const char* name : {"first", "second", "out"}) {
      const std::vector<float> got = stored(moved, std::string(prefix) + name + ".weight");
      const std::vector<double>& want = reference.weights(layer++);
      ASSERT_EQ(got.size(), want.size());
      double worst = 0;
      for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - want[i]));
      EXPECT_LE(worst, 2e-5) << prefix << name;
    }
  }
}

TEST_P(DataRecipeTest, MnistOnline) {
  const int rows = few(60, 6);
  write_pictures(rows, few(40, 10));
  const RecipeResult both = run_on_pictures("mnist-online", R"("epochs": 2)");
  EXPECT_EQ(both.steps, 4 * rows);
  EXPECT_FALSE(both.reached) << "too few steps for scaled pixels";
  Metrics m = metrics_of(both);
  for (const char* key : {"raw_test_accuracy_epoch_1", "raw_test_accuracy_epoch_2", "scaled_test_accuracy",
                          "scaled_test_loss", "raw_train_loss"})
    EXPECT_TRUE(m.count(key)) << key;
  EXPECT_GT(m["raw_saturated_before"], 0.5);
  EXPECT_LT(m["scaled_saturated_before"], 0.1);
  const std::string lines = read_text_file(both.run_dir + "/metrics.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 4);
  const std::string report = read_text_file(both.report);
  for (const char* part : {"Test part, bytes 0 to 255", "Test part, bytes / 255", "saturated", "Accuracy"})
    EXPECT_NE(report.find(part), std::string::npos) << part;

  // Neither run knows of the other.
  const RecipeResult raw = run_on_pictures("mnist-online", R"("epochs": 2, "pixels": "raw")", "raw");
  const RecipeResult scaled = run_on_pictures("mnist-online", R"("epochs": 2, "pixels": "scaled")", "scaled");
  EXPECT_EQ(raw.steps, 2 * rows);
  EXPECT_EQ(metrics_of(raw)["raw_test_loss"], m["raw_test_loss"]);
  EXPECT_EQ(metrics_of(scaled)["scaled_test_loss"], m["scaled_test_loss"]);
  EXPECT_EQ(metrics_of(scaled).count("raw_test_loss"), 0U);
}

TEST_P(DataRecipeTest, OnlineRunsStop) {
  write_pictures(30, 10);
  const int steps = few(20, 3);
  int asked = 0;
  RecipeHooks hooks;
  hooks.stop = [&] { return ++asked >= steps; };
  const RecipeResult result = run("mnist-online", R"({"data": ")" + path_ + "/data\"}", hooks);
  EXPECT_EQ(result.steps, steps);
  EXPECT_TRUE(result.stopped);
  EXPECT_FALSE(result.reached);
  EXPECT_EQ(load_safetensors(result.run_dir + "/weights.safetensors").size(), 6U) << "one network";
}

TEST_P(DataRecipeTest, HandFeatures) {
  write_pictures(200, 50);
  const RecipeResult result =
      run_on_pictures("hand-features", R"("epochs": 3, "batch_size": 20, "hidden": 16)");
  EXPECT_EQ(result.steps, 60);
  Metrics m = metrics_of(result);
  // The band's height says the class; no feature knows where it is.
  EXPECT_GT(m["pixels_test_accuracy"], 0.9);
  EXPECT_LT(m["features_test_accuracy"], m["pixels_test_accuracy"]);
  EXPECT_EQ(m["largest_class_share"], 0.1);
  EXPECT_TRUE(result.reached);
  const std::string report = read_text_file(result.report);
  for (const char* part : {"seven features", "784 pixels", "slant", "holes", "data:image/png"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
}

TEST_P(DataRecipeTest, FeaturesAreStandardisedOnTheTrainingPartOnly) {
  write_pictures(60, 20);
  const char* json = R"("epochs": 1, "hidden": 4)";
  const RecipeResult first = run_on_pictures("hand-features", json, "first");
  write_pictures(60, 20, 17);
  const RecipeResult second = run_on_pictures("hand-features", json, "second");
  EXPECT_EQ(second.weights_sha256, first.weights_sha256) << "mean and deviation are among them";
  EXPECT_NE(metrics_of(second)["features_test_loss"], metrics_of(first)["features_test_loss"]);

  double sum = 0;
  for (int row = 0; row < 60; ++row)
    for (int p = 0; p < kPixels; ++p) sum += pixel_of(row, p, 0) / 255.0;
  const double mean = sum / (60 * kPixels);
  EXPECT_NEAR(stored(first, "features.mean")[0], mean, 1e-6) << "the first feature is the mean of the pixels";
  EXPECT_NEAR(stored(first, "pixels.mean")[0], mean, 1e-6);
}

// A picture from text: '#' is ink.
std::vector<float> drawn(const std::vector<std::string>& rows) {
  std::vector<float> pixels;
  for (const std::string& row : rows)
    for (const char c : row) pixels.push_back(c == '#' ? 1.0F : 0.0F);
  return pixels;
}

TEST_P(DataRecipeTest, ShapeFeaturesOfDrawings) {
  const std::vector<std::string> ring{"......", ".####.", ".#..#.", ".####.", "......"};
  const std::vector<std::string> line{"#.....", ".#....", "..#...", "...#..", "....#."};
  const std::vector<std::string> blank(5, "......");
  std::vector<float> pixels;
  for (const auto& rows : {ring, line, blank})
    for (const float v : drawn(rows)) pixels.push_back(v);
  const Tensor x = Tensor::from(pixels, {3, 5, 6}).to(device());
  const Tensor features = detail::shape_features(x);
  ASSERT_EQ(features.shape(), (Shape{3, 7}));
  ASSERT_EQ(detail::shape_feature_names().size(), 7U);
  const std::vector<float> f = features.to_vector<float>();
  const double want[2][7] = {{10.0 / 30, 4.0 / 6, 3.0 / 5, 0, 0, 0, 1},
                             // Mirrored, the line meets itself nowhere (left-right) and in one pixel.
                             {5.0 / 30, 5.0 / 6, 1, 2, 1.6, 1, 0}};
  for (std::size_t p = 0; p < 2; ++p)
    for (std::size_t i = 0; i < 7; ++i)
      EXPECT_NEAR(f[p * 7 + i], want[p][i], 2e-4) << p << ' ' << detail::shape_feature_names()[i].name;
  for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(f[14 + i], 0) << detail::shape_feature_names()[i].name;
  EXPECT_THROW(detail::shape_features(x.reshape({3, 30})), InvalidArgument);
}

TEST(ShapeFeatureTest, HolesAreEnclosedPaper) {
  EXPECT_EQ(detail::count_holes(drawn({".###.", ".#.#.", ".###.", ".#.#.", ".###."}), 5, 5), 2);
  // Ink that touches at corners encloses; paper at the border does not count; an open ring has no hole.
  EXPECT_EQ(detail::count_holes(drawn({"..#..", ".#.#.", "..#..", ".....", "....."}), 5, 5), 1);
  EXPECT_EQ(detail::count_holes(drawn({"#.#..", "###..", ".....", "..###", "..#.#"}), 5, 5), 0);
  EXPECT_EQ(detail::count_holes(drawn({"#"}), 1, 1), 0);
}

TEST_P(DataRecipeTest, Dimensionality) {
  const RecipeResult result =
      run("dimensionality", R"({"pairs": 3000, "dimensions": 120, "pictures": 64, "epochs": 1})");
  EXPECT_TRUE(result.reached);
  EXPECT_EQ(result.steps, 3);
  Metrics m = metrics_of(result);
  EXPECT_NEAR(m["mean_distance_1"], 1.0 / 3, 0.02);
  EXPECT_NEAR(m["rms_distance_100"], std::sqrt(100.0 / 6), 0.05);
  EXPECT_LE(m["holds_from_dimension"], m["checked_from_dimension"]);
  EXPECT_LE(m["worst_difference_checked"], 0.02);
  for (const char* key : {"step_seconds_32", "step_seconds_64", "step_seconds_128"})
    EXPECT_GT(m[key], 0) << key;
  const std::string lines = read_text_file(result.run_dir + "/metrics.jsonl");
  EXPECT_EQ(std::count(lines.begin(), lines.end(), '\n'), 120) << "every d";
  const std::string report = read_text_file(result.report);
  for (const char* part : {"sqrt(d/6)", "7/(40 d)", "Time of a training step", "128 x 128"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
}

TEST(DistanceStudyTest, ReachedIsMeasured) {
  detail::DistanceStudy study{.pairs = 40000, .mean = {}, .rms = {}};
  for (std::size_t d = 1; d <= 1000; ++d) {
    study.rms.push_back(detail::DistanceStudy::theory(d));
    study.mean.push_back(study.rms.back() * (1 + detail::DistanceStudy::correction(d)));
  }
  EXPECT_EQ(study.holds_from(0.02), 9U) << "7/(40 * 9) is 1.94 %";
  EXPECT_EQ(study.checked_from(0.02), 11U);
  EXPECT_TRUE(study.agrees(0.02));
  detail::DistanceStudy worse = study;
  worse.mean[499] *= 1.03;
  EXPECT_EQ(worse.holds_from(0.02), 501U);
  EXPECT_FALSE(worse.agrees(0.02));
  worse = study;
  worse.rms[0] *= 1.02;
  EXPECT_FALSE(worse.agrees(0.02)) << "the root mean square counts for every d";
  worse = study;
  worse.mean[499] = std::numeric_limits<double>::quiet_NaN();
  EXPECT_FALSE(worse.agrees(0.02));
  worse.mean.resize(5), worse.rms.resize(5);
  EXPECT_FALSE(worse.agrees(0.02)) << "nothing was checked";
}

TEST_P(DataRecipeTest, LearningRates) {
  if (!full_length(device())) {
    const RecipeResult result = run("learning-rates", R"({"epochs": 1, "batch_size": 256, "hidden": 8})");
    EXPECT_EQ(result.steps, 24);
    EXPECT_FALSE(result.reached);
    return;
  }
  const RecipeResult result = run("learning-rates", "{}");
  EXPECT_EQ(result.steps, 4 * 30 * 90);
  EXPECT_TRUE(result.reached);
  Metrics m = metrics_of(result);
  EXPECT_EQ(result.train_loss, m["lr_0.1_train_loss"]) << "of the lowest curve";
  EXPECT_GT(m["lr_0.1_test_accuracy"], 0.94);
  EXPECT_LT(m["lr_0.001_test_accuracy"], 0.6);
  const std::string report = read_text_file(result.report);
  for (const char* part : {"too slow", "unstable", "Training loss", "epochs that rose"})
    EXPECT_NE(report.find(part), std::string::npos) << part;
}

TEST(RateVerdictTest, FollowsTheStatedRules) {
  using detail::judge_rate;
  using detail::RateVerdict;
  using Losses = std::vector<double>;
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(judge_rate(2, Losses{1.9, 1.8, 1.7, 1.6}), RateVerdict::too_slow);
  EXPECT_EQ(judge_rate(2, Losses{1.5, 1.2, 1.1, 1.0}), RateVerdict::slow) << "half of the start is enough";
  EXPECT_EQ(judge_rate(2, Losses{0.5, 0.3, 0.4, 0.1}), RateVerdict::good) << "rises do not matter here";
  EXPECT_EQ(judge_rate(2, Losses{1.5, 1.6, 1.2, 1.0}), RateVerdict::unstable) << "one rise of four";
  EXPECT_EQ(judge_rate(2, Losses{1.5, 1.6, 1.2, 1.1, 1.0}), RateVerdict::slow) << "one rise of five";
  EXPECT_EQ(judge_rate(2, Losses{2.5, 1.9, 1.8, 1.7}), RateVerdict::unstable) << "a rise above the start";
  EXPECT_EQ(judge_rate(2, Losses{1, 2}), RateVerdict::diverges) << "back at the start";
  EXPECT_EQ(judge_rate(2, Losses{kInf, 0.01}), RateVerdict::diverges);
  EXPECT_EQ(judge_rate(2, Losses{1, kNan}), RateVerdict::diverges);
  EXPECT_THROW(judge_rate(2, Losses{}), InvalidArgument);
}

TEST(ReportPartsTest, NumbersAsText) {
  EXPECT_EQ(detail::fixed(1.25, 1), "1.2");
  EXPECT_EQ(detail::fixed(-0.004, 2), "0.00");
  EXPECT_EQ(detail::fixed(-0.006, 2), "-0.01");
  EXPECT_EQ(detail::fixed(std::numeric_limits<double>::quiet_NaN(), 2), "nan");
  EXPECT_EQ(detail::percent(0.97421), "97.42 %");
}

}  // namespace
}  // namespace gpunn
