#include "gpunn/io/csv.h"

#include <cmath>

#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::bytes_of;
using testing::expect_data_error;
using testing::put_file;
using testing::TemporaryFolder;

CsvTable table(std::string_view text, const CsvOptions& options = {}) {
  return CsvTable::parse(std::string(text), "t.csv", options);
}

using Strings = std::vector<std::string>;

TEST(Csv, ReadsNumbersTextAndIntegers) {
  const CsvTable t = table("age,name,score\n31,Ada,1.5\r\n-7,\"Bob, Jr.\",+2e3\n", {.header = true});
  EXPECT_EQ(t.rows(), 2);
  EXPECT_EQ(t.columns(), 3);
  EXPECT_EQ(t.header(), (Strings{"age", "name", "score"}));
  EXPECT_EQ(t.column("score"), 2);
  EXPECT_EQ(t.integers(0), (std::vector<std::int64_t>{31, -7}));
  EXPECT_EQ(t.text(1), (Strings{"Ada", "Bob, Jr."}));
  EXPECT_EQ(t.numbers(2), (std::vector<double>{1.5, 2000}));
}

TEST(Csv, QuotesFollowTheRfc) {
  const CsvTable t = table("\"a\"\"b\",\"\",\"x\ny\r\nz\"\n\"\"\"\",plain,\"a,b\"");
  EXPECT_EQ(t.rows(), 2);
  EXPECT_EQ(t.text(0), (Strings{"a\"b", "\""}));
  EXPECT_EQ(t.text(1), (Strings{"", "plain"}));
  EXPECT_EQ(t.text(2), (Strings{"x\ny\r\nz", "a,b"}));
}

TEST(Csv, LineEndsMarksAndBlankLines) {
  for (const std::string_view text :
       {"1,2\n3,4\n", "1,2\r\n3,4\r\n", "1,2\n3,4", "1,2\n\n\r\n3,4\n\n", "\n1,2\n3,4",
        "\xef\xbb\xbf"
        "1,2\n3,4\n"}) {
    const CsvTable t = table(text);
    EXPECT_EQ(t.rows(), 2);
    EXPECT_EQ(t.numbers(0), (std::vector<double>{1, 3}));
    EXPECT_EQ(t.numbers(1), (std::vector<double>{2, 4}));
  }
  EXPECT_EQ(table("\"\"\n\"\"\n").rows(), 2);  // quoted empty cells are rows, blank lines are not
  EXPECT_EQ(table("a,\n,b\n").text(1), (Strings{"", "b"}));
  EXPECT_EQ(table("a,").columns(), 2);
  EXPECT_EQ(table("a;b c\td\n", {.separator = ';'}).columns(), 2);
  EXPECT_EQ(table("x\ny\n1,2\n", {.skip_lines = 2}).numbers(1), (std::vector<double>{2}));
  EXPECT_EQ(table("a,b\n", {.header = true}).rows(), 0);
}

TEST(Csv, MatrixIsAnF32Tensor) {
  const CsvTable t = table("1,2,3\n4,5,6\n");
  const Tensor m = t.matrix(1, 2);
  EXPECT_EQ(m.shape(), (Shape{2, 2}));
  EXPECT_EQ(m.to_vector<float>(), (std::vector<float>{2, 3, 5, 6}));
  EXPECT_EQ(t.matrix(3, 0).shape(), (Shape{2, 0}));
  EXPECT_THROW(t.matrix(2, 2), InvalidArgument);
  EXPECT_THROW(t.matrix(-1, 1), InvalidArgument);
  EXPECT_THROW(t.numbers(3), InvalidArgument);
  EXPECT_THROW(t.text(-1), InvalidArgument);
}

TEST(Csv, MissingCellsAreErrorsUnlessAsked) {
  const CsvTable t = table("1,x\n,x\nNA,x\nnan,x\n 2 ,x\n");
  expect_data_error([&] { t.numbers(0); },
                    {"row 2 (line 2), column 1, offset 4", "expected a number, got ''"});
  const std::vector<double> values = t.numbers(0, CsvMissing::nan);
  EXPECT_EQ(values[0], 1);
  EXPECT_TRUE(std::isnan(values[1]) && std::isnan(values[2]) && std::isnan(values[3]));
  EXPECT_EQ(values[4], 2);
  expect_data_error([&] { t.numbers(1, CsvMissing::nan); }, {"got 'x'"});
  EXPECT_TRUE(std::isnan(t.matrix(0, 1, CsvMissing::nan).to_vector<float>()[1]));
}

