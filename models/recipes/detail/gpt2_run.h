#pragma once
// What gpt2.cpp measures and gpt2_report.cpp draws.
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "gpunn/models/generation.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/models/recipes/recipe.h"

namespace gpunn::detail {

/// Sizes are those of the model that is trained where there are no published files.
struct Gpt2Settings : RunSettings {
  std::int64_t batch_size = 1, length = 64;
  std::int64_t layers = 12, heads = 12, features = 768, vocabulary = 50257;
  double lr = 1e-4;
  std::string prompt = "The meaning of life is";
  std::int64_t tokens = 40, top_k = 40;
  double temperature = 0.8;
  Gpt2Settings() { epochs = 0, steps = 8; }
  std::vector<Field> fields() override;
};

/// Training steps on one batch of random tokens, from random weights.
struct Gpt2Training {
  Gpt2Options options{};
  std::int64_t parameters = 0;
  std::vector<double> losses{};   // of each step, before its update
  std::vector<double> seconds{};  // of each step
  double step_seconds = 0;        // median of all but the first
  double tokens_per_second = 0;
  double flops_per_token = 0;  // 6 for each weight of a product, 12 layers * features * length of attention
  std::size_t peak_live_bytes = 0, peak_reserved_bytes = 0;
  bool stopped = false;
};

/// Logits of a file beside the weights, and how far from them ours are.
struct LogitsCheck {
  std::int64_t sequences = 0, length = 0;
  double worst = 0;    // largest difference
  double largest = 0;  // |logit| of the file
};

struct Gpt2Text {
  std::string folder, text;
  Gpt2Options options{};
  std::int64_t parameters = 0, prompt_tokens = 0;
  Generated generated{};
  double seconds = 0;
  std::optional<LogitsCheck> logits{};
};

void write_gpt2_report(RecipeContext& context, const Gpt2Training& run, const RecipeResult& result);
void write_gpt2_report(RecipeContext& context, const Gpt2Text& run, const RecipeResult& result);

}  // namespace gpunn::detail
