#include "gpunn/kernels/matmul/matmul.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/gemm_impl.h"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "hwy/targets.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_matmul_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(MatmulParity, Cpu) { parity::expect_parity_on_cpu(parity::add_matmul_cases); }
#if GPUNN_HAS_CUDA
TEST(MatmulParity, Cuda) { parity::expect_parity_on_cuda(parity::add_matmul_cases); }
#endif

/// Few and small, for a build under TSan: every kernel, both layouts of each operand, ragged edges, several
/// steps of k, more than one matrix.
void add_race_cases(parity::Suite& suite) {
  for (int t = 0; t < 4; ++t)
    for (const bool tf32 : {false, true}) {
      const auto product = [=] {
        MatmulProblem p{};
        p.M = 33, p.N = 20, p.K = 70, p.batch = 2;
        p.trans_a = t % 2 == 1, p.trans_b = t >= 2;
        p.lda = p.trans_a ? p.M : p.K, p.ldb = p.trans_b ? p.K : p.N, p.ldc = p.N;
        p.a_batch = p.M * p.K, p.c_batch = p.M * p.N;
        p.has_bias = true, p.tf32 = tf32;
        return p;
      };
      parity::CaseOptions o;
      o.k = 72;
      o.c = tf32 ? 8192 : 4;  // TF32: as in matmul_cases.cpp
      o.scale = Scale::absolute;
      o.dtypes = {DType::f32};
      if (t == 0 && !tf32) o.dtypes.push_back(DType::bf16);
      suite.add(kMatmul, std::to_string(t) + (tf32 ? " tf32" : ""), product, o);
    }
  parity::CaseOptions o;
  o.k = 72;
  o.scale = Scale::absolute;
  o.dtypes = {DType::f32};
  const auto gradient = [] {
    BiasGradProblem p{};
    p.rows = 70, p.cols = 40, p.activation = Activation::tanh, p.want_dz = p.want_db = true;
    return p;
  };
  o.fills = {{"y", fill::uniform(-0.5, 0.5)}};
  suite.add(kBiasGrad, "70x40", gradient, o);
}

TEST(MatmulRace, Cpu) { parity::expect_parity_on_cpu(add_race_cases); }
#if GPUNN_HAS_CUDA
TEST(MatmulRace, Cuda) { parity::expect_parity_on_cuda(add_race_cases); }
#endif

class MatmulOnDevice : public testing::DeviceTest {
 protected:
  Tensor on_device(const Tensor& t) const { return t.to(device()); }
};
GPUNN_ON_EVERY_DEVICE(MatmulOnDevice);

TEST_P(MatmulOnDevice, KnownValues) {
  const Tensor a = on_device(Tensor::from({{1, 2, 3}, {4, 5, 6}})),
               b = on_device(Tensor::from({{7, 8}, {9, 10}, {11, 12}}));
  EXPECT_THAT(matmul(a, b).to_vector<float>(), ElementsAre(58, 64, 139, 154));
  EXPECT_THAT(matmul(b, a).to_vector<float>(), ElementsAre(39, 54, 69, 49, 68, 87, 59, 82, 105));
  EXPECT_THAT(matmul(a.t(), b.t()).to_vector<float>(), ElementsAre(39, 49, 59, 54, 68, 82, 69, 87, 105));
}

TEST_P(MatmulOnDevice, VectorsFollowPyTorch) {
  const Tensor m = on_device(Tensor::from({{1, 2, 3}, {4, 5, 6}})), v = on_device(Tensor::from({1, 0, -1}));
  const Tensor w = on_device(Tensor::from({2, 1}));
  EXPECT_EQ(matmul(v, v).shape(), Shape({}));
  EXPECT_EQ(matmul(v, v).item(), 2);
  EXPECT_EQ(matmul(m, v).shape(), Shape({2}));
  EXPECT_THAT(matmul(m, v).to_vector<float>(), ElementsAre(-2, -2));
  EXPECT_EQ(matmul(w, m).shape(), Shape({3}));
  EXPECT_THAT(matmul(w, m).to_vector<float>(), ElementsAre(6, 9, 12));
  const Tensor stack = m.unsqueeze(0);
  EXPECT_EQ(matmul(stack, v).shape(), Shape({1, 2}));
  EXPECT_EQ(matmul(w, stack).shape(), Shape({1, 3}));
}

