#include "gpunn/layers/summary.h"

#include <algorithm>
#include <array>
#include <vector>

namespace gpunn {

namespace {

using Row = std::array<std::string, 4>;  // name, type, shapes, parameters

std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  for (int i = static_cast<int>(text.size()) - 3; i > 0; i -= 3)
    text.insert(static_cast<std::size_t>(i), ",");
  return text;
}

class Rows final : public MemberVisitor {
 public:
  void module(const std::string& name, Module& m) {
    const std::size_t row = rows.size();
    rows.push_back({name, m.type_name(), "", ""});
    const std::size_t outer = row_;
    const std::int64_t outer_count = count_;
    const std::string outer_prefix = prefix_;
    row_ = row;
    count_ = 0;
    prefix_ = name.empty() ? "" : name + ".";
    m.visit_members(*this);
    if (count_ > 0) rows[row][3] = grouped(count_);
    row_ = outer;
    count_ = outer_count;
    prefix_ = outer_prefix;
  }
  void parameter(const char* name, Parameter& value) override {
    std::string& shapes = rows[row_][2];
    shapes += (shapes.empty() ? "" : " ") + std::string(name) + " " + to_string(value.shape());
    count_ += value.numel();
  }
  void buffer(const char*, Buffer&) override {}
  void child(const char* name, Module& m) override { module(prefix_ + name, m); }

  std::vector<Row> rows;

 private:
  std::size_t row_ = 0;
  std::int64_t count_ = 0;
  std::string prefix_;
};

}  // namespace

std::string summary(Module& module) {
  Rows visitor;
  visitor.rows.push_back({"layer", "type", "parameters", "count"});
  visitor.module("", module);
  visitor.rows.push_back({"total", "", "", grouped(module.parameter_count())});

  std::array<std::size_t, 4> width{};
  for (const Row& row : visitor.rows)
    for (std::size_t c = 0; c < 4; ++c) width[c] = std::max(width[c], row[c].size());
  std::string out;
  for (const Row& row : visitor.rows) {
    std::string line;
    for (std::size_t c = 0; c < 4; ++c) {
      const std::string pad(width[c] - row[c].size(), ' ');
      line += c == 3 ? pad + row[c] : row[c] + pad + "  ";
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

}  // namespace gpunn
