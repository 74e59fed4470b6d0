#include <limits>
#include <string>
#include <vector>

#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kIgnore = -100;

/// A tile, and classes behind it.
struct Piece {
  LogitTile tile;
  std::int64_t behind = 0;
  std::int64_t classes() const { return tile.first + tile.cols + behind; }
};

std::string name_of(const Piece& s, const char* what) {
  const auto text = [](std::int64_t n) { return std::to_string(n); };
  return text(s.tile.rows) + "x" + text(s.tile.cols) + " of " + text(s.classes()) + " from " +
         text(s.tile.first) + " ld " + text(s.tile.ld) + what;
}

/// Statistics of earlier tiles: maximum, sum, logit of the label, sum of what is below the maximum.
double earlier(std::int64_t i, PhiloxStream& random) {
  const double drawn = random.normal();
  switch (i % 4) {
    case 1:
      return 1 + drawn * drawn;
    case 3:
      return -20 - drawn * drawn;
    default:
      return 2 * drawn;
  }
}

CaseOptions options_for(const Piece& s) {
  CaseOptions o;
  o.k = static_cast<double>(s.tile.cols);
  // A sum of exponentials errs by eps times the logits' size (up to 8 here).
  o.c = 16;
  o.scale = Scale::operand;
  o.fills = {{"logits", fill::normal(0, 2)},
             {"target", fill::every(5, kIgnore, fill::integers(0, s.classes()), 3)},
             {"stats", earlier}};
  o.zeros_ok = {"stats", "logits"};  // no sum asked for, no label in the tile; ignored rows
  o.small = s.tile.rows * s.tile.cols <= 400;
  return o;
}

void add_stats(Suite& suite, const Piece& s, bool want_sum, const CaseOptions& o, const char* what = "") {
  suite.add(
      kLogitStats, name_of(s, what) + (want_sum ? " sum" : ""),
      [=] {
        LogitStatsProblem p{};
        p.tile = s.tile, p.ignore_index = kIgnore, p.want_sum = want_sum;
        return p;
      },
      o);
}

/// What arrives for the losses.
enum class Arrives { nothing, one, by_row };

/// Statistics are those of the tile's logits, as if there were no other classes.
void add_grad(Suite& suite, const Piece& s, double smoothing, Arrives arrives, const CaseOptions& o,
              const char* what = "") {
  CaseOptions with_count = o;
  with_count.fills.emplace_back("count", fill::uniform(3, 4));
  constexpr const char* kArrives[] = {"", " dloss", " dloss by row"};
  suite.add(
      kLogitGrad,
      name_of(s, what) + (smoothing > 0 ? " smoothing" : "") + kArrives[static_cast<int>(arrives)],
      [=] {
        LogitGradProblem p{};
        p.tile = s.tile, p.classes = s.classes(), p.ignore_index = kIgnore, p.smoothing = smoothing;
        p.has_count = arrives == Arrives::one;
        p.has_dloss = arrives != Arrives::nothing;
        p.dloss_by_row = arrives == Arrives::by_row;
        return p;
      },
      with_count,
      [](LogitGradProblem& p) {
        LogitTile alone = p.tile;
        alone.first = 0;
        logit_stats_ref(
            {p.dtype, p.logits, p.target, const_cast<void*>(p.stats), alone, p.ignore_index, false}, {});
      });
}

void add_tile(Suite& suite, const Piece& s, const CaseOptions& o, const char* what = "") {
  for (const bool sum : {false, true}) add_stats(suite, s, sum, o, what);
  add_grad(suite, s, 0, Arrives::nothing, o, what);
  // Of a single class the gradient is 0, and with smoothing what is left by rounding.
  add_grad(suite, s, s.classes() > 1 ? 0.1 : 0, Arrives::one, o, what);
  add_grad(suite, s, 0, Arrives::by_row, o, what);
}

/// Rows: some -inf, all -inf, +inf, NaN, equal values, ordinary.
Fill special_rows(std::int64_t ld) {
  return [ld](std::int64_t i, PhiloxStream& random) {
    const double drawn = random.normal();
    switch (i / ld) {
      case 0:
        return i % 3 == 1 ? -kInfinity : drawn;
      case 1:
        return -kInfinity;
      case 2:
        return i % ld == 2 ? kInfinity : drawn;
      case 3:
        return i % ld == 2 ? kNan : drawn;
      case 4:
        return 7.0;
      default:
        return drawn;
    }
  };
}

