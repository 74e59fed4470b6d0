// Rows, elements and masks by index: few and many, repeated and unique, in
// columns and in the sort.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/primitives_impl.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Extents = std::vector<std::int64_t>;

void fill_in(std::int64_t* to, const Extents& values) { std::copy(values.begin(), values.end(), to); }

CaseOptions options_for(Fill index, bool integers = false) {
  CaseOptions o;
  o.fills = {{"index", std::move(index)}};
  if (integers) o.dtypes = {DType::i64, DType::i32, DType::u8, DType::boolean};
  return o;
}

struct RowsSize {
  std::int64_t outer, extent, inner, n;
  std::string name() const {
    return std::to_string(n) + " of " + std::to_string(outer) + "x" + std::to_string(extent) + "x" +
           std::to_string(inner);
  }
};

template <class P>
P rows_problem(const RowsSize& s, std::int64_t skip) {
  P p{};
  p.outer = s.outer, p.extent = s.extent, p.inner = s.inner, p.n = s.n, p.skip = skip;
  return p;
}

/// Both directions; `terms`: how often an index occurs at most.
void add_rows(Suite& suite, const RowsSize& s, const std::string& what, const Fill& index, double terms,
              std::int64_t skip = -1, std::int64_t shift = 0) {
  CaseOptions o = options_for(index);
  o.shift = shift;
  o.small = s.outer * (s.extent + s.n) * s.inner <= 3000 && s.n <= 300;
  o.zeros_ok = {"y"};
  suite.add(kSelectRows, s.name() + what, [=] { return rows_problem<SelectRowsProblem>(s, skip); }, o);
  o.k = terms;
  o.scale = Scale::absolute;
  for (const bool with_base : {false, true})
    suite.add(
        kAddRows, s.name() + what + (with_base ? " to base" : ""),
        [=] {
          AddRowsProblem p = rows_problem<AddRowsProblem>(s, skip);
          p.with_base = with_base;
          return p;
        },
        o);
}

void add_all_rows(Suite& suite) {
  for (const RowsSize& s :
       {RowsSize{1, 1, 1, 1}, {1, 7, 33, 20}, {3, 5, 4, 9}, {2, 300, 16, 31}, {1, 17, 2, 300}})
    add_rows(suite, s, "", fill::integers(0, s.extent), 64);
  const RowsSize table{1, 600, 12, 2000};
  add_rows(suite, table, " two digits", fill::integers(0, table.extent), 64);
  add_rows(suite, {1, 70000, 1, 1500}, " three digits", fill::integers(0, 70000), 16);
  add_rows(suite, {1, 40, 36, 700}, " one row", fill::constant(17), 700);
  add_rows(suite, {2, 3, 1, 700}, " one element", fill::constant(2), 700);
  add_rows(suite, {1, 50, 40, 64}, " without row 3", fill::every(2, 3, fill::integers(0, 50)), 64, 3);
  add_rows(suite, {1, 50, 40, 64}, " unaligned", fill::integers(0, 50), 64, -1, 1);
  add_rows(suite, {2, 50, 6, 64}, " bad indices",
           fill::every(5, -1, fill::every(7, 50, fill::integers(0, 50))), 64);
  const RowsSize small{2, 9, 8, 15};
  suite.add(
      kSelectRows, "integers", [=] { return rows_problem<SelectRowsProblem>(small, -1); },
      [] {
        CaseOptions o = options_for(fill::integers(0, 9), true);
        o.fills.emplace_back("x", fill::integers(0, 2));
        o.zeros_ok = {"y"};
        return o;
      }());
}

/// Index of `shape` into a contiguous x of `x_shape` along `dim`; shapes of the
/// test are not coalesced.
struct Elements {
  Extents shape, x_shape;
  int dim;

  std::int64_t x_stride(int d) const {
    std::int64_t n = 1;
    for (std::size_t i = static_cast<std::size_t>(d) + 1; i < x_shape.size(); ++i) n *= x_shape[i];
    return n;
  }
  std::int64_t index_stride(int d) const {
    std::int64_t n = 1;
    for (std::size_t i = static_cast<std::size_t>(d) + 1; i < shape.size(); ++i) n *= shape[i];
    return n;
  }
  int rank() const { return static_cast<int>(shape.size()); }
  std::int64_t extent() const { return x_shape[static_cast<std::size_t>(dim)]; }

