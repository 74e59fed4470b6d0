// Attention on the CPU: random problems of every option against the reference, every SIMD target, and the
// same bits however the work is shared out.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "hwy/targets.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace {

using Floats = std::vector<float>;
using Numbers = std::vector<std::int64_t>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kUntouched = 12345.5f;
constexpr std::int64_t kTargets[] = {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_NEON, HWY_SCALAR};

/// A problem with all it points to.
struct Attention {
  AttentionSizes sizes{};
  AttentionRule rule{};
  AttentionMask mask{};
  AttentionDropout dropout{};
  double scale = 0.3;
  AttentionLayout q_layout{}, k_layout{}, v_layout{}, y_layout{};
  Floats q, k, v, dy, additive, slopes;
  std::vector<std::uint8_t> boolean;
  Numbers q_first, k_first, q_length, k_length;
  std::vector<std::int32_t> pages;
};

/// y, lse, dq, dk, dv; what nobody wrote holds kUntouched.
struct Results {
  Floats y, lse, dq, dk, dv;
  std::array<std::pair<const char*, const Floats*>, 5> named() const {
    return {{{"y", &y}, {"lse", &lse}, {"dq", &dq}, {"dk", &dk}, {"dv", &dv}}};
  }
};

template <class P>
P common(const Attention& a) {
  P p{};
  p.dtype = DType::f32;
  p.sizes = a.sizes, p.rule = a.rule, p.mask = a.mask, p.dropout = a.dropout, p.scale = a.scale;
  p.q = a.q.data(), p.k = a.k.data(), p.v = a.v.data();
  p.q_layout = a.q_layout, p.k_layout = a.k_layout, p.v_layout = a.v_layout, p.y_layout = a.y_layout;
  if (p.mask.kind == AttentionMaskKind::additive) p.mask.data = a.additive.data();
  if (p.mask.kind == AttentionMaskKind::boolean) p.mask.data = a.boolean.data();
  const auto numbers = [](const Numbers& n) { return n.empty() ? nullptr : n.data(); };
  p.rule.q_first = numbers(a.q_first), p.rule.k_first = numbers(a.k_first);
  p.rule.q_length = numbers(a.q_length), p.rule.k_length = numbers(a.k_length);
  p.rule.pages = a.pages.empty() ? nullptr : a.pages.data();
  p.rule.alibi = a.slopes.empty() ? nullptr : a.slopes.data();
  return p;
}

void forward(const Attention& a, Results& r, void (*run)(const AttentionProblem&)) {
  auto p = common<AttentionProblem>(a);
  r.y.assign(a.dy.size(), kUntouched);
  r.lse.assign(static_cast<std::size_t>(a.sizes.B * a.sizes.Hq * a.sizes.Tq), kUntouched);
  p.y = r.y.data(), p.lse = r.lse.data();
  run(p);
}

/// From the y and lse of `saved`.
void backward(const Attention& a, const Results& saved, Results& r,
              void (*run)(const AttentionBackwardProblem&)) {
  if (!a.pages.empty()) return;
  auto p = common<AttentionBackwardProblem>(a);
  r.dq.assign(a.q.size(), kUntouched);
  r.dk.assign(a.k.size(), kUntouched);
  r.dv.assign(a.v.size(), kUntouched);
  p.y = saved.y.data(), p.lse = saved.lse.data(), p.dy = a.dy.data();
  p.dq = r.dq.data(), p.dk = r.dk.data(), p.dv = r.dv.data();
  p.dy_layout = a.y_layout, p.dq_layout = a.q_layout, p.dk_layout = a.k_layout, p.dv_layout = a.v_layout;
  run(p);
}

int threads_of_the_pool = 1;

template <class P>
void on_cpu(const P& p, std::size_t bytes, void (*run)(const P&, const Exec&)) {
  struct alignas(64) Line {
    float values[16];
  };
  Line poison;
  std::fill(std::begin(poison.values), std::end(poison.values), kNan);
  std::vector<Line> workspace(bytes / sizeof(Line) + 1, poison);
  CpuPool pool(threads_of_the_pool);
  Exec exec;
  exec.workspace = workspace.data(), exec.workspace_bytes = bytes, exec.pool = &pool;
  run(p, exec);
}

