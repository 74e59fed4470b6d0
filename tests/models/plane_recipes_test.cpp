// Recipes whose pictures live in the plane: perceptrons, circles, boxes, descents; and the pictures
// themselves.
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/io/file.h"
#include "gpunn/models/recipes/detail/box_run.h"
#include "gpunn/models/recipes/detail/descent.h"
#include "gpunn/models/recipes/detail/perceptron_run.h"
#include "gpunn/models/recipes/detail/plane.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using testing::full_length;
using Metrics = std::map<std::string, double>;

class PlaneRecipeTest : public testing::RecipeTest {
 protected:
  static Metrics metrics(const RecipeResult& result) {
    return {result.metrics.begin(), result.metrics.end()};
  }
  static void expect_in_report(const RecipeResult& result, std::initializer_list<const char*> parts) {
    const std::string report = read_text_file(result.report);
    for (const char* part : parts) EXPECT_NE(report.find(part), std::string::npos) << part;
  }
};
GPUNN_ON_EVERY_DEVICE(PlaneRecipeTest);

TEST_P(PlaneRecipeTest, PerceptronsLearnAndAndOr) {
  for (const char* recipe : {"perceptron-and", "perceptron-or"}) {
    // Statistics are for the CPU; an emulated device is slow.
    const RecipeResult result = run(recipe, device().is_cpu() ? "{}" : R"({"draws": 20})");
    EXPECT_TRUE(result.reached) << recipe;
    EXPECT_EQ(result.steps, 40);
    Metrics m = metrics(result);
    EXPECT_EQ(m["accuracy"], 1);
    EXPECT_EQ(m["output_00"] + 2 * m["output_11"], 2);
    EXPECT_GE(m["first_epoch_all_right"], 1);
    expect_in_report(result, {"Decision boundary", "after epoch 9", "all four rows right"});
    if (recipe == std::string("perceptron-or")) {
      EXPECT_EQ(m["draws_learned"], m["draws"]);
    } else if (device().is_cpu()) {
      // 42.5 % of 100,000 draws (a check in double); six standard errors of 1,000.
      EXPECT_EQ(m["draws"], 1000);
      EXPECT_NEAR(m["draws_learned"] / 1000, 0.425, 6 * std::sqrt(0.425 * 0.575 / 1000));
    }
  }
  // Fewer passes than it takes.
  EXPECT_FALSE(run("perceptron-and", R"({"epochs": 1, "draws": 1})").reached);
}

TEST_P(PlaneRecipeTest, PerceptronFailsAtXorInItsOneWay) {
  const RecipeResult result = run("perceptron-xor", R"({"draws": 10})");
  EXPECT_TRUE(result.reached);
  Metrics m = metrics(result);
  EXPECT_EQ(m["accuracy"], 0.5);
  EXPECT_EQ(m["bias"], 0);
  EXPECT_EQ(m["weight_1"], static_cast<double>(-0.1f));
  EXPECT_EQ(m["weight_2"], 0);
  for (const char* row : {"output_00", "output_01"}) EXPECT_EQ(m[row], 1) << row;
  for (const char* row : {"output_10", "output_11"}) EXPECT_EQ(m[row], 0) << row;
  EXPECT_EQ(m.count("first_epoch_all_right"), 0u);
  EXPECT_EQ(m["draws_learned"], 0);
  EXPECT_FALSE(run("perceptron-xor", R"({"draws": 10, "init_std": 1})").reached);
}

TEST_P(PlaneRecipeTest, PerceptronsSideBySideAreIndependent) {
  NoGrad no_grad;
  manual_seed(3);
  detail::Perceptrons many(20, 1, device());
  const std::vector<float> w = many.weights.to_vector<float>(), b = many.biases.to_vector<float>();
  const Tensor x = Tensor::from({1, -2}).reshape({1, 2}).to(device()), y = ones({1, 1}, {.device = device()});
  const double error = many.learn(x, y, 0.5).item();
  const std::vector<float> after = many.weights.to_vector<float>(), bias = many.biases.to_vector<float>();
  int wrong = 0;
  for (std::size_t s = 0; s < 20; ++s) {
    const bool fires = w[2 * s] - 2 * w[2 * s + 1] + b[s] >= 0;
    wrong += fires ? 0 : 1;
    EXPECT_FLOAT_EQ(after[2 * s], w[2 * s] + (fires ? 0 : 0.5f));
    EXPECT_FLOAT_EQ(after[2 * s + 1], w[2 * s + 1] - (fires ? 0 : 1.0f));
    EXPECT_FLOAT_EQ(bias[s], b[s] + (fires ? 0 : 0.5f));
  }
  EXPECT_GT(wrong, 2);
  EXPECT_LT(wrong, 18);
  EXPECT_NEAR(error, wrong / 20.0, 1e-6);
}

