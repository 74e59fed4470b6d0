#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/attention/kv_append_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

using Numbers = std::vector<std::int64_t>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// An address for an operand that is there: the harness puts the real one in its place.
template <class T = void>
T* present() {
  static double place;
  return reinterpret_cast<T*>(&place);
}

/// How q, k, v, y and gradients lie in memory.
enum class Memory : std::uint8_t {
  joined,     // [B, T, H, D]: heads split off a projection
  by_head,    // [B, H, T, D]
  projected,  // parts of rows that hold q, k and v, so that other numbers lie between
};

enum class Mask : std::uint8_t { none, boolean, additive };

/// A case of forward and backward alike.
struct Attention {
  AttentionSizes sizes;
  bool causal = false, align_end = false;
  std::int64_t window = 0;
  Mask mask = Mask::none;
  std::string broadcast{};  // of the mask: letters of b h q k whose extent is 1
  Numbers q_lengths{}, k_lengths{};
  Numbers q_starts{}, k_starts{};  // B + 1: packed rows
  std::int64_t page_size = 0;      // > 0: pages in a shuffled order
  bool dropout = false, alibi = false, small = false;
  Memory memory = Memory::joined;
  std::int64_t shift = 0;
  double spread = 1;            // > 1: whole numbers up to this as q and k
  bool unseen = false;          // the mask hides whole rows
  std::vector<DType> dtypes{};  // empty: all
  bool cpu_blocks = false;
};

std::string name_of(const Attention& a) {
  const AttentionSizes& s = a.sizes;
  std::string text;
  for (const std::int64_t n : {s.B, s.Hq, s.Hkv, s.Tq, s.Tk, s.D, s.Dv}) text += std::to_string(n) + "x";
  text.pop_back();
  const char* const masks[] = {"", " bool", " additive"};
  text += masks[static_cast<int>(a.mask)];
  if (!a.broadcast.empty()) text += " over " + a.broadcast;
  if (a.unseen) text += " unseen";
  if (a.causal) text += " causal";
  if (a.align_end) text += " end";
  if (a.window) text += " window " + std::to_string(a.window);
  if (!a.q_lengths.empty()) text += " q lengths";
  if (!a.k_lengths.empty()) text += " k lengths";
  if (!a.q_starts.empty()) text += " packed";
  if (a.page_size) text += " pages of " + std::to_string(a.page_size);
  if (a.dropout) text += " dropout";
  if (a.alibi) text += " alibi";
  if (a.spread > 1) text += " large";
  if (a.memory == Memory::by_head) text += " by head";
  if (a.memory == Memory::projected) text += " projected";
  if (a.shift) text += " unaligned";
  return text;
}

/// A tensor of the case: where it lies, and how many elements from its first to its last.
struct Placed {
  AttentionLayout layout;
  std::int64_t elements;
};
Placed place(const Attention& a, std::int64_t H, std::int64_t T, std::int64_t D, std::int64_t rows) {
  const std::int64_t B = a.sizes.B;
  // Between the rows of a projection lie those of the other two.
  const std::int64_t row = a.memory == Memory::projected ? 3 * H * D + 5 : H * D;
  if (rows > 0) return {{0, D, row}, (rows - 1) * row + H * D};
  if (a.memory == Memory::by_head) return {{H * T * D, T * D, D}, B * H * T * D};
  return {{T * row, D, row}, (B * T - 1) * row + H * D};
}

std::int64_t rows_of(const Numbers& starts) { return starts.empty() ? 0 : starts.back(); }
std::int64_t table_width(const Attention& a) { return (a.sizes.Tk + a.page_size - 1) / a.page_size; }
/// One page more than are used.
std::int64_t pool_of(const Attention& a) { return a.sizes.B * table_width(a) + 1; }

AttentionRule rule_of(const Attention& a) {
  AttentionRule r{};
  r.causal = a.causal, r.align_end = a.align_end, r.window = a.window;
  if (!a.q_starts.empty()) {
    r.q_first = r.k_first = present<std::int64_t>();
    r.q_rows = rows_of(a.q_starts), r.k_rows = rows_of(a.k_starts);
  }
  if (!a.q_lengths.empty()) r.q_length = present<std::int64_t>();
  if (!a.k_lengths.empty()) r.k_length = present<std::int64_t>();
  if (a.alibi) r.alibi = present<float>();
  if (a.page_size == 0) return r;
  r.pages = present<std::int32_t>();
  r.page_size = a.page_size, r.table_width = table_width(a), r.pool = pool_of(a);
  return r;
}

