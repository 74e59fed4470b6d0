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

// TSan makes an emulated launch several times slower; races show in few cases.
#if defined(GPUNN_TSAN)
constexpr bool kFewOnGpu = true;
#else
constexpr bool kFewOnGpu = false;
#endif

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
  o.cpu_blocks = a.cpu_blocks || (kFewOnGpu && !a.small);
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
    // Scores of 1e3 times log2(e), rounded: 1e3 eps in every weight (measured: 32 eps sqrt(k) of a gradient).
    if (a.spread > 1) o.c *= 8;
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
  race.small = true;  // what a GPU's threads share is the same in every form
  add_both(suite, race);
  for (const std::int64_t T : {31, 32, 33}) add_both(suite, plain(1, 1, T, 16));
  add_both(suite, plain(1, 2, 67, 64));
  for (const std::int64_t D : {3, 24, 80, 128, 200, 256}) add_both(suite, plain(1, 1, 9, D));
  add_both(suite, {{1, 2, 2, 7, 13, 8, 24}});      // Dv above D
  add_both(suite, {{2, 1, 1, 1, 37, 32, 16}});     // one query
  add_forward(suite, {{1, 1, 1, 37, 1, 16, 16}});  // one key: gradients of q and k are 0 but for rounding
  add_both(suite, {{2, 4, 2, 9, 17, 16, 16}});     // grouped
  add_both(suite, {{1, 6, 1, 5, 19, 8, 8}});       // multi-query
  add_forward(suite, plain(2, 2, 17, 16), false);
}

void add_orders(Suite& suite) {
  for (const bool align_end : {false, true}) {
    Attention a{{1, 2, 2, 13, 21, 16, 16}};
    a.causal = true, a.align_end = align_end;
    add_both(suite, a);
    a.sizes = {1, 2, 1, 21, 13, 16, 16};  // aligned at the end: the first rows see nothing
    add_both(suite, a);
    a.window = 4;
    add_both(suite, a);
    a.causal = false;
    a.sizes = {1, 1, 1, 9, 6, 8, 8};
    add_both(suite, a);
  }
  Attention blocks = plain(1, 1, 150, 32);
  blocks.causal = true;
  add_both(suite, blocks);
  blocks.window = 40;
  add_both(suite, blocks);
  Attention one{{2, 4, 2, 1, 70, 32, 32}};
  one.causal = one.align_end = true;
  add_both(suite, one);
  one.window = 33;
  add_both(suite, one);
  Attention all = plain(1, 1, 5, 8);
  all.window = 1000;
  add_both(suite, all);
}

void add_masks(Suite& suite) {
  for (const Mask mask : {Mask::boolean, Mask::additive}) {
    const DType half = mask == Mask::boolean ? DType::f16 : DType::bf16;
    for (const char* broadcast : {"", "b", "bh", "h", "hq", "bhq", "bhk", "q", "k", "bhqk"}) {
      Attention a{{2, 2, 2, 6, 9, 8, 8}};
      a.mask = mask, a.broadcast = broadcast;
      a.dtypes = {DType::f32, half};
      add_both(suite, a);
    }
    Attention unseen{{2, 2, 1, 5, 7, 8, 8}};
    unseen.mask = mask, unseen.unseen = true;
    unseen.dtypes = {DType::f32, half};
    add_both(suite, unseen);
    Attention mixed{{1, 2, 2, 33, 35, 24, 24}};
    mixed.dtypes = {DType::f32, half};
    mixed.mask = mask, mixed.broadcast = "h", mixed.causal = true;
    add_both(suite, mixed);
    mixed.sizes = {1, 1, 1, 66, 131, 16, 16}, mixed.causal = false, mixed.shift = 1;
    add_both(suite, mixed);
  }
}

void add_lengths(Suite& suite) {
  Attention a{{4, 2, 1, 7, 11, 16, 16}};
  a.k_lengths = {11, 0, 1, 6};
  add_both(suite, a);
  a.q_lengths = {7, 3, 0, 4};
  add_both(suite, a);
  a.causal = true;
  add_both(suite, a);
  a.dtypes = {DType::f32, DType::bf16};
  a.align_end = true;
  add_both(suite, a);
  a.window = 2;
  add_both(suite, a);
  Attention wild{{4, 1, 1, 5, 6, 8, 8}};  // unchecked lengths are clamped
  wild.q_lengths = {-3, 1000000007, 2, 5}, wild.k_lengths = {4, 1LL << 62, -(1LL << 62), 6};
  add_both(suite, wild);
}