Results by_reference(const Attention& a) {
  Results r;
  forward(a, r, [](const AttentionProblem& p) { attention_fwd_ref(p, {}); });
  backward(a, r, r, [](const AttentionBackwardProblem& p) { attention_bwd_ref(p, {}); });
  return r;
}

/// Backward from the reference's y and lse, so that both have the same work.
Results by_cpu(const Attention& a, const Results& saved, int threads = 1) {
  threads_of_the_pool = threads;
  Results r;
  forward(a, r,
          [](const AttentionProblem& p) { on_cpu(p, attention_fwd_cpu_workspace(p), attention_fwd_cpu); });
  backward(a, saved, r, [](const AttentionBackwardProblem& p) {
    on_cpu(p, attention_bwd_cpu_workspace(p), attention_bwd_cpu);
  });
  return r;
}

/// Bounded by what the sums could lose at the size of the largest result, or of the terms that cancel in ds.
void expect_near(const Results& got, const Results& want, const Attention& a) {
  const double k = static_cast<double>(std::max({a.sizes.Tk, a.sizes.D, a.sizes.Tq}));
  for (std::size_t n = 0; n < want.named().size(); ++n) {
    const auto [name, expected] = want.named()[n];
    const Floats& values = *got.named()[n].second;
    ASSERT_EQ(values.size(), expected->size()) << name;
    double largest = 1;
    for (const float x : *expected)
      if (std::isfinite(x) && x != kUntouched) largest = std::max(largest, std::abs(static_cast<double>(x)));
    const double bound = 32 * 1.2e-7 * std::sqrt(k) * largest;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const float x = values[i], e = (*expected)[i];
      if (std::isnan(e) ? std::isnan(x) : x == e) continue;
      ASSERT_TRUE(std::abs(static_cast<double>(x) - static_cast<double>(e)) <= bound)
          << name << "[" << i << "] is " << x << ", expected " << e << ", bound " << bound;
    }
  }
}

/// A problem drawn by a seed.
class Draw {
 public:
  explicit Draw(std::uint64_t seed) : random_(seed) {}
  Attention problem();

 private:
  std::int64_t number(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int of) { return number(1, of) == 1; }
  Floats floats(std::int64_t n) {
    std::normal_distribution<float> normal;
    Floats values(static_cast<std::size_t>(n));
    for (float& x : values) x = normal(random_);
    return values;
  }
  /// Rows of H heads of D numbers, for B sequences of T or for packed rows; its elements.
  std::int64_t lay(AttentionLayout& layout, std::int64_t H, std::int64_t T, std::int64_t D,
                   std::int64_t rows);
  Numbers starts(std::int64_t B, std::int64_t most);
  Numbers lengths(std::int64_t B, std::int64_t most);
  void mask(Attention& a);
  void pages(Attention& a);

  std::mt19937_64 random_;
};

std::int64_t Draw::lay(AttentionLayout& layout, std::int64_t H, std::int64_t T, std::int64_t D,
                       std::int64_t rows) {
  const std::int64_t gap = chance(2) ? 0 : number(1, 9);
  if (rows < 0 && chance(2)) {
    layout.time = D + gap, layout.head = T * layout.time, layout.batch = H * layout.head;
    return layout.batch;  // of one sequence
  }
  layout.head = D, layout.time = H * D + gap, layout.batch = T * layout.time;
  return rows < 0 ? layout.batch : rows * layout.time;
}

Numbers Draw::starts(std::int64_t B, std::int64_t most) {
  Numbers n{0};
  for (std::int64_t b = 0; b < B; ++b) n.push_back(n.back() + number(0, most));
  return n;
}

Numbers Draw::lengths(std::int64_t B, std::int64_t most) {
  Numbers n;
  for (std::int64_t b = 0; b < B; ++b) n.push_back(number(-1, most + 1));  // clamped
  return n;
}

