// positional-encoding: the table of sines and cosines, and that a step along it is a turn.
#include <algorithm>
#include <cmath>

#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/positions.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/report.h"

namespace gpunn {
namespace {

using detail::significant;

constexpr std::int64_t kPositions = 50, kFeatures = 128;
constexpr double kTolerance = 1e-6;
constexpr std::int64_t kSteps[] = {1, 5, 10, 25};

struct PositionSettings : RunSettings {
  PositionSettings() { epochs = 0; }
};

struct Table {
  std::vector<double> values;  // [positions, features]
  double at(std::int64_t position, std::int64_t feature) const {
    return values[static_cast<std::size_t>(position * kFeatures + feature)];
  }
};

/// Largest difference between PE(position + step) and PE(position) turned pair by pair through the angle of
/// that step: the same linear map for every position.
double turn_error(const Table& table, std::int64_t step) {
  double worst = 0;
  for (std::int64_t i = 0; i < kFeatures; i += 2) {
    const double angle = static_cast<double>(step) /
                         std::pow(10000.0, static_cast<double>(i) / static_cast<double>(kFeatures));
    const double c = std::cos(angle), s = std::sin(angle);
    for (std::int64_t p = 0; p + step < kPositions; ++p) {
      const double sine = table.at(p, i), cosine = table.at(p, i + 1);
      worst = std::max({worst, std::abs(table.at(p + step, i) - (sine * c + cosine * s)),
                        std::abs(table.at(p + step, i + 1) - (cosine * c - sine * s))});
    }
  }
  return worst;
}

double product(const Table& table, std::int64_t a, std::int64_t b) {
  double sum = 0;
  for (std::int64_t i = 0; i < kFeatures; ++i) sum += table.at(a, i) * table.at(b, i);
  return sum;
}

void report_table(HtmlReport& report, const Table& table) {
  report.section("The table");
  report.text(
      "A row for each position. The first features turn once in six positions, the last ones hardly at all.");
  report.heat_map({.title = "Sines and cosines, 50 positions, 128 features",
                   .rows = static_cast<int>(kPositions),
                   .columns = static_cast<int>(kFeatures),
                   .values = table.values,
                   .x_label = "feature",
                   .y_label = "position",
                   .maximum = 1,
                   .width = kFullWidth});
  LineChart waves{.title = "Some features over positions", .x_label = "position", .y_label = "value"};
  for (const std::int64_t feature : {0, 1, 16, 32, 64}) {
    ChartSeries series{.name = "feature " + std::to_string(feature)};
    for (std::int64_t p = 0; p < kPositions; ++p) {
      series.x.push_back(static_cast<double>(p));
      series.y.push_back(table.at(p, feature));
    }
    waves.series.push_back(std::move(series));
  }
  report.line_chart(waves);
}

void report_products(HtmlReport& report, const Table& table) {
  report.section("Products of positions");
  report.text(
      "Products depend on the distance alone, so attention can learn to look a number of places back.");
  HeatMap map{.title = "PE(a) . PE(b)",
              .rows = static_cast<int>(kPositions),
              .columns = static_cast<int>(kPositions),
              .values = {},
              .x_label = "b",
              .y_label = "a"};
  for (std::int64_t a = 0; a < kPositions; ++a)
    for (std::int64_t b = 0; b < kPositions; ++b) map.values.push_back(product(table, a, b));
  report.heat_map(map);
}

RecipeResult run(RecipeContext& context) {
  RunFolder& folder = context.folder();
  const SinusoidalPositions positions(kFeatures, kPositions);
  const Table table{positions.pe.to(DType::f64).to_vector<double>()};
  RecipeResult result;
  double worst = 0;
  std::vector<std::vector<std::string>> rows;
  for (const std::int64_t step : kSteps) {
    const double error = turn_error(table, step);
    worst = std::max(worst, error);
    rows.push_back({std::to_string(step), significant(error, 2)});
    context.say("  PE(pos + " + std::to_string(step) + ") as a turn of PE(pos): off by " +
                significant(error, 2));
    JsonWriter json;
    json.begin_object().field("step", step).field("error", error);
    folder.append_metrics(json.end_object().take());
  }
  result.metric("worst_error", worst);
  result.reached = worst <= kTolerance;

  HtmlReport report("positional-encoding", find_recipe("positional-encoding").summary);
  report.figure("largest error", significant(worst, 2), "of PE(pos + k) as a turn of PE(pos)",
                result.reached ? Tone::good : Tone::bad);
  report_table(report, table);
  report_products(report, table);
  report.section("A step is a turn");
  report.text(
      "PE(pos + k) is PE(pos) with every pair of features turned through k times its angle: one linear map, "
      "whatever the position.");
  report.table({"k", "largest error over all positions"}, rows);
  report.section("Environment");
  report_environment(report, context.device());
  folder.write_report(report.html());
  return result;
}

}  // namespace

const Recipe kPositionalEncoding{
    "positional-encoding",
    "attention",
    "where a token stands, as sines and cosines",
    "none",
    "PE(pos + k) is a linear function of PE(pos), to 1e-6",
    [] { return std::unique_ptr<RunSettings>(std::make_unique<PositionSettings>()); },
    run};

}  // namespace gpunn
