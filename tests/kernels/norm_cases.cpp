#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/norm/norm_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Fills = std::vector<std::pair<std::string, Fill>>;

std::string name_of(const ChannelSizes& s) {
  return std::to_string(s.N) + "x" + std::to_string(s.C) + "x" + std::to_string(s.pixels) +
         (s.channels_last ? " channels last" : "");
}
std::string name_of(const NormRows& s) {
  return std::to_string(s.rows) + "x" + std::to_string(s.cols) +
         (s.groups > 1 ? " groups " + std::to_string(s.groups) : "") +
         (s.pixels > 1 ? " pixels " + std::to_string(s.pixels) : "");
}

/// What a case turns on, in letters.
///   t training  w weight  b bias  r residual  s running statistics  k keep mean and rstd  R relu
///   W f32 weights beside halves  z gradient of the residual  m RMS
struct Flags {
  std::string letters;
  bool operator[](char letter) const { return letters.find(letter) != std::string::npos; }
};

CaseOptions options_for(std::int64_t terms, std::int64_t elements, Fills fills) {
  CaseOptions o;
  o.k = static_cast<double>(terms);
  o.c = 16;
  o.scale = Scale::operand;  // sums that cancel
  o.fills = std::move(fills);
  o.small = elements <= 50;
  return o;
}

/// Fills of those operands that a problem has.
template <class P>
Fills present(P p, Fills all) {
  p.dtype = DType::f32;
  Fills kept;
  for (const Operand& o : operands(p))
    for (const auto& [name, fill] : all)
      if (name == o.name && o.elements > 0) kept.emplace_back(name, fill);
  return kept;
}

BatchNormProblem forward_problem(const ChannelSizes& s, const Flags& f) {
  BatchNormProblem p{};
  p.sizes = s, p.momentum = 0.1, p.eps = 1e-5;
  p.training = f['t'], p.relu = f['R'], p.save = f['k'];
  p.has_weight = f['w'], p.has_bias = f['b'], p.has_residual = f['r'];
  p.has_running = f['s'] || !f['t'], p.wide_weights = f['W'];
  return p;
}

void add_batch(Suite& suite, const ChannelSizes& s, const Flags& f, const std::string& what = "",
               Fill x = fill::normal(2, 2), CaseOptions extra = {}) {
  CaseOptions o = options_for(s.per_channel(), s.elements(),
                              present(forward_problem(s, f), {{"x", std::move(x)},
                                                              {"weight", fill::uniform(0.5, 1.5)},
                                                              {"bias", fill::normal(0, 1)},
                                                              {"running_mean", fill::normal(0, 1)},
                                                              {"running_var", fill::uniform(0.5, 2)}}));
  o.dtypes = extra.dtypes;
  o.shift = extra.shift;
  o.alias = extra.alias;
  o.zeros_ok = extra.zeros_ok;
  if (f['R']) o.zeros_ok.push_back("y");
  suite.add(kBatchNormForward, name_of(s) + " " + f.letters + what, [=] { return forward_problem(s, f); }, o);
}

BatchNormBackwardProblem backward_problem(const ChannelSizes& s, const Flags& f) {
  BatchNormBackwardProblem p{};
  p.sizes = s;
  p.training = f['t'], p.relu = f['R'], p.has_weight = f['w'], p.wide_weights = f['W'];
  p.want_dz = f['z'], p.want_dw = f['k'];
  return p;
}

void add_batch_backward(Suite& suite, const ChannelSizes& s, const Flags& f, const std::string& what = "",
                        CaseOptions extra = {}) {
  CaseOptions o = options_for(s.per_channel(), s.elements(),
                              present(backward_problem(s, f), {{"x", fill::normal(2, 2)},
                                                               {"mean", fill::normal(2, 0.1)},
                                                               {"rstd", fill::uniform(0.3, 1)},
                                                               {"weight", fill::uniform(0.5, 1.5)}}));
  o.dtypes = extra.dtypes;
  o.shift = extra.shift;
  o.alias = extra.alias;
  if (f['R']) o.zeros_ok = {"dz", "dx"};
  suite.add(
      kBatchNormBackward, name_of(s) + " " + f.letters + what, [=] { return backward_problem(s, f); }, o);
}

