// Generation with a character model: the state of its recurrent layers takes the place of a cache.
#include <algorithm>
#include <limits>

#include "gpunn/core/error.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/char_rnn.h"
#include "gpunn/models/detail/generation.h"

namespace gpunn {
namespace {

using detail::Tokens;

class CharReader : public detail::LogitReader {
 public:
  CharReader(CharRnn& model, std::size_t rows) : model_(model), known_(rows), states_(rows) {}

  std::vector<std::vector<double>> read(std::span<const std::span<const std::int64_t>> windows) override {
    // Steps of one token go together; prompts one after the other, since a state cannot wait for the longest.
    std::vector<std::size_t> steps;
    std::vector<std::vector<double>> out(windows.size());
    for (std::size_t b = 0; b < windows.size(); ++b) {
      if (known_[b] > 0 && windows[b].size() == known_[b] + 1)
        steps.push_back(b);
      else
        read_rows({b}, windows, out);
    }
    if (!steps.empty()) read_rows(steps, windows, out);
    return out;
  }

  void reorder(std::span<const std::int64_t> from) override {
    std::vector<std::size_t> known;
    std::vector<RecurrentState> states;
    for (const std::int64_t b : from) {
      known.push_back(known_[static_cast<std::size_t>(b)]);
      states.push_back(states_[static_cast<std::size_t>(b)]);
    }
    known_ = std::move(known);
    states_ = std::move(states);
  }

  void forget(std::size_t row) override {
    known_[row] = 0;
    states_[row] = {};
  }

 private:
  /// Reads what is new in `rows`, as many tokens in each.
  void read_rows(const std::vector<std::size_t>& rows, std::span<const std::span<const std::int64_t>> windows,
                 std::vector<std::vector<double>>& out) {
    Tokens tokens;
    for (const std::size_t b : rows)
      tokens.insert(tokens.end(), windows[b].begin() + static_cast<std::ptrdiff_t>(known_[b]),
                    windows[b].end());
    const std::int64_t B = std::ssize(rows), T = std::ssize(tokens) / B;
    const Tensor input = Tensor::from(tokens, {B, T}, {.device = model_.parameters().front().device()});
    const CharRnnOutput step = model_.forward(input, joined(rows));
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      out[rows[i]] = detail::logits_at(step.logits, at, T - 1);
      states_[rows[i]].h = step.state.h.narrow(1, at, 1).contiguous();
      if (step.state.c.defined()) states_[rows[i]].c = step.state.c.narrow(1, at, 1).contiguous();
      known_[rows[i]] = windows[rows[i]].size();
    }
  }

  RecurrentState joined(const std::vector<std::size_t>& rows) const {
    if (rows.size() == 1) return states_[rows[0]];
    std::vector<Tensor> h, c;
    for (const std::size_t b : rows) {
      h.push_back(states_[b].h);
      if (states_[b].c.defined()) c.push_back(states_[b].c);
    }
    return {cat(h, 1), c.empty() ? Tensor() : cat(c, 1)};
  }

  CharRnn& model_;
  std::vector<std::size_t> known_;      // tokens that each state has seen
  std::vector<RecurrentState> states_;  // of each row: [layers, 1, H]
};

}  // namespace

std::vector<Generated> generate(CharRnn& model, std::span<const Tokens> prompts,
                                const GenerationOptions& options) {
  const auto reader = [&](std::size_t rows, std::int64_t) -> std::unique_ptr<detail::LogitReader> {
    return std::make_unique<CharReader>(model, rows);
  };
  constexpr std::int64_t kEndless = std::numeric_limits<std::int64_t>::max();
  return detail::generate({model, model.options().vocabulary, kEndless, reader}, prompts, options);
}

Generated generate(CharRnn& model, const Tokens& prompt, const GenerationOptions& options) {
  return std::move(generate(model, std::span(&prompt, 1), options).front());
}

}  // namespace gpunn
