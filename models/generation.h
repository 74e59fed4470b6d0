#pragma once
// Generation: texts of a language model that reads from left to right.
//
//   GenerationOptions options{.max_new_tokens = 100, .sampling = {.temperature = 0.8, .top_p = 0.95}};
//   options.piece = [&](std::int64_t id) { return std::string(vocab.piece(id)); };
//   Generated text = generate(model, vocab.encode("To be"), options);
//
// From the logits on everything is computed on the host in double, as in sampling: equal logits give equal
// tokens on every device. Each prompt of a batch gets what it gets alone: prompts of unequal lengths share
// the calls of the model, and row b draws with generation_seed(seed, b).
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/models/causal_lm.h"
#include "gpunn/training/sampling.h"

namespace gpunn {

class CharRnn;

/// Why a text ended.
enum class StopReason : std::uint8_t {
  length,   // max_new_tokens
  token,    // one of stop_tokens
  text,     // one of stop_strings
  context,  // the model reads no more positions
  caller    // on_token returned false
};
GPUNN_API const char* to_string(StopReason reason) noexcept;

/// What follows when a text is longer than the model reads.
enum class BeyondContext : std::uint8_t {
  stop,  // a longer prompt is an error, a text that becomes so long ends
  /// The model sees the last context() tokens of a prompt; when these are more, it goes on with the last half
  /// as many, read anew. Prompts of a batch that may come to this are continued one after the other.
  slide
};

/// A token that was drawn.
struct GenerationEvent {
  std::size_t prompt;  // its place in the batch
  std::int64_t token;
  std::string_view text;  // new text, valid UTF-8; empty while it may still become a stop string
  bool last;              // of its text
};

struct GenerationOptions {
  std::int64_t max_new_tokens = 20;
  SamplingOptions sampling{.greedy = true};
  std::uint64_t seed = 0;

  /// Before sampling. Of tokens in prompt or text: positive logits divided, negative ones multiplied by it
  /// (Nitish Keskar et al., "CTRL", 2019); 1: off.
  double repetition_penalty = 1;
  double frequency_penalty = 0;  // taken off the logit for each time that the token stands in the new text
  double presence_penalty = 0;   // taken off once when it stands there at all

  /// Beam search when above 1: the texts of the highest sums of log-probabilities divided by
  /// length^length_penalty (tokens of the text, a stop token counts), greedy sampling only.
  std::int64_t num_beams = 1;
  double length_penalty = 1;
  bool early_stopping =
      false;  // with num_beams texts at hand; else when no beam can become better than these
  std::int64_t num_results = 1;  // the best of each prompt's beams, at most num_beams

  std::vector<std::int64_t> stop_tokens{};
  /// Looked for in the new text's bytes, wherever tokens end; the text ends before it.
  std::vector<std::string> stop_strings{};
  /// Bytes of a token, for text and stop strings; special tokens may have none. Without it texts stay empty.
  std::function<std::string(std::int64_t)> piece{};
  std::optional<std::int64_t> start_token{};  // of an empty prompt, which is an error otherwise

  bool use_cache = true;       // else the model reads everything again for each token
  std::int64_t page_size = 0;  // of the cache; 0: one contiguous room for each text
  BeyondContext beyond_context = BeyondContext::stop;

  /// Called for each token of each prompt, from the calling thread; false ends this text. Not with beams.
  std::function<bool(const GenerationEvent&)> on_token{};
};

struct Generated {
  std::vector<std::int64_t> tokens;  // all that were drawn; a stop token is the last one
  std::string text;                  // valid UTF-8: without the stop token, up to the stop string
  StopReason stop = StopReason::length;
  double log_probability = 0;  // beams: sum over tokens, under the penalties
  double score = 0;            // beams: what they are ordered by
};

/// The seed that row b of a batch draws with; generation_seed(seed, 0) is `seed`.
GPUNN_API std::uint64_t generation_seed(std::uint64_t seed, std::size_t row) noexcept;

/// Continues each prompt: num_results texts for the first, then for the second, and so on, best first. Runs
/// in evaluation mode without gradients; the mode is restored. No prompts: no texts. Throws InvalidArgument
/// for an empty prompt without start_token, tokens outside the vocabulary, a prompt that is longer than the
/// model reads (unless texts slide), each naming the prompt; for options out of range, stop strings without
/// `piece`, beams with another sampling than greedy or with on_token; and what the model throws.
GPUNN_API std::vector<Generated> generate(CausalLm& model, std::span<const std::vector<std::int64_t>> prompts,
                                          const GenerationOptions& options);
/// The same of a character model, which carries its state: it reads as far back as the text goes, and
/// use_cache and page_size mean nothing to it.
GPUNN_API std::vector<Generated> generate(CharRnn& model, std::span<const std::vector<std::int64_t>> prompts,
                                          const GenerationOptions& options);
/// The best text of one prompt.
GPUNN_API Generated generate(CausalLm& model, const std::vector<std::int64_t>& prompt,
                             const GenerationOptions& options);
GPUNN_API Generated generate(CharRnn& model, const std::vector<std::int64_t>& prompt,
                             const GenerationOptions& options);

}  // namespace gpunn