/// Every matrix of a batched product against the product of the two matrices.
void expect_batched(const Tensor& a, const Tensor& b) {
  const Tensor y = matmul(a, b);
  Shape batch = y.shape();
  const std::int64_t count = y.numel() / (y.size(-1) * y.size(-2));
  const auto expanded = [&](const Tensor& t) {
    Shape shape = batch;
    shape[batch.rank() - 2] = t.size(-2), shape[batch.rank() - 1] = t.size(-1);
    return expand(t, shape).clone().reshape({count, t.size(-2), t.size(-1)});
  };
  const Tensor as = expanded(a), bs = expanded(b), ys = y.reshape({count, y.size(-2), y.size(-1)});
  for (std::int64_t i = 0; i < count; ++i) {
    const std::vector<float> got = ys.select(0, i).to_vector<float>();
    const std::vector<float> expected = matmul(as.select(0, i), bs.select(0, i)).to_vector<float>();
    ASSERT_EQ(got.size(), expected.size());
    for (std::size_t j = 0; j < got.size(); ++j)
      ASSERT_NEAR(got[j], expected[j], 1e-5) << "matrix " << i << " element " << j;
  }
}

TEST_P(MatmulOnDevice, LeadingDimensionsBroadcast) {
  const auto draw = [&](const Shape& shape) { return on_device(randn(shape)); };
  expect_batched(draw({4, 3, 5}), draw({4, 5, 2}));
  expect_batched(draw({4, 3, 5}), draw({5, 2}));
  expect_batched(draw({3, 5}), draw({4, 5, 2}));
  expect_batched(draw({2, 1, 3, 5}), draw({1, 4, 5, 2}));
  expect_batched(draw({2, 3, 4, 3, 5}), draw({3, 1, 5, 2}));
  expect_batched(draw({4, 5, 3}).transpose(1, 2), draw({4, 2, 5}).transpose(1, 2));
  expect_batched(draw({3, 4, 5}).transpose(0, 1), draw({4, 5, 2}));
  expect_batched(expand(draw({3, 5}), {4, 3, 5}), draw({4, 5, 2}));
  expect_batched(expand(draw({4, 1, 5}), {4, 3, 5}), draw({4, 5, 2}));
  EXPECT_EQ(matmul(draw({0, 3, 5}), draw({5, 2})).shape(), Shape({0, 3, 2}));
  EXPECT_EQ(matmul(draw({7, 1, 3, 5}), draw({2, 5, 0})).shape(), Shape({7, 2, 3, 0}));
}

TEST_P(MatmulOnDevice, StridedOperandsAreReadInPlace) {
  const Tensor wide = on_device(randn({8, 20})), b = on_device(randn({6, 7}));
  const Tensor a = wide.narrow(1, 3, 6);
  EXPECT_EQ(matmul(a, b).to_vector<float>(), matmul(a.contiguous(), b).to_vector<float>());
  const Tensor turned = wide.t().narrow(0, 2, 6);
  EXPECT_EQ(matmul(turned.t(), b).to_vector<float>(), matmul(turned.t().contiguous(), b).to_vector<float>());
  const Tensor column = wide.select(1, 4);
  EXPECT_EQ(matmul(column, wide).to_vector<float>(), matmul(column.contiguous(), wide).to_vector<float>());
}

TEST_P(MatmulOnDevice, NothingToAddGivesZerosOrTheBias) {
  EXPECT_THAT(matmul(on_device(empty({2, 0})), on_device(empty({0, 3}))).to_vector<float>(),
              ::testing::Each(0));
  EXPECT_THAT(matmul(on_device(empty({2, 2, 0})), on_device(empty({0, 3}))).to_vector<float>(),
              ::testing::Each(0));
  const Tensor b = on_device(Tensor::from({1, -2}));
  EXPECT_THAT(linear(on_device(empty({2, 0})), on_device(empty({2, 0})), b).to_vector<float>(),
              ElementsAre(1, -2, 1, -2));
  EXPECT_THAT(
      linear(on_device(empty({1, 0})), on_device(empty({2, 0})), b, Activation::relu).to_vector<float>(),
      ElementsAre(1, 0));
}

TEST_P(MatmulOnDevice, LinearEqualsItsParts) {
  const Tensor x = on_device(randn({2, 5, 33})), w = on_device(randn({17, 33})), b = on_device(randn({17}));
  const Tensor z = matmul(x, w.t()) + b;
  const auto near = [](const Tensor& got, const Tensor& expected) {
    const std::vector<float> g = got.to_vector<float>(), e = expected.to_vector<float>();
    ASSERT_EQ(got.shape(), expected.shape());
    for (std::size_t i = 0; i < g.size(); ++i) ASSERT_NEAR(g[i], e[i], 2e-5) << i;
  };
  near(linear(x, w, b), z);
  near(linear(x, w), matmul(x, w.t()));
  near(linear(x, w, b, Activation::relu), relu(z));
  near(linear(x, w, b, Activation::sigmoid), sigmoid(z));
  near(linear(x, w, b, Activation::tanh), tanh(z));
  near(linear(x.select(1, 2).select(0, 1), w, b), z.select(1, 2).select(0, 1));
}

