#pragma once
// What vanishing_gradient.cpp measures and vanishing_report.cpp draws.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/layers/recurrent.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// A chain h_t = sigmoid(w h_(t-1) + b) at its fixed point 1/2, where the slope is 1/4: the gradient of h_T
/// by h_0 is (w / 4)^T.
struct ChainPoint {
  std::int64_t steps;
  double closed, measured;
};

enum class RecurrentStart : std::uint8_t { usual, tenth, open_gates };

/// A recurrent layer and how its weights begin.
struct MemorySystem {
  const char* key;
  const char* title;
  RnnMode mode;
  RecurrentStart start;
};

struct MemoryRun {
  const MemorySystem* system;
  std::vector<std::int64_t> lengths{};  // T
  std::vector<double> shares{};         // of each: |dL/dx_1| / |dL/dx_T|, L a function of the last state
  std::vector<double> through{};        // |dL/dx_t| of the longest one, by t
  double last_share() const { return shares.empty() ? 1 : shares.back(); }
};

/// Training of a net whose recurrent weight makes everything grow, with and without clipping.
struct ExplodingRun {
  std::vector<double> clipped{}, free{};   // losses; `free` ends where they are finite no more
  double norm_before = 0, norm_after = 0;  // of the first gradient, before clipping and after it
  double growth = 0;                       // |dL/dx_1| / |dL/dx_T| of it
  bool diverged = false;                   // without clipping
};

struct VanishingRun {
  std::vector<ChainPoint> chain{};
  double chain_error = 0;  // largest relative one where the closed form is in f32's range
  std::vector<MemoryRun> memory{};
  ExplodingRun exploding{};
  std::int64_t steps = 0;
};

void write_vanishing_report(RecipeContext& context, const VanishingRun& run, const RecipeResult& result);

}  // namespace gpunn::detail
