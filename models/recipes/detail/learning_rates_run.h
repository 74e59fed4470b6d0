#pragma once
// What learning_rates.cpp measures and learning_rates_report.cpp draws.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

enum class RateVerdict : std::uint8_t { too_slow, slow, good, unstable, diverges };
/// "too slow", …
const char* name_of(RateVerdict verdict) noexcept;

inline constexpr double kGoodShare = 0.05, kSlowShare = 0.5, kUnstableShare = 0.25;

/// What the training losses after each epoch say, `start` being the one before the first. The first rule that
/// fits decides:
///   diverges   a loss is not finite, or the last one is not below the start
///   good       the last one is at most 5 % of the start
///   unstable   the loss rose in a quarter of the epochs or more
///   slow       the last one is at most half of the start
///   too slow   otherwise
/// Throws InvalidArgument without any losses.
RateVerdict judge_rate(double start, std::span<const double> losses);
/// Share of the epochs in which the loss rose.
double share_of_rises(double start, std::span<const double> losses);

struct RateRun {
  std::string rate;  // "0.001"
  TrainResult trained{};
  double start = 0;              // training loss before the first step
  std::vector<double> losses{};  // of the whole training part after each epoch
  RateVerdict verdict{};

  double accuracy() const { return trained.test ? trained.test->accuracy.value_or(0) : 0; }
};

void write_learning_rates_report(RecipeContext& context, const std::vector<RateRun>& runs,
                                 const RecipeResult& result);

}  // namespace gpunn::detail