void add_batch_norm_cases(Suite& suite) {
  const std::vector<ChannelSizes> sizes = {
      {2, 3, 5, false},    {4, 1, 7, false},    {3, 7, 11, false}, {5, 16, 49, false}, {2, 33, 64, false},
      {1, 4, 1000, false}, {1, 2, 9001, false}, {64, 10, 1, true}, {2, 5, 1, true},    {7, 13, 9, true},
      {3, 64, 25, true},   {2, 128, 4, true},   {300, 1, 1, true}, {37, 70, 3, true},  {2, 2056, 2, true}};
  const std::vector<Flags> forward = {{"twbsk"}, {"twbrRsk"}, {"twbkW"}, {"t"}, {"wbR"}, {"wbrkW"}, {"k"}};
  const std::vector<Flags> backward = {{"twk"}, {"twkRz"}, {"twkRW"}, {"t"}, {"wkW"}, {"wkRz"}, {"k"}};
  // Every size once, every set of flags in both orders.
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    add_batch(suite, sizes[i], forward[i % forward.size()]);
    add_batch_backward(suite, sizes[i], backward[i % backward.size()]);
  }
  const CaseOptions two{.dtypes = {DType::f32, DType::bf16}};
  for (std::size_t i = 0; i < forward.size(); ++i)
    for (const bool last : {false, true}) {
      add_batch(suite, {3, 16, 10, last}, forward[i], "", fill::normal(2, 2), two);
      add_batch_backward(suite, {3, 16, 10, last}, backward[i], "", two);
    }
  for (const bool last : {false, true}) {
    const ChannelSizes s{3, 16, 40, last};
    add_batch(suite, s, {"twbrRsk"}, " unaligned", fill::normal(0, 1), {.shift = 1});
    add_batch(suite, s, {"wbr"}, " in place", fill::normal(0, 1), {.alias = {{"y", "x"}}});
    add_batch_backward(suite, s, {"twkRz"}, " unaligned", {.shift = 1});
    add_batch_backward(suite, s, {"twk"}, " in place", {.alias = {{"dx", "dy"}}});
    const CaseOptions f32{.dtypes = {DType::f32}};
    add_batch(suite, {8, 5, 300, last}, {"twbsk"}, " mean 1e4, deviation 1e-2", fill::normal(1e4, 1e-2), f32);
    // Without the means, which here are small beside the deviations.
    add_batch(
        suite, {8, 5, 300, last}, {"twb"}, " first element far away",
        [](std::int64_t i, PhiloxStream& random) { return (i < 5 ? 1e3 : 1) * random.normal(); }, f32);
    add_batch(suite, {4, 6, 50, last}, {"twbsk"}, " constant", fill::constant(3.3),
              {.zeros_ok = {"running_var"}});
  }
}

RowNormProblem forward_problem(const NormRows& s, const Flags& f) {
  RowNormProblem p{};
  p.sizes = s, p.eps = 1e-5;
  p.rms = f['m'], p.save = f['k'], p.has_weight = f['w'], p.has_bias = f['b'], p.wide_weights = f['W'];
  return p;
}
RowNormBackwardProblem row_backward_problem(const NormRows& s, const Flags& f) {
  RowNormBackwardProblem p{};
  p.sizes = s;
  p.rms = f['m'], p.has_weight = f['w'], p.wide_weights = f['W'];
  p.want_dw = f['w'], p.want_db = f['b'];
  return p;
}

void add_rows(Suite& suite, const NormRows& s, const Flags& f, const std::string& what = "",
              Fill x = fill::normal(2, 2), CaseOptions extra = {}) {
  CaseOptions o = options_for(
      s.cols, s.elements(),
      present(forward_problem(s, f),
              {{"x", std::move(x)}, {"weight", fill::uniform(0.5, 1.5)}, {"bias", fill::normal(0, 1)}}));
  o.dtypes = extra.dtypes;
  o.shift = extra.shift;
  o.zeros_ok = extra.zeros_ok;
  suite.add(kRowNormForward, name_of(s) + " " + f.letters + what, [=] { return forward_problem(s, f); }, o);
}

