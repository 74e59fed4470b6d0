#include "gpunn/io/csv.h"

#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kCells = {"",         "1",     "-2.5",    "1e3",
                                         "abc",      "\"q\"", "\"a,b\"", "\"x\ny\"",
                                         "\"\"\"\"", " 7 ",   "nan",     "9223372036854775807",
                                         "é"};
const std::vector<std::string> kWords = {
    "\"", "\"\"", ",", "\n", "\r\n", "\r", std::string(1, '\0'), "\xef\xbb\xbf", ",,,,"};

std::string in_quotes(const std::string& cell) {
  std::string out = "\"";
  for (const char c : cell) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + "\"";
}

TEST(FuzzCsv, RefusesOrReads) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    const std::size_t rows = dice.below(6), columns = 1 + dice.below(4);
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t c = 0; c < columns; ++c) document += (c > 0 ? "," : "") + dice.pick(kCells);
      document += dice.one_in(2) ? "\n" : "\r\n";
    }
    if (!dice.one_in(4)) fuzz::mutate(document, dice, kWords);
    CsvOptions options;
    options.header = dice.one_in(2);
    options.skip_lines = dice.one_in(4) ? dice.below(3) : 0;
    const CsvTable table = CsvTable::parse(document, "f", options);

    // The cells, all quoted and read again, are the same cells: no character was lost or made up.
    std::vector<std::vector<std::string>> cells;
    for (int c = 0; c < table.columns(); ++c) {
      cells.push_back(table.text(c));
      EXPECT_EQ(static_cast<std::int64_t>(cells.back().size()), table.rows());
      if (!dice.one_in(4)) continue;  // refused cells cost an exception each
      const auto expect_numbers = [&](auto read) {
        try {
          EXPECT_EQ(read().size(), cells.back().size());
        } catch (const DataError& error) {
          EXPECT_NE(std::string_view(error.what()).find("f: row "), std::string_view::npos) << error.what();
        }
      };
      expect_numbers([&] { return table.numbers(c); });
      expect_numbers([&] { return table.numbers(c, CsvMissing::nan); });
      expect_numbers([&] { return table.integers(c); });
    }
    if (table.rows() == 0) return true;
    std::string again;
    for (std::size_t r = 0; r < cells[0].size(); ++r) {
      for (std::size_t c = 0; c < cells.size(); ++c) again += (c > 0 ? "," : "") + in_quotes(cells[c][r]);
      again += "\n";
    }
    const CsvTable second = CsvTable::parse(again, "again");
    EXPECT_EQ(second.columns(), table.columns());
    for (int c = 0; c < second.columns(); ++c) EXPECT_EQ(second.text(c), cells[static_cast<std::size_t>(c)]);
    return true;
  });
}

TEST(FuzzCsv, MemoryStaysNearTheFile) {
  // Documents of several megabytes of the kind that makes tables of cells explode: empty cells and blank
  // lines.
  for (const std::string& unit :
       {std::string(",,,,\n"), std::string("\n"), std::string("\"\"\n"), std::string("1\n")}) {
    std::string document = "\"\"";
    if (unit == ",,,,\n") document = unit;
    document += "\n";
    while (document.size() < (4u << 20)) document += unit;
    const std::size_t size = document.size();
    const fuzz::AllocationMeter meter;
    const CsvTable table = CsvTable::parse(std::move(document), "f");
    EXPECT_GT(table.rows(), 0);
    EXPECT_LT(meter.peak(), std::size_t{4} << 20) << size;
  }
}

}  // namespace
}  // namespace gpunn
