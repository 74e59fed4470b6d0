#include "gpunn/training/series.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numbers>
#include <span>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/io/csv.h"

namespace gpunn {
namespace {

// A Philox subsequence of its own.
constexpr std::uint64_t kNoiseStream = std::uint64_t{0x5345} << 48;
constexpr int kEpochYear = 1970;

template <class... Parts>
[[noreturn]] void fail(std::string_view path, const Parts&... parts) {
  detail::throw_data(detail::concat(path, ": ", parts...));
}

/// Digits only; -1 for anything else.
int number(std::string_view text) {
  int value = 0;
  for (const char c : text) {
    if (c < '0' || c > '9') return -1;
    value = 10 * value + (c - '0');
  }
  return value;
}

std::string padded(int value, std::size_t digits) {
  std::string text = std::to_string(value);
  return text.size() < digits ? std::string(digits - text.size(), '0') + text : text;
}

std::string shown(std::string_view text) {
  std::string out = "'";
  for (const char c : text.substr(0, 40)) out += c >= 0x20 && c < 0x7f ? c : '?';
  return out + "'";
}

/// The rows of a file before gaps are filled.
struct Rows {
  std::vector<DateNumber> dates;
  std::vector<std::uint64_t> lines;
  std::vector<std::vector<double>> columns;  // NaN: missing
};

/// Dates in order, in one unit, without repetition; returns the smallest step.
std::int64_t check_order(const Rows& rows, const std::string& path) {
  std::int64_t smallest = 0;
  for (std::size_t i = 1; i < rows.dates.size(); ++i) {
    const DateNumber before = rows.dates[i - 1], now = rows.dates[i];
    if (now.unit != before.unit)
      fail(path, "line ", rows.lines[i], ": expected a date like ", date_text(before), ", got ",
           date_text(now));
    const std::int64_t step = now.value - before.value;
    if (step == 0)
      fail(path, "line ", rows.lines[i], ": expected a date after ", date_text(before),
           ", got it again (line ", rows.lines[i - 1], " has it)");
    if (step < 0)
      fail(path, "line ", rows.lines[i], ": expected a date after ", date_text(before), " (line ",
           rows.lines[i - 1], "), got ", date_text(now));
    smallest = smallest == 0 ? step : std::min(smallest, step);
  }
  return smallest;
}

/// Rows that are missing before row `i`.
std::int64_t gap_before(const Rows& rows, std::size_t i, std::int64_t step, const SeriesOptions& options,
                        const std::string& path) {
  if (i == 0) return 0;
  const DateNumber before = rows.dates[i - 1], now = rows.dates[i];
  const std::int64_t units = now.value - before.value, missing = units / step - 1;
  const std::string expected = date_text({before.value + step, before.unit});
  if (units % step != 0)
    fail(path, "line ", rows.lines[i], ": expected ", expected, " or whole steps of ", step,
         now.unit == DateUnit::day ? " days" : " months", " later, got ", date_text(now));
  if (missing > 0 && options.fill == GapFill::error)
    fail(path, "line ", rows.lines[i], ": expected ", expected, " after ", date_text(before), ", got ",
         date_text(now), ": a gap of ", missing, missing == 1 ? " row" : " rows",
         "; fill it (forward or linear), or complete the file");
  if (missing > options.max_gap)
    fail(path, "line ", rows.lines[i], ": expected ", expected, " after ", date_text(before), ", got ",
         date_text(now), ": a gap of ", missing, " rows, and at most ", options.max_gap, " may be filled");
  return missing;
}

/// Line of the file for a row of the filled table: its own, or that of the next row of the file.
class Lines {
 public:
  Lines(const Rows& rows, const std::vector<std::int64_t>& places) : rows_(rows), places_(places) {}
  std::uint64_t of(std::int64_t row) const {
    const auto at = std::lower_bound(places_.begin(), places_.end(), row);
    return rows_.lines[static_cast<std::size_t>(at - places_.begin())];
  }