TEST_P(PlaneRecipeTest, Circles) {
  if (!full_length(device())) {
    const RecipeResult result = run("circles", R"({"epochs": 1, "batch_size": 100})");
    EXPECT_EQ(result.steps, 4);
    EXPECT_FALSE(result.reached);
    return;
  }
  const RecipeResult result = run("circles", "{}");
  EXPECT_EQ(result.steps, 4000);
  EXPECT_TRUE(result.reached);
  Metrics m = metrics(result);
  EXPECT_NEAR(m["logistic_fresh_accuracy"], 0.5, 0.15);
  EXPECT_GE(m["mlp_fresh_accuracy"], 0.99);
  expect_in_report(result, {"logistic: regions", "network: the output as a surface", "hidden neuron 8"});
}

TEST_P(PlaneRecipeTest, BoxApproximation) {
  const bool small = !device().is_cpu();
  const RecipeResult result =
      run("box-approximation", small ? R"({"boxes": 16, "boxes_2d": 16, "points": 1})"
                                     : R"({"boxes": 64, "boxes_2d": 16, "points": 64})");
  EXPECT_TRUE(small || result.reached);
  Metrics m = metrics(result);
  EXPECT_EQ(m["single_box_mismatches"], 0);
  // Half a box times the steepest slope, which the ends of the boxes come close to.
  const double half_box = 3.0 / (small ? 16 : 64);
  for (const auto& [key, steepest] :
       {std::pair{"sin", 1.0}, {"square", 6.0}, {"gaussian", std::sqrt(2 / std::exp(1.0))}}) {
    const double bound = half_box * steepest, error = m[std::string(key) + "_largest_error"];
    EXPECT_LE(error, bound * (1 + 1e-5)) << key;
    EXPECT_GE(error, bound * (small ? 0.8 : 0.95)) << key;
  }
  expect_in_report(result, {"Error and cost", "exact", "256 boxes"});
}

TEST_P(PlaneRecipeTest, BoxesTileTheLine) {
  NoGrad no_grad;
  DeviceScope scope(device());
  detail::BoxLayer boxes(7, 2);
  std::vector<float> x;
  for (int i = 0; i <= 400; ++i) x.push_back(-2.5f + 5.0f * static_cast<float>(i) / 400);
  for (int i = 0; i <= 7; ++i) x.push_back(static_cast<float>(-2 + 4.0 * i / 7));  // the edges themselves
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<float> in = boxes(Tensor::from(x, {n, 1}).to(device())).to_vector<float>();
  for (std::size_t i = 0; i < x.size(); ++i) {
    float total = 0;
    for (std::size_t b = 0; b < 7; ++b) {
      EXPECT_TRUE(in[7 * i + b] == 0 || in[7 * i + b] == 1);
      total += in[7 * i + b];
    }
    EXPECT_EQ(total, x[i] >= -2 && x[i] < 2 ? 1 : 0) << x[i];
  }
}

TEST_P(PlaneRecipeTest, GradientDescent) {
  const RecipeResult result = run("gradient-descent", R"({"epochs": 2, "rows": 20})");
  EXPECT_TRUE(result.reached);
  // Six paths of 50, one of 100; 1 + 20 + 2 steps an epoch.
  EXPECT_EQ(result.steps, 400 + 2 * 23);
  Metrics m = metrics(result);
  EXPECT_LE(m["largest_difference"], 1e-6);
  EXPECT_GT(m["largest_difference"], 0) << "f32 rounds";
  // More steps come nearer.
  EXPECT_LT(m["mini_batch_from_least_squares"], m["batch_from_least_squares"]);
  expect_in_report(result, {"From 7", "class=\"contour\"", "mini-batch of 16"});
  EXPECT_FALSE(run("gradient-descent", R"({"epochs": 1, "steps": 3})").reached);
}

TEST_P(PlaneRecipeTest, Rosenbrock) {
  const RecipeResult result =
      full_length(device()) ? run("rosenbrock", "{}") : run("rosenbrock", R"({"steps": 60})");
  EXPECT_EQ(result.reached, full_length(device()));
  EXPECT_EQ(result.steps, full_length(device()) ? 1500 : 180);
  Metrics m = metrics(result);
  EXPECT_LE(m["sgd_difference_from_f64"], 1e-5);
  EXPECT_LE(m["rmsprop_difference_from_f64"], 1e-4);
  EXPECT_LE(m["adam_difference_from_f64"], 1e-5);
  for (const char* key : {"sgd_difference_from_f64", "adam_difference_from_f64"}) EXPECT_GT(m[key], 0) << key;
  expect_in_report(result, {"RMSprop", "class=\"ring\"", "asked for"});
}

