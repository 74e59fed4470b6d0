#include "gpunn/io/csv.h"

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "gpunn/io/detail/csv_scanner.h"
#include "gpunn/io/detail/data_fail.h"

namespace gpunn {
namespace {

using detail::concat;
using detail::CsvCell;
using detail::CsvScanner;
using detail::fail_data;
using detail::in_quotes;

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

bool is_missing(std::string_view text) {
  return text.empty() || text == "NA" || text == "NaN" || text == "nan" || text == "NAN";
}

/// The whole of `text` as a T; std::from_chars knows no plus sign, files do.
template <class T>
std::errc parse_number(std::string_view text, T& value) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end != text.data() + text.size()) return std::errc::invalid_argument;
  return error;
}

}  // namespace

struct CsvTable::Data {
  Data(Bytes file, std::string file_path, const CsvOptions& options)
      : bytes(std::move(file)), text(as_text(bytes)), path(std::move(file_path)) {
    check(options);
  }
  Data(std::string memory, std::string name, const CsvOptions& options)
      : string(std::move(memory)), text(string), path(std::move(name)) {
    check(options);
  }
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;

  // The text lives in one of the two, whichever it came in: converting would copy a whole file.
  const Bytes bytes;
  const std::string string;
  const std::string_view text;
  const std::string path;
  char separator = ',';
  std::uint64_t skip_lines = 0;
  bool has_header = false;
  std::vector<std::string> header;
  std::int64_t rows = 0;
  int columns = 0;

  CsvScanner scanner() const { return {text, path, separator, skip_lines}; }

  /// Calls f(row, line, cells) for each row after the header.
  template <class F>
  void for_each_row(F&& f) const {
    CsvScanner scan = scanner();
    std::vector<CsvCell> cells;
    if (has_header) scan.next(cells);
    for (std::int64_t row = 0; scan.next(cells); ++row) f(row, scan.line(), cells);
  }

  /// One pass over everything, so that the accessors can fail on the meaning of a cell only.
  void check(const CsvOptions& options) {
    separator = options.separator;
    skip_lines = options.skip_lines;
    has_header = options.header;
    CsvScanner scan = scanner();
    std::vector<CsvCell> cells;
    if (!scan.next(cells))
      fail_data(path, "expected ", has_header ? "a header row" : "at least one row", ", got none");
    columns = static_cast<int>(cells.size());
    if (has_header) {
      for (const CsvCell& cell : cells) header.push_back(cell.value());
      if (!scan.next(cells)) return;
    }
    do {
      ++rows;
      if (static_cast<int>(cells.size()) != columns) {
        fail_data(path, "row ", rows, " (line ", scan.line(), ", offset ", cells[0].offset, "): expected ",
                  columns, " columns, got ", cells.size());
      }
    } while (scan.next(cells));
  }

  [[noreturn]] void fail_cell(std::int64_t row, std::uint64_t line, int column, const CsvCell& cell,
                              std::string_view expected) const {
    const std::string name =
        has_header ? concat(" ", in_quotes(header[static_cast<std::size_t>(column)])) : "";
    fail_data(path, "row ", row + 1, " (line ", line, "), column ", column + 1, name, ", offset ",
              cell.offset, ": expected ", expected, ", got ", in_quotes(cell.raw));
  }

  template <class T>
  T number(std::int64_t row, std::uint64_t line, int column, const CsvCell& cell, CsvMissing missing) const {
    const std::string_view shown = trimmed(cell.raw);
    if (missing == CsvMissing::nan && is_missing(shown)) return std::numeric_limits<T>::quiet_NaN();
    T value{};
    const std::errc error = parse_number(shown, value);
    if (error == std::errc::result_out_of_range) {
      fail_cell(row, line, column, cell,
                sizeof(T) == 4 ? "a number that fits f32" : "a number that fits f64");
    }
    // Not-a-number and infinity spelled out are refused as well: they would spread through a training run.
    if (error != std::errc() || !std::isfinite(value)) fail_cell(row, line, column, cell, "a number");
    return value;
  }
};