 private:
  const Rows& rows_;
  const std::vector<std::int64_t>& places_;
};

/// Fills the NaN of one column; `values` begins with its first row and has `stride` from row to row.
void fill_column(std::span<double> values, std::int64_t stride, const std::string& name, const Lines& lines,
                 const SeriesOptions& options, const std::string& path) {
  const std::int64_t rows = (static_cast<std::int64_t>(values.size()) + stride - 1) / stride;
  const auto at = [&](std::int64_t row) -> double& { return values[static_cast<std::size_t>(row * stride)]; };
  for (std::int64_t first = 0; first < rows; ++first) {
    if (!std::isnan(at(first))) continue;
    std::int64_t end = first;
    while (end < rows && std::isnan(at(end))) ++end;
    const auto refuse = [&](std::string_view what) {
      fail(path, "line ", lines.of(first), ", column ", shown(name),
           ": expected a number, got a missing value", what);
    };
    if (options.fill == GapFill::error) refuse("");
    if (first == 0) refuse(" with no value before it");
    if (options.fill == GapFill::linear && end == rows) refuse(" with no value after it");
    if (end - first > options.max_gap)
      refuse(detail::concat(", the first of ", end - first, ", and at most ", options.max_gap,
                            " may be filled"));
    const double before = at(first - 1);
    for (std::int64_t row = first; row < end; ++row) {
      const double part = static_cast<double>(row - first + 1) / static_cast<double>(end - first + 1);
      // Weighted, not before + part * (after - before): the difference of two doubles can overflow.
      at(row) = options.fill == GapFill::forward ? before : (1 - part) * before + part * at(end);
    }
    first = end;
  }
}

std::vector<int> value_columns(const CsvTable& table, int date_column, const SeriesOptions& options,
                               const std::string& path) {
  std::vector<int> columns;
  for (const std::string& name : options.columns) {
    const int column = table.column(name);
    for (const int other : columns)
      GPUNN_CHECK(other != column, "expected columns once, got ", name, " twice");
    if (column == date_column) fail(path, "expected a column of values, got the dates' column ", shown(name));
    columns.push_back(column);
  }
  if (options.columns.empty())
    for (int c = 0; c < table.columns(); ++c)
      if (c != date_column) columns.push_back(c);
  if (columns.empty()) fail(path, "expected a column of values beside the dates, got none");
  return columns;
}

Series series_of(const CsvTable& table, const std::string& path, const SeriesOptions& options) {
  GPUNN_CHECK(options.max_gap >= 0, "expected max_gap of at least 0, got ", options.max_gap);
  const int date_column = options.date_column.empty() ? 0 : table.column(options.date_column);
  const std::vector<int> columns = value_columns(table, date_column, options, path);
  if (table.rows() < 2) fail(path, "expected at least two rows, got ", table.rows());
  Rows rows;
  rows.lines = table.lines();
  const std::vector<std::string> dates = table.text(date_column);
  for (std::size_t i = 0; i < dates.size(); ++i)
    rows.dates.push_back(parse_date(dates[i], detail::concat(path, ": line ", rows.lines[i])));
  Series series;
  series.first = rows.dates[0];
  series.step = check_order(rows, path);
  for (const int c : columns) {
    series.names.push_back(table.header()[static_cast<std::size_t>(c)]);
    rows.columns.push_back(table.numbers(c, CsvMissing::nan));
    for (const double value : rows.columns.back()) series.filled_values += std::isnan(value) ? 1 : 0;
  }
  const std::int64_t V = series.variables();
  std::vector<std::int64_t> places;  // of the file's rows in the table
  for (std::size_t i = 0; i < rows.dates.size(); ++i) {
    const std::int64_t missing = gap_before(rows, i, series.step, options, path);
    series.filled_rows += missing;
    series.values.resize(series.values.size() + static_cast<std::size_t>(missing * V), std::nan(""));
    places.push_back(series.rows());
    for (const std::vector<double>& column : rows.columns) series.values.push_back(column[i]);
  }
  const Lines lines(rows, places);
  for (std::int64_t v = 0; v < V; ++v)
    fill_column(std::span(series.values).subspan(static_cast<std::size_t>(v)), V,
                series.names[static_cast<std::size_t>(v)], lines, options, path);
  return series;
}

}  // namespace

DateNumber parse_date(std::string_view text, std::string_view name) {
  using namespace std::chrono;
  const bool with_day = text.size() == 10;
  const bool form = (with_day || text.size() == 7) && text[4] == '-' && (!with_day || text[7] == '-');
  const int y = form ? number(text.substr(0, 4)) : -1, m = form ? number(text.substr(5, 2)) : -1,
            d = !form      ? -1
                : with_day ? number(text.substr(8))
                           : 1;
  if (y < 1 || m < 1 || d < 1 ||
      !year_month_day(year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d))).ok())
    fail(name, "expected a date like 1981-01-31 or 1949-01, got ", shown(text));
  if (!with_day) return {12 * (y - kEpochYear) + m - 1, DateUnit::month};
  const sys_days days =
      year_month_day(year(y), month(static_cast<unsigned>(m)), day(static_cast<unsigned>(d)));
  return {days.time_since_epoch().count(), DateUnit::day};
}

