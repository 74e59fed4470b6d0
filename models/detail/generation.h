#pragma once
// Parts of generation that sampling and beam search share.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/models/generation.h"
#include "gpunn/training/utf8.h"

namespace gpunn::detail {

using Tokens = std::vector<std::int64_t>;

/// Gives the logits after each text's last token. Texts of unequal lengths share a call. Each text has a
/// window of tokens that the model sees.
class LogitReader {
 public:
  virtual ~LogitReader();
  /// Logits [V] of each text. Row b's window begins with what it was in the last call, unless forget(b) came,
  /// and has at least one token more.
  virtual std::vector<std::vector<double>> read(std::span<const std::span<const std::int64_t>> windows) = 0;
  /// Row b becomes what row from[b] was.
  virtual void reorder(std::span<const std::int64_t> from) = 0;
  /// Row `row` begins anew.
  virtual void forget(std::size_t row) = 0;
};

/// What generation asks of any model; the model itself belongs to the caller.
struct LanguageModel {
  Module& module;
  std::int64_t vocabulary, context;
  /// A reader for so many texts, whose windows have `capacity` tokens at most.
  std::function<std::unique_ptr<LogitReader>(std::size_t rows, std::int64_t capacity)> reader;
};

std::vector<Generated> generate(const LanguageModel& model, std::span<const Tokens> prompts,
                                const GenerationOptions& options);

/// The logits of the last position of row b: [B, T, V] to V numbers on the host.
std::vector<double> logits_at(const Tensor& logits, std::int64_t b, std::int64_t t);

/// The tokens of a text that the model sees, which slide when there are too many.
class Window {
 public:
  Window(std::size_t length, std::int64_t context);
  /// Moves on when `length` tokens do not fit; true when it did.
  bool advance(std::size_t length);
  std::span<const std::int64_t> of(const Tokens& tokens) const { return std::span(tokens).subspan(begin_); }

 private:
  std::size_t begin_, context_;
};

/// Subtracts the penalties of `options` from logits; the first `prompt` of `tokens` are the prompt.
void penalise(std::vector<double>& logits, const GenerationOptions& options, const Tokens& tokens,
              std::size_t prompt);

/// A text as its tokens come: finds stop strings across their borders and gives out valid UTF-8.
class TextTracker {
 public:
  explicit TextTracker(const GenerationOptions& options) : options_(&options) {}

  /// Takes the bytes of a token; true when a stop string is complete: the text ends before it.
  bool add(std::string_view bytes);
  /// New text that nothing can change any more; with `last` all that is left.
  std::string take(bool last);
  /// The whole text.
  std::string text() const;

 private:
  /// Bytes at the end that may be the beginning of a stop string.
  std::size_t held_back() const;

  const GenerationOptions* options_;
  std::string bytes_;
  std::size_t given_ = 0;  // bytes that take() has passed on
  Utf8Stream stream_;
};

/// Whether `token` ends a text, which takes its bytes in; empty: it goes on.
std::optional<StopReason> stop_of(const GenerationOptions& options, std::int64_t token, TextTracker& text);

/// Texts of one prompt, best first.
std::vector<Generated> beam_search(const LanguageModel& model, const Tokens& prompt,
                                   const GenerationOptions& options);

/// Tokens that a window has at most when `prompt` is continued.
std::int64_t window_size(const LanguageModel& model, std::size_t prompt, const GenerationOptions& options);

}  // namespace gpunn::detail