TEST_P(MatmulOnDevice, NanPassesThroughEveryActivation) {
  const float nan = std::nanf("");
  const Tensor x = on_device(Tensor::from({{nan, 1}, {1, 1}})),
               w = on_device(Tensor::from({{1, 0}, {1, 1}, {0, 1}}));
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh}) {
    const std::vector<float> y = linear(x, w, {}, activation).to_vector<float>();
    for (int i = 0; i < 3; ++i)
      EXPECT_TRUE(std::isnan(y[static_cast<std::size_t>(i)])) << name_of(activation);
    for (int i = 3; i < 6; ++i)
      EXPECT_FALSE(std::isnan(y[static_cast<std::size_t>(i)])) << name_of(activation);
  }
}

TEST_P(MatmulOnDevice, GradientsOfLinear) {
  // y = relu(x w^T + b) with z = [[4, -1], [1.5, 2.5]], so that dy' = [[1, 0], [1, 1]].
  const auto leaf = [&](const Tensor& t) { return on_device(t).requires_grad_(); };
  const Tensor x = leaf(Tensor::from({{1, 2}, {0.5f, 1}})), w = leaf(Tensor::from({{2, 0.5f}, {-3, 3.5f}}));
  const Tensor b = leaf(Tensor::from({1, -5}));
  sum(linear(x, w, b, Activation::relu)).backward();
  EXPECT_THAT(b.grad().to_vector<float>(), ElementsAre(2, 0));
  EXPECT_THAT(w.grad().to_vector<float>(), ElementsAre(1.5f, 3, 0, 0));
  EXPECT_THAT(x.grad().to_vector<float>(), ElementsAre(2, 0.5f, 2, 0.5f));
}

TEST_P(MatmulOnDevice, GradientsOfEmptyBatches) {
  const Tensor x = on_device(empty({0, 3})).requires_grad_(), w = on_device(ones({2, 3})).requires_grad_();
  const Tensor b = on_device(ones({2})).requires_grad_();
  const Tensor y = linear(x, w, b, Activation::tanh);
  y.backward(ones_like(y));
  EXPECT_EQ(x.grad().shape(), Shape({0, 3}));
  EXPECT_THAT(w.grad().to_vector<float>(), ::testing::Each(0));
  EXPECT_THAT(b.grad().to_vector<float>(), ::testing::Each(0));
}