  GatherProblem gather() const {
    GatherProblem p{};
    p.rank = rank();
    fill_in(p.shape, shape);
    for (int d = 0; d < p.rank; ++d) p.x_strides[d] = d == dim ? 0 : x_stride(d);
    p.extent = extent();
    p.step = x_stride(dim);
    return p;
  }
  ScatterProblem scatter(bool with_base, bool with_src) const {
    ScatterProblem p{};
    p.with_base = with_base;
    p.with_src = with_src;
    for (int d = 0; d < rank(); ++d) {
      if (d == dim) continue;
      p.shape[p.rank] = shape[static_cast<std::size_t>(d)];
      p.index_strides[p.rank] = index_stride(d);
      p.y_strides[p.rank++] = x_stride(d);
    }
    if (p.rank == 0) p.shape[p.rank++] = 1;
    p.n = shape[static_cast<std::size_t>(dim)];
    p.index_step = index_stride(dim);
    p.extent = extent();
    p.step = x_stride(dim);
    p.y_elements = x_stride(0) * x_shape[0];
    return p;
  }
};

void add_elements(Suite& suite, const std::string& name, const Elements& e, const Fill& index, double terms,
                  std::int64_t shift = 0) {
  CaseOptions o = options_for(index);
  o.shift = shift;
  o.zeros_ok = {"y"};
  o.small = e.index_stride(0) * e.shape[0] <= 1000 && e.x_stride(0) * e.x_shape[0] <= 1000;
  suite.add(kGather, name, [=] { return e.gather(); }, o);
  for (const bool with_base : {false, true}) {
    const std::string full = name + (with_base ? " to base" : "");
    suite.add(kScatter, full, [=] { return e.scatter(with_base, true); }, o);
    CaseOptions sums = o;
    sums.k = terms;
    sums.scale = Scale::absolute;
    suite.add(kScatterAdd, full, [=] { return e.scatter(with_base, true); }, sums);
  }
  // Without bad indices: a read outside is 0, and NaN in the f64 that stands for the truth.
  const Fill good = fill::integers(0, e.extent());
  CaseOptions integers = options_for(good, true);
  integers.zeros_ok = {"y"};
  integers.fills.emplace_back("x", fill::integers(0, 2));
  suite.add(kGather, name + " integers", [=] { return e.gather(); }, integers);
  integers.fills = {{"index", good}, {"base", fill::integers(0, 2)}, {"src", fill::integers(0, 2)}};
  suite.add(kScatter, name + " integers", [=] { return e.scatter(true, true); }, integers);
  CaseOptions numbers = options_for(index);
  numbers.dtypes = {DType::i64};
  numbers.zeros_ok = {"y"};
  suite.add(kScatter, name + " numbers", [=] { return e.scatter(false, false); }, numbers);
}

void add_all_elements(Suite& suite) {
  add_elements(suite, "last dim", {{5, 6}, {5, 9}, 1}, fill::integers(0, 9), 8);
  add_elements(suite, "first dim", {{6, 33}, {4, 33}, 0}, fill::integers(0, 4), 8);
  add_elements(suite, "middle dim", {{3, 7, 5}, {3, 4, 5}, 1}, fill::integers(0, 4), 8);
  add_elements(suite, "smaller index", {{2, 3, 4}, {3, 5, 6}, 1}, fill::integers(0, 5), 8);
  add_elements(suite, "rank 5", {{2, 3, 2, 3, 2}, {2, 3, 4, 3, 2}, 2}, fill::integers(0, 4), 8);
  add_elements(suite, "long columns", {{700, 3}, {40, 3}, 0}, fill::integers(0, 40), 64);
  add_elements(suite, "one column", {{900}, {300}, 0}, fill::integers(0, 300), 64);
  add_elements(suite, "one destination", {{900}, {3}, 0}, fill::constant(1), 900);
  add_elements(suite, "bad indices", {{100, 3}, {10, 3}, 0},
               fill::every(5, -1, fill::every(7, 10, fill::integers(0, 10))), 64);
  add_elements(suite, "bad columns", {{3, 8}, {3, 10}, 1}, fill::every(5, 1e15, fill::integers(0, 10)), 16);
  add_elements(suite, "unaligned", {{5, 6}, {5, 9}, 1}, fill::integers(0, 9), 8, 1);
  add_elements(suite, "many columns", {{3, 22001}, {2, 22001}, 0}, fill::integers(0, 2), 8);

  CaseOptions owned = options_for(fill::integers(0, 60));
  owned.zeros_ok = {"y"};
  suite.add(
      kGather, "owned",
      [] {
        GatherProblem p = Elements{{90}, {60}, 0}.gather();
        p.with_owner = true;
        return p;
      },
      owned,
      [](GatherProblem& p) {
        auto* owner = const_cast<std::int64_t*>(p.owner);
        for (std::int64_t e = 0; e < p.shape[0]; ++e) owner[p.index[e]] = e;
      });
}

