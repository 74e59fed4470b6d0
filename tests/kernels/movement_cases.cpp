// Joining and remapping: every rule alone, in combinations, in ranks that have kernels of their own.
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/movement/movement_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Axes = std::vector<RemapAxis>;

CaseOptions integer_options(const char* x) {
  CaseOptions o;
  o.dtypes = {DType::i64, DType::i32, DType::u8};
  o.fills = {{x, fill::integers(1, 100)}};
  return o;
}

/// Inputs of the given widths, the first of them at column `start` of rows of `width`.
void add_cat(Suite& suite, const std::string& name, std::int64_t outer,
             const std::vector<std::int64_t>& widths, CaseOptions o = {}) {
  const auto make = [=] {
    CatProblem p{};
    p.outer = outer;
    for (const std::int64_t w : widths) {
      p.slots[p.count++] = {nullptr, w, p.width};
      p.width += w;
    }
    return p;
  };
  o.small = outer * make().width <= 4000;
  suite.add(kCat, name, make, std::move(o));
}

void add_remap(Suite& suite, const std::string& name, const Axes& axes, double value = 1.5,
               CaseOptions o = {}) {
  const auto fill_in = [=](auto& p) {
    p.rank = static_cast<int>(axes.size());
    std::copy(axes.begin(), axes.end(), p.axes);
  };
  o.small = y_numel(static_cast<int>(axes.size()), axes.data()) <= 4000;
  suite.add(
      kRemap, name,
      [=] {
        RemapProblem p{};
        fill_in(p);
        p.value = value;
        return p;
      },
      o);
  if (!o.dtypes.empty()) return;  // integers have no gradient
  // An element may go to a few places per axis; what is cut off gets no gradient.
  o.k = 64;
  o.scale = Scale::absolute;
  o.zeros_ok = {"dx"};
  suite.add(
      kRemapBackward, name,
      [=] {
        RemapBackwardProblem p{};
        fill_in(p);
        return p;
      },
      o);
}

RemapAxis keep(std::int64_t n) { return {RemapRule::shift, n, n, 0}; }
RemapAxis border(RemapRule rule, std::int64_t n, std::int64_t before, std::int64_t behind) {
  return {rule, n, n + before + behind, before};
}

void add_rules(Suite& suite) {
  using R = RemapRule;
  for (const R rule : {R::shift, R::reflect, R::replicate, R::wrap}) {
    const std::string name = "rule " + std::to_string(static_cast<int>(rule)) + " ";
    add_remap(suite, name + "17", {border(rule, 17, 3, 5)});
    add_remap(suite, name + "widest", {border(rule, 5, 4, 4)});
    add_remap(suite, name + "before only", {keep(3), border(rule, 31, 7, 0)});
    add_remap(suite, name + "rows", {border(rule, 9, 2, 1), keep(32)});
    add_remap(suite, name + "images", {keep(6), border(rule, 7, 1, 2), border(rule, 9, 3, 1)});
    add_remap(suite, name + "rank 5",
              {border(rule, 3, 1, 1), keep(2), border(rule, 4, 1, 2), keep(3), border(rule, 5, 2, 1)});
    CaseOptions unaligned;
    unaligned.shift = 1;
    add_remap(suite, name + "unaligned", {border(rule, 9, 2, 1), keep(32)}, 1.5, unaligned);
    add_remap(suite, name + "integers", {border(rule, 9, 2, 1), keep(33)}, 3, integer_options("x"));
  }
  add_remap(suite, "crop", {border(R::shift, 20, -3, -4), border(R::shift, 33, -2, 5)});
  add_remap(suite, "crop to one", {border(R::shift, 20, -19, 0)});
  add_remap(suite, "replicate one far", {border(R::replicate, 1, 40, 20)});
  add_remap(suite, "reverse 33", {{R::reverse, 33, 33, 0}});
  add_remap(suite, "reverse rows", {{R::reverse, 13, 13, 0}, keep(36)});
  add_remap(suite, "reverse both", {{R::reverse, 13, 13, 0}, {R::reverse, 31, 31, 0}});
  add_remap(suite, "reverse integers", {{R::reverse, 13, 13, 0}, keep(36)}, 0, integer_options("x"));
  add_remap(suite, "tile 5x7", {{R::wrap, 5, 15, 0}, {R::wrap, 7, 14, 0}});
  add_remap(suite, "interleave", {keep(4), {R::interleave, 9, 27, 3}, keep(5)});
  add_remap(suite, "interleave last", {keep(4), {R::interleave, 9, 18, 2}});
  add_remap(suite, "more than 2^16", {border(R::shift, 300, 2, 2), border(R::shift, 301, 1, 3)});
}

}  // namespace

void add_movement_cases(Suite& suite) {
  add_cat(suite, "one input", 3, {7});
  add_cat(suite, "31 and 33", 1, {31, 33});
  add_cat(suite, "words", 5, {32, 64, 16});
  add_cat(suite, "odd", 6, {3, 1, 5, 11});
  add_cat(suite, "even", 6, {2, 6, 4});
  add_cat(suite, "long rows", 2, {40000, 30001});
  add_cat(suite, "many", 2, std::vector<std::int64_t>(kCatInputs, 3));
  add_cat(suite, "short rows", 700, {1, 2, 1});
  CaseOptions unaligned;
  unaligned.shift = 1;
  add_cat(suite, "unaligned", 5, {32, 64, 16}, unaligned);
  add_cat(suite, "integers", 5, {32, 64, 16}, integer_options("x"));
  add_cat(suite, "odd integers", 6, {3, 1, 5}, integer_options("x"));
  add_rules(suite);
}

}  // namespace gpunn::parity
