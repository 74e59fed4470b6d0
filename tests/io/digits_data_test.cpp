// The data set that comes with the library is the one its SOURCE.md describes.
#include <algorithm>
#include <set>

#include "gpunn/io/csv.h"
#include "gpunn/io/sha256.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

std::string data_path(const std::string& name) {
  return testing::environment("GPUNN_SOURCE_DIR", ".") + "/models/data/" + name;
}

TEST(DigitsData, FilesAreTheNamedOnes) {
  const std::string source = read_text_file(data_path("SOURCE.md"));
  for (const char* name : {"digits.csv.gz", "digits_split.csv"}) {
    EXPECT_NE(source.find(sha256_of_file(data_path(name))), std::string::npos) << name;
  }
}

TEST(DigitsData, PixelsAndLabelsAreInRange) {
  const CsvTable digits = CsvTable::read(data_path("digits.csv.gz"));
  ASSERT_EQ(digits.rows(), 1797);
  ASSERT_EQ(digits.columns(), 65);
  for (int c = 0; c < 65; ++c) {
    for (const std::int64_t v : digits.integers(c)) {
      ASSERT_GE(v, 0);
      ASSERT_LE(v, c < 64 ? 16 : 9);
    }
  }
}

TEST(DigitsData, SplitIsAPermutation) {
  const CsvTable split = CsvTable::read(data_path("digits_split.csv"), {.header = true});
  const auto rows = split.integers(split.column("row"));
  const auto parts = split.text(split.column("part"));
  ASSERT_EQ(rows.size(), 1797u);
  EXPECT_EQ(std::set<std::int64_t>(rows.begin(), rows.end()).size(), rows.size());
  EXPECT_EQ(*std::min_element(rows.begin(), rows.end()), 0);
  EXPECT_EQ(*std::max_element(rows.begin(), rows.end()), 1796);
  for (std::size_t i = 0; i < parts.size(); ++i) ASSERT_EQ(parts[i], i < 360 ? "test" : "train") << i;
}

}  // namespace
}  // namespace gpunn
