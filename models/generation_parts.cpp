// What sampling and beam search share: reading logits, penalties, texts.
#include <algorithm>
#include <unordered_map>

#include "gpunn/core/error.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn::detail {

LogitReader::LogitReader(CausalLm& model, const GenerationOptions& options, std::size_t rows,
                         std::int64_t capacity)
    : model_(model), known_(rows) {
  if (!options.use_cache) return;
  KvCacheOptions cache = model.cache_options();
  cache.batch = static_cast<std::int64_t>(rows);
  cache.capacity = capacity;
  cache.page_size = options.page_size;
  cache_.emplace(cache);
}

LogitReader::~LogitReader() = default;

std::vector<std::vector<double>> LogitReader::read(std::span<const std::span<const std::int64_t>> windows) {
  const std::size_t rows = windows.size();
  std::vector<std::int64_t> valid(rows);
  std::int64_t T = 0;
  for (std::size_t b = 0; b < rows; ++b) {
    valid[b] = static_cast<std::int64_t>(windows[b].size() - known_[b]);
    T = std::max(T, valid[b]);
  }
  // Shorter ones are filled up with token 0; nothing that counts looks at it.
  std::vector<std::int64_t> tokens(rows * static_cast<std::size_t>(T));
  for (std::size_t b = 0; b < rows; ++b)
    std::copy(windows[b].begin() + static_cast<std::ptrdiff_t>(known_[b]), windows[b].end(),
              tokens.begin() + static_cast<std::ptrdiff_t>(b) * T);
  const Tensor input =
      Tensor::from(tokens, {static_cast<std::int64_t>(rows), T}, {.device = model_.cache_options().device});
  const Tensor logits = cache_ ? model_(input, *cache_, valid) : model_(input);
  const std::int64_t V = model_.vocabulary();
  GPUNN_CHECK(logits.shape() == Shape({static_cast<std::int64_t>(rows), T, V}), "expected logits ",
              Shape({static_cast<std::int64_t>(rows), T, V}), " of the model, got ", logits.shape());
  std::vector<std::vector<double>> out(rows);
  for (std::size_t b = 0; b < rows; ++b) {
    out[b] = logits.detach()
                 .select(0, static_cast<std::int64_t>(b))
                 .select(0, valid[b] - 1)
                 .to(Device::cpu())
                 .to(DType::f64)
                 .to_vector<double>();
    if (cache_) known_[b] = windows[b].size();
  }
  return out;
}

void LogitReader::reorder(std::span<const std::int64_t> from) {
  if (cache_) cache_->reorder(from);
  std::vector<std::size_t> known;
  for (const std::int64_t b : from) known.push_back(known_[static_cast<std::size_t>(b)]);
  known_ = std::move(known);
}

void LogitReader::forget(std::size_t row) {
  if (cache_) cache_->truncate(static_cast<std::int64_t>(row), 0);
  known_[row] = 0;
}

Window::Window(std::size_t length, std::int64_t context)
    : begin_(length - std::min(length, static_cast<std::size_t>(context))),
      context_(static_cast<std::size_t>(context)) {}

bool Window::advance(std::size_t length) {
  if (length - begin_ <= context_) return false;
  // Half, so that what is read again for it is paid by as many tokens.
  begin_ = length - std::max<std::size_t>(context_ / 2, 1);
  return true;
}

std::int64_t window_size(const CausalLm& model, std::size_t prompt, const GenerationOptions& options) {
  // The last token is drawn and never read.
  const std::int64_t all =
      static_cast<std::int64_t>(prompt) + std::max<std::int64_t>(options.max_new_tokens, 1) - 1;
  return std::min(all, model.context());
}

void penalise(std::vector<double>& logits, const GenerationOptions& options, const Tokens& tokens,
              std::size_t prompt) {
  if (options.repetition_penalty == 1 && options.frequency_penalty == 0 && options.presence_penalty == 0)
    return;
  std::unordered_map<std::int64_t, std::int64_t> counts;  // in the new text
  for (std::size_t i = 0; i < tokens.size(); ++i) counts[tokens[i]] += i >= prompt ? 1 : 0;
  for (const auto& [token, count] : counts) {
    double& logit = logits[static_cast<std::size_t>(token)];
    logit = logit > 0 ? logit / options.repetition_penalty : logit * options.repetition_penalty;
    if (count > 0) logit -= options.frequency_penalty * static_cast<double>(count) + options.presence_penalty;
  }
}

bool TextTracker::add(std::string_view bytes) {
  std::size_t longest = 0;
  for (const std::string& stop : options_->stop_strings) longest = std::max(longest, stop.size());
  const std::size_t before = bytes_.size();
  bytes_ += bytes;
  std::size_t end = std::string::npos;
  // A stop string that is complete now ends within the new bytes.
  const std::size_t from = before - std::min(before, longest > 0 ? longest - 1 : 0);
  for (const std::string& stop : options_->stop_strings) end = std::min(end, bytes_.find(stop, from));
  if (end == std::string::npos) return false;
  bytes_.resize(end);
  return true;
}

std::size_t TextTracker::held_back() const {
  std::size_t held = 0;
  for (const std::string& stop : options_->stop_strings)
    for (std::size_t n = std::min(stop.size() - 1, bytes_.size() - given_); n > held; --n)
      if (std::string_view(bytes_).substr(bytes_.size() - n) == std::string_view(stop).substr(0, n)) held = n;
  return held;
}

std::string TextTracker::take(bool last) {
  const std::size_t end = bytes_.size() - (last ? 0 : held_back());
  std::string text = stream_.add(std::string_view(bytes_).substr(given_, end - given_));
  given_ = end;
  return last ? text + stream_.finish() : text;
}

std::string TextTracker::text() const { return valid_utf8(bytes_); }

std::optional<StopReason> stop_of(const GenerationOptions& options, std::int64_t token, TextTracker& text) {
  const std::vector<std::int64_t>& stops = options.stop_tokens;
  if (std::find(stops.begin(), stops.end(), token) != stops.end()) return StopReason::token;
  if (options.piece && text.add(options.piece(token))) return StopReason::text;
  return std::nullopt;
}

}  // namespace gpunn::detail
