#include "gpunn/models/generation.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/philox.h"
#include "gpunn/models/detail/evaluation_scope.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn {
namespace {

using detail::Tokens;

// A Philox subsequence of its own, for the seeds of rows.
constexpr std::uint64_t kRowStream = std::uint64_t{0x524F} << 48;

void check_numbers(const GenerationOptions& o) {
  check_sampling(o.sampling);
  GPUNN_CHECK(o.max_new_tokens >= 0, "expected max_new_tokens of at least 0, got ", o.max_new_tokens);
  GPUNN_CHECK(std::isfinite(o.repetition_penalty) && o.repetition_penalty > 0,
              "expected a repetition penalty above 0, got ", o.repetition_penalty);
  GPUNN_CHECK(std::isfinite(o.frequency_penalty) && std::isfinite(o.presence_penalty),
              "expected finite penalties, got ", o.frequency_penalty, " and ", o.presence_penalty);
  GPUNN_CHECK(std::isfinite(o.length_penalty), "expected a finite length penalty, got ", o.length_penalty);
  GPUNN_CHECK(o.num_beams >= 1, "expected at least 1 beam, got ", o.num_beams);
  GPUNN_CHECK(o.num_results >= 1 && o.num_results <= o.num_beams, "expected results from 1 to the ",
              o.num_beams, " beams, got ", o.num_results);
  GPUNN_CHECK(o.num_beams == 1 || o.sampling.greedy,
              "expected greedy sampling with beams: they keep the most probable texts");
  GPUNN_CHECK(o.num_beams == 1 || !o.on_token, "expected no on_token with beams: they change their minds");
  GPUNN_CHECK(o.page_size >= 0, "expected a page size of at least 0, got ", o.page_size);
}

void check_token(const detail::LanguageModel& model, std::int64_t token, const std::string& what) {
  GPUNN_CHECK(token >= 0 && token < model.vocabulary, "expected tokens in [0, ", model.vocabulary, "), got ",
              token, " as ", what);
}

void check_options(const detail::LanguageModel& model, const GenerationOptions& o) {
  check_numbers(o);
  GPUNN_CHECK(o.stop_strings.empty() || o.piece, "expected the bytes of tokens (piece) for stop strings");
  for (const std::string& stop : o.stop_strings)
    GPUNN_CHECK(!stop.empty(), "expected stop strings of at least one byte, got an empty one");
  for (const std::int64_t token : o.stop_tokens) check_token(model, token, "stop token");
  if (o.start_token) check_token(model, *o.start_token, "start token");
}

std::vector<Tokens> checked_prompts(const detail::LanguageModel& model, std::span<const Tokens> prompts,
                                    const GenerationOptions& o) {
  std::vector<Tokens> out(prompts.begin(), prompts.end());
  for (std::size_t b = 0; b < out.size(); ++b) {
    if (out[b].empty() && o.start_token) out[b] = {*o.start_token};
    GPUNN_CHECK(!out[b].empty(), "expected a prompt of at least one token, got prompt ", b,
                " without any; a start token would do");
    for (std::size_t i = 0; i < out[b].size(); ++i)
      check_token(model, out[b][i], detail::concat("token ", i, " of prompt ", b));
    GPUNN_CHECK(o.beyond_context == BeyondContext::slide || std::ssize(out[b]) <= model.context,
                "expected a prompt of at most ", model.context, " tokens, which the model reads, got ",
                out[b].size(), " in prompt ", b,
                "; sliding (--slide, BeyondContext::slide) keeps the last of them");
  }
  return out;
}

/// One text under way.
struct Row {
  Row(std::size_t place, Tokens prompt_tokens, std::int64_t context, const GenerationOptions& options)
      : index(place),
        prompt(prompt_tokens.size()),
        tokens(std::move(prompt_tokens)),
        window(prompt, context),
        text(options),
        sampler(options.sampling, generation_seed(options.seed, place)) {}

  std::size_t index, prompt;
  Tokens tokens;  // with the prompt
  detail::Window window;
  detail::TextTracker text;
  TokenSampler sampler;

  std::int64_t drawn() const noexcept { return static_cast<std::int64_t>(tokens.size() - prompt); }
};

/// Continues rows together, which do not slide, or a single one.
class Sampling {
 public:
  Sampling(const detail::LanguageModel& model, const GenerationOptions& options, std::vector<Row> rows)
      : model_(model), options_(options), rows_(std::move(rows)) {
    std::int64_t capacity = 0;
    for (const Row& row : rows_)
      capacity = std::max(capacity, detail::window_size(model, row.prompt, options));
    reader_ = model.reader(rows_.size(), capacity);
  }

