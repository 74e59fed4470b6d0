#pragma once
// Tables of comma-separated values (RFC 4180), plain or gzip.
//
// Cells may be quoted ("a, b", with "" for a quote); quoted cells may hold separators and line ends. Lines
// end in CRLF or LF. Every row has the same number of cells. Blank lines are skipped, so is a UTF-8 byte
// order mark.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"
#include "gpunn/io/gzip.h"

namespace gpunn {

struct CsvOptions {
  char separator = ',';          // any character but a quote, a line end or zero
  bool header = false;           // the first row names the columns
  std::uint64_t skip_lines = 0;  // lines before the table that are not looked at
  GzipLimits limits{};
};

/// What an empty cell (also "NA", "nan") is when numbers are read.
enum class CsvMissing : std::uint8_t { error, nan };

/// A checked table. It keeps the file's text and nothing per cell: reading needs the file's size plus 2 MiB,
/// and every accessor scans the text again. Columns count from 0, in messages from 1. Copies share the text.
class GPUNN_API CsvTable {
 public:
  /// Throws DataError naming path, row, line, column and offset: a quote where none may be, an unfinished
  /// quote, text after a closing quote, a zero byte, a lone carriage return, rows of unequal length, more
  /// than 65,536 columns, no row at all.
  static CsvTable read(const std::string& path, const CsvOptions& options = {});
  /// The same from memory; `path` is for messages.
  static CsvTable parse(std::string text, std::string path, const CsvOptions& options = {});

  /// Rows without the header.
  std::int64_t rows() const noexcept;
  int columns() const noexcept;
  /// Empty without the header option.
  const std::vector<std::string>& header() const noexcept;
  /// Index of the column of this name. Throws DataError when none or several have it.
  int column(std::string_view name) const;

  /// Cells of a column, unquoted. These throw InvalidArgument when there is no such column.
  std::vector<std::string> text(int column) const;
  /// Throws DataError for a cell that is no finite number (spaces around it are fine), or missing where not
  /// allowed.
  std::vector<double> numbers(int column, CsvMissing missing = CsvMissing::error) const;
  /// Throws DataError for a cell that is no 64-bit integer.
  std::vector<std::int64_t> integers(int column) const;
  /// Lines of the file, from 1, on which the rows begin: for messages about what the cells mean.
  std::vector<std::uint64_t> lines() const;
  /// Columns [first, first + count) as an f32 tensor [rows, count] on the CPU; errors as numbers().
  Tensor matrix(int first, int count, CsvMissing missing = CsvMissing::error) const;

 private:
  struct Data;
  explicit CsvTable(std::shared_ptr<const Data> data) noexcept;
  void check_columns(int first, int count) const;

  std::shared_ptr<const Data> data_;
};

}  // namespace gpunn
