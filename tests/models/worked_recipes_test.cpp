// Recipes of hand computations: they reach their figures, their reports have what they should, and a wrong
// number would be noticed.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/recipes/detail/worked_numbers.h"
#include "tests/io/markup.h"
#include "tests/models/recipe_testing.h"

namespace gpunn {
namespace {

using Metrics = std::map<std::string, double>;

class WorkedRecipeTest : public testing::RecipeTest {
 protected:
  void expect_in_report(const RecipeResult& result, std::initializer_list<const char*> parts) {
    const std::string report = read_text_file(result.report);
    testing::expect_well_formed(report);
    for (const char* part : parts) EXPECT_NE(report.find(part), std::string::npos) << part;
  }
};
GPUNN_ON_EVERY_DEVICE(WorkedRecipeTest);

TEST_P(WorkedRecipeTest, ForwardTrace) {
  const RecipeResult result = run("forward-trace", "{}");
  EXPECT_TRUE(result.reached);
  EXPECT_EQ(result.steps, 0);
  const Metrics metrics(result.metrics.begin(), result.metrics.end());
  EXPECT_LE(metrics.at("worst_error"), 1e-6);
  EXPECT_NEAR(metrics.at("output"), 1 / (1 + std::exp(-0.87)), 1e-6);
  // Every product, sum and activation is there, and the network with its weights.
  expect_in_report(result, {"2*0.5 + 3*0.2", "2*-0.3 + 3*0.6", "2*0.8 + 3*-0.4", "1.6 + 0.1", "relu(1.7)",
                            "1.7*0.4 + 1*-0.5 + 0.7*0.7", "0.67 + 0.2", "sigmoid(0.87)", "0.704746",
                            "bias -0.2", "<title>2 to 3: -0.4</title>"});
  EXPECT_TRUE(path_exists(result.run_dir + "/network.svg"));
}

TEST_P(WorkedRecipeTest, WorkedNumbers) {
  const RecipeResult result = run("worked-numbers", "{}");
  const Metrics metrics(result.metrics.begin(), result.metrics.end());
  const auto count = static_cast<double>(detail::worked_numbers().size());
  EXPECT_TRUE(result.reached);
  EXPECT_EQ(metrics.at("checks"), count);
  EXPECT_EQ(metrics.at("agreeing"), count);
  EXPECT_LE(metrics.at("worst_share_of_tolerance"), 1);
  expect_in_report(result, {"0.233 0.086 0.035 0.634 0.012", "0.0513 0.6931 2.9957", "0.04518", "0.00987",
                            "1020", "2.3026", "1.950 1.948 1.930 1.750", "Their derivatives"});
}

TEST_P(WorkedRecipeTest, AutogradDemo) {
  for (const char* json : {R"({"seed": 0})", R"({"seed": 7})"}) {
    const RecipeResult result = run("autograd-demo", json);
    const Metrics metrics(result.metrics.begin(), result.metrics.end());
    EXPECT_TRUE(result.reached) << metrics.at("worst_error");
    EXPECT_EQ(metrics.at("sum_error"), 0);
    expect_in_report(result, {"y = a + b", "y = a^2 b", "y = sum(Ax + b)", "<svg"});
    // Two products, the first with a twice; the result hangs on the second.
    const std::string dot = read_text_file(result.run_dir + "/product.dot");
    EXPECT_EQ(testing::count_of(dot, "label=\"mul\""), 2U) << dot;
    EXPECT_EQ(testing::count_of(dot, " -> "), 5U) << dot;
    const std::string linear = read_text_file(result.run_dir + "/linear.dot");
    for (const char* part : {"label=\"sum\"", "label=\"add\"", "label=\"A\\n[3, 4]\"", "label=\"x\\n[4]\""})
      EXPECT_NE(linear.find(part), std::string::npos) << linear;
    testing::expect_well_formed(read_text_file(result.run_dir + "/linear.svg"));
  }
}

TEST(WorkedNumbers, RowsHaveNamesOfTheirOwnAndReadableResults) {
  std::set<std::string> names;
  for (const detail::WorkedNumber& n : detail::worked_numbers()) {
    EXPECT_TRUE(names.insert(n.what).second) << n.what;
    for (const char* text : {n.group, n.inputs, n.how}) EXPECT_STRNE(text, "") << n.what;
    EXPECT_FALSE(detail::stated_numbers(n.stated).empty()) << n.what;
  }
}

TEST(WorkedNumbers, ToleranceIsHalfAUnitOfTheLastDigit) {
  const auto stated = detail::stated_numbers("0.233 -2.1 1020 0");
  ASSERT_EQ(stated.size(), 4U);
  EXPECT_DOUBLE_EQ(stated[0].tolerance, 0.0005);
  EXPECT_DOUBLE_EQ(stated[1].value, -2.1);
  EXPECT_DOUBLE_EQ(stated[1].tolerance, 0.05);
  EXPECT_DOUBLE_EQ(stated[2].tolerance, 1020e-6);
  EXPECT_DOUBLE_EQ(stated[3].tolerance, 1e-6);
  for (const char* text : {"x", "1.5  2", "1,5", "nan", "1e4", "0.5x", " 1"})
    EXPECT_THROW(detail::stated_numbers(text), InvalidArgument) << text;
}

TEST(WorkedNumbers, WrongNumbersAreNoticed) {
  const auto share = [](const char* stated, std::vector<double> ours) {
    return detail::worst_share_of_tolerance(stated, ours);
  };
  EXPECT_LE(share("0.233 0.086", {0.2334, 0.0859}), 1);
  EXPECT_GT(share("0.233 0.086", {0.2336, 0.086}), 1);
  EXPECT_GT(share("0.233 0.086", {0.233, 0.0854}), 1);
  EXPECT_GT(share("1020", {1020.01}), 1);
  EXPECT_GT(share("0.233", {0.233, 0.086}), 1) << "one too many";
  EXPECT_GT(share("0.233 0.086", {0.233}), 1) << "one missing";
  EXPECT_GT(share("0.233", {std::nan("")}), 1);
  EXPECT_GT(share("0.233", {std::numeric_limits<double>::infinity()}), 1);
}

TEST(RecipeNumbers, LargestDifference) {
  const std::vector<double> a{1, 2, 3}, b{1, 2.5, 2.75}, shorter{1, 2}, odd{1, std::nan(""), 3};
  EXPECT_EQ(detail::largest_difference(a, b), 0.5);
  EXPECT_EQ(detail::largest_difference({}, {}), 0);
  EXPECT_TRUE(std::isinf(detail::largest_difference(a, shorter)));
  EXPECT_TRUE(std::isinf(detail::largest_difference(a, odd)));
  EXPECT_TRUE(std::isinf(detail::largest_difference(odd, odd)));
}

}  // namespace
}  // namespace gpunn
