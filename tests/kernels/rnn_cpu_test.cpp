// Recurrent sequences on the CPU: every SIMD target, and the same bits however the work is shared out.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "hwy/targets.h"
#include "tests/support/rnn_kind.h"
#include "tests/support/simd_target.h"

namespace gpunn {
namespace {

using testing::kRnnKinds;
using testing::RnnKind;

using Floats = std::vector<float>;

constexpr std::int64_t kTargets[] = {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_NEON, HWY_SCALAR};

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

Floats random_floats(std::int64_t count, double scale) {
  Floats values(static_cast<std::size_t>(count));
  std::uint64_t state = static_cast<std::uint64_t>(count);
  for (float& v : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    v = static_cast<float>(scale * (static_cast<double>(state >> 40) * 0x1p-23 - 1));
  }
  return values;
}

/// Forward and backward over sequences, with everything kept and asked for.
class Layer {
 public:
  Layer(const RnnKind& kind, bool reverse, std::vector<std::int64_t> lengths, std::int64_t H) {
    first_row_.push_back(0);
    for (std::int64_t t = 0; t < lengths[0]; ++t)
      first_row_.push_back(
          first_row_.back() +
          std::count_if(lengths.begin(), lengths.end(), [&](std::int64_t length) { return length > t; }));
    sizes_ = {
        kind.mode, reverse,          kind.reset_after, lengths[0], static_cast<std::int64_t>(lengths.size()),
        H,         first_row_.back()};
  }

  template <class F, class B>
  Floats run(F forward, B backward) const;
  Floats by_reference() const {
    return run([](const RnnForwardProblem& p) { rnn_fwd_ref(p, {}); },
               [](const RnnBackwardProblem& p) { rnn_bwd_ref(p, {}); });
  }
  Floats by_cpu(int threads) const {
    CpuPool pool(threads);
    return run(
        [&](const RnnForwardProblem& p) { with_workspace(rnn_fwd_cpu_workspace(p), pool, p, rnn_fwd_cpu); },
        [&](const RnnBackwardProblem& p) { with_workspace(rnn_bwd_cpu_workspace(p), pool, p, rnn_bwd_cpu); });
  }

 private:
  template <class P>
  static void with_workspace(std::size_t bytes, CpuPool& pool, const P& p,
                             void (*run)(const P&, const Exec&)) {
    struct alignas(64) Line {
      float values[16];
    };
    std::vector<Line> workspace(bytes / sizeof(Line) + 1);
    Exec exec;
    exec.workspace = workspace.data();
    exec.workspace_bytes = bytes;
    exec.pool = &pool;
    run(p, exec);
  }