/// Earlier tiles with nothing but -inf in every other row.
double earlier_special(std::int64_t i, PhiloxStream& random) {
  const double drawn = earlier(i, random);
  if (i / 4 % 2 == 1) return drawn;
  constexpr double kNothing[] = {-kInfinity, 0, 0, -kInfinity};
  return kNothing[i % 4];
}

void add_special(Suite& suite, const Piece& s) {
  CaseOptions o = options_for(s);
  o.small = false;
  o.fills = {{"logits", special_rows(s.tile.ld)}, {"target", fill::constant(0)}, {"stats", earlier_special}};
  add_tile(suite, s, o, " special values");
  if (s.tile.first > 0) return;
  o = options_for(s);
  o.small = false;
  o.fills[0].second = fill::normal(0, 1e4);
  add_tile(suite, s, o, " large magnitudes");
  o.fills[0].second = fill::normal(0, 2);
  o.fills[1].second = fill::constant(kIgnore);
  add_tile(suite, s, o, " all ignored");
  o.fills[1].second = fill::cycle({0, static_cast<double>(s.classes()), -1, 1e15, kIgnore, 1});
  add_tile(suite, s, o, " bad targets");
  o = options_for(s);
  o.shift = 1;
  add_tile(suite, s, o, " unaligned");
}

void add_loss(Suite& suite, std::int64_t rows, Reduction r, double smoothing, bool count_only,
              const Fill& target, const char* what = "") {
  CaseOptions o;
  o.dtypes = {DType::f32};  // no operand has that of the logits
  o.k = static_cast<double>(rows + 1);
  o.scale = Scale::operand;
  o.fills = {{"stats", earlier}, {"target", target}};
  o.zeros_ok = {"loss", "count"};
  o.small = rows <= 400;
  suite.add(
      kRowLoss,
      std::to_string(rows) + " " + gpunn::name_of(r) + (smoothing > 0 ? " smoothing" : "") +
          (count_only ? " count" : "") + what,
      [=] {
        RowLossProblem p{};
        p.rows = rows, p.classes = 10, p.ignore_index = kIgnore, p.smoothing = smoothing;
        p.reduction = r, p.count_only = count_only;
        return p;
      },
      o);
}

void add_losses(Suite& suite) {
  const Fill some = fill::every(5, kIgnore, fill::integers(0, 10), 3);
  for (const std::int64_t rows : {0, 1, 33, 600}) {
    for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum})
      for (const double smoothing : {0.0, 0.3, 1.0}) add_loss(suite, rows, r, smoothing, false, some);
    add_loss(suite, rows, Reduction::mean, 0, true, some);
  }
  for (const Reduction r : {Reduction::none, Reduction::mean, Reduction::sum}) {
    add_loss(suite, 70, r, 0.1, false, fill::constant(kIgnore), " all ignored");
    add_loss(suite, 70, r, 0.1, false, fill::cycle({0, 10, -1, 1e15, kIgnore, 1}), " bad targets");
  }
}

void add_scale(Suite& suite, std::int64_t n, double factor, std::int64_t shift = 0) {
  CaseOptions o;
  o.fills = {{"factor", fill::constant(factor)}};
  o.shift = shift;
  o.small = n <= 400;
  suite.add(
      kScaleGrad, std::to_string(n) + " by " + std::to_string(factor) + (shift ? " unaligned" : ""),
      [=] {
        ScaleGradProblem p{};
        p.n = n;
        return p;
      },
      o);
}

}  // namespace

void add_linear_cross_entropy_cases(Suite& suite) {
  const Piece pieces[] = {{{1, 1, 1, 0}, 0},      {{7, 1, 16, 0}, 2},      {{5, 31, 32, 0}, 0},
                          {{4, 32, 32, 32}, 0},   {{3, 33, 48, 64}, 7},    {{64, 10, 16, 10}, 5},
                          {{13, 97, 112, 97}, 0}, {{2, 1999, 2000, 0}, 9}, {{3, 5003, 5008, 5003}, 0}};
  for (const Piece& s : pieces) add_tile(suite, s, options_for(s));
  add_special(suite, {{6, 40, 48, 0}, 3});
  add_special(suite, {{6, 300, 304, 300}, 0});
  add_losses(suite);
  for (const std::int64_t n : {1, 33, 1000, 20001}) add_scale(suite, n, 0.3);
  add_scale(suite, 333, 1);
  add_scale(suite, 9001, -2, 1);
}

}  // namespace gpunn::parity
