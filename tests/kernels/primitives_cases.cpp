// core's three primitives: fill, strided copy with conversion, add.
#include <string>
#include <vector>

#include "gpunn/core/primitives_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Extents = std::vector<std::int64_t>;

void fill_in(std::int64_t* to, const Extents& values) { std::copy(values.begin(), values.end(), to); }

void add_fill(Suite& suite, const std::string& name, const Extents& shape, const Extents& strides,
              double value, CaseOptions o) {
  if (value == 0) o.zeros_ok = {"y"};
  suite.add(
      kFill, name,
      [=] {
        FillProblem p{};
        p.value = value;
        p.rank = static_cast<int>(shape.size());
        fill_in(p.shape, shape);
        fill_in(p.strides, strides);
        return p;
      },
      o);
}

/// x of dtype `from` into every dtype of `to`.
void add_copy(Suite& suite, const std::string& name, DType from, const std::vector<DType>& to,
              const Extents& shape, const Extents& x_strides, const Extents& y_strides) {
  CaseOptions o;
  o.dtypes = to;
  if (!is_floating(from)) o.fills = {{"x", fill::integers(0, from == DType::boolean ? 2 : 100)}};
  if (from == DType::boolean) o.zeros_ok = {"y"};
  suite.add(
      kCopy, name + " from " + name_of(from),
      [=] {
        CopyProblem p{};
        p.src_dtype = from;
        p.rank = static_cast<int>(shape.size());
        fill_in(p.shape, shape);
        fill_in(p.x_strides, x_strides);
        fill_in(p.y_strides, y_strides);
        return p;
      },
      o);
}

void add_sum(Suite& suite, std::int64_t n, CaseOptions o, const std::string& what = "") {
  suite.add(
      kAdd, std::to_string(n) + what,
      [=] {
        AddProblem p{};
        p.n = n;
        return p;
      },
      o);
}

}  // namespace

void add_primitives_cases(Suite& suite) {
  const std::vector<DType> floating = {DType::f32, DType::f16, DType::bf16};
  CaseOptions every;
  every.dtypes = {DType::f32, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8};
  CaseOptions unaligned = every;
  unaligned.shift = 1;
  for (const double value : {0.0, 3.0}) {
    for (const std::int64_t n : {1, 31, 32, 33, 1009, 70001})
      add_fill(suite, std::to_string(n) + (value == 0 ? " zeros" : " threes"), {n}, {1}, value, every);
    add_fill(suite, value == 0 ? "unaligned zeros" : "unaligned threes", {1009}, {1}, value, unaligned);
  }

  for (const DType from :
       {DType::f32, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8, DType::boolean}) {
    add_copy(suite, "33", from, floating, {33}, {1}, {1});
    add_copy(suite, "every third of 1009", from, floating, {1009}, {3}, {1});
  }
  for (const DType type : {DType::f32, DType::f16, DType::bf16, DType::i32, DType::i64, DType::u8}) {
    const std::vector<DType> same = {type};
    add_copy(suite, "70001", type, same, {70001}, {1}, {1});
    add_copy(suite, "transpose 65x33", type, same, {65, 33}, {1, 65}, {33, 1});
    add_copy(suite, "transpose of planes 3x40x17", type, same, {3, 40, 17}, {680, 1, 40}, {680, 17, 1});
    add_copy(suite, "images to channels last", type, same, {2, 5, 7, 3}, {105, 7, 1, 35}, {105, 21, 3, 1});
    add_copy(suite, "repeated rows", type, same, {9, 50}, {0, 1}, {50, 1});
    add_copy(suite, "gaps in x", type, same, {9, 50}, {64, 1}, {50, 1});
  }

  const CaseOptions plain;
  CaseOptions shifted, in_place;
  shifted.shift = 1;
  in_place.alias = {{"y", "a"}};
  for (const std::int64_t n : {0, 1, 31, 32, 33, 1009, 70001}) add_sum(suite, n, plain);
  add_sum(suite, 1009, shifted, " unaligned");
  add_sum(suite, 1009, in_place, " in place");
}

}  // namespace gpunn::parity