TEST(Matmul, RejectsBadArguments) {
  const Tensor m = zeros({2, 3});
  EXPECT_THAT([&] { matmul(m, m); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[matmul] expected the last dimension of a")));
  EXPECT_THAT([&] { matmul(m, zeros({3, 2}, {.dtype = DType::f64})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("f64")));
  EXPECT_THAT([&] { matmul(m, Tensor()); }, ThrowsMessage<InvalidArgument>(HasSubstr("[matmul]")));
  EXPECT_THAT([&] { matmul(zeros({}), m); }, ThrowsMessage<InvalidArgument>(HasSubstr("rank >= 1")));
  EXPECT_THAT([&] { matmul(zeros({2, 2, 3}), zeros({3, 3, 2})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[matmul]")));
  EXPECT_THAT([&] { matmul(zeros({2, 3}, {.dtype = DType::i64}), m); },
              ThrowsMessage<InvalidArgument>(HasSubstr("i64")));
}

TEST(Linear, RejectsBadArguments) {
  const Tensor x = zeros({64, 783}), w = zeros({10, 784});
  EXPECT_THAT([&] { linear(x, w); },
              ThrowsMessage<InvalidArgument>(HasSubstr("[linear] expected input [*, 784], got [64, 783]")));
  EXPECT_THAT([&] { linear(zeros({}), w); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected input [*, 784]")));
  EXPECT_THAT([&] { linear(zeros({2, 784}), zeros({784})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected weight [N, K]")));
  EXPECT_THAT([&] { linear(zeros({2, 784}), w, zeros({9})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("expected bias [10], got [9]")));
  EXPECT_THAT([&] { linear(zeros({2, 784}), w, zeros({10}, {.dtype = DType::f16})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("f16")));
}

TEST(Linear, OverwritingTheResultIsAnErrorInBackward) {
  const Tensor x = randn({2, 3}), w = randn({4, 3}, {.requires_grad = true});
  const Tensor y = linear(x, w, {}, Activation::relu);
  {
    NoGrad off;
    y.zero_();
  }
  EXPECT_THAT([&] { y.backward(ones({2, 4})); }, ThrowsMessage<InvalidArgument>(HasSubstr("linear")));
}

TEST(Linear, NamesOfActivations) {
  EXPECT_STREQ(name_of(Activation::none), "none");
  EXPECT_STREQ(name_of(Activation::relu), "relu");
  EXPECT_STREQ(name_of(Activation::sigmoid), "sigmoid");
  EXPECT_STREQ(name_of(Activation::tanh), "tanh");
}

TEST(Matmul, Tf32IsOffUnlessAsked) {
  EXPECT_FALSE(allow_tf32());
  set_allow_tf32(true);
  EXPECT_TRUE(allow_tf32());
  set_allow_tf32(false);
  EXPECT_FALSE(allow_tf32());
}

TEST(Matmul, HalvesAccumulateInFloat) {
  // 4096 ones: a sum kept in half precision would stop at 2048 (f16) or 256 (bf16).
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor a = ones({1, 4096}, {.dtype = dtype}), b = ones({4096, 2}, {.dtype = dtype});
    EXPECT_THAT(matmul(a, b).to(DType::f32).to_vector<float>(), ::testing::Each(4096));
  }
}

// ---- the CPU's product itself

struct Drawn {
  GemmArgs args;
  std::vector<float> a, b, c, bias;
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
  g.activation = static_cast<Activation>(below(4));
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
  g.a = d.a.data(), g.b = d.b.data(), g.bias = d.bias.empty() ? nullptr : d.bias.data();
  return d;
}

std::vector<float> run(const Drawn& d, int threads) {
  std::vector<float> c = d.c;
  GemmArgs g = d.args;
  g.c = c.data();
  const std::size_t bytes = gemm_cpu_workspace(g);
  std::vector<float> memory(bytes / sizeof(float) + 16, std::nanf(""));
  const auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  CpuPool pool(threads);
  gemm_cpu(g, memory.data() + (64 - address % 64) % 64 / sizeof(float), pool);
  return c;
}

struct Expected {
  double value;
  double scale;  // sum of the terms' magnitudes
};

Expected expected(const Drawn& d, std::int64_t i, std::int64_t m, std::int64_t n) {
  const GemmArgs& g = d.args;
  Expected e{0, 0};
  const auto term = [&](double t) { e.value += t, e.scale += std::abs(t); };
  if (g.accumulate) term(static_cast<double>(d.c[static_cast<std::size_t>(i * g.c_batch + m * g.ldc + n)]));
  if (g.bias) term(static_cast<double>(g.bias[n]));
  for (std::int64_t k = 0; k < g.K; ++k)
    term(static_cast<double>(g.a[i * g.a_batch + (g.trans_a ? k * g.lda + m : m * g.lda + k)]) *
         static_cast<double>(g.b[i * g.b_batch + (g.trans_b ? n * g.ldb + k : k * g.ldb + n)]));
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
    default:
      break;
  }
  return e;
}

/// c against the definition, and against d.c in the gaps between rows.
void expect_definition(const Drawn& d, const std::vector<float>& c) {
  const GemmArgs& g = d.args;
  const double unit = static_cast<double>(std::numeric_limits<float>::epsilon());
  for (std::int64_t i = 0; i < g.batch; ++i)
    for (std::int64_t m = 0; m < g.M; ++m)
      for (std::int64_t n = 0; n < g.ldc; ++n) {
        const auto at = static_cast<std::size_t>(i * g.c_batch + m * g.ldc + n);
        if (n >= g.N) {
          ASSERT_EQ(c[at], d.c[at]) << "gap after row " << m;
          continue;
        }
        const Expected e = expected(d, i, m, n);
        const double error = std::abs(static_cast<double>(c[at]) - e.value);
        ASSERT_TRUE(error <= unit * (4 + std::sqrt(static_cast<double>(g.K)) * e.scale))
            << g.M << "x" << g.N << "x" << g.K << " at " << m << ", " << n << ": " << c[at] << ", expected "
            << e.value;
      }
}

TEST(GemmCpu, RandomShapesEqualTheDefinitionForAnyNumberOfThreads) {
  std::mt19937 random(20240607);
  for (int trial = 0; trial < 400; ++trial) {
    const Drawn d = draw(random);
    const std::vector<float> c = run(d, 1);
    ASSERT_EQ(c, run(d, 3)) << "trial " << trial;
    expect_definition(d, c);
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

TEST(GemmCpu, LargeProductsKeepTheirBitsOverThreads) {
  std::mt19937 random(7);
  for (const auto& [M, N, K] :
       {std::array<std::int64_t, 3>{64, 256, 784}, {256, 784, 64}, {400, 300, 700}, {1, 3000, 800}}) {
    for (int t = 0; t < 4; ++t) {
      Drawn d;
      GemmArgs& g = d.args;
      g.M = M, g.N = N, g.K = K, g.trans_a = t % 2 == 1, g.trans_b = t >= 2;
      g.lda = g.trans_a ? M : K, g.ldb = g.trans_b ? K : N, g.ldc = N;
      std::uniform_real_distribution<float> value(-1, 1);
      d.a.resize(static_cast<std::size_t>(M * K)), d.b.resize(static_cast<std::size_t>(K * N)),
          d.c.resize(static_cast<std::size_t>(M * N));
      for (float& x : d.a) x = value(random);
      for (float& x : d.b) x = value(random);
      g.a = d.a.data(), g.b = d.b.data();
      const std::vector<float> one = run(d, 1);
      for (const int threads : {2, 3, 8})
        ASSERT_EQ(one, run(d, threads)) << M << "x" << N << "x" << K << " layout " << t;
    }
  }
}

// ---- derivatives, in f64 on the reference

const Fill kValues = fill::normal(0, 1);

TEST(MatmulGradient, FirstDerivatives) {
  const auto f = [](const Inputs& in) { return matmul(in[0], in[1]); };
  EXPECT_TRUE(gradcheck(f, {{{3, 4}, kValues}, {{4, 2}, kValues}}));
  EXPECT_TRUE(gradcheck(f, {{{4}, kValues}, {{4}, kValues}}));
  EXPECT_TRUE(gradcheck(f, {{{3, 4}, kValues}, {{4}, kValues}}));
  EXPECT_TRUE(gradcheck(f, {{{4}, kValues}, {{2, 4, 3}, kValues}}));
  EXPECT_TRUE(gradcheck(f, {{{2, 3, 4}, kValues}, {{4, 2}, kValues}}));
  EXPECT_TRUE(gradcheck(f, {{{2, 1, 3, 4}, kValues}, {{3, 4, 2}, kValues}}));
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return matmul(in[0].t(), in[1].t()); },
                        {{{4, 3}, kValues}, {{2, 4}, kValues}}));
}

TEST(MatmulGradient, SecondDerivatives) {
  const auto f = [](const Inputs& in) { return matmul(in[0], in[1]); };
  EXPECT_TRUE(gradgradcheck(f, {{{3, 4}, kValues}, {{4, 2}, kValues}}));
  EXPECT_TRUE(gradgradcheck(f, {{{3, 4}, kValues}, {{4}, kValues}}));
  EXPECT_TRUE(gradgradcheck(f, {{{2, 1, 2, 3}, kValues}, {{2, 3, 2}, kValues}}));
}

/// For relu: preactivations stay away from the kink, being 0.5 or more in size for these weights.
const std::vector<GradInput> kLinear = {{{3, 4}, kValues}, {{5, 4}, kValues}, {{5}, kValues}};
const std::vector<GradInput> kAwayFromKink = {
    {{3, 2}, fill::uniform(0.5, 1)}, {{4, 2}, fill::cycle({1, 1, -1, -1})}, {{4}, fill::cycle({0.5, -0.5})}};

TEST(LinearGradient, FirstDerivatives) {
  for (const Activation activation : {Activation::none, Activation::sigmoid, Activation::tanh}) {
    const auto f = [=](const Inputs& in) { return linear(in[0], in[1], in[2], activation); };
    EXPECT_TRUE(gradcheck(f, kLinear)) << name_of(activation);
    EXPECT_TRUE(gradcheck(f, {{{2, 3, 4}, kValues}, {{5, 4}, kValues}, {{5}, kValues}}))
        << name_of(activation);
  }
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return linear(in[0], in[1]); }, {kLinear[0], kLinear[1]}));
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return linear(in[0], in[1], in[2], Activation::relu); },
                        kAwayFromKink));
  EXPECT_TRUE(gradcheck([](const Inputs& in) { return linear(in[0], in[1], {}, Activation::tanh); },
                        {{{4}, kValues}, {{5, 4}, kValues}}));
}

TEST(LinearGradient, SecondDerivatives) {
  for (const Activation activation : {Activation::none, Activation::sigmoid, Activation::tanh})
    EXPECT_TRUE(
        gradgradcheck([=](const Inputs& in) { return linear(in[0], in[1], in[2], activation); }, kLinear))
        << name_of(activation);
  EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return linear(in[0], in[1], in[2], Activation::relu); },
                            kAwayFromKink));
}

}  // namespace
}  // namespace gpunn