TEST_P(PlaneRecipeTest, StoppedRunsHaveNotReachedTheirFigure) {
  if (!device().is_cpu()) return;  // the same code everywhere, and slow on an emulated device
  RecipeHooks hooks;
  hooks.stop = [] { return true; };
  for (const char* recipe : {"perceptron-and", "perceptron-xor", "circles", "box-approximation",
                             "gradient-descent", "rosenbrock"}) {
    const RecipeResult result = run(recipe, "{}", hooks);
    EXPECT_TRUE(result.stopped) << recipe;
    EXPECT_FALSE(result.reached) << recipe;
    EXPECT_NE(read_text_file(result.report).find("</html>"), std::string::npos) << recipe;
  }
}

TEST(PlanePictures, MapsShowValuesUpwardsAndMarkPoints) {
  const detail::PlaneWindow window{0, 2, 10, 14};
  const Tensor points = detail::plane_points(window, 3);
  EXPECT_EQ(points.to_vector<float>(),
            (std::vector<float>{0, 14, 1, 14, 2, 14, 0, 12, 1, 12, 2, 12, 0, 10, 1, 10, 2, 10}));
  std::vector<float> values(81, 0.0f);
  values[0] = 1;  // top left
  values[8] = 0.75f;
  values[80] = std::numeric_limits<float>::quiet_NaN();
  const auto pixel = [](const Picture& picture, int x, int y) {
    const auto* p = picture.pixels.data() + 3 * (y * picture.width + x);
    return std::vector<int>{p[0], p[1], p[2]};
  };
  Picture map = detail::plane_map(values, 9, window, {});
  EXPECT_EQ(pixel(map, 0, 0), (std::vector<int>{178, 24, 43}));
  EXPECT_EQ(pixel(map, 1, 0), (std::vector<int>{33, 102, 172}));
  EXPECT_EQ(pixel(map, 8, 0), (std::vector<int>{213, 136, 145}));
  map = detail::plane_map(values, 9, window, {}, true);
  EXPECT_EQ(pixel(map, 0, 0), pixel(map, 8, 0)) << "both above one half";
  EXPECT_NE(pixel(map, 0, 0), pixel(map, 1, 0));
  // A point in the middle of the window, and one at its upper rim that is cut off.
  const detail::PlanePoint marks[] = {{1, 12, true}, {2, 14, false}};
  map = detail::plane_map(values, 9, window, marks);
  EXPECT_EQ(pixel(map, 4, 4), (std::vector<int>{255, 255, 255}));
  EXPECT_EQ(pixel(map, 2, 2), (std::vector<int>{110, 110, 110}));
  EXPECT_EQ(pixel(map, 8, 0), (std::vector<int>{0, 0, 0}));
  EXPECT_THROW(detail::plane_map(values, 8, window, {}), InvalidArgument);
  EXPECT_THROW(detail::plane_surface(values, 10), InvalidArgument);
  EXPECT_THROW(detail::plane_points(window, 1), InvalidArgument);
}

TEST(PlanePictures, SurfacesRiseWithTheirValues) {
  // The highest row of the picture that is not white.
  const auto top = [](const Picture& picture) {
    std::size_t i = 0;
    while (picture.pixels[i] == 255) ++i;
    return static_cast<int>(i) / (3 * picture.width);
  };
  const int low = top(detail::plane_surface(std::vector<float>(100, 0.0f), 10));
  const int high = top(detail::plane_surface(std::vector<float>(100, 0.9f), 10));
  EXPECT_NEAR(low - high, 0.9 * 0.4 * 290, 2);
}

TEST(Descent, DifferencesSeeNotANumber) {
  const std::vector<std::vector<double>> a{{0, 0}, {1, 2}, {3, 3}};
  std::vector<std::vector<double>> b{{0, 0}, {1.5, 2}, {3, 13}};
  EXPECT_EQ(detail::largest_difference(a, b, 2), 0.5);
  EXPECT_EQ(detail::largest_difference(a, b, 99), 10);
  b[1][0] = std::nan("");
  EXPECT_EQ(detail::largest_difference(a, b, 99), std::numeric_limits<double>::infinity());
}

}  // namespace
}  // namespace gpunn
