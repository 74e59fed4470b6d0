#pragma once
// Splits CSV text into rows of cells without copying it.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace gpunn::detail {

struct CsvCell {
  std::string_view raw;      // between the quotes, if any; inside the scanned text
  std::uint64_t offset = 0;  // of the cell's first byte in the file
  bool doubled = false;      // holds "" pairs that stand for one quote

  std::string value() const;
};

/// Goes through the rows once. Throws DataError for text that is not RFC 4180.
class CsvScanner {
 public:
  static constexpr std::size_t kMaxColumns = 65'536;

  /// `path` is for messages; text and path must outlive the scanner.
  CsvScanner(std::string_view text, std::string_view path, char separator, std::uint64_t skip_lines);

  /// The next row that is not blank; false at the end. The cells' capacity is reused.
  bool next(std::vector<CsvCell>& cells);
  /// Line of the file, from 1, on which the row last read begins.
  std::uint64_t line() const noexcept { return row_line_; }

 private:
  bool at_line_end() const noexcept;
  bool skip_line_end() noexcept;
  CsvCell scan_cell(std::size_t column);
  CsvCell scan_quoted(std::size_t column);
  [[noreturn]] void fail(std::size_t column, const std::string& what) const;

  std::string_view text_, path_;
  char separator_;
  std::size_t position_ = 0;
  std::uint64_t line_ = 1, row_line_ = 1;
};

}  // namespace gpunn::detail
