// Pictures of character models: samples through training, gates over a text, the unrolled net.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/recipes/detail/text_run.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kShort = 24;  // characters that half the page's width is enough for
constexpr double kStep = 120, kBox = 30, kRadius = 20, kLeft = 70;
constexpr double kOutputRow = 60, kStateRow = 150, kInputRow = 235, kHeight = 270;

void arrow(Svg& svg, double x1, double y1, double x2, double y2) {
  svg.line(x1, y1, x2, y2, "s6 medium");
  const double length = std::hypot(x2 - x1, y2 - y1), ux = (x2 - x1) / length, uy = (y2 - y1) / length;
  for (const double side : {-4.0, 4.0})
    svg.line(x2, y2, x2 - 8 * ux - side * uy, y2 - 8 * uy + side * ux, "s6 medium");
}

/// [T, H] of the named gate as a map, a row for each unit.
HeatMap map_of(const std::string& title, const Tensor& values, std::span<const std::size_t> units,
               const std::vector<std::string>& characters, double maximum) {
  const auto T = static_cast<std::size_t>(values.size(0)), H = static_cast<std::size_t>(values.size(1));
  const std::vector<float> all = values.contiguous().to_vector<float>();
  HeatMap map{.title = title,
              .rows = static_cast<int>(units.size()),
              .columns = static_cast<int>(T),
              .column_labels = characters,
              .x_label = "characters read",
              .y_label = "unit",
              .maximum = maximum,
              .width = T > kShort ? kFullWidth : kHalfWidth};
  for (const std::size_t unit : units) {
    map.row_labels.push_back(std::to_string(unit));
    for (std::size_t t = 0; t < T; ++t) map.values.push_back(static_cast<double>(all[t * H + unit]));
  }
  return map;
}

/// The units with the largest variance over the steps of [T, H], in the order of their numbers.
std::vector<std::size_t> liveliest(const Tensor& values, int count) {
  const auto T = static_cast<std::size_t>(values.size(0)), H = static_cast<std::size_t>(values.size(1));
  const std::vector<float> all = values.contiguous().to_vector<float>();
  std::vector<double> variance(H);
  for (std::size_t j = 0; j < H; ++j) {
    double sum = 0, squares = 0;
    for (std::size_t t = 0; t < T; ++t) {
      const auto v = static_cast<double>(all[t * H + j]);
      sum += v;
      squares += v * v;
    }
    variance[j] = squares - sum * sum / static_cast<double>(T);
  }
  std::vector<std::size_t> units(H);
  std::iota(units.begin(), units.end(), std::size_t{0});
  // Stable: equal weights give equal pictures on every device.
  std::stable_sort(units.begin(), units.end(),
                   [&](std::size_t a, std::size_t b) { return variance[a] > variance[b]; });
  units.resize(std::min(units.size(), static_cast<std::size_t>(count)));
  std::sort(units.begin(), units.end());
  return units;
}

}  // namespace

std::string visible(char32_t character) {
  switch (character) {
    case U' ':
      return "\u2423";
    case U'\n':
      return "\u21b5";
    default:
      break;
  }
  if (character < 0x80) return std::string(1, static_cast<char>(character));
  std::string text;
  if (character < 0x800) {
    text += static_cast<char>(0xC0 | (character >> 6));
  } else {
    text += static_cast<char>(0xE0 | (character >> 12));
    text += static_cast<char>(0x80 | ((character >> 6) & 0x3F));
  }
  return text + static_cast<char>(0x80 | (character & 0x3F));
}

void report_samples(HtmlReport& report, const std::vector<TextSample>& samples) {
  for (const TextSample& s : samples) {
    report.text(s.step == 0 ? "Before training:" : "After " + std::to_string(s.step) + " steps:");
    report.preformatted(s.text);
  }
}

