#pragma once
// What mnist_online.cpp measures and mnist_online_report.cpp draws.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// One of the two ways to give the pictures to the network.
struct OnlineSystem {
  const char* key;  // "raw"
  const char* title;
  float divisor;    // of the bytes 0 to 255
  double accuracy;  // to reach on the test part
};

struct OnlineRun {
  const OnlineSystem* system;
  TrainResult trained{};
  double saturated_before = 0, saturated_after = 0;  // share of the first layer's outputs near 0 or 1
  std::vector<std::int64_t> counts{};                // [10, 10], true class by predicted one
  std::string model{};                               // its summary

  double accuracy() const { return trained.test ? trained.test->accuracy.value_or(0) : 0; }
};

/// `classes`: their names.
void write_online_report(RecipeContext& context, const std::vector<OnlineRun>& runs,
                         const std::vector<std::string>& classes, const RecipeResult& result);

}  // namespace gpunn::detail
