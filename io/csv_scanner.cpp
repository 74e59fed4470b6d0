#include "gpunn/io/detail/csv_scanner.h"

#include "gpunn/io/detail/data_fail.h"

namespace gpunn::detail {

std::string CsvCell::value() const {
  if (!doubled) return std::string(raw);
  std::string out;
  out.reserve(raw.size());
  for (std::size_t i = 0; i < raw.size(); ++i) {
    out += raw[i];
    if (raw[i] == '"') ++i;  // the scanner has seen that the second one follows
  }
  return out;
}

CsvScanner::CsvScanner(std::string_view text, std::string_view path, char separator, std::uint64_t skip_lines)
    : text_(text), path_(path), separator_(separator) {
  GPUNN_CHECK(separator != '"' && separator != '\r' && separator != '\n' && separator != '\0',
              "CSV separator: expected a character other than quote, line end and zero");
  if (text_.starts_with("\xef\xbb\xbf")) position_ = 3;
  for (std::uint64_t skipped = 0; skipped < skip_lines; ++skipped, ++line_) {
    const std::size_t end = text_.find('\n', position_);
    if (end == std::string_view::npos) {
      fail_data(path_, "expected ", skip_lines, " lines before the table, got ", skipped, " line ends");
    }
    position_ = end + 1;
  }
}

void CsvScanner::fail(std::size_t column, const std::string& what) const {
  fail_data(path_, "line ", line_, ", column ", column + 1, ", offset ", position_, ": ", what);
}

bool CsvScanner::at_line_end() const noexcept {
  return text_[position_] == '\n' || text_.substr(position_).starts_with("\r\n");
}

/// Steps over a line end if one is here.
bool CsvScanner::skip_line_end() noexcept {
  if (!at_line_end()) return false;
  position_ += text_[position_] == '\r' ? 2 : 1;
  ++line_;
  return true;
}

bool CsvScanner::next(std::vector<CsvCell>& cells) {
  cells.clear();
  while (position_ < text_.size() && skip_line_end()) {
  }
  if (position_ == text_.size()) return false;
  row_line_ = line_;
  for (;;) {
    if (cells.size() == kMaxColumns) fail(cells.size(), concat("expected at most ", kMaxColumns, " columns"));
    cells.push_back(scan_cell(cells.size()));
    if (position_ == text_.size() || skip_line_end()) return true;
    ++position_;  // the separator: a cell ends at nothing else
  }
}

CsvCell CsvScanner::scan_cell(std::size_t column) {
  if (position_ < text_.size() && text_[position_] == '"') return scan_quoted(column);
  const std::size_t begin = position_;
  for (; position_ < text_.size() && text_[position_] != separator_; ++position_) {
    switch (text_[position_]) {
      case '\n':
        return {text_.substr(begin, position_ - begin), begin};
      case '\r':
        if (at_line_end()) return {text_.substr(begin, position_ - begin), begin};
        fail(column, "expected a line feed after the carriage return");
      case '"':
        fail(column, "expected quotes around the whole cell, got one inside it");
      case '\0':
        fail(column, "expected text, got a zero byte");
      default:
        break;
    }
  }
  return {text_.substr(begin, position_ - begin), begin};
}

CsvCell CsvScanner::scan_quoted(std::size_t column) {
  const std::size_t opening = position_;
  bool doubled = false;
  for (++position_; position_ < text_.size(); ++position_) {
    const char c = text_[position_];
    if (c == '\n') ++line_;
    if (c == '\0') fail(column, "expected text, got a zero byte");
    if (c != '"') continue;
    if (position_ + 1 < text_.size() && text_[position_ + 1] == '"') {
      doubled = true;
      ++position_;
      continue;
    }
    const CsvCell cell{text_.substr(opening + 1, position_ - opening - 1), opening, doubled};
    ++position_;
    if (position_ < text_.size() && text_[position_] != separator_ && !at_line_end()) {
      fail(column, "expected a separator or the line's end after the closing quote");
    }
    return cell;
  }
  fail(column,
       concat("expected a closing quote for the one at offset ", opening, ", got the end of the file"));
}

}  // namespace gpunn::detail