void Draw::mask(Attention& a) {
  std::int64_t elements = 1;
  const auto extent = [&](std::int64_t n, std::int64_t& stride) {
    if (chance(3)) return;
    stride = elements, elements *= n;
  };
  if (chance(4)) {  // keys outermost
    extent(a.sizes.Tq, a.mask.query);
    extent(a.sizes.Tk, a.mask.key);
  } else {
    extent(a.sizes.Tk, a.mask.key);
    extent(a.sizes.Tq, a.mask.query);
  }
  extent(a.sizes.Hq, a.mask.head);
  extent(a.sizes.B, a.mask.batch);
  a.mask.kind = chance(2) ? AttentionMaskKind::boolean : AttentionMaskKind::additive;
  a.additive = floats(elements);
  for (float& x : a.additive)
    if (chance(4)) x = chance(4) ? -3.4e38f : -kInfinity;
  for (const float x : a.additive) a.boolean.push_back(x > -0.5f);
}

void Draw::pages(Attention& a) {
  AttentionRule& r = a.rule;
  r.page_size = number(1, 20), r.table_width = (a.sizes.Tk + r.page_size - 1) / r.page_size;
  r.pool = a.sizes.B * r.table_width + 2;
  r.align_end = true;
  for (std::int64_t i = 0; i < a.sizes.B * r.table_width; ++i)
    a.pages.push_back(static_cast<std::int32_t>(r.pool - 1 - i));
  if (a.k_length.empty()) a.k_length = lengths(a.sizes.B, a.sizes.Tk);
}

Attention Draw::problem() {
  Attention a;
  AttentionSizes& s = a.sizes;
  s.B = number(1, 3), s.Hkv = number(1, 2), s.Hq = s.Hkv * number(1, 3);
  s.Tq = chance(3) ? 1 : number(1, chance(4) ? 90 : 20);
  s.Tk = number(1, chance(4) ? 600 : 80);
  s.D = number(1, 40), s.Dv = chance(2) ? s.D : chance(2) ? 16 * number(1, 2) : number(1, 40);
  while (s.B * s.Hq * s.Tq * s.Tk * (s.D + s.Dv) > 400000) {
    s.B = 1, s.Hq = s.Hkv;
    s.Tk > 4 * s.Tq ? s.Tk /= 2 : s.Tq = (s.Tq + 1) / 2;
  }
  const double scales[] = {0.3, 0.3, 1 / std::sqrt(static_cast<double>(s.D)), -0.2, 0};
  a.scale = scales[number(0, 4)];
  a.rule.causal = chance(2), a.rule.align_end = chance(2);
  if (chance(4)) a.rule.window = number(1, s.Tk + 3);
  const bool packed = chance(5), paged = !packed && chance(5);
  if (packed) {
    a.q_first = starts(s.B, s.Tq), a.k_first = starts(s.B, s.Tk);
    a.rule.q_rows = a.q_first.back(), a.rule.k_rows = a.k_first.back();
  } else {
    if (chance(3)) a.q_length = lengths(s.B, s.Tq);
    if (chance(3)) a.k_length = lengths(s.B, s.Tk);
    if (chance(3)) mask(a);
  }
  if (paged) pages(a);
  const std::int64_t q_rows = packed ? a.rule.q_rows : -1;
  const std::int64_t k_rows = packed ? a.rule.k_rows : paged ? a.rule.pool * a.rule.page_size : -1;
  const std::int64_t copies = packed || paged ? 1 : s.B;
  a.q = floats(lay(a.q_layout, s.Hq, s.Tq, s.D, q_rows) * (packed ? 1 : s.B) + 1);
  a.k = floats(lay(a.k_layout, s.Hkv, s.Tk, s.D, k_rows) * copies + 1);
  a.v = floats(lay(a.v_layout, s.Hkv, s.Tk, s.Dv, k_rows) * copies + 1);
  a.dy = floats(lay(a.y_layout, s.Hq, s.Tq, s.Dv, q_rows) * (packed ? 1 : s.B) + 1);
  if (chance(5)) {
    a.slopes = floats(s.Hq);
    for (float& x : a.slopes) x = std::abs(x);
  }
  if (chance(4))
    a.dropout = {random_(), static_cast<std::uint64_t>(number(0, 1000)), 3006477106u, 1 / 0.7f, true};
  // Nobody may be hurt by what is behind the lengths.
  const auto spoil = [](Floats& x, const AttentionLayout& l, std::int64_t b, std::int64_t H, std::int64_t t,
                        std::int64_t D) {
    for (std::int64_t h = 0; h < H; ++h)
      std::fill_n(x.begin() + b * l.batch + h * l.head + t * l.time, D, kNan);
  };
  const auto at = [&](std::int64_t b) { return attention_lengths(common<AttentionProblem>(a).rule, s, b); };
  for (std::int64_t b = 0; b < s.B && !packed && !paged; ++b) {
    for (std::int64_t j = at(b).keys; j < s.Tk; ++j) {
      spoil(a.k, a.k_layout, b, s.Hkv, j, s.D);
      spoil(a.v, a.v_layout, b, s.Hkv, j, s.Dv);
    }
    for (std::int64_t i = at(b).queries; i < s.Tq; ++i) spoil(a.q, a.q_layout, b, s.Hq, i, s.D);
  }
  return a;
}