std::string date_text(DateNumber date) {
  using namespace std::chrono;
  if (date.unit == DateUnit::month) {
    const std::int64_t months = date.value + 12 * kEpochYear;
    return padded(static_cast<int>(months / 12), 4) + "-" + padded(static_cast<int>(months % 12) + 1, 2);
  }
  const year_month_day ymd(sys_days(days(static_cast<int>(date.value))));
  return padded(static_cast<int>(ymd.year()), 4) + "-" + padded(static_cast<int>(unsigned(ymd.month())), 2) +
         "-" + padded(static_cast<int>(unsigned(ymd.day())), 2);
}

std::int64_t Series::rows() const noexcept {
  return names.empty() ? 0 : static_cast<std::int64_t>(values.size() / names.size());
}

std::string Series::date(std::int64_t row) const {
  GPUNN_CHECK(row >= 0 && row < rows(), "expected a row in [0, ", rows(), "), got ", row);
  return date_text({first.value + row * step, first.unit});
}

std::vector<double> Series::column(std::int64_t variable) const {
  GPUNN_CHECK(variable >= 0 && variable < variables(), "expected a variable in [0, ", variables(), "), got ",
              variable);
  std::vector<double> out;
  for (auto i = static_cast<std::size_t>(variable); i < values.size(); i += names.size())
    out.push_back(values[i]);
  return out;
}

Series read_series(const std::string& path, const SeriesOptions& options) {
  return series_of(CsvTable::read(path, {.separator = options.separator, .header = true}), path, options);
}

Series parse_series(std::string text, const std::string& path, const SeriesOptions& options) {
  return series_of(CsvTable::parse(std::move(text), path, {.separator = options.separator, .header = true}),
                   path, options);
}

Series make_trend_season(const TrendSeasonOptions& options) {
  GPUNN_CHECK(options.rows >= 2, "expected at least 2 rows, got ", options.rows);
  GPUNN_CHECK(std::isfinite(options.start) && std::isfinite(options.end) && std::isfinite(options.amplitude),
              "expected a finite trend and amplitude, got ", options.start, " to ", options.end, " and ",
              options.amplitude);
  GPUNN_CHECK(std::isfinite(options.period) && options.period > 0, "expected a positive period, got ",
              options.period);
  GPUNN_CHECK(std::isfinite(options.noise) && options.noise >= 0, "expected noise of at least 0, got ",
              options.noise);
  Series series;
  series.names = {"value"};
  series.first = parse_date("2024-01-01");
  PhiloxStream random(options.seed, kNoiseStream);
  for (std::int64_t t = 0; t < options.rows; ++t) {
    const double part = static_cast<double>(t) / static_cast<double>(options.rows - 1);
    const double season = std::sin(2 * std::numbers::pi * static_cast<double>(t) / options.period);
    series.values.push_back(options.start + (options.end - options.start) * part +
                            options.amplitude * season +
                            options.noise * static_cast<double>(random.normal()));
  }
  return series;
}

}  // namespace gpunn
