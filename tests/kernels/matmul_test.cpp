#include "gpunn/kernels/matmul/matmul.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/activations.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
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
  o.k = 1032;
  o.scale = Scale::absolute;
  o.dtypes = {DType::bf16};
  const auto pieces = [] {
    MatmulProblem p{};
    p.M = 3, p.N = 4, p.K = 1030, p.batch = 1;
    p.lda = p.ldb = p.K, p.ldc = p.ldr = p.N, p.trans_b = true;
    p.has_bias = p.has_residual = p.save_pre = true, p.activation = Activation::gelu_tanh;
    return p;
  };
  suite.add(kMatmul, "pieces of k", pieces, o);
  o.k = 72;
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
  near(linear(x, w, b, Activation::gelu), gelu(z));
  near(linear(x, w, b, Activation::gelu_tanh), gelu(z, GeluApproximate::tanh));
  const Tensor r = on_device(randn({2, 5, 17}));
  near(linear(x, w, b, Activation::none, r), z + r);
  near(linear(x, w, {}, Activation::gelu, r), gelu(matmul(x, w.t())) + r);
  const Tensor wide = on_device(randn({5, 40})), turned = on_device(randn({17, 5}));
  const Tensor row = x.select(0, 1), zr = z.select(0, 1);
  near(linear(row, w, b, Activation::relu, wide.narrow(1, 3, 17)), relu(zr) + wide.narrow(1, 3, 17));
  near(linear(row, w, b, Activation::none, turned.t()), zr + turned.t());
  near(linear(x.select(1, 2).select(0, 1), w, b), z.select(1, 2).select(0, 1));
}

