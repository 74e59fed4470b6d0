// Norms of residual + dropout(x).
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/norm/add_norm_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr std::uint64_t kNearCarry = 0xfffffffdULL;  // the block number carries within the first rows

/// What a case turns on, in letters.
///   w weight  b bias  k keep mean and rstd  W f32 weights beside halves  m RMS
///   d dropout of one in ten  h of half  z of all  s a gradient of the sum
struct Flags {
  std::string letters;
  bool operator[](char letter) const { return letters.find(letter) != std::string::npos; }
  bool drops() const { return (*this)['d'] || (*this)['h'] || (*this)['z']; }
};

struct Rows {
  std::int64_t rows, cols;
  std::uint64_t offset = 5;
};

DropoutMask mask_of(const Rows& s, const Flags& f) {
  const DropoutMask tenth{0x123456789abcdefULL, s.offset, 0xe6666665u, 1 / 0.9};
  if (f['h']) return {tenth.seed, s.offset, 0x7fffffffu, 2};
  return f['z'] ? DropoutMask{} : tenth;
}

std::string name_of(const Rows& s, const Flags& f, const std::string& what) {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols) + " " + f.letters + what;
}

template <class P>
P problem_of(const Rows& s, const Flags& f) {
  P p{};
  p.sizes = {s.rows, s.cols, 1, 1};
  p.rms = f['m'], p.has_weight = f['w'], p.wide_weights = f['W'];
  p.mask = mask_of(s, f);
  return p;
}

AddNormProblem forward_problem(const Rows& s, const Flags& f) {
  auto p = problem_of<AddNormProblem>(s, f);
  p.eps = 1e-5;
  p.save = f['k'], p.has_bias = f['b'], p.drop = f.drops();
  return p;
}

AddNormBackwardProblem backward_problem(const Rows& s, const Flags& f) {
  auto p = problem_of<AddNormBackwardProblem>(s, f);
  p.want_dw = f['w'], p.want_db = f['b'];
  p.has_dsum = f['s'], p.want_dbranch = f.drops();
  return p;
}

/// Fills of those operands that the problem has.
template <class P>
CaseOptions options_for(P p, std::int64_t terms, CaseOptions o,
                        const std::vector<std::pair<std::string, Fill>>& all) {
  o.k = static_cast<double>(terms);
  o.c = 16;
  o.scale = Scale::operand;  // sums that cancel
  o.small = p.sizes.elements() <= 50;
  p.dtype = DType::f32;
  for (const Operand& operand : operands(p))
    for (const auto& fill : all)
      if (operand.name == fill.first && operand.elements > 0) o.fills.push_back(fill);
  return o;
}

/// Sums of such numbers, doubled or not, are exact in every dtype. The statistics, which are f32 beside
/// halves, could not be compared with those of sums that were not rounded.
Fill sixteenths(std::int64_t most, double mean = 0) {
  return [=, whole = fill::integers(-16 * most, 16 * most)](std::int64_t i, PhiloxStream& random) {
    return mean + whole(i, random) / 16;
  };
}

void add_forward(Suite& suite, const Rows& s, const Flags& f, const std::string& what = "",
                 const CaseOptions& extra = {}, double mean = 0) {
  suite.add(
      kAddNormForward, name_of(s, f, what), [=] { return forward_problem(s, f); },
      options_for(forward_problem(s, f), s.cols, extra,
                  {{"x", f['d'] ? fill::normal(2, 2) : sixteenths(2, mean)},
                   {"residual", f['d'] ? fill::normal(-1, 1) : sixteenths(4)},
                   {"weight", fill::uniform(0.5, 1.5)},
                   {"bias", fill::normal(0, 1)}}));
}

void add_backward(Suite& suite, const Rows& s, const Flags& f, const std::string& what = "",
                  CaseOptions extra = {}) {
  if (f['h'] || f['z']) extra.zeros_ok = {"dbranch"};
  suite.add(
      kAddNormBackward, name_of(s, f, what), [=] { return backward_problem(s, f); },
      options_for(backward_problem(s, f), std::max(s.cols, s.rows), extra,
                  {{"x", fill::normal(2, 2)},
                   {"mean", fill::normal(2, 0.1)},
                   {"rstd", fill::uniform(0.3, 1)},
                   {"weight", fill::uniform(0.5, 1.5)}}));
}

}  // namespace

void add_norm_sum_cases(Suite& suite) {
  const std::vector<Rows> sizes = {{4, 7},    {3, 31},   {3, 32},   {2, 33},   {13, 97},  {4, 256},
                                   {5, 300},  {2, 1000}, {3, 1024}, {2, 1025}, {2, 4099}, {1, 520},
                                   {200, 24}, {70, 64},  {5, 1},    {1, 1032}};
  const std::vector<Flags> forward = {{"wbkh"},  {"k"},  {"wbkW"}, {"wmd"}, {"wbd"},
                                      {"wkmWh"}, {"km"}, {"d"},    {"wmz"}};
  const std::vector<Flags> backward = {{"wbds"}, {"s"},   {"wbWs"}, {"wmds"}, {"wbd"},
                                       {"wmWh"}, {"msd"}, {""},     {"wmz"}};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    add_forward(suite, sizes[i], forward[i % forward.size()]);
    add_backward(suite, sizes[i], backward[i % backward.size()]);
  }
  const CaseOptions two{.dtypes = {DType::f32, DType::bf16}};
  for (const Rows& size : {Rows{9, 48}, Rows{2, 1033}}) {
    for (const Flags& f : forward) add_forward(suite, size, f, " each flag", two);
    for (const Flags& f : backward) add_backward(suite, size, f, " each flag", two);
  }
  const CaseOptions f32{.dtypes = {DType::f32}};
  for (const Rows& s : {Rows{5, 64}, Rows{3, 1400}}) {
    add_forward(suite, s, {"wbkh"}, " unaligned", {.shift = 1});
    add_backward(suite, s, {"wbkds"}, " unaligned", {.shift = 1});
    add_backward(suite, s, {"wbkds"}, " in place", {.alias = {{"dx", "dsum"}}});
    add_backward(suite, s, {"wbks"}, " over dy", {.alias = {{"dx", "dy"}}});
    add_forward(suite, {s.rows, s.cols, kNearCarry}, {"wbkd"}, " carry", f32);
    add_backward(suite, {s.rows, s.cols, kNearCarry}, {"wbkds"}, " carry", f32);
    add_forward(suite, s, {"wbk"}, " mean 1e4", f32, 1e4);
  }
  // Rows that do not begin with a block of numbers, vectors and rows that end anywhere.
  for (const std::int64_t cols : {5, 18, 37, 131}) {
    add_forward(suite, {6, cols}, {"wkmd"}, " odd rows", f32);
    add_backward(suite, {6, cols}, {"wkmds"}, " odd rows", f32);
  }
  add_forward(suite, {1, 50304}, {"wbkd"}, "", f32);
  add_backward(suite, {2, 50304}, {"wbkds"}, "", f32);
}

}  // namespace gpunn::parity