  void run(std::vector<Generated>& results) {
    while (!rows_.empty()) {
      std::vector<std::span<const std::int64_t>> windows;
      for (std::size_t b = 0; b < rows_.size(); ++b) {
        if (rows_[b].window.advance(rows_[b].tokens.size())) reader_->forget(b);
        windows.push_back(rows_[b].window.of(rows_[b].tokens));
      }
      std::vector<std::vector<double>> logits = reader_->read(windows);
      std::vector<std::int64_t> going_on;
      for (std::size_t b = 0; b < rows_.size(); ++b) {
        if (const auto stop = step(rows_[b], logits[b])) {
          results[rows_[b].index] = finished(rows_[b], *stop);
        } else {
          going_on.push_back(static_cast<std::int64_t>(b));
        }
      }
      if (going_on.size() < rows_.size()) keep(going_on);
    }
  }

 private:
  /// Draws a row's next token; the reason when it is the last one.
  std::optional<StopReason> step(Row& row, std::vector<double>& logits) {
    detail::penalise(logits, options_, row.tokens, row.prompt);
    std::int64_t token = 0;
    try {
      token = row.sampler.sample_row(logits);
    } catch (const InvalidArgument& error) {
      throw InvalidArgument(
          detail::concat("prompt ", row.index, ", token ", row.drawn(), ": ", error.what()));
    }
    row.tokens.push_back(token);
    std::optional<StopReason> stop = detail::stop_of(options_, token, row.text);
    if (!stop && row.drawn() == options_.max_new_tokens) stop = StopReason::length;
    if (!stop && options_.beyond_context == BeyondContext::stop && std::ssize(row.tokens) > model_.context)
      stop = StopReason::context;
    if (options_.on_token) {
      const std::string text = row.text.take(stop.has_value());
      const bool more =
          options_.on_token({.prompt = row.index, .token = token, .text = text, .last = stop.has_value()});
      if (!more && !stop) stop = StopReason::caller;
    }
    return stop;
  }

  static Generated finished(const Row& row, StopReason stop) {
    Generated out;
    out.tokens.assign(row.tokens.begin() + static_cast<std::ptrdiff_t>(row.prompt), row.tokens.end());
    out.text = row.text.text();
    out.stop = stop;
    return out;
  }

  void keep(const std::vector<std::int64_t>& going_on) {
    std::vector<Row> rows;
    for (const std::int64_t b : going_on) rows.push_back(std::move(rows_[static_cast<std::size_t>(b)]));
    rows_ = std::move(rows);
    if (!rows_.empty()) reader_->reorder(going_on);
  }

  const detail::LanguageModel& model_;
  const GenerationOptions& options_;
  std::vector<Row> rows_;
  std::unique_ptr<detail::LogitReader> reader_;
};

}  // namespace

const char* to_string(StopReason reason) noexcept {
  switch (reason) {
    case StopReason::length:
      return "length";
    case StopReason::token:
      return "token";
    case StopReason::text:
      return "text";
    case StopReason::context:
      return "context";
    case StopReason::caller:
      break;
  }
  return "caller";
}

std::uint64_t generation_seed(std::uint64_t seed, std::size_t row) noexcept {
  if (row == 0) return seed;
  const Philox4 words = philox_at(seed, row, kRowStream);
  return std::uint64_t{words.v[0]} << 32 | words.v[1];
}

std::vector<Generated> detail::generate(const LanguageModel& model, std::span<const Tokens> prompts,
                                        const GenerationOptions& options) {
  check_options(model, options);
  std::vector<Tokens> checked = checked_prompts(model, prompts, options);
  std::vector<Generated> results;
  if (options.max_new_tokens == 0) {
    results.resize(checked.size() * static_cast<std::size_t>(options.num_results));
    return results;
  }
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(model.module);
  if (options.num_beams > 1) {
    for (const Tokens& prompt : checked)
      for (Generated& text : detail::beam_search(model, prompt, options)) results.push_back(std::move(text));
    return results;
  }
  // A row that slides reads much while the others read one token: they would have no room for so many.
  const bool together = std::all_of(checked.begin(), checked.end(), [&](const Tokens& prompt) {
    return options.beyond_context == BeyondContext::stop ||
           std::ssize(prompt) + options.max_new_tokens - 1 <= model.context;
  });
  results.resize(checked.size());
  std::vector<Row> rows;
  for (std::size_t b = 0; b < checked.size(); ++b) {
    rows.emplace_back(b, std::move(checked[b]), model.context, options);
    if (together && b + 1 < checked.size()) continue;
    Sampling(model, options, std::exchange(rows, {})).run(results);
  }
  return results;
}

}  // namespace gpunn