void add_rows_backward(Suite& suite, const NormRows& s, const Flags& f, const std::string& what = "",
                       CaseOptions extra = {}) {
  CaseOptions o = options_for(std::max(s.cols, s.elements() / s.channels()), s.elements(),
                              present(row_backward_problem(s, f), {{"x", fill::normal(2, 2)},
                                                                   {"mean", fill::normal(2, 0.1)},
                                                                   {"rstd", fill::uniform(0.3, 1)},
                                                                   {"weight", fill::uniform(0.5, 1.5)}}));
  o.dtypes = extra.dtypes;
  o.shift = extra.shift;
  o.alias = extra.alias;
  suite.add(
      kRowNormBackward, name_of(s) + " " + f.letters + what, [=] { return row_backward_problem(s, f); }, o);
}

void add_row_norm_cases(Suite& suite) {
  // {rows, columns, groups, pixels}
  const std::vector<NormRows> sizes = {{4, 7, 1, 1},    {3, 31, 1, 1},    {3, 32, 1, 1},      {2, 33, 1, 1},
                                       {13, 97, 1, 1},  {4, 256, 1, 1},   {5, 300, 1, 1},     {2, 1000, 1, 1},
                                       {3, 1024, 1, 1}, {2, 1025, 1, 1},  {2, 4099, 1, 1},    {1, 520, 1, 1},
                                       {200, 24, 1, 1}, {70, 64, 1, 1},   {6, 10, 2, 5},      {4, 147, 2, 49},
                                       {12, 16, 4, 1},  {6, 300, 3, 300}, {4, 5000, 2, 5000}, {6, 40, 3, 8},
                                       {10, 600, 5, 40}};
  const std::vector<Flags> flags = {{"wbk"}, {"k"}, {"wbkW"}, {"wkm"}, {"wb"}, {"wkmW"}, {"km"}};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    add_rows(suite, sizes[i], flags[i % flags.size()]);
    add_rows_backward(suite, sizes[i], flags[i % flags.size()]);
  }
  const CaseOptions two{.dtypes = {DType::f32, DType::bf16}};
  for (const Flags& f : flags)
    for (const NormRows& s : {NormRows{9, 48, 1, 1}, NormRows{4, 1032, 1, 1}, NormRows{6, 24, 3, 4}}) {
      add_rows(suite, s, f, " each flag", fill::normal(2, 2), two);
      add_rows_backward(suite, s, f, " each flag", two);
    }
  const CaseOptions f32{.dtypes = {DType::f32}};
  for (const NormRows& s : {NormRows{5, 64, 1, 1}, NormRows{3, 1400, 1, 1}, NormRows{4, 256, 2, 16}}) {
    add_rows(suite, s, {"wbk"}, " unaligned", fill::normal(0, 1), {.shift = 1});
    add_rows_backward(suite, s, {"wbk"}, " unaligned", {.shift = 1});
    add_rows_backward(suite, s, {"wbk"}, " in place", {.alias = {{"dx", "dy"}}});
    add_rows(suite, s, {"wbk"}, " mean 1e4, deviation 1e-2", fill::normal(1e4, 1e-2), f32);
    add_rows(suite, s, {"wbk"}, " constant", fill::constant(-7.7));
    add_rows(
        suite, s, {"wb"}, " first element far away",
        [](std::int64_t i, PhiloxStream& random) { return (i == 0 ? 1e3 : 1) * random.normal(); }, f32);
  }
  add_rows(suite, {5, 1, 1, 1}, {"wbk"});  // nothing but the bias
  add_rows(suite, {1, 50304, 1, 1}, {"wbk"}, "", fill::normal(0, 1), f32);
  add_rows_backward(suite, {2, 50304, 1, 1}, {"wbk"}, "", f32);
}

}  // namespace

void add_norm_cases(Suite& suite) {
  add_batch_norm_cases(suite);
  add_row_norm_cases(suite);
}

}  // namespace gpunn::parity
