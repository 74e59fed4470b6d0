#pragma once
// Series of values with dates at even steps, from CSV files.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// What a date counts: days ("1981-01-31") or months ("1949-01").
enum class DateUnit : std::uint8_t { day, month };

/// Days since 1970-01-01 or months since 1970-01 of a proleptic Gregorian date, years 1 to 9999.
struct DateNumber {
  std::int64_t value = 0;
  DateUnit unit = DateUnit::day;
};
/// Reads "YYYY-MM-DD" or "YYYY-MM". Throws DataError "<name>: …" for anything else and for days that do not
/// exist.
GPUNN_API DateNumber parse_date(std::string_view text, std::string_view name = "date");
/// The text that parse_date() reads.
GPUNN_API std::string date_text(DateNumber date);

/// What stands in for rows and values that are missing: nothing (an error), the value before, or values on a
/// line between the neighbours.
enum class GapFill : std::uint8_t { error, forward, linear };

struct SeriesOptions {
  std::string date_column{};           // empty: the first column
  std::vector<std::string> columns{};  // of values; empty: all others
  char separator = ',';
  GapFill fill = GapFill::error;
  std::int64_t max_gap = 8;  // rows, or values in a row, that may be filled at one place
};

/// Rows at even steps in time, with one value or more each.
struct GPUNN_API Series {
  std::vector<std::string> names;  // of the variables
  DateNumber first{};              // date of row 0
  std::int64_t step = 1;           // units from row to row
  std::vector<double> values;      // [rows, variables], row by row
  std::int64_t filled_rows = 0;    // rows that were missing
  std::int64_t filled_values = 0;  // values that were missing in other rows

  std::int64_t variables() const noexcept { return static_cast<std::int64_t>(names.size()); }
  std::int64_t rows() const noexcept;
  /// Throws InvalidArgument for a row outside [0, rows()).
  std::string date(std::int64_t row) const;
  /// One variable. Throws InvalidArgument for an index outside [0, variables()).
  std::vector<double> column(std::int64_t variable) const;
};

/// A CSV file (plain or gzip) with a header, dates and numbers. The step is the smallest one between
/// neighbouring dates. Throws DataError naming file, line and what was expected: malformed CSV and dates,
/// days and months mixed, dates that repeat or go back, steps that are no multiple of the smallest; without
/// `fill` a gap, or a missing value (empty, "NA", "nan"); with it gaps longer than `max_gap`, and missing
/// values with no neighbour to fill them from; fewer than two rows; columns that are not there. Memory: with
/// `fill` up to 1 + max_gap rows for each one in the file. Throws InvalidArgument for a negative max_gap and
/// for columns given twice.
GPUNN_API Series read_series(const std::string& path, const SeriesOptions& options = {});
/// The same from memory; `path` is for messages.
GPUNN_API Series parse_series(std::string text, const std::string& path, const SeriesOptions& options = {});

struct TrendSeasonOptions {
  std::int64_t rows = 200;
  double start = 100, end = 150;  // of the trend, in the first and the last row
  double amplitude = 10;
  double period = 30;
  double noise = 3;  // standard deviation
  std::uint64_t seed = 0;
};
/// A line plus amplitude · sin(2 pi t / period) plus normal noise, t = 0, 1, …; days from 2024-01-01 on, one
/// variable "value". The same bits for one seed everywhere. Throws InvalidArgument for fewer than two rows,
/// a period or deviation that is not positive (noise may be 0), values that are not finite.
GPUNN_API Series make_trend_season(const TrendSeasonOptions& options = {});

}  // namespace gpunn