/// Everything by head, without options.
Attention plain(AttentionSizes s, std::uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto floats = [&](AttentionLayout& l, std::int64_t H, std::int64_t T, std::int64_t D) {
    l = {H * T * D, T * D, D};
    Floats values(static_cast<std::size_t>(s.B * H * T * D));
    for (float& x : values) x = normal(random);
    return values;
  };
  Attention a;
  a.sizes = s;
  a.q = floats(a.q_layout, s.Hq, s.Tq, s.D);
  a.k = floats(a.k_layout, s.Hkv, s.Tk, s.D);
  a.v = floats(a.v_layout, s.Hkv, s.Tk, s.Dv);
  a.dy = floats(a.y_layout, s.Hq, s.Tq, s.Dv);
  return a;
}

void expect_reference(const Attention& a) {
  const Results want = by_reference(a);
  expect_near(by_cpu(a, want), want, a);
}

/// Random problems, of another part of the seeds when GPUNN_TEST_SEED says so.
void expect_reference_from(std::uint64_t first, std::uint64_t count) {
  if (const char* const text = std::getenv("GPUNN_TEST_SEED")) first += std::strtoull(text, nullptr, 10);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_reference(Draw(seed).problem());
    if (::testing::Test::HasFatalFailure()) return;
  }
}

TEST(AttentionCpu, RandomProblemsEqualTheReference) { expect_reference_from(1, 200); }

/// Runs on one SIMD target, tiles of the products included.
class Target {
 public:
  explicit Target(std::int64_t target) : scope_(target), kernels_(detail::make_gemm_kernels()) {
    detail::replace_gemm_kernels(&kernels_);
  }
  ~Target() { detail::replace_gemm_kernels(nullptr); }

 private:
  testing::SimdTarget scope_;
  detail::GemmKernels kernels_;
};

TEST(AttentionCpu, EverySimdTargetEqualsTheReference) {
  int targets = 0;
  for (const std::int64_t target : kTargets) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    const Target scope(target);
    ++targets;
    expect_reference_from(1001, 30);
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(targets, 0);
}

// Whole blocks and tiles, and one more or fewer; keys in parts.
TEST(AttentionCpu, EdgesOfBlocks) {
  for (const AttentionSizes& s :
       {AttentionSizes{1, 1, 1, 24, 256, 16, 16}, AttentionSizes{1, 1, 1, 25, 257, 16, 16},
        AttentionSizes{1, 1, 1, 61, 255, 17, 15}, AttentionSizes{1, 1, 1, 97, 65, 8, 8},
        AttentionSizes{1, 2, 1, 4, 1025, 16, 16}, AttentionSizes{1, 9, 1, 1, 2100, 16, 16},
        AttentionSizes{1, 3, 1, 2, 3000, 9, 33}, AttentionSizes{4, 4, 4, 3, 300, 8, 8}})
    for (const bool causal : {false, true}) {
      Attention a = plain(s);
      a.rule.causal = a.rule.align_end = causal;
      expect_reference(a);
    }
}