void add_packed(Suite& suite) {
  Attention a{{4, 2, 2, 9, 12, 16, 16}};
  a.q_starts = {0, 5, 5, 14, 17}, a.k_starts = {0, 2, 9, 21, 21};
  add_both(suite, a);
  a.dtypes = {DType::f32, DType::f16};
  a.causal = true;
  add_both(suite, a);
  a.align_end = true;
  a.sizes.Hkv = 1;
  add_both(suite, a);
  a.window = 3;
  a.memory = Memory::projected;
  add_both(suite, a);
  Attention longer{{2, 1, 1, 70, 70, 32, 24}};
  longer.q_starts = longer.k_starts = {0, 33, 103};
  longer.causal = longer.dropout = true;
  add_both(suite, longer);
  Attention wild{{3, 1, 1, 4, 6, 8, 8}};  // unchecked starts stay inside
  wild.q_starts = {0, 3, -5, 7}, wild.k_starts = {1000000, 2, 1LL << 62, 9};
  wild.dtypes = {DType::f32, DType::f16};
  add_forward(suite, wild);
}

void add_pages(Suite& suite) {
  Attention race{{2, 2, 1, 2, 11, 8, 8}};
  race.k_lengths = {10, 3};
  race.page_size = 4;
  race.causal = race.align_end = race.small = true;
  add_forward(suite, race, false);
  for (const std::int64_t page_size : {1, 3, 16}) {
    Attention a{{3, 4, 2, 1, 35, 16, 16}};
    a.k_lengths = {35, 1, 20};
    a.align_end = true;
    a.page_size = page_size;
    add_forward(suite, a, false);
    a.causal = true;
    a.sizes.Tq = 5;
    a.dtypes = {DType::f32, page_size == 1 ? DType::bf16 : DType::f16};
    add_forward(suite, a, false);
    a.window = 6, a.alibi = true;
    a.sizes.Hkv = 4;
    add_forward(suite, a);
  }
}

void add_the_rest(Suite& suite) {
  Attention a{{2, 2, 2, 9, 14, 16, 16}};
  a.dropout = true;
  add_both(suite, a);
  a.dtypes = {DType::f32, DType::bf16};
  a.sizes = {1, 2, 1, 35, 33, 8, 8};  // a row of numbers that ends within a block of four
  a.causal = true;
  add_both(suite, a);
  a.dropout = false, a.alibi = true;
  add_both(suite, a);
  a.align_end = true, a.causal = false;
  add_both(suite, a);
  a.dropout = a.causal = true, a.window = 9, a.mask = Mask::additive, a.broadcast = "bh";
  a.k_lengths = {29}, a.q_lengths = {31};
  add_both(suite, a);
  for (const Memory memory : {Memory::by_head, Memory::projected}) {
    Attention m{{2, 3, 1, 7, 10, 24, 24}};
    m.memory = memory;
    m.dtypes = {DType::f32, memory == Memory::by_head ? DType::f16 : DType::bf16};
    add_both(suite, m);
    m.shift = 1, m.causal = true;
    m.sizes = {1, 2, 2, 34, 34, 64, 64};
    add_both(suite, m);
  }
  Attention large = plain(1, 2, 37, 8);  // exact scores, up to 1e3
  large.spread = 40;
  large.dtypes = {DType::f32, DType::f16};
  add_both(suite, large);
  large.spread = 2000;  // up to 1e7: lse in f32 is no longer good for gradients
  add_forward(suite, large);
}

/// Several tiles of every shape of the CUDA kernels; decode in several chunks, of which some are empty.
void add_gpu_tiles(Suite& suite) {
  add_both(suite, {.sizes = {1, 4, 2, 70, 50, 32, 32}, .causal = true});
  add_both(suite, {.sizes = {1, 1, 1, 140, 70, 128, 128}, .causal = true});
  for (const std::int64_t D : {128, 256})
    add_both(suite, {.sizes = {1, 1, 1, 36, 70, D, D}, .dropout = true});
  add_forward(suite, {.sizes = {2, 4, 2, 2, 300, 16, 16}, .k_lengths = {300, 40}});
  add_forward(suite, {.sizes = {2, 2, 2, 2, 300, 9, 9}, .q_lengths = {1, 2}, .k_lengths = {170, 0}});
}

