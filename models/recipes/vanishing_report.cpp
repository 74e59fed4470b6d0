// The report of vanishing-gradient.
#include "gpunn/io/html_report.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/models/recipes/detail/vanishing_run.h"

namespace gpunn::detail {
namespace {

std::vector<double> as_doubles(const std::vector<std::int64_t>& values) {
  return {values.begin(), values.end()};
}

void add_chain(HtmlReport& report, const VanishingRun& run) {
  report.section("In closed form");
  report.text(
      "A chain of sigmoids with the weight 0.5 at the point where the slope is largest, 0.25: each step back "
      "multiplies the gradient by 0.125. Beyond 40 steps nothing of it is left in 32 bits.");
  ChartSeries closed{.name = "(0.5 0.25)^T", .y = {}, .x = {}, .style = ChartSeries::Style::dashed};
  ChartSeries measured{.name = "measured, f32", .y = {}, .x = {}, .style = ChartSeries::Style::points};
  for (const ChainPoint& p : run.chain) {
    closed.x.push_back(static_cast<double>(p.steps));
    closed.y.push_back(p.closed);
    measured.x.push_back(static_cast<double>(p.steps));
    measured.y.push_back(p.measured);
  }
  report.line_chart({.title = "Gradient of the last state by the first",
                     .x_label = "steps T",
                     .y_label = "gradient",
                     .series = {closed, measured},
                     .log_y = true});
}

// Two charts: how much is left for a length, and where along the longest sequence it is lost.
void add_memory(HtmlReport& report, const VanishingRun& run) {
  report.section("Measured");
  report.text(
      "How much of the gradient by the last input is left at the first one, of layers that were not trained. "
      "With the usual start an LSTM's forget gate is near one half, and it forgets as well; gates that begin "
      "open keep the gradient.");
  LineChart lengths{.title = "What is left after T steps",
                    .x_label = "steps T",
                    .y_label = "|dL/dx_1| / |dL/dx_T|",
                    .log_y = true};
  LineChart through{.title = "The gradient through time: by the input of each step of the longest sequence",
                    .x_label = "step t",
                    .y_label = "|dL/dx_t|",
                    .log_y = true};
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> header{"layer"};
  for (const std::int64_t length : run.memory.front().lengths)
    header.push_back("T = " + std::to_string(length));
  for (const MemoryRun& m : run.memory) {
    lengths.series.push_back({.name = m.system->title, .y = m.shares, .x = as_doubles(m.lengths)});
    through.series.push_back({.name = m.system->title, .y = m.through});
    rows.push_back({m.system->title});
    for (const double share : m.shares) rows.back().push_back(short_text(share));
  }
  report.line_chart(lengths);
  report.line_chart(through);
  report.table(header, rows);
}

void add_exploding(HtmlReport& report, const VanishingRun& run) {
  const ExplodingRun& e = run.exploding;
  report.section("Explosion, and the rescue");
  report.text(
      "A ReLU net whose recurrent weight multiplies every state. Back to the first step the gradient grows "
      "by a "
      "factor of " +
      short_text(e.growth) + "; that of the weights has the norm " + short_text(e.norm_before) +
      ", after clipping " + significant(e.norm_after, 6) + ". Without clipping " +
      (e.diverged ? "the loss is finite no more from step " + std::to_string(e.free.size() + 1) + " on."
                  : "the loss stays finite."));
  report.line_chart({.title = "Loss",
                     .x_label = "step",
                     .y_label = "mean squared error",
                     .series = {{.name = "clipped", .y = e.clipped},
                                {.name = "not clipped", .y = e.free, .style = ChartSeries::Style::points}},
                     .log_y = true});
}

}  // namespace

void write_vanishing_report(RecipeContext& context, const VanishingRun& run, const RecipeResult& result) {
  HtmlReport report("vanishing-gradient", find_recipe("vanishing-gradient").summary);
  const Tone tone = result.stopped ? Tone::neutral : result.reached ? Tone::good : Tone::bad;
  const auto note = [](const MemoryRun& m) {
    return "left after " + std::to_string(m.lengths.back()) + " steps";
  };
  report.figure("RNN", short_text(run.memory[1].last_share()), note(run.memory[1]), tone);
  report.figure("LSTM, open gates", short_text(run.memory.back().last_share()), note(run.memory.back()),
                tone);
  report.figure("clipped norm", significant(run.exploding.norm_after, 6),
                "was " + short_text(run.exploding.norm_before), tone);
  report_verdict(report, context, result);
  add_chain(report, run);
  add_memory(report, run);
  add_exploding(report, run);
  finish_report(report, context);
}

}  // namespace gpunn::detail
