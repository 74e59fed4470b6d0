// The report of gpt2.
#include <cmath>

#include "gpunn/models/recipes/detail/gpt2_run.h"
#include "gpunn/models/recipes/detail/report_parts.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {
namespace {

std::string megabytes(std::size_t bytes) { return fixed(static_cast<double>(bytes) / 1e6, 0) + " MB"; }
std::string millions(std::int64_t count) { return fixed(static_cast<double>(count) / 1e6, 1) + " M"; }

void report_sizes(HtmlReport& report, const Gpt2Options& o, std::int64_t parameters) {
  report.section("Model");
  report.table({"layers", "features", "heads", "context", "vocabulary", "parameters"},
               {{std::to_string(o.layers), std::to_string(o.features), std::to_string(o.heads),
                 std::to_string(o.context), std::to_string(o.vocabulary), std::to_string(parameters)}});
}

Tone tone_of(const RecipeResult& result) {
  return result.stopped ? Tone::neutral : result.reached ? Tone::good : Tone::bad;
}

}  // namespace

void write_gpt2_report(RecipeContext& context, const Gpt2Training& run, const RecipeResult& result) {
  const double expected = std::log(static_cast<double>(run.options.vocabulary));
  HtmlReport report("gpt2", find_recipe("gpt2").summary);
  report.figure("first loss", fixed(run.losses.front(), 3), "ln(vocabulary) is " + fixed(expected, 3),
                tone_of(result));
  report.figure("tokens", fixed(run.tokens_per_second, 1), "a second");
  report.figure("arithmetic", fixed(run.tokens_per_second * run.flops_per_token / 1e9, 1), "GFLOP a second");
  report.figure("memory", megabytes(run.peak_live_bytes),
                "at most in use, " + megabytes(run.peak_reserved_bytes) + " reserved");
  report.figure("parameters", millions(run.parameters));
  report_verdict(report, context, result);
  report.section("Training steps");
  report.text(
      "One batch of random tokens, again and again, from random weights: the first loss is that of guessing, "
      "and what follows is learnt by heart.");
  LineChart losses{.title = "Loss", .x_label = "step", .y_label = "nats a token"};
  LineChart times{.title = "Time", .x_label = "step", .y_label = "seconds"};
  losses.series.push_back({.name = "loss", .y = run.losses});
  losses.references = {{"ln(vocabulary)", expected}};
  times.series.push_back({.name = "a step", .y = run.seconds});
  for (std::size_t i = 0; i < run.losses.size(); ++i) {
    losses.series[0].x.push_back(static_cast<double>(i + 1));
    times.series[0].x.push_back(static_cast<double>(i + 1));
  }
  report.line_chart(losses);
  report.line_chart(times);
  report.text("Median of the steps but the first: " + fixed(run.step_seconds, 3) + " s, counted as " +
              fixed(run.flops_per_token / 1e6, 1) +
              " MFLOP a token: 6 for each weight but the positions', and 12 x layers x features x length for "
              "attention.");
  report_sizes(report, run.options, run.parameters);
  finish_report(report, context);
}

void write_gpt2_report(RecipeContext& context, const Gpt2Text& run, const RecipeResult& result) {
  HtmlReport report("gpt2", find_recipe("gpt2").summary);
  if (run.logits)
    report.figure("largest difference", significant(run.logits->worst, 2),
                  concat("of logits up to ", fixed(run.logits->largest, 1), " from the stored ones"),
                  tone_of(result));
  report.figure("tokens", fixed(static_cast<double>(run.generated.tokens.size()) / run.seconds, 1),
                "a second, the prompt included");
  report.figure("parameters", millions(run.parameters));
  report_verdict(report, context, result);
  if (!run.logits)
    report.text(
        "There is no logits.safetensors beside the weights to compare with: benchmarks/peers/"
        "gpt2_logits.py writes one.");
  report.section("Text");
  report.preformatted(run.text + run.generated.text);
  report.text(concat(run.prompt_tokens, " tokens of prompt and ", run.generated.tokens.size(),
                     " new ones in ", fixed(run.seconds, 2), " s, ended by ", to_string(run.generated.stop),
                     "."));
  if (run.logits) {
    report.section("Logits");
    report.table({"sequences", "tokens of each", "largest logit", "largest difference"},
                 {{std::to_string(run.logits->sequences), std::to_string(run.logits->length),
                   fixed(run.logits->largest, 3), significant(run.logits->worst, 2)}});
  }
  report_sizes(report, run.options, run.parameters);
  report.text("From " + run.folder + ".");
  finish_report(report, context);
}

}  // namespace gpunn::detail