void report_gates(HtmlReport& report, CharRnn& model, const CharacterVocab& vocab, std::string_view text,
                  int units) {
  const NoGrad no_grad;
  const std::vector<std::int64_t> ids = vocab.encode(text);
  const bool was_training = model.is_training();
  model.eval();
  const Tensor tokens = Tensor::from(ids, {static_cast<std::int64_t>(ids.size()), 1},
                                     {.device = model.parameters()[0].device()});
  const RecurrentOutput out = model.rnn().inspect(model.embed(tokens));
  model.train(was_training);
  std::vector<std::string> characters;
  for (const std::int64_t id : ids) characters.push_back(visible(vocab.character(id)));
  const Tensor y = out.y.select(1, 0);
  const std::vector<std::size_t> shown = liveliest(y, units);
  report.heat_map(map_of("Output of the recurrent layer", y, shown, characters, 1));
  const auto gate = [&](const char* title, std::int64_t g) {
    report.heat_map(map_of(title, out.gates[0].gates.select(1, 0).select(1, g), shown, characters, 1));
  };
  switch (model.rnn().mode()) {
    case RnnMode::lstm:
      gate("Input gate: how much of the new is let in", 0);
      gate("Forget gate: how much of the cell is kept", 1);
      gate("Output gate: how much of the cell is shown", 3);
      report.heat_map(map_of("Cell", out.gates[0].cells.select(1, 0), shown, characters, 3));
      break;
    case RnnMode::gru:
      gate("Reset gate: how much of the state enters the new", 0);
      gate("Update gate: how much of the state is kept", 1);
      break;
    case RnnMode::tanh:
    case RnnMode::relu:
      break;
  }
}

Svg draw_unrolled(const std::string& title, std::span<const UnrolledStep> steps) {
  Svg svg(kLeft + kStep * static_cast<double>(steps.size()) + 60, kHeight, title);
  svg.text(0, 18, title, "label");
  const auto x_of = [](std::size_t i) { return kLeft + kStep * (static_cast<double>(i) + 0.5); };
  svg.text(0, kOutputRow + 4, "output", "muted");
  svg.text(0, kStateRow + 4, "state", "muted");
  svg.text(0, kInputRow + 4, "input", "muted");
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double x = x_of(i);
    const std::string number = std::to_string(i + 1);
    arrow(svg, x, kInputRow - kRadius, x, kStateRow + kBox);
    arrow(svg, x, kStateRow - kBox, x, kOutputRow + kRadius);
    arrow(svg, i == 0 ? x - kStep / 2 : x_of(i - 1) + kBox, kStateRow, x - kBox, kStateRow);
    svg.rect(x - kBox, kStateRow - kBox, 2 * kBox, 2 * kBox, "box");
    svg.text(x, kStateRow + 4, "h" + number, "middle");
    svg.circle(x, kInputRow, kRadius, "box");
    svg.text(x, kInputRow + 4, steps[i].input, "middle");
    svg.circle(x, kOutputRow, kRadius, "box");
    svg.text(x, kOutputRow + 4, steps[i].output, "middle");
    svg.text(x + kRadius + 6, kOutputRow + 4, steps[i].note, "muted");
  }
  const double end = x_of(steps.size() - 1) + kBox;
  arrow(svg, end, kStateRow, end + 40, kStateRow);
  return svg;
}

Svg draw_unrolled(CharRnn& model, const CharacterVocab& vocab, std::string_view text, std::size_t steps) {
  const NoGrad no_grad;
  const std::vector<std::int64_t> ids = vocab.encode(text);
  GPUNN_CHECK(steps >= 1 && ids.size() > steps, "expected a text of more than ", steps, " characters");
  const std::vector<std::int64_t> read(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(steps));
  const Tensor logits = model(
      Tensor::from(read, {1, static_cast<std::int64_t>(steps)}, {.device = model.parameters()[0].device()}));
  const std::vector<float> p = softmax(logits.contiguous(), -1).to_vector<float>();
  std::vector<UnrolledStep> shown;
  for (std::size_t i = 0; i < steps; ++i) {
    const auto next = static_cast<std::size_t>(ids[i + 1]);
    shown.push_back(
        {visible(vocab.character(ids[i])), visible(vocab.character(ids[i + 1])),
         "p " + fixed(static_cast<double>(p[i * static_cast<std::size_t>(vocab.size()) + next]), 2)});
  }
  return draw_unrolled("The same cell at every step; p: what the net gives to the character that follows",
                       shown);
}

}  // namespace gpunn::detail
