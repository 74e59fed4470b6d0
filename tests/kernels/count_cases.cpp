#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/count/count_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct Bins {
  std::int64_t n, bins;
  bool orders = false;  // run under many thread orders
};

std::string name_of(const Bins& s) { return std::to_string(s.n) + " in " + std::to_string(s.bins); }

/// Edges from -3 to 3, evenly spaced to rounding or denser below.
Fill edges(std::int64_t bins, bool uniform) {
  return [=](std::int64_t i, PhiloxStream&) {
    const double at = static_cast<double>(i) / static_cast<double>(bins);
    return -3 + 6 * (uniform ? at : at * at);
  };
}

void add_bins(Suite& suite, const Bins& s, bool uniform, bool find, const Fill& x, const char* what) {
  CaseOptions o;
  o.fills = {{"x", x}, {"edges", edges(s.bins, uniform)}};
  o.zeros_ok = {"y"};
  o.small = s.orders;
  suite.add(
      find ? kBinFind : kBinCount, name_of(s) + (uniform ? " even" : " uneven") + what,
      [=] {
        BinProblem p{};
        p.finds = find;
        p.with_edges = true;
        p.uniform = uniform;
        p.n = s.n, p.bins = s.bins;
        return p;
      },
      std::move(o));
}

void add_intervals(Suite& suite) {
  const Fill special =
      fill::every(7, kNan, fill::every(5, kInfinity, fill::every(11, -kInfinity, fill::normal(0, 1.5))), 3);
  for (const bool find : {false, true}) {
    for (const bool uniform : {false, true}) {
      for (const Bins& s : {Bins{1, 1}, Bins{33, 3, true}, Bins{1000, 100}, Bins{257, 6, true},
                            Bins{5003, 4096}, Bins{3001, 4097}, Bins{70001, 10}})
        add_bins(suite, s, uniform, find, fill::normal(0, 1.5), "");
      add_bins(suite, {500, 17}, uniform, find, special, " NaN and infinities");
      // Elements on the edges: with 6 bins they are whole numbers, where they are even.
      add_bins(suite, {400, 6}, uniform, find, fill::integers(-4, 5), " on edges");
    }
  }
  for (const bool uniform : {false, true}) add_bins(suite, {0, 5}, uniform, false, fill::normal(0, 1), "");
}

void add_values(Suite& suite) {
  for (const DType dtype : {DType::i32, DType::i64, DType::u8}) {
    for (const Bins& s :
         {Bins{0, 3}, Bins{1, 1}, Bins{33, 7, true}, Bins{1000, 200}, Bins{9001, 4097}, Bins{140001, 60}}) {
      CaseOptions o;
      o.dtypes = {dtype};
      o.zeros_ok = {"y"};
      o.small = s.orders;
      // Half of the bins, so that some stay empty, and what is in none.
      const std::int64_t most = std::min<std::int64_t>(s.bins, 200) / 2 + 1;
      const double outside = dtype == DType::u8 ? 255 : -1;
      o.fills = {{"x", fill::every(13, s.bins > 255 ? 1 : outside, fill::integers(0, most))}};
      suite.add(
          kBinCount, name_of(s) + gpunn::name_of(dtype),
          [=] {
            BinProblem p{};
            p.n = s.n, p.bins = s.bins;
            return p;
          },
          std::move(o));
    }
  }
}

struct Search {
  std::int64_t rows, length, n;
  bool one, orders = false;
};

void add_search(Suite& suite, const Search& s, bool right, CaseOptions o, const char* what) {
  o.zeros_ok = {"y"};
  o.small = s.orders;
  // Every element twice, rising within a row.
  o.fills.emplace_back("sequence", [=](std::int64_t i, PhiloxStream&) {
    return static_cast<double>(i % std::max<std::int64_t>(1, s.length) / 2) - 4;
  });
  suite.add(
      kSearch,
      std::to_string(s.rows) + "x" + std::to_string(s.n) + " in " + std::to_string(s.length) +
          (s.one ? " shared" : "") + (right ? " right" : "") + what,
      [=] {
        SearchProblem p{};
        p.right = right;
        p.one_sequence = s.one;
        p.rows = s.rows, p.length = s.length, p.n = s.n;
        return p;
      },
      std::move(o));
}

void add_searches(Suite& suite) {
  for (const bool right : {false, true}) {
    for (const Search& s :
         {Search{1, 1, 1, true}, Search{3, 17, 33, false, true}, Search{3, 16, 40, true, true},
          Search{2, 0, 5, false}, Search{1, 33, 9001, true}}) {
      CaseOptions o;
      o.fills = {{"values", fill::every(5, 0, fill::every(7, 1, fill::normal(0, 4)))}};
      add_search(suite, s, right, o, "");
    }
    CaseOptions special;
    special.fills = {{"values", fill::cycle({kNan, kInfinity, -kInfinity, 0.0, -0.0, 1})}};
    add_search(suite, {2, 21, 12, false}, right, special, " NaN and infinities");
    for (const DType dtype : {DType::i32, DType::i64, DType::u8}) {
      CaseOptions o;
      o.dtypes = {dtype};
      o.fills = {{"values", fill::integers(0, 12)}};
      if (dtype != DType::u8) add_search(suite, {2, 21, 40, false}, right, o, gpunn::name_of(dtype));
      add_search(suite, {1, 5, 40, true}, right, o, gpunn::name_of(dtype));
    }
  }
}

struct Rows {
  std::int64_t rows, width;
  bool orders = false;
};

void add_row_order(Suite& suite, const Rows& s, const Fill& x, std::vector<DType> dtypes, const char* what) {
  CaseOptions o;
  o.fills = {{"x", x}};
  o.zeros_ok = {"order"};
  o.small = s.orders;
  o.dtypes = std::move(dtypes);
  suite.add(
      kRowOrder, std::to_string(s.rows) + "x" + std::to_string(s.width) + what,
      [=] {
        RowOrderProblem p{};
        p.rows = s.rows, p.width = s.width;
        return p;
      },
      std::move(o));
}

void add_row_orders(Suite& suite) {
  for (const Rows& s :
       {Rows{1, 1}, Rows{33, 1, true}, Rows{1023, 2}, Rows{1025, 3}, Rows{3001, 1}, Rows{70, 40}}) {
    add_row_order(suite, s, fill::integers(-1, 2), {}, " ties");
    add_row_order(suite, s, fill::normal(0, 1), {}, "");
  }
  add_row_order(suite, {300, 3, true}, fill::cycle({0.0, -0.0, 1, -1, kNan, kInfinity, -kInfinity}), {},
                " special values");
  for (const DType dtype : {DType::i32, DType::i64, DType::u8, DType::boolean})
    add_row_order(suite, {1500, 4}, fill::integers(0, 2), {dtype}, gpunn::name_of(dtype));
}

}  // namespace

void add_count_cases(Suite& suite) {
  add_intervals(suite);
  add_values(suite);
  add_searches(suite);
  add_row_orders(suite);
}

}  // namespace gpunn::parity
