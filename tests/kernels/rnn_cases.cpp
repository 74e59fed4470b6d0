#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "tests/support/parity.h"
#include "tests/support/rnn_kind.h"

namespace gpunn::parity {
namespace {

using testing::kRnnKinds;
using testing::RnnKind;

using Rows = std::shared_ptr<const std::vector<std::int64_t>>;

// TSan's share is what runs on several threads: f32 on the CPU, one sequence on a GPU's streams beside each
// other, and add_rnn_race_cases().
#if defined(GPUNN_TSAN)
constexpr bool kFewUnderTsan = true;
#else
constexpr bool kFewUnderTsan = false;
#endif

/// A sequence case. `lengths` (falling): packed.
struct Sequence {
  RnnKind kind;
  std::int64_t T, B, H;
  bool reverse = false;
  std::vector<std::int64_t> lengths{};
  bool small = false;
  std::int64_t shift = 0;
  double half_factor = 2;
  bool tf32 = false;
  bool cpu_only = false;  // too long for an emulated GPU
  bool race = false;      // on a GPU under TSan too
  std::vector<DType> dtypes{};

  std::string name(const std::string& what = "") const {
    std::string text =
        std::string(kind.name) + " " + std::to_string(T) + "x" + std::to_string(B) + "x" + std::to_string(H);
    if (!lengths.empty()) text += " packed";
    if (reverse) text += " reverse";
    if (tf32) text += " tf32";
    return text + what;
  }
};

Sequence packed(RnnKind kind, std::vector<std::int64_t> lengths, std::int64_t H, bool reverse = false) {
  return {kind, lengths[0], static_cast<std::int64_t>(lengths.size()), H, reverse, std::move(lengths)};
}

Rows first_rows(const Sequence& s) {
  if (s.lengths.empty()) return nullptr;
  std::vector<std::int64_t> first{0};
  for (std::int64_t t = 0; t < s.T; ++t) {
    std::int64_t batch = 0;
    for (const std::int64_t length : s.lengths) batch += length > t;
    first.push_back(first.back() + batch);
  }
  return std::make_shared<const std::vector<std::int64_t>>(std::move(first));
}

/// An address for an operand that is there: the harness puts the real one in its place.
void* present() {
  static char place;
  return &place;
}

template <class P>
P problem(const Sequence& s, const Rows& rows) {
  P p{};
  p.sizes = {s.kind.mode, s.reverse, s.kind.reset_after, s.T, s.B, s.H, rows ? rows->back() : s.T * s.B};
  p.tf32 = s.tf32;
  if (rows) {
    p.first_row = static_cast<const std::int64_t*>(present());
    p.host_first_row = rows->data();
  }
  return p;
}

CaseOptions options_for(const Sequence& s, const Rows& rows) {
  CaseOptions o;
  o.k = static_cast<double>(s.H);
  o.c = 16;
  o.half_factor = s.half_factor;
  o.scale = Scale::operand;
  o.small = s.small;
  o.shift = s.shift;
  o.dtypes = s.dtypes;
  o.cpu_blocks = s.cpu_only || (kFewUnderTsan && !s.race);
  if (kFewUnderTsan && s.dtypes.empty()) o.dtypes = {DType::f32};
  if (s.tf32) {
    o.c = 16 * 8192.0;  // operands lose 13 bits
    o.dtypes = {DType::f32};
  }
  o.fills = {{"w_hh", fill::normal(0, 1 / std::sqrt(static_cast<double>(s.H)))},
             {"h0", fill::uniform(-1, 1)}};
  if (rows)
    o.fills.push_back({"first_row", [rows](std::int64_t i, PhiloxStream&) {
                         return static_cast<double>((*rows)[static_cast<std::size_t>(i)]);
                       }});
  if (s.kind.mode == RnnMode::relu) o.zeros_ok = {"y", "hn", "dgx", "dh0"};
  return o;
}

struct ForwardParts {
  bool kept = true, bias = true;
};

void add_forward(Suite& suite, const Sequence& s, ForwardParts parts = {}, const std::string& what = "") {
  const Rows rows = first_rows(s);
  suite.add(
      kRnnForward, s.name(what),
      [=] {
        auto p = problem<RnnForwardProblem>(s, rows);
        if (parts.bias && s.kind.mode == RnnMode::gru) p.b_hn = present();
        if (!parts.kept) return p;
        if (p.sizes.G() > 1) p.gates = present();
        if (p.sizes.has_cells()) p.cells = present();
        if (p.sizes.has_extra()) p.extra = present();
        return p;
      },
      options_for(s, rows));
}

/// What forward kept, from the reference on other random inputs.
void prepare_kept(RnnBackwardProblem& p) {
  const RnnSizes& s = p.sizes;
  const std::int64_t n = s.rows * s.G() * s.H;
  std::vector<double> gx(static_cast<std::size_t>(n));  // room for any dtype
  PhiloxStream random(7, 0);
  const Fill values = fill::normal(0, 1);
  for (std::int64_t i = 0; i < n; ++i) store_ref(gx.data(), p.dtype, i, values(i, random));
  std::vector<double> hn(static_cast<std::size_t>(s.B * s.H)), cn(hn.size());
  RnnForwardProblem f{};
  f.dtype = p.dtype;
  f.gx = gx.data(), f.w_hh = p.w_hh, f.h0 = p.h0, f.c0 = p.c0;
  f.first_row = p.first_row, f.host_first_row = p.host_first_row;
  f.y = const_cast<void*>(p.y), f.hn = hn.data(), f.cn = s.has_cells() ? cn.data() : nullptr;
  f.gates = const_cast<void*>(p.gates), f.cells = const_cast<void*>(p.cells);
  f.extra = const_cast<void*>(p.extra);
  f.sizes = s;
  rnn_fwd_ref(f, {});
}

struct BackwardParts {
  bool dy = true, dhn = true, dcn = true;
};

void add_backward(Suite& suite, const Sequence& s, BackwardParts parts = {}, const std::string& what = "") {
  const Rows rows = first_rows(s);
  CaseOptions o = options_for(s, rows);
  // Without dy the gradient may vanish on its way, and does not reach what is padding in other cases.
  if (!parts.dy) o.zeros_ok = {"dgx", "dextra", "dh0", "dc0"};
  suite.add(
      kRnnBackward, s.name(what),
      [=] {
        auto p = problem<RnnBackwardProblem>(s, rows);
        if (parts.dy) p.dy = present();
        if (parts.dhn) p.dhn = present();
        if (parts.dcn && p.sizes.has_cells()) p.dcn = present();
        return p;
      },
      o, prepare_kept);
}

void add_both(Suite& suite, const Sequence& s) {
  add_forward(suite, s);
  add_backward(suite, s);
}

void add_sequences(Suite& suite, const RnnKind& kind) {
  add_both(suite, {kind, 1, 1, 1});
  Sequence tiny{kind, 2, 3, 5};
  tiny.small = true;
  tiny.race = kind.mode == RnnMode::lstm;
  add_both(suite, tiny);
  add_both(suite, {kind, 9, 3, 16});
  add_both(suite, {kind, 2, 17, 33, true});
  add_both(suite, {kind, 3, 1, 64});
  Sequence uneven = packed(kind, {5, 3, 3, 1}, 16);
  add_both(suite, uneven);
  uneven.reverse = true;
  uneven.small = true;
  add_both(suite, uneven);
  add_both(suite, packed(kind, {2, 2, 2}, 5));
  Sequence unaligned{kind, 3, 2, 8, true};
  unaligned.shift = 1;
  add_both(suite, unaligned);
  add_forward(suite, {kind, 4, 3, 16}, {.kept = false}, ", nothing kept");
  if (kind.mode == RnnMode::gru) add_forward(suite, {kind, 4, 3, 16}, {.bias = false}, ", no bias");
  add_backward(suite, {kind, 4, 3, 16}, {.dhn = false, .dcn = false}, ", dy alone");
  add_backward(suite, {kind, 4, 3, 16, true}, {.dy = false}, ", states alone");
  add_backward(suite, packed(kind, {3, 1}, 8), {.dy = false, .dcn = false}, ", dhn alone");
}

/// What only a GPU's kernels tell apart: several blocks that exchange states, tiles of 16 and of 64
/// sequences, several tiles of a block, tensor cores for f32.
void add_gpu_sequences(Suite& suite, const RnnKind& kind) {
  Sequence blocks = packed(kind, {3, 2}, 17);
  blocks.small = true;
  add_both(suite, blocks);
  if (kFewUnderTsan) return;
  Sequence many{kind, 2, 70, 50};  // on an emulated GPU three tiles a block
  many.dtypes = {DType::f32};
  add_both(suite, many);
  many.tf32 = true;
  add_both(suite, many);
  std::vector<std::int64_t> lengths(70, 1);
  std::fill_n(lengths.begin(), 40, 2);
  std::fill_n(lengths.begin(), 20, 3);
  Sequence joining = packed(kind, lengths, 34, true);
  joining.dtypes = {DType::f16};
  add_both(suite, joining);
  Sequence few{kind, 3, 5, 20};
  few.tf32 = true;
  add_both(suite, few);
}

template <class P>
P cell(RnnMode mode, std::int64_t B, std::int64_t H) {
  P p{};
  p.B = B, p.H = H, p.mode = mode;
  return p;
}

void add_cells(Suite& suite, RnnMode mode, std::int64_t B, std::int64_t H, std::int64_t shift = 0) {
  const bool lstm = mode == RnnMode::lstm;
  const std::string name = std::string(lstm ? "lstm " : "gru ") + std::to_string(B) + "x" +
                           std::to_string(H) + (shift ? " unaligned" : "");
  CaseOptions o;
  o.scale = Scale::operand;
  o.small = B * H <= 64;
  o.shift = shift;
  for (const bool kept : {true, false})
    suite.add(
        kRnnCellForward, name + (kept ? "" : ", nothing kept"),
        [=] {
          auto p = cell<RnnCellProblem>(mode, B, H);
          if (kept) p.gates = present();
          return p;
        },
        o);
  o.fills = {{"gates", fill::uniform(0.05, 0.95)}};
  for (const bool dc : {true, false})
    suite.add(
        kRnnCellBackward,
        name + (dc     ? ""
                : lstm ? ", no dc"
                       : ", no dh"),
        [=] {
          auto p = cell<RnnCellBackwardProblem>(mode, B, H);
          if (dc || lstm) p.dh_next = present();
          if (dc && lstm) p.dc_next = present();
          return p;
        },
        [&] {
          CaseOptions all = o;
          if (!dc && !lstm) all.zeros_ok = {"dgx", "dgh", "dh"};
          return all;
        }());
}

}  // namespace

void add_rnn_race_cases(Suite& suite) {
  for (const RnnKind& kind : {kRnnKinds[0], kRnnKinds[2], kRnnKinds[3]}) {
    Sequence blocks = packed(kind, {3, 2}, 17);
    blocks.race = true;
    blocks.dtypes = {DType::f32, DType::f16, DType::bf16};
    add_both(suite, blocks);
  }
}

void add_rnn_cases(Suite& suite) {
  // Before the sequences: TSan's work grows with the CUDA threads that have ever been.
  for (const RnnMode mode : {RnnMode::lstm, RnnMode::gru}) {
    add_cells(suite, mode, 1, 1);
    add_cells(suite, mode, 3, 5);
    add_cells(suite, mode, 17, 33);
    add_cells(suite, mode, 2, 256);
    add_cells(suite, mode, 5, 8, 1);
  }
  for (const RnnKind& kind : kRnnKinds) {
    add_sequences(suite, kind);
    add_gpu_sequences(suite, kind);
  }
  for (const RnnKind& kind : {kRnnKinds[0], kRnnKinds[2], kRnnKinds[3]}) {
    Sequence longest{kind, 1024, 1, 3};
    longest.dtypes = {DType::f32};
    longest.cpu_only = kind.mode != RnnMode::lstm;
    add_both(suite, longest);
  }
  // Tiles and blocks of the CPU's products, some of them not full.
  for (const RnnKind& kind : {kRnnKinds[2], kRnnKinds[3]}) add_both(suite, {kind, 2, 9, 70});
}

}  // namespace gpunn::parity