TEST(Csv, NumbersAreStrict) {
  for (const std::string_view cell :
       {"",  " ",  "abc", "1x",  "1 2",  "0x10",     "1,5", "--1",   "+-1",    "++1",   "+",         "-",
        ".", "e5", "1e",  "inf", "-inf", "infinity", "nan", "1e999", "-1e999", "1_000", "\"1\"\"\"", "١"}) {
    std::string text = std::string(cell) + ";1\n";
    expect_data_error([&] { table(text, {.separator = ';'}).numbers(0); },
                      {"t.csv: row 1 (line 1), column 1, offset 0: expected a number"}, cell);
  }
  for (const std::string_view cell :
       {"1.0", "1e2", "", "9223372036854775808", "-9223372036854775809", "true"}) {
    std::string text = std::string(cell) + ";1\n";
    expect_data_error([&] { table(text, {.separator = ';'}).integers(0); }, {"expected a 64-bit integer"},
                      cell);
  }
  expect_data_error([] { table("1e39\n").matrix(0, 1); }, {"fits f32"});
  EXPECT_EQ(table("1e39\n").numbers(0)[0], 1e39);
  EXPECT_EQ(table("-9223372036854775808\n").integers(0)[0], INT64_MIN);
  EXPECT_EQ(table("\"12\"\n").integers(0)[0], 12);
}

TEST(Csv, CellErrorsNameThePlace) {
  const CsvTable t = table("a,b\n\"x\ny\",1\nz,oops\n", {.header = true});
  expect_data_error([&] { t.numbers(1); },
                    {"t.csv: row 2 (line 4), column 2 'b', offset 14: expected a number, got 'oops'"});
}

TEST(Csv, ColumnsAreFoundByName) {
  const CsvTable t = table("a,b,a\n1,2,3\n", {.header = true});
  EXPECT_EQ(t.column("b"), 1);
  expect_data_error([&] { t.column("a"); }, {"columns 1 and 3 are both named 'a'"});
  expect_data_error([&] { t.column("c"); }, {"expected a column 'c', got 'a', 'b', 'a'"});
  expect_data_error([] { table("1\n").column("c"); }, {"no header"});
}