CsvTable::CsvTable(std::shared_ptr<const Data> data) noexcept : data_(std::move(data)) {}

CsvTable CsvTable::parse(std::string text, std::string path, const CsvOptions& options) {
  return CsvTable(std::make_shared<Data>(std::move(text), std::move(path), options));
}

CsvTable CsvTable::read(const std::string& path, const CsvOptions& options) {
  return CsvTable(std::make_shared<Data>(read_file_maybe_gzip(path, options.limits), path, options));
}

std::int64_t CsvTable::rows() const noexcept { return data_->rows; }
int CsvTable::columns() const noexcept { return data_->columns; }
const std::vector<std::string>& CsvTable::header() const noexcept { return data_->header; }

int CsvTable::column(std::string_view name) const {
  int found = -1;
  for (std::size_t i = 0; i < data_->header.size(); ++i) {
    if (data_->header[i] != name) continue;
    if (found >= 0)
      fail_data(data_->path, "columns ", found + 1, " and ", i + 1, " are both named ", in_quotes(name));
    found = static_cast<int>(i);
  }
  if (found >= 0) return found;
  std::string known;
  for (const std::string& other : data_->header) known += (known.empty() ? "" : ", ") + in_quotes(other);
  fail_data(data_->path, "expected a column ", in_quotes(name), ", got ",
            known.empty() ? "no header" : known);
}

void CsvTable::check_columns(int first, int count) const {
  GPUNN_CHECK(first >= 0 && count >= 0 && first <= columns() && count <= columns() - first, data_->path,
              ": expected columns within [0, ", columns(), "), got ", count, " from ", first);
}

std::vector<std::string> CsvTable::text(int column) const {
  check_columns(column, 1);
  std::vector<std::string> out;
  out.reserve(static_cast<std::size_t>(rows()));
  data_->for_each_row([&](std::int64_t, std::uint64_t, const std::vector<CsvCell>& cells) {
    out.push_back(cells[static_cast<std::size_t>(column)].value());
  });
  return out;
}

std::vector<double> CsvTable::numbers(int column, CsvMissing missing) const {
  check_columns(column, 1);
  std::vector<double> out;
  out.reserve(static_cast<std::size_t>(rows()));
  data_->for_each_row([&](std::int64_t row, std::uint64_t line, const std::vector<CsvCell>& cells) {
    out.push_back(data_->number<double>(row, line, column, cells[static_cast<std::size_t>(column)], missing));
  });
  return out;
}

std::vector<std::int64_t> CsvTable::integers(int column) const {
  check_columns(column, 1);
  std::vector<std::int64_t> out;
  out.reserve(static_cast<std::size_t>(rows()));
  data_->for_each_row([&](std::int64_t row, std::uint64_t line, const std::vector<CsvCell>& cells) {
    const CsvCell& cell = cells[static_cast<std::size_t>(column)];
    std::int64_t value = 0;
    if (parse_number(trimmed(cell.raw), value) != std::errc()) {
      data_->fail_cell(row, line, column, cell, "a 64-bit integer");
    }
    out.push_back(value);
  });
  return out;
}

std::vector<std::uint64_t> CsvTable::lines() const {
  std::vector<std::uint64_t> out;
  out.reserve(static_cast<std::size_t>(rows()));
  data_->for_each_row(
      [&](std::int64_t, std::uint64_t line, const std::vector<CsvCell>&) { out.push_back(line); });
  return out;
}

Tensor CsvTable::matrix(int first, int count, CsvMissing missing) const {
  check_columns(first, count);
  const Tensor out = empty({rows(), count}, {.dtype = DType::f32, .device = Device::cpu()});
  float* next = out.host<float>();
  data_->for_each_row([&](std::int64_t row, std::uint64_t line, const std::vector<CsvCell>& cells) {
    for (int c = first; c < first + count; ++c) {
      *next++ = data_->number<float>(row, line, c, cells[static_cast<std::size_t>(c)], missing);
    }
  });
  return out;
}

}  // namespace gpunn
