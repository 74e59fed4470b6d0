// Beam search: the texts of highest probability, several at a time.
#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn::detail {
namespace {

struct Beam {
  Tokens tokens;  // with the prompt
  TextTracker text;
  double sum = 0;  // of log-probabilities
};

struct Candidate {
  double sum;
  std::size_t beam, token;
  /// The better one is the greater one; of equal ones that of the earlier beam, then the lower token.
  bool operator<(const Candidate& other) const noexcept {
    if (sum != other.sum) return sum < other.sum;
    return std::pair(beam, token) > std::pair(other.beam, other.token);
  }
};

class Search {
 public:
  Search(const LanguageModel& model, const Tokens& prompt, const GenerationOptions& options)
      : model_(model),
        options_(options),
        prompt_(prompt.size()),
        wanted_(static_cast<std::size_t>(options.num_beams)),
        window_(prompt.size(), model.context),
        reader_(model.reader(1, window_size(model, prompt.size(), options))),
        beams_{{prompt, TextTracker(options), 0}} {}

  std::vector<Generated> run() {
    for (std::int64_t drawn = 1; drawn <= options_.max_new_tokens && !beams_.empty(); ++drawn) {
      if (window_.advance(beams_.front().tokens.size()))
        for (std::size_t b = 0; b < beams_.size(); ++b) reader_->forget(b);
      std::vector<Candidate> candidates = all_candidates();
      choose(candidates, drawn);
      if (is_decided(drawn)) beams_.clear();
      if (!beams_.empty() && options_.beyond_context == BeyondContext::stop &&
          std::ssize(beams_.front().tokens) > model_.context)
        finish_all(StopReason::context);
    }
    finish_all(StopReason::length);
    done_.resize(std::min(done_.size(), static_cast<std::size_t>(options_.num_results)));
    return std::move(done_);
  }

 private:
  std::vector<Candidate> all_candidates() {
    std::vector<std::span<const std::int64_t>> windows;
    for (const Beam& beam : beams_) windows.push_back(window_.of(beam.tokens));
    std::vector<std::vector<double>> logits = reader_->read(windows);
    std::vector<Candidate> candidates;
    for (std::size_t b = 0; b < beams_.size(); ++b) {
      penalise(logits[b], options_, beams_[b].tokens, prompt_);
      // Greedy or not, the check of logits is the same.
      const double top = *std::max_element(logits[b].begin(), logits[b].end());
      double total = 0;
      for (const double logit : logits[b]) total += std::exp(logit - top);
      GPUNN_CHECK(std::isfinite(top) && std::isfinite(total),
                  "expected finite logits or minus infinity, got others for beam ", b);
      for (std::size_t v = 0; v < logits[b].size(); ++v)
        if (logits[b][v] > -std::numeric_limits<double>::infinity())
          candidates.push_back({beams_[b].sum + (logits[b][v] - top - std::log(total)), b, v});
    }
    return candidates;
  }

  /// The best ones that go on become the beams; those that end and are better than the last of these are
  /// done.
  void choose(std::vector<Candidate>& candidates, std::int64_t drawn) {
    std::make_heap(candidates.begin(), candidates.end());
    std::vector<Beam> next;
    std::vector<std::int64_t> from;
    while (next.size() < wanted_ && !candidates.empty()) {
      std::pop_heap(candidates.begin(), candidates.end());
      const Candidate best = candidates.back();
      candidates.pop_back();
      Beam beam = beams_[best.beam];
      const auto token = static_cast<std::int64_t>(best.token);
      beam.tokens.push_back(token);
      beam.sum = best.sum;
      if (const auto stop = stop_of(options_, token, beam.text)) {
        finish(beam, *stop, drawn);
      } else {
        next.push_back(std::move(beam));
        from.push_back(static_cast<std::int64_t>(best.beam));
      }
    }
    beams_ = std::move(next);
    if (!beams_.empty()) reader_->reorder(from);
  }

  double score(double sum, std::int64_t length) const {
    return sum / std::pow(static_cast<double>(length), options_.length_penalty);
  }

  void finish(const Beam& beam, StopReason stop, std::int64_t length) {
    Generated out;
    out.tokens.assign(beam.tokens.begin() + static_cast<std::ptrdiff_t>(prompt_), beam.tokens.end());
    out.text = beam.text.text();
    out.stop = stop;
    out.log_probability = beam.sum;
    out.score = score(beam.sum, length);
    const auto place = std::find_if(done_.begin(), done_.end(),
                                    [&](const Generated& other) { return other.score < out.score; });
    done_.insert(place, std::move(out));
    if (done_.size() > wanted_) done_.pop_back();
  }

  void finish_all(StopReason stop) {
    for (const Beam& beam : beams_)
      finish(beam, stop, static_cast<std::int64_t>(beam.tokens.size() - prompt_));
    beams_.clear();
  }

  /// Whether no beam can become one of the best any more.
  bool is_decided(std::int64_t drawn) const {
    if (done_.size() < wanted_ || beams_.empty()) return false;
    if (options_.early_stopping || drawn == options_.max_new_tokens) return options_.early_stopping;
    // Sums only fall, so the best that a beam can come to is its sum at the most favourable length.
    const double sum = beams_.front().sum;
    const double best = std::max(score(sum, drawn + 1), score(sum, options_.max_new_tokens));
    return best <= done_.back().score;
  }

  const LanguageModel& model_;
  const GenerationOptions& options_;
  std::size_t prompt_, wanted_;
  Window window_;
  std::unique_ptr<LogitReader> reader_;
  std::vector<Beam> beams_;      // best first
  std::vector<Generated> done_;  // best first, at most `wanted_`
};

}  // namespace

std::vector<Generated> beam_search(const LanguageModel& model, const Tokens& prompt,
                                   const GenerationOptions& options) {
  return Search(model, prompt, options).run();
}

}  // namespace gpunn::detail
