#include "gpunn/layers/summary.h"

#include "gpunn/layers/detail/text_table.h"

namespace gpunn {

namespace {

using Row = std::array<std::string, 4>;  // name, type, shapes, parameters

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
    if (count_ > 0) rows[row][3] = detail::grouped(count_);
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
  visitor.rows.push_back({"total", "", "", detail::grouped(module.parameter_count())});
  return detail::text_table(visitor.rows, 3);
}

}  // namespace gpunn
