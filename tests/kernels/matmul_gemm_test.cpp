// The CPU's f32 product itself, against its definition in double and against itself with other numbers of
// threads.
#include "gpunn/kernels/matmul/gemm_impl.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "hwy/targets.h"

namespace gpunn {
namespace {

struct Drawn {
  GemmArgs args;
  std::vector<float> a, b, c, bias, residual;
  bool save_pre = false;
};

/// What a run left in c and pre.
struct Done {
  std::vector<float> c, pre;
  bool operator==(const Done&) const = default;
};

/// Sizes around the edges of tiles, panels and chunks, all layouts, and gaps that must stay untouched.
Drawn draw(std::mt19937& random) {
  constexpr std::int64_t sizes[] = {0,  1,  2,  3,  5,  6,  7,  8,   15,  16,  17,  31,
                                    33, 48, 63, 64, 65, 79, 80, 100, 127, 130, 257, 330};
  const auto below = [&](unsigned n) { return static_cast<std::int64_t>(random() % n); };
  const auto size = [&] { return sizes[below(std::size(sizes))]; };
  Drawn d;
  GemmArgs& g = d.args;
  g.M = size(), g.N = size(), g.K = below(20) == 0 ? 900 : size();
  g.batch = below(4) == 0 ? 1 + below(5) : 1;
  g.trans_a = below(2) == 1, g.trans_b = below(2) == 1, g.accumulate = below(3) == 0;
  g.activation = static_cast<Activation>(below(6));
  d.save_pre = below(3) == 0;
  const std::int64_t gap = 3 * below(3);
  g.lda = (g.trans_a ? g.M : g.K) + gap, g.ldb = (g.trans_b ? g.K : g.N) + gap, g.ldc = g.N + gap;
  const std::int64_t a = (g.trans_a ? g.K : g.M) * g.lda, b = (g.trans_b ? g.N : g.K) * g.ldb,
                     c = g.M * g.ldc;
  g.a_batch = below(3) == 0 ? 0 : a, g.b_batch = below(3) == 0 ? 0 : b, g.c_batch = c;
  std::uniform_real_distribution<float> value(-1, 1);
  const auto fill = [&](std::vector<float>& v, std::int64_t n) {
    v.resize(static_cast<std::size_t>(n));
    for (float& x : v) x = value(random);
  };
  fill(d.a, a * g.batch), fill(d.b, b * g.batch), fill(d.c, c * g.batch), fill(d.bias, below(2) * g.N);
  g.ldr = g.N + gap, g.r_batch = below(2) * g.M * g.ldr;
  fill(d.residual, below(2) * g.batch * g.M * g.ldr);
  g.a = d.a.data(), g.b = d.b.data(), g.bias = d.bias.empty() ? nullptr : d.bias.data();
  g.residual = d.residual.empty() ? nullptr : d.residual.data();
  return d;
}

Done run(const Drawn& d, int threads) {
  Done done{d.c, d.save_pre ? d.c : std::vector<float>()};
  GemmArgs g = d.args;
  g.c = done.c.data(), g.pre = d.save_pre ? done.pre.data() : nullptr;
  const std::size_t bytes = gemm_cpu_workspace(g);
  std::vector<float> memory(bytes / sizeof(float) + 16, std::nanf(""));
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  CpuPool pool(threads);
  gemm_cpu(g, memory.data() + (64 - address % 64) % 64 / sizeof(float), pool);
  return done;
}

struct Expected {
  double value, pre;
  double scale;  // sum of the terms' magnitudes
};

Expected expected(const Drawn& d, std::int64_t i, std::int64_t m, std::int64_t n) {
  const GemmArgs& g = d.args;
  Expected e{0, 0, 0};
  const auto term = [&](double t) { e.value += t, e.scale += std::abs(t); };
  if (g.accumulate) term(static_cast<double>(d.c[static_cast<std::size_t>(i * g.c_batch + m * g.ldc + n)]));
  if (g.bias) term(static_cast<double>(g.bias[n]));
  for (std::int64_t k = 0; k < g.K; ++k)
    term(static_cast<double>(g.a[i * g.a_batch + (g.trans_a ? k * g.lda + m : m * g.lda + k)]) *
         static_cast<double>(g.b[i * g.b_batch + (g.trans_b ? n * g.ldb + k : k * g.ldb + n)]));
  e.pre = e.value;
  switch (g.activation) {
    case Activation::relu:
      e.value = std::max(e.value, 0.0);
      break;
    case Activation::sigmoid:
      e.value = 1 / (1 + std::exp(-e.value));
      break;
    case Activation::tanh:
      e.value = std::tanh(e.value);
      break;
    case Activation::gelu:
      e.value *= std::erfc(-e.value / std::sqrt(2.0)) / 2;
      break;
    case Activation::gelu_tanh:
      e.value *=
          (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (e.value + 0.044715 * std::pow(e.value, 3)))) / 2;
      break;
    default:
      break;
  }
  if (g.residual) {
    const double added = static_cast<double>(g.residual[i * g.r_batch + m * g.ldr + n]);
    e.value += added, e.scale += std::abs(added);
  }
  return e;
}

/// c and pre against the definition, and against d.c in the gaps between rows.
void expect_definition(const Drawn& d, const Done& done) {
  const GemmArgs& g = d.args;
  const double unit = static_cast<double>(std::numeric_limits<float>::epsilon());
  for (std::int64_t i = 0; i < g.batch; ++i)
    for (std::int64_t m = 0; m < g.M; ++m)
      for (std::int64_t n = 0; n < g.ldc; ++n) {
        const auto at = static_cast<std::size_t>(i * g.c_batch + m * g.ldc + n);
        if (n >= g.N) {
          ASSERT_EQ(done.c[at], d.c[at]) << "gap after row " << m;
          ASSERT_TRUE(!d.save_pre || done.pre[at] == d.c[at]) << "gap after row " << m << " of pre";
          continue;
        }
        const Expected e = expected(d, i, m, n);
        const double bound = unit * (4 + std::sqrt(static_cast<double>(g.K)) * e.scale);
        const auto near = [&](float got, double value) {
          return std::abs(static_cast<double>(got) - value) <= bound;
        };
        ASSERT_TRUE(near(done.c[at], e.value)) << g.M << "x" << g.N << "x" << g.K << " at " << m << ", " << n
                                               << ": " << done.c[at] << ", expected " << e.value;
        ASSERT_TRUE(!d.save_pre || near(done.pre[at], e.pre))
            << g.M << "x" << g.N << "x" << g.K << " at " << m << ", " << n << ": pre " << done.pre[at]
            << ", expected " << e.pre;
      }
}

TEST(GemmCpu, RandomShapesEqualTheDefinitionForAnyNumberOfThreads) {
  std::mt19937 random(20240607);
  for (int trial = 0; trial < 400; ++trial) {
    const Drawn d = draw(random);
    const Done done = run(d, 1);
    ASSERT_TRUE(done == run(d, 3)) << "trial " << trial;
    expect_definition(d, done);
    if (::testing::Test::HasFatalFailure()) FAIL() << "trial " << trial;
  }
}

/// Uses the kernels of one SIMD target until the end of the scope.
class TargetScope {
 public:
  explicit TargetScope(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    kernels_ = detail::make_gemm_kernels();
    detail::replace_gemm_kernels(&kernels_);
  }
  ~TargetScope() {
    detail::replace_gemm_kernels(nullptr);
    hwy::SetSupportedTargetsForTest(0);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  TargetScope(const TargetScope&) = delete;
  TargetScope& operator=(const TargetScope&) = delete;
  const char* name() const { return kernels_.target; }

 private:
  detail::GemmKernels kernels_;
};

TEST(GemmCpu, EverySimdTargetEqualsTheDefinition) {
  std::vector<std::string> seen;
  for (const std::int64_t target : {HWY_AVX3, HWY_AVX2, HWY_SSE4, HWY_SSSE3, HWY_NEON}) {
    if ((hwy::SupportedTargets() & HWY_TARGETS & target) == 0) continue;
    const TargetScope scope(target);
    seen.push_back(scope.name());
    EXPECT_EQ(seen.back(), hwy::TargetName(target));
    std::mt19937 random(99);
    for (int trial = 0; trial < 120; ++trial) {
      const Drawn d = draw(random);
      expect_definition(d, run(d, 1));
      if (::testing::Test::HasFatalFailure()) FAIL() << scope.name() << ", trial " << trial;
    }
  }
  EXPECT_FALSE(seen.empty());
}

/// A product of random values without gaps; `t` tells which operands are transposed.
Drawn product_of(std::mt19937& random, std::int64_t M, std::int64_t N, std::int64_t K, int t) {
  Drawn d;
  GemmArgs& g = d.args;
  g.M = M, g.N = N, g.K = K, g.trans_a = t % 2 == 1, g.trans_b = t >= 2;
  g.lda = g.trans_a ? M : K, g.ldb = g.trans_b ? K : N, g.ldc = N;
  std::uniform_real_distribution<float> value(-1, 1);
  d.a.resize(static_cast<std::size_t>(M * K)), d.b.resize(static_cast<std::size_t>(K * N)),
      d.c.resize(static_cast<std::size_t>(M * N));
  for (std::vector<float>* v : {&d.a, &d.b, &d.c})
    for (float& x : *v) x = value(random);
  g.a = d.a.data(), g.b = d.b.data();
  return d;
}

TEST(GemmCpu, LargeProductsKeepTheirBitsOverThreads) {
  std::mt19937 random(7);
  for (const auto& [M, N, K] :
       {std::array<std::int64_t, 3>{64, 256, 784}, {256, 784, 64}, {400, 300, 700}, {1, 3000, 800}}) {
    for (int t = 0; t < 4; ++t) {
      const Drawn d = product_of(random, M, N, K, t);
      const Done one = run(d, 1);
      for (const int threads : {2, 3, 8})
        ASSERT_TRUE(one == run(d, threads)) << M << "x" << N << "x" << K << " layout " << t;
    }
  }
}

/// Products whose k is cut into pieces (all but the first three), with every kind of epilogue in turn.
TEST(GemmCpu, SkinnyProductsEqualTheDefinitionForAnyNumberOfThreads) {
  std::mt19937 random(11);
  int trial = 0;
  for (const auto& [M, N, K] : {std::array<std::int64_t, 3>{4, 12, 8191},
                                {3, 1, 9000},
                                {70000, 3, 2},
                                {1, 1, 70000},
                                {4, 12, 8192},
                                {1, 20, 13001},
                                {8, 33, 12289},
                                {40, 17, 8200}})
    for (int t = 0; t < 4; ++t, ++trial) {
      Drawn d = product_of(random, M, N, K, t);
      d.args.activation = static_cast<Activation>(trial % 6), d.args.accumulate = trial % 3 == 0;
      d.save_pre = trial % 2 == 0;
      if (trial % 4 < 2) d.bias.assign(static_cast<std::size_t>(N), 0.5f), d.args.bias = d.bias.data();
      if (trial % 4 > 0) d.residual = d.c, d.args.residual = d.residual.data(), d.args.ldr = N;
      const Done one = run(d, 1);
      for (const int threads : {2, 5})
        ASSERT_TRUE(one == run(d, threads)) << M << "x" << N << "x" << K << " layout " << t;
      expect_definition(d, one);
      if (::testing::Test::HasFatalFailure()) FAIL() << "layout " << t;
    }
}

TEST(GemmCpu, SkinnyProductsAreSharedAmongThreads) {
  // Without pieces of k the one block of rows and panels would want no sums in the workspace.
  GemmArgs g;
  g.M = 2, g.N = 8, g.K = 100000, g.lda = g.ldb = g.K, g.ldc = g.N, g.trans_b = true;
  EXPECT_EQ(gemm_cpu_workspace(g), 15u * 16 * sizeof(float));
  g.K = 8000;
  EXPECT_EQ(gemm_cpu_workspace(g), 0u);
}

}  // namespace
}  // namespace gpunn