// Few rows read values where they lie, page by page.
TEST(AttentionCpu, FewRowsThroughPages) {
  Attention a = plain({2, 2, 1, 1, 50, 16, 32});
  a.rule.page_size = 7, a.rule.table_width = 7, a.rule.pool = 14, a.rule.align_end = true;
  a.k_length = {49, 30};
  for (std::int32_t i = 0; i < 14; ++i) a.pages.push_back(13 - i);
  expect_reference(a);
}

// A hidden key or query may hold anything; one that is seen makes not-a-numbers of what it meets.
TEST(AttentionCpu, NotANumberWhereItIsSeen) {
  struct Kind {
    float odd;
    bool masked;
    std::int64_t queries;  // few: keys as they lie
  };
  for (const auto& [odd, masked, queries] : {Kind{kNan, false, 40},
                                             {kInfinity, false, 40},
                                             {-kInfinity, true, 40},
                                             {kNan, true, 40},
                                             {kNan, true, 4}}) {
    Attention a = plain({1, 2, 1, queries, 70, 16, 16});
    const std::int64_t at = queries * 3 / 4;
    if (masked) {
      a.mask.kind = AttentionMaskKind::boolean;
      a.mask.query = 70, a.mask.key = 1;
      a.boolean.assign(static_cast<std::size_t>(queries * 70), 1);
      for (std::int64_t i = 0; i <= at; ++i) a.boolean[static_cast<std::size_t>(i * 70 + at)] = i == at;
    } else {
      a.rule.causal = true;
    }
    for (const auto member : {&Attention::q, &Attention::k, &Attention::v, &Attention::dy}) {
      Attention spoilt = a;
      (spoilt.*member)[static_cast<std::size_t>(at * 16 + 3)] = odd;
      const Results want = by_reference(spoilt), got = by_cpu(spoilt, want);
      EXPECT_TRUE(std::isfinite(got.y[16])) << odd;
      for (std::size_t n = 0; n < 5; ++n)
        for (std::size_t i = 0; i < want.named()[n].second->size(); ++i) {
          const float x = (*got.named()[n].second)[i], e = (*want.named()[n].second)[i];
          ASSERT_EQ(std::isfinite(x), std::isfinite(e))
              << want.named()[n].first << "[" << i << "] is " << x << ", expected " << e << ", with " << odd;
        }
    }
  }
}

// Tasks of rows, of keys in parts, and of both.
TEST(AttentionCpuRace, ThreadsDoNotChangeABit) {
  for (const AttentionSizes& s :
       {AttentionSizes{2, 2, 2, 130, 70, 16, 16}, AttentionSizes{1, 2, 1, 30, 520, 16, 16},
        AttentionSizes{1, 4, 1, 1, 4100, 16, 16}}) {
    Attention a = plain(s);
    a.rule.causal = a.rule.align_end = true;
    a.dropout = {7, 1, 3006477106u, 1 / 0.7f, true};
    const Results saved = by_reference(a), alone = by_cpu(a, saved);
    for (const int threads : {2, 3, 8}) {
      const Results shared = by_cpu(a, saved, threads);
      for (std::size_t n = 0; n < 5; ++n)
        EXPECT_TRUE(*shared.named()[n].second == *alone.named()[n].second)
            << alone.named()[n].first << ", " << threads << " threads, Tk " << s.Tk;
    }
  }
}

// Rows with one key give its value exactly; rows that see nothing 0.
TEST(AttentionCpu, OneKeyAndNone) {
  Attention a = plain({1, 1, 1, 3, 2, 8, 8});
  a.rule.causal = a.rule.align_end = true;  // the first row stands before the first key
  const Results r = by_cpu(a, by_reference(a));
  for (std::size_t d = 0; d < 8; ++d) {
    EXPECT_EQ(r.y[d], 0);
    EXPECT_EQ(r.y[8 + d], a.v[d]);
    EXPECT_EQ(r.dq[d], 0);
  }
  EXPECT_EQ(r.lse[0], -kInfinity);
}

}  // namespace
}  // namespace gpunn