/// The mask's layout, contiguous but for what is broadcast; its elements by reference.
AttentionMask mask_of(const Attention& a, std::int64_t& elements) {
  AttentionMask m{};
  if (a.mask == Mask::none) return m;
  m.data = present();
  m.kind = a.mask == Mask::boolean ? AttentionMaskKind::boolean : AttentionMaskKind::additive;
  elements = 1;
  const auto extent = [&](char letter, std::int64_t n, std::int64_t& stride) {
    if (a.broadcast.find(letter) != std::string::npos || n == 1) return;
    stride = elements;
    elements *= n;
  };
  extent('k', a.sizes.Tk, m.key);
  extent('q', a.sizes.Tq, m.query);
  extent('h', a.sizes.Hq, m.head);
  extent('b', a.sizes.B, m.batch);
  return m;
}

template <class P>
P problem(const Attention& a) {
  P p{};
  const AttentionSizes& s = a.sizes;
  p.sizes = s;
  p.scale = a.spread > 1 ? 0.25 : 0.35;
  p.rule = rule_of(a);
  p.mask = mask_of(a, p.mask_elements);
  if (a.dropout) p.dropout = {77, 3, 3006477106u, 1 / 0.7f, true};
  const auto put = [](const Placed& placed, AttentionLayout& layout, std::int64_t& elements) {
    layout = placed.layout, elements = placed.elements;
  };
  const std::int64_t q_rows = rows_of(a.q_starts), k_rows = rows_of(a.k_starts);
  const std::int64_t pool_rows = a.page_size ? pool_of(a) * a.page_size : k_rows;
  put(place(a, s.Hq, s.Tq, s.D, q_rows), p.q_layout, p.q_elements);
  put(place(a, s.Hkv, s.Tk, s.D, pool_rows), p.k_layout, p.k_elements);
  put(place(a, s.Hkv, s.Tk, s.Dv, pool_rows), p.v_layout, p.v_elements);
  put(place(a, s.Hq, s.Tq, s.Dv, q_rows), p.y_layout, p.y_elements);
  if constexpr (requires { p.dq; }) {
    put(place(a, s.Hq, s.Tq, s.Dv, q_rows), p.dy_layout, p.dy_elements);
    put(place(a, s.Hq, s.Tq, s.D, q_rows), p.dq_layout, p.dq_elements);
    put(place(a, s.Hkv, s.Tk, s.D, k_rows), p.dk_layout, p.dk_elements);
    put(place(a, s.Hkv, s.Tk, s.Dv, k_rows), p.dv_layout, p.dv_elements);
  }
  return p;
}

Fill listed(Numbers values) {
  return [values = std::move(values)](std::int64_t i, PhiloxStream&) {
    return static_cast<double>(values[static_cast<std::size_t>(i)]);
  };
}

Fill mask_fill(const Attention& a) {
  if (a.mask == Mask::boolean) return a.unseen ? fill::constant(0) : fill::integers(0, 2);
  if (a.unseen) return fill::constant(-kInfinity);
  return fill::every(5, -kInfinity, fill::every(7, -1e30, fill::normal(0, 1)));
}

CaseOptions options_for(const Attention& a) {
  CaseOptions o;
  o.k = static_cast<double>(std::max(a.sizes.D, a.sizes.Tk));
  o.c = 16;
  o.scale = Scale::operand;
  o.small = a.small;
  o.shift = a.shift;
  o.cpu_blocks = a.cpu_blocks;
  // What is masked, out of the window or behind a length has no gradient.
  o.zeros_ok = {"y", "dq", "dk", "dv", "lse"};
  if (a.spread > 1) {
    const auto most = static_cast<std::int64_t>(a.spread);
    o.fills = {{"q", fill::integers(-most, most)}, {"k", fill::integers(-most, most)}};
  }
  if (a.mask != Mask::none) o.fills.emplace_back("mask", mask_fill(a));
  if (!a.q_lengths.empty()) o.fills.emplace_back("q_length", listed(a.q_lengths));
  if (!a.k_lengths.empty()) o.fills.emplace_back("k_length", listed(a.k_lengths));
  if (!a.q_starts.empty()) o.fills.emplace_back("q_first", listed(a.q_starts));
  if (!a.k_starts.empty()) o.fills.emplace_back("k_first", listed(a.k_starts));
  if (a.alibi) o.fills.emplace_back("alibi", fill::uniform(0.05, 0.5));
  if (a.page_size) {
    // Every page once, from the last but one down; the last one belongs to nobody.
    const std::int64_t last = pool_of(a) - 2;
    o.fills.emplace_back("pages",
                         [last](std::int64_t i, PhiloxStream&) { return static_cast<double>(last - i); });
  }
  return o;
}

