// What sampling and beam search share: windows, penalties, texts.
#include <algorithm>
#include <unordered_map>

#include "gpunn/core/error.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn::detail {

LogitReader::~LogitReader() = default;

std::vector<double> logits_at(const Tensor& logits, std::int64_t b, std::int64_t t) {
  return logits.detach().select(0, b).select(0, t).to(Device::cpu()).to(DType::f64).to_vector<double>();
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

std::int64_t window_size(const LanguageModel& model, std::size_t prompt, const GenerationOptions& options) {
  // The last token is drawn and never read.
  const std::int64_t all =
      static_cast<std::int64_t>(prompt) + std::max<std::int64_t>(options.max_new_tokens, 1) - 1;
  return std::min(all, model.context);
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