TEST(Csv, MalformedTextIsRefused) {
  struct Case {
    std::string_view text, message;
  };
  const std::vector<Case> cases = {
      {"", "at least one row"},
      {"\n\n", "at least one row"},
      {"\xef\xbb\xbf", "at least one row"},
      {"1,2\n3\n", "row 2 (line 2, offset 4): expected 2 columns, got 1"},
      {"1\n2,3\n", "row 2 (line 2, offset 2): expected 1 columns, got 2"},
      {"1,2\n3,4,\n", "row 2 (line 2, offset 4): expected 2 columns, got 3"},
      {"1,2\n\"3,4\"\n", "expected 2 columns, got 1"},
      {"\"1\n2\",3\n4\n", "row 2 (line 3, offset 8): expected 2 columns, got 1"},
      {"\"", "closing quote for the one at offset 0"},
      {"1,\"abc", "line 1, column 2, offset 6: expected a closing quote for the one at offset 2"},
      {"\"\"\"", "expected a closing quote"},
      {"\"a\nb\nc", "line 3, column 1"},
      {"a\"b\n", "offset 1: expected quotes around the whole cell"},
      {"1, \"a\"\n", "column 2, offset 3: expected quotes around"},
      {"a\"\n", "expected quotes around"},
      {"\"a\"b\n", "offset 3: expected a separator or the line's end"},
      {"\"a\" ,b\n", "expected a separator or the line's end"},
      {"\"a\"\"b\"c\n", "expected a separator"},
      {"\"a\"\rb\n", "expected a separator"},
      {"a\rb\n", "offset 1: expected a line feed after the carriage return"},
      {"a\r", "expected a line feed"},
      {"a,b\r\r\n", "expected a line feed"},
      {"\ra\n", "expected a line feed"},
  };
  for (const Case& c : cases) expect_data_error([&] { table(c.text); }, {"t.csv: ", c.message}, c.text);
  expect_data_error([] { table(std::string_view("a\0b\n", 4)); },
                    {"line 1, column 1, offset 1", "zero byte"});
  expect_data_error([] { table(std::string_view("\"a\0\"\n", 5)); }, {"offset 2", "zero byte"});
  expect_data_error([] { table("", {.header = true}); }, {"header row"});
  expect_data_error([] { table("a,b\n1\n", {.header = true}); }, {"row 1 (line 2"});
  expect_data_error([] { table("a\nb", {.skip_lines = 2}); }, {"expected 2 lines before the table, got 1"});
  expect_data_error([] { table(std::string(70'000, ',')); }, {"at most 65536 columns"});
  for (const char separator : {'"', '\n', '\r', '\0'}) {
    EXPECT_THROW(table("a", {.separator = separator}), InvalidArgument);
  }
}

TEST(Csv, TruncationAtEveryByteIsRefusedOrValid) {
  // A cut table is a table unless it ends in a quoted cell or has fewer columns in its last row.
  const std::string text = "\"a\"\"1\",b\n\"c\",\"d\ne\"\n";
  int refused = 0;
  for (std::size_t size = 0; size < text.size(); ++size) {
    try {
      const CsvTable t = table(text.substr(0, size));
      for (int c = 0; c < t.columns(); ++c) EXPECT_EQ(static_cast<std::int64_t>(t.text(c).size()), t.rows());
    } catch (const DataError& error) {
      ++refused;
      EXPECT_NE(std::string(error.what()).find("t.csv: "), std::string::npos);
    }
  }
  EXPECT_EQ(refused, 12);  // sizes 0, 1, 2, 4, 5 (open quote), 10, 11, 12 (one column), 14 to 17
}

TEST(Csv, FilesMayBeCompressed) {
  const TemporaryFolder folder;
  put_file(folder.file("t.csv"), "1,2\n");
  put_file(folder.file("t.csv.gz"), gzip(bytes_of("1,2\n")));
  for (const char* name : {"t.csv", "t.csv.gz"}) {
    EXPECT_EQ(CsvTable::read(folder.file(name)).numbers(1), (std::vector<double>{2}));
  }
  expect_data_error([&] { CsvTable::read(folder.file("none.csv")); },
                    {folder.file("none.csv"), "No such file"});
}

TEST(Csv, ReadsRealTables) {
  const std::string folder = testing::test_data_folder();
  if (folder.empty()) GTEST_SKIP() << "set GPUNN_TEST_DATA_DIR";
  const CsvTable digits = CsvTable::read(folder + "/digits/digits.csv.gz");
  EXPECT_EQ(digits.rows(), 1797);
  EXPECT_EQ(digits.columns(), 65);
  double pixels = 0;
  for (const float v : digits.matrix(0, 64).to_vector<float>()) pixels += v;
  EXPECT_EQ(pixels, 561718);
  const auto labels = digits.integers(64);
  EXPECT_EQ(std::vector<std::int64_t>(labels.begin(), labels.begin() + 10),
            (std::vector<std::int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));

  const CsvTable iris = CsvTable::read(folder + "/iris/iris.csv", {.skip_lines = 1});
  EXPECT_EQ(iris.rows(), 150);
  EXPECT_EQ(iris.columns(), 5);
  const CsvTable housing = CsvTable::read(folder + "/california_housing/housing.csv.gz", {.header = true});
  EXPECT_EQ(housing.rows(), 20'640);
  const int bedrooms = housing.column("total_bedrooms");
  EXPECT_THROW(housing.numbers(bedrooms), DataError);
  int missing = 0;
  for (const double v : housing.numbers(bedrooms, CsvMissing::nan)) missing += std::isnan(v);
  EXPECT_EQ(missing, 207);
  EXPECT_EQ(CsvTable::read(folder + "/diabetes/diabetes_data_raw.csv.gz", {.separator = ' '}).columns(), 10);
  EXPECT_EQ(CsvTable::read(folder + "/timeseries/airline-passengers.csv", {.header = true}).rows(), 144);
}

TEST(CsvTableTest, LinesAreThoseOfTheFile) {
  const CsvTable table =
      CsvTable::parse("# note\na,b\n\n1,\"x\ny\"\n\r\n2,z", "f", {.header = true, .skip_lines = 1});
  EXPECT_EQ(table.lines(), (std::vector<std::uint64_t>{4, 7}));
}

}  // namespace
}  // namespace gpunn