TEST_P(MatmulOnDevice, NanPassesThroughEveryActivation) {
  const float nan = std::nanf("");
  const Tensor x = on_device(Tensor::from({{nan, 1}, {1, 1}})),
               w = on_device(Tensor::from({{1, 0}, {1, 1}, {0, 1}}));
  for (const Activation activation : {Activation::none, Activation::relu, Activation::sigmoid,
                                      Activation::tanh, Activation::gelu, Activation::gelu_tanh}) {
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

/// All gradients of linear against those of its parts, with a preactivation or without.
TEST_P(MatmulOnDevice, GradientsOfLinearEqualThoseOfItsParts) {
  const auto fresh = [&](const Tensor& t) { return on_device(t.clone()).requires_grad_(); };
  const Tensor x0 = randn({2, 5, 33}), w0 = randn({17, 33}), b0 = randn({17}), r0 = randn({2, 5, 17});
  const Tensor weights = on_device(randn({2, 5, 17}));
  const auto parts = [](const Tensor& z, Activation activation) {
    return activation == Activation::relu      ? relu(z)
           : activation == Activation::tanh    ? tanh(z)
           : activation == Activation::gelu    ? gelu(z)
           : activation == Activation::none    ? z
           : activation == Activation::sigmoid ? sigmoid(z)
                                               : gelu(z, GeluApproximate::tanh);
  };
  for (const Activation activation : {Activation::none, Activation::relu, Activation::sigmoid,
                                      Activation::tanh, Activation::gelu, Activation::gelu_tanh})
    for (const bool residual : {false, true}) {
      SCOPED_TRACE(std::string(name_of(activation)) + (residual ? " residual" : ""));
      const Tensor one[] = {fresh(x0), fresh(w0), fresh(b0), fresh(r0)};
      const Tensor two[] = {fresh(x0), fresh(w0), fresh(b0), fresh(r0)};
      const Tensor y = linear(one[0], one[1], one[2], activation, residual ? one[3] : Tensor());
      Tensor expected = parts(matmul(two[0], two[1].t()) + two[2], activation);
      if (residual) expected = expected + two[3];
      sum(y * weights).backward();
      sum(expected * weights).backward();
      for (int i = 0; i < (residual ? 4 : 3); ++i) {
        const std::vector<float> g = one[i].grad().to_vector<float>(), e = two[i].grad().to_vector<float>();
        ASSERT_EQ(g.size(), e.size());
        for (std::size_t j = 0; j < g.size(); ++j)
          ASSERT_NEAR(g[j], e[j], 2e-4) << "input " << i << " at " << j;
      }
    }
}

TEST_P(MatmulOnDevice, TheResidualAloneMayNeedAGradient) {
  const Tensor x = on_device(randn({3, 4})), w = on_device(randn({2, 4}));
  const Tensor r = on_device(zeros({3, 2})).requires_grad_();
  const Tensor y = linear(x, w, {}, Activation::gelu, r), dy = on_device(randn({3, 2}));
  y.backward(dy);
  EXPECT_EQ(r.grad().to_vector<float>(), dy.to_vector<float>());
}

TEST_P(MatmulOnDevice, GradientsOfEmptyBatches) {
  const Tensor x = on_device(empty({0, 3})).requires_grad_(), w = on_device(ones({2, 3})).requires_grad_();
  const Tensor b = on_device(ones({2})).requires_grad_();
  const Tensor y = linear(x, w, b, Activation::tanh);
  y.backward(ones_like(y));
  EXPECT_EQ(x.grad().shape(), Shape({0, 3}));
  EXPECT_THAT(w.grad().to_vector<float>(), ::testing::Each(0));
  EXPECT_THAT(b.grad().to_vector<float>(), ::testing::Each(0));
  const Tensor r = on_device(empty({0, 2})).requires_grad_();
  const Tensor z = linear(x, w, b, Activation::gelu, r);
  z.backward(ones_like(z));
  EXPECT_EQ(r.grad().shape(), Shape({0, 2}));
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

TEST(Linear, RejectsABadResidual) {
  const Tensor x = zeros({2, 3, 4}), w = zeros({5, 4});
  const auto with = [&](const Tensor& residual) { return linear(x, w, {}, Activation::none, residual); };
  EXPECT_THAT(
      [&] { with(zeros({2, 3, 4})); },
      ThrowsMessage<InvalidArgument>(HasSubstr("[linear] expected residual [2, 3, 5], got [2, 3, 4]")));
  EXPECT_THAT([&] { with(zeros({5})); }, ThrowsMessage<InvalidArgument>(HasSubstr("got [5]")))
      << "it does not broadcast";
  EXPECT_THAT([&] { with(zeros({6, 5})); }, ThrowsMessage<InvalidArgument>(HasSubstr("got [6, 5]")));
  EXPECT_THAT([&] { with(zeros({2, 3, 5}, {.dtype = DType::bf16})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("residual")));
  if (cuda_device_count() > 0) {
    EXPECT_THAT([&] { with(zeros({2, 3, 5}, {.device = Device::cuda(0)})); },
                ThrowsMessage<InvalidArgument>(HasSubstr("residual")));
  }
}

TEST(Linear, OverwritingTheResultIsAnErrorInBackward) {
  const Tensor x = randn({2, 3}), w = randn({4, 3}, {.requires_grad = true});
  const Tensor y = linear(x, w, {}, Activation::relu);
  {
    NoGrad off;
    y.zero_();
  }
  EXPECT_THAT([&] { y.backward(ones({2, 4})); }, ThrowsMessage<InvalidArgument>(HasSubstr("linear")));
  // With a preactivation kept instead, the result is the caller's.
  const Tensor z = linear(x, w, {}, Activation::gelu);
  {
    NoGrad off;
    z.zero_();
  }
  EXPECT_NO_THROW(z.backward(ones({2, 4})));
}

TEST(Linear, NamesOfActivations) {
  EXPECT_STREQ(name_of(Activation::none), "none");
  EXPECT_STREQ(name_of(Activation::relu), "relu");
  EXPECT_STREQ(name_of(Activation::sigmoid), "sigmoid");
  EXPECT_STREQ(name_of(Activation::tanh), "tanh");
  EXPECT_STREQ(name_of(Activation::gelu), "gelu");
  EXPECT_STREQ(name_of(Activation::gelu_tanh), "gelu_tanh");
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

TEST(MatmulSplit, PiecesDependOnSizesAndCoverK) {
  const auto split = [](std::int64_t M, std::int64_t N, std::int64_t K, std::int64_t batch = 1) {
    MatmulProblem p{};
    p.M = M, p.N = N, p.K = K, p.batch = batch;
    return split_k(p);
  };
  EXPECT_EQ(split(16, 4096, 4096).count, 4) << "64 tiles: four pieces fill 132 multiprocessors twice";
  EXPECT_EQ(split(64 * 66, 64, 4096).count, 4);
  EXPECT_EQ(split(64 * 66 + 1, 64, 4096).count, 1) << "half of the multiprocessors have a tile";
  EXPECT_EQ(split(1, 1, 4096, 67).count, 1) << "matrices of a batch count";
  EXPECT_EQ(split(1, 1, 1023).count, 1);
  EXPECT_EQ(split(1, 1, 1024).count, 4);
  EXPECT_EQ(split(1, 1, 1 << 20).count, 32);
  EXPECT_EQ(split(1, 1, 0).count, 1);
  for (const std::int64_t K : {1024, 1025, 1055, 2047, 5000, 16384, 65537}) {
    const SplitK s = split(3, 70, K);
    EXPECT_EQ(s.k % 32, 0) << K;
    EXPECT_GE(s.k * s.count, K);
    EXPECT_LT(s.k * (s.count - 1), K) << "the last piece has something to do";
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

constexpr Activation kSmooth[] = {Activation::none, Activation::sigmoid, Activation::tanh, Activation::gelu,
                                  Activation::gelu_tanh};

TEST(LinearGradient, FirstDerivatives) {
  for (const Activation activation : kSmooth) {
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
  for (const Activation activation : kSmooth)
    EXPECT_TRUE(
        gradgradcheck([=](const Inputs& in) { return linear(in[0], in[1], in[2], activation); }, kLinear))
        << name_of(activation);
  EXPECT_TRUE(gradgradcheck([](const Inputs& in) { return linear(in[0], in[1], in[2], Activation::relu); },
                            kAwayFromKink));
}

TEST(LinearGradient, OfResiduals) {
  const auto with = [](Activation activation) {
    return [=](const Inputs& in) { return linear(in[0], in[1], in[2], activation, in[3]); };
  };
  std::vector<GradInput> inputs = kLinear, away = kAwayFromKink;
  inputs.push_back({{3, 5}, kValues});
  away.push_back({{3, 4}, kValues});
  for (const Activation activation : kSmooth) {
    EXPECT_TRUE(gradcheck(with(activation), inputs)) << name_of(activation);
    EXPECT_TRUE(gradgradcheck(with(activation), inputs)) << name_of(activation);
  }
  EXPECT_TRUE(gradcheck(with(Activation::relu), away));
  EXPECT_TRUE(gradgradcheck(with(Activation::relu), away));
  // The same tensor as input and residual, as in a residual block.
  const auto block = [](const Inputs& in) { return linear(in[0], in[1], in[2], Activation::gelu, in[0]); };
  const std::vector<GradInput> square = {{{2, 3, 4}, kValues}, {{4, 4}, kValues}, {{4}, kValues}};
  EXPECT_TRUE(gradcheck(block, square));
  EXPECT_TRUE(gradgradcheck(block, square));
}

}  // namespace
}  // namespace gpunn