/// y and lse as the reference leaves them.
void prepare_backward(AttentionBackwardProblem& p) {
  AttentionProblem f{};
  f.dtype = p.dtype;
  f.q = p.q, f.k = p.k, f.v = p.v;
  f.y = const_cast<void*>(p.y), f.lse = const_cast<void*>(p.lse);
  f.q_layout = p.q_layout, f.k_layout = p.k_layout, f.v_layout = p.v_layout, f.y_layout = p.y_layout;
  f.mask = p.mask, f.rule = p.rule, f.dropout = p.dropout;
  f.sizes = p.sizes, f.scale = p.scale;
  attention_fwd_ref(f, {});
}

/// In halves weights are rounded before they meet v (and their gradients before they meet q and k): a unit of
/// the dtype relative to the largest result, which the bound of f32 does not know.
template <class Add>
void for_each_dtype(const Attention& a, Add add) {
  for (const auto& [dtype, unit, name] :
       {std::tuple{DType::f32, 1.0, ""}, {DType::f16, 0x1p13, " f16"}, {DType::bf16, 0x1p16, " bf16"}}) {
    if (!a.dtypes.empty() && std::find(a.dtypes.begin(), a.dtypes.end(), dtype) == a.dtypes.end()) continue;
    CaseOptions o = options_for(a);
    o.dtypes = {dtype};
    if (unit > 1) o.k = 1, o.c = 4 * unit;
    add(o, name_of(a) + name);
  }
}

void add_forward(Suite& suite, const Attention& a, bool keep_lse = true) {
  for_each_dtype(a, [&](const CaseOptions& o, const std::string& name) {
    suite.add(
        kAttentionForward, name + (keep_lse ? "" : ", no lse"),
        [=] {
          auto p = problem<AttentionProblem>(a);
          if (keep_lse) p.lse = present();
          return p;
        },
        o);
  });
}

void add_both(Suite& suite, const Attention& a) {
  add_forward(suite, a);
  for_each_dtype(a, [&](const CaseOptions& o, const std::string& name) {
    suite.add(
        kAttentionBackward, name, [=] { return problem<AttentionBackwardProblem>(a); }, o, prepare_backward);
  });
}

Attention plain(std::int64_t B, std::int64_t H, std::int64_t T, std::int64_t D) {
  return {{B, H, H, T, T, D, D}};
}

void add_sizes(Suite& suite) {
  add_both(suite, plain(1, 1, 1, 1));
  Attention race = plain(1, 2, 5, 8);
  race.small = true;
  add_both(suite, race);
  for (const std::int64_t T : {31, 32, 33}) add_both(suite, plain(1, 1, T, 16));
  add_both(suite, plain(1, 2, 67, 64));
  for (const std::int64_t D : {3, 24, 80, 128, 200, 256}) add_both(suite, plain(1, 1, 9, D));
  add_both(suite, {{1, 2, 2, 7, 13, 8, 24}});   // Dv above D
  add_both(suite, {{2, 1, 1, 1, 37, 32, 16}});  // one query
  add_both(suite, {{1, 1, 1, 37, 1, 16, 16}});  // one key
  add_both(suite, {{2, 4, 2, 9, 17, 16, 16}});  // grouped
  add_both(suite, {{1, 6, 1, 5, 19, 8, 8}});    // multi-query
  add_forward(suite, plain(2, 2, 17, 16), false);
}

}  // namespace

void add_attention_cases(Suite& suite) { add_sizes(suite); }

}  // namespace gpunn::parity
