#pragma once
// What hand_features.cpp measures and hand_features_report.cpp draws.
#include <string>
#include <vector>

#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// The classifier on one kind of inputs.
struct InputRun {
  const char* key;    // "features"
  const char* title;  // "seven features"
  TrainResult trained{};
  std::vector<std::int64_t> counts{};  // [10, 10], true class by predicted one
  std::string model{};                 // its summary

  double accuracy() const { return trained.test ? trained.test->accuracy.value_or(0) : 0; }
};

struct HandFeaturesRun {
  std::vector<std::string> classes{};
  std::vector<InputRun> inputs{};         // features, then pixels where they were reached
  std::vector<double> class_means{};      // [classes, features], standardised, of the training part
  double guessing = 0;                    // share of the most frequent class of the test part
  std::vector<CaptionedPicture> shown{};  // a test picture of each class
  std::vector<std::vector<float>> shown_features{};
};

void write_hand_features_report(RecipeContext& context, const HandFeaturesRun& run,
                                const RecipeResult& result);

}  // namespace gpunn::detail
