#pragma once
// Golden files of lists of numbers: columns name, part, "1.5 2 …".
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "gpunn/io/csv.h"
#include "tests/support/golden.h"

namespace gpunn::testing {

/// Lists by name and part.
using GoldenLists = std::map<std::string, std::map<std::string, std::vector<double>>>;

inline GoldenLists golden_lists(const std::string& file) {
  const CsvTable table = CsvTable::read(golden_path(file), {.header = true});
  const auto names = table.text(0), parts = table.text(1), lists = table.text(2);
  GoldenLists out;
  for (std::size_t i = 0; i < names.size(); ++i) {
    std::istringstream list(lists[i]);
    std::vector<double>& values = out[names[i]][parts[i]];
    for (double v; list >> v;) values.push_back(v);
  }
  return out;
}

}  // namespace gpunn::testing