  RnnSizes sizes_{};
  std::vector<std::int64_t> first_row_;
};

/// All results, one after the other; what a mode has not is left 0.
template <class F, class B>
Floats Layer::run(F forward, B backward) const {
  const RnnSizes& s = sizes_;
  const bool lstm = s.has_cells(), gru = s.has_extra();
  const std::int64_t states = s.B * s.H, rows = s.rows * s.H, all = rows * s.G();
  const Floats gx = random_floats(all, 2), w = random_floats(s.G() * s.H * s.H, 2 / std::sqrt(s.H)),
               b_hn = random_floats(s.H, 1), h0 = random_floats(states, 1), c0 = random_floats(states + 1, 1),
               dy = random_floats(rows, 1), dhn = random_floats(states + 2, 1),
               dcn = random_floats(states + 3, 1);
  Floats results(static_cast<std::size_t>(2 * all + 4 * rows + 4 * states));
  float* next = results.data();
  const auto out = [&](std::int64_t count) { return std::exchange(next, next + count); };

  RnnForwardProblem p{};
  p.dtype = DType::f32, p.sizes = s;
  p.first_row = p.host_first_row = first_row_.data();
  p.gx = gx.data(), p.w_hh = w.data(), p.h0 = h0.data();
  p.b_hn = gru ? b_hn.data() : nullptr;
  p.c0 = lstm ? c0.data() : nullptr;
  p.y = out(rows), p.hn = out(states);
  p.cn = lstm ? out(states) : nullptr;
  p.gates = s.G() > 1 ? out(all) : nullptr;
  p.cells = lstm ? out(rows) : nullptr;
  p.extra = gru ? out(rows) : nullptr;
  forward(p);

  RnnBackwardProblem q{};
  q.dtype = DType::f32, q.sizes = s;
  q.first_row = q.host_first_row = first_row_.data();
  q.dy = dy.data(), q.dhn = dhn.data(), q.w_hh = w.data(), q.h0 = h0.data(), q.c0 = p.c0;
  q.dcn = lstm ? dcn.data() : nullptr;
  q.y = p.y, q.gates = p.gates, q.cells = p.cells, q.extra = p.extra;
  q.dgx = out(all), q.dh0 = out(states);
  q.dextra = gru && s.reset_after ? out(rows) : nullptr;
  q.dc0 = lstm ? out(states) : nullptr;
  backward(q);
  return results;
}

/// f() on every target that this processor has.
template <class F>
void on_every_target(F f) {
  int seen = 0;
  for (const std::int64_t target : kTargets) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    const Target scope(target);
    ++seen;
    f();
  }
  EXPECT_GT(seen, 0);
}

void expect_reference(const Layer& layer, const char* name) {
  const Floats want = layer.by_reference(), got = layer.by_cpu(1);
  for (std::size_t i = 0; i < want.size(); ++i)
    ASSERT_NEAR(got[i], want[i], 1e-5 * (1 + std::abs(want[i]))) << name << ", result " << i;
}

TEST(RnnCpu, EverySimdTargetEqualsTheReference) {
  on_every_target([] {
    for (const RnnKind& kind : kRnnKinds) {
      const Layer uneven(kind, false, {3, 3, 3, 2, 2, 2, 2, 2, 1, 1, 1}, 37);
      const Layer reverse(kind, true, {3, 3, 2, 2, 2, 2, 1}, 84);
      const Layer unpacked(kind, false, {1, 1, 1, 1, 1}, 165);  // weights as they are
      for (const Layer* layer : {&uneven, &reverse, &unpacked}) expect_reference(*layer, kind.name);
    }
  });
}

// Weights so large that a step's units are cut into chunks, packed and as they are.
TEST(RnnCpu, ChunksOfLargeWeights) {
  for (const RnnKind& kind : {kRnnKinds[2], kRnnKinds[4]}) {
    expect_reference(Layer(kind, true, {5, 4, 3, 2}, 400), kind.name);
    expect_reference(Layer(kind, false, {2, 1}, 400), kind.name);
  }
}

// Through a cell: i, f, o are sigmoids of the sums, g is tanh of them.
TEST(RnnCpu, GatesOfEveryMagnitude) {
  const float infinity = std::numeric_limits<float>::infinity();
  Floats sums{0.0f, infinity, -infinity, 1e-30f, -1e-5f, 88.0f, -86.0f, 3e38f, 0.17f, -0.18f, 9.0f, -9.1f};
  for (const float x : random_floats(3000, 20)) sums.push_back(x);
  sums.push_back(std::numeric_limits<float>::quiet_NaN());
  const std::size_t H = sums.size();
  Floats gx;
  for (int g = 0; g < 4; ++g) gx.insert(gx.end(), sums.begin(), sums.end());
  const Floats gh(4 * H), c(H);
  on_every_target([&] {
    Floats h_next(H), c_next(H), gates(4 * H);
    CpuPool pool(1);
    Exec exec;
    exec.pool = &pool;
    rnn_cell_fwd_cpu({DType::f32, gx.data(), gh.data(), nullptr, c.data(), h_next.data(), c_next.data(),
                      gates.data(), 1, static_cast<std::int64_t>(H), RnnMode::lstm},
                     exec);
    for (std::size_t i = 0; i + 1 < H; ++i) {
      const double x = sums[i], sigmoid = 1 / (1 + std::exp(-x)), tanh = std::tanh(x);
      ASSERT_NEAR(gates[i], sigmoid, 4 * 6e-8 * sigmoid + 2e-38) << x;
      ASSERT_NEAR(gates[2 * H + i], tanh, 4 * 6e-8 * std::abs(tanh)) << x;
    }
    for (std::size_t g = 0; g < 4; ++g) EXPECT_TRUE(std::isnan(gates[g * H + H - 1]));
    EXPECT_TRUE(std::isnan(h_next[H - 1]));
  });
}

// Threads share groups of sequences where there are many, else blocks of units of large weights.
TEST(RnnCpuRace, ThreadsDoNotChangeABit) {
  for (const RnnKind& kind : kRnnKinds) {
    std::vector<std::int64_t> lengths(17, 20);
    std::fill(lengths.begin() + 9, lengths.end(), 13);
    const Layer many(kind, false, lengths, 128), large(kind, true, {5, 4, 3, 2}, 400),
        short_one(kind, false, {2, 1}, 400);
    for (const Layer* layer : {&many, &large, &short_one}) {
      const Floats alone = layer->by_cpu(1);
      for (const int threads : {2, 3, 5})
        EXPECT_TRUE(layer->by_cpu(threads) == alone) << kind.name << ", " << threads << " threads";
    }
  }
}

}  // namespace
}  // namespace gpunn