/// Tiles and blocks of the CPU that are not full, long rows.
void add_cpu_sizes(Suite& suite) {
  Attention a{{1, 1, 1, 129, 521, 40, 40}};
  a.cpu_blocks = true;
  a.dtypes = {DType::f32};
  add_both(suite, a);
  a.causal = a.align_end = true;
  add_both(suite, a);
  a.sizes = {1, 4, 2, 1, 2500, 64, 64};
  add_both(suite, a);
  a.sizes = {1, 1, 1, 263, 263, 64, 64};
  a.dropout = true;
  add_both(suite, a);
}

// ---- rows into a cache

struct Append {
  std::int64_t B, T, H, D, capacity;
  std::int64_t page_size = 0;
  Numbers starts{};
  bool wild_pages = false;
  std::int64_t gap = 0;  // elements between rows of x
  std::int64_t shift = 0;
};

KvAppendProblem problem(const Append& a) {
  KvAppendProblem p{};
  p.B = a.B, p.T = a.T, p.H = a.H, p.D = a.D;
  const std::int64_t row = a.H * a.D;
  p.x_time = row + a.gap, p.x_batch = a.T * p.x_time, p.x_head = a.D;
  p.x_elements = (a.B * a.T - 1) * p.x_time + row;
  p.capacity = a.capacity;
  p.cache_time = row, p.cache_head = a.D, p.cache_batch = a.capacity * row;
  p.cache_elements = a.B * a.capacity * row;
  if (a.page_size == 0) return p;
  p.pages = present<std::int32_t>();
  p.page_size = a.page_size, p.table_width = a.capacity / a.page_size, p.pool = a.B * p.table_width + 1;
  p.cache_batch = a.page_size * row, p.cache_elements = p.pool * p.cache_batch;
  return p;
}

void add_append(Suite& suite, const std::string& name, const Append& a) {
  CaseOptions o;
  o.shift = a.shift;
  o.small = a.B * a.T * a.H * a.D <= 2000;
  o.fills = {{"starts", listed(a.starts)}};
  if (a.page_size) {
    const std::int64_t last = a.B * (a.capacity / a.page_size) - 1;
    o.fills.emplace_back("pages", [last, wild = a.wild_pages](std::int64_t i, PhiloxStream&) {
      return wild && i % 2 == 0 ? (i % 4 == 0 ? -1.0 : 1e9) : static_cast<double>(last - i);
    });
  }
  suite.add(kKvAppend, name, [=] { return problem(a); }, o);
}

void add_appends(Suite& suite) {
  add_append(suite, "1", {1, 1, 1, 1, 1, 0, {0}});
  add_append(suite, "one row each", {3, 1, 4, 64, 9, 0, {0, 8, 3}});
  add_append(suite, "rows", {2, 5, 3, 24, 11, 0, {6, 1}});
  add_append(suite, "strided", {2, 5, 3, 8, 11, 0, {6, 1}, false, 7});
  add_append(suite, "unaligned", {2, 5, 3, 7, 11, 0, {6, 1}, false, 0, 1});
  add_append(suite, "no room", {4, 3, 2, 8, 5, 0, {4, -1, 1000000007, 1LL << 62}});
  add_append(suite, "pages", {3, 7, 2, 16, 12, 4, {0, 5, 3}});
  add_append(suite, "pages of one row", {2, 3, 2, 16, 6, 1, {0, 3}});
  add_append(suite, "bad pages", {3, 7, 2, 16, 12, 4, {0, 5, 3}, true});
  add_append(suite, "many", {2, 70, 8, 64, 80, 16, {0, 9}});
}

}  // namespace

void add_attention_cases(Suite& suite) {
  add_sizes(suite);
  add_orders(suite);
  add_masks(suite);
  add_lengths(suite);
  add_packed(suite);
  add_pages(suite);
  add_the_rest(suite);
  add_gpu_tiles(suite);
  add_cpu_sizes(suite);
  add_appends(suite);
}

}  // namespace gpunn::parity