void add_masks(Suite& suite) {
  const struct {
    const char* name;
    Extents shape, mask_strides;
  } kSizes[] = {{"33", {33}, {1}},
                {"1009", {1009}, {1}},
                {"a row for all", {9, 50}, {0, 1}},
                {"a column for all", {9, 50}, {1, 0}},
                {"rank 4", {2, 3, 4, 5}, {20, 0, 5, 1}},
                {"70001", {70001}, {1}}};
  for (const auto& s : kSizes) {
    CaseOptions o;
    o.fills = {{"mask", fill::integers(0, 2)}};
    o.small = gpunn::detail::numel_of(static_cast<int>(s.shape.size()), s.shape.data()) <= 2000;
    const auto make = [=] {
      MaskedFillProblem p{};
      p.rank = static_cast<int>(s.shape.size());
      fill_in(p.shape, s.shape);
      fill_in(p.mask_strides, s.mask_strides);
      p.value = -7;
      return p;
    };
    suite.add(kMaskedFill, s.name, make, o);
    CaseOptions in_place = o;
    in_place.alias = {{"y", "x"}};
    suite.add(kMaskedFill, std::string(s.name) + " in place", make, in_place);
    o.dtypes = {DType::i64, DType::i32};
    o.fills.emplace_back("x", fill::integers(1, 9));
    suite.add(kMaskedFill, std::string(s.name) + " integers", make, o);
  }
  for (const std::int64_t n : {1, 32, 255, 2048, 5000, 70001}) {
    for (const int kind : {0, 1, 2}) {
      CaseOptions o;
      o.dtypes = {DType::f32};
      o.zeros_ok = {"positions", "count"};
      o.fills = {{"mask", kind == 2 ? fill::integers(0, 2) : fill::constant(kind)}};
      o.small = n <= 2048;
      const char* const names[] = {" none", " all", " some"};
      suite.add(
          kMaskPositions, std::to_string(n) + names[kind],
          [n] {
            MaskPositionsProblem p{};
            p.n = n;
            return p;
          },
          o);
    }
  }
}

void add_one_hot(Suite& suite) {
  for (const auto& [n, classes] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {33, 10}, {7, 1000}, {5000, 3}}) {
    CaseOptions o = options_for(fill::every(6, -1, fill::integers(0, classes), 5));
    o.zeros_ok = {"y"};
    o.dtypes = {DType::f32, DType::f16, DType::bf16, DType::i64, DType::u8, DType::boolean};
    o.small = n * classes <= 2000;
    suite.add(
        kOneHot, std::to_string(n) + "x" + std::to_string(classes),
        [n = n, classes = classes] {
          OneHotProblem p{};
          p.n = n, p.classes = classes;
          return p;
        },
        o);
  }
}

void add_checks(Suite& suite) {
  const auto add = [&](std::int64_t n, const char* what, Fill index) {
    CaseOptions o = options_for(std::move(index));
    o.dtypes = {DType::f32};
    o.zeros_ok = {"bad"};
    o.small = n <= 1000;
    suite.add(
        kIndexCheck, std::to_string(n) + what,
        [n] {
          IndexCheckProblem p{};
          p.n = n, p.extent = 20;
          return p;
        },
        o);
  };
  for (const std::int64_t n : {1, 33, 1000, 70001}) {
    add(n, " good", fill::integers(0, 20));
    add(n, " bad first", fill::every(n, -1, fill::integers(0, 20)));
    add(n, " bad last", fill::every(n, 20, fill::integers(0, 20), n - 1));
    add(n, " many bad", fill::every(31, 1e15, fill::integers(0, 20), 30));
  }
}

}  // namespace

void add_indexing_cases(Suite& suite) {
  add_all_rows(suite);
  add_all_elements(suite);
  add_masks(suite);
  add_one_hot(suite);
  add_checks(suite);
}

}  // namespace gpunn::parity
