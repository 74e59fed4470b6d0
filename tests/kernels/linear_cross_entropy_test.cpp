#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/cross_entropy/cross_entropy.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/linear_cross_entropy/linear_cross_entropy_tiles_impl.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/random/random.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_linear_cross_entropy_cases(Suite& suite);
}

namespace {

using detail::loss_tiling;
using detail::LossTiling;
using ::testing::Each;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Labels = std::vector<std::int64_t>;

TEST(LinearCrossEntropyParityRace, Cpu) {
  parity::expect_parity_on_cpu(parity::add_linear_cross_entropy_cases);
}
#if GPUNN_HAS_CUDA
TEST(LinearCrossEntropyParityRace, Cuda) {
  parity::expect_parity_on_cuda(parity::add_linear_cross_entropy_cases);
}
#endif

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Values that differ from each other, in [-1, 1].
std::vector<float> spread(std::int64_t count, int seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  unsigned state = static_cast<unsigned>(seed) * 2654435761u + 12345u;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = static_cast<float>(state >> 8) * 0x1p-23f - 1.0f;
  }
  return values;
}

/// One problem on a device, its leaves anew for each way to solve it.
struct Setting {
  Device device;
  DType dtype = DType::f32;
  std::int64_t N = 11, E = 7, V = 19;
  bool bias = false;
  Labels target{3, 18, 0, -100, 7, 7, 16, -100, 1, 12, 5};

  Tensor leaf(std::int64_t rows, std::int64_t cols, int seed) const {
    const Shape shape = rows > 0 ? Shape{rows, cols} : Shape{cols};
    Tensor t = Tensor::from(spread(shape.numel(), seed), shape, {.device = device}).to(dtype);
    t.requires_grad_();
    return t;
  }
  Tensor labels() const {
    return Tensor::from(target, {static_cast<std::int64_t>(target.size())},
                        {.dtype = DType::i64, .device = device});
  }
};

/// The loss (summed after weighing its elements unequally) and gradients of x, w and bias.
struct Outcome {
  std::vector<float> loss, dx, dw, db;
};

std::vector<float> floats(const Tensor& t) {
  return t.defined() ? t.to(DType::f32).to_vector<float>() : std::vector<float>{};
}

Outcome outcome_of(const Tensor& loss, const Tensor& x, const Tensor& w, const Tensor& b) {
  const Tensor weights = Tensor::from(spread(loss.numel(), 9), loss.shape(), {.device = loss.device()});
  sum(loss * (weights + 0.3)).backward();
  return {floats(loss), floats(x.grad()), floats(w.grad()), b.defined() ? floats(b.grad()) : floats(b)};
}

Outcome plain(const Setting& s, const LinearCrossEntropyOptions& o) {
  const Tensor x = s.leaf(s.N, s.E, 1), w = s.leaf(s.V, s.E, 2), b = s.bias ? s.leaf(0, s.V, 3) : Tensor();
  return outcome_of(
      cross_entropy(
          linear(x, w, b), s.labels(),
          {.reduction = o.reduction, .ignore_index = o.ignore_index, .label_smoothing = o.label_smoothing}),
      x, w, b);
}

Outcome fused(const Setting& s, LinearCrossEntropyOptions o, const LossTiling* tiling) {
  const Tensor x = s.leaf(s.N, s.E, 1), w = s.leaf(s.V, s.E, 2), b = s.bias ? s.leaf(0, s.V, 3) : Tensor();
  o.bias = b;
  return outcome_of(detail::linear_cross_entropy(x, w, s.labels(), o, tiling), x, w, b);
}

void expect_near(const std::vector<float>& got, const std::vector<float>& want, float bound,
                 const char* what) {
  ASSERT_EQ(got.size(), want.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(want[i]) || std::isinf(want[i])) {
      EXPECT_TRUE(got[i] == want[i] || (std::isnan(got[i]) && std::isnan(want[i])))
          << what << " " << i << ": " << got[i] << " instead of " << want[i];
    } else {
      EXPECT_TRUE(std::fabs(got[i] - want[i]) <= bound * (1 + std::fabs(want[i])))
          << what << " " << i << ": " << got[i] << " instead of " << want[i];
    }
  }
}

void expect_same(const Outcome& got, const Outcome& want, float bound) {
  expect_near(got.loss, want.loss, bound, "loss");
  expect_near(got.dx, want.dx, bound, "dx");
  expect_near(got.dw, want.dw, bound, "dw");
  expect_near(got.db, want.db, bound, "db");
}

class LinearCrossEntropy : public testing::DeviceTest {
 protected:
  Setting setting() const { return {.device = device()}; }
};
GPUNN_ON_EVERY_DEVICE(LinearCrossEntropy);

TEST_P(LinearCrossEntropy, IsTheLossOfStoredLogitsHoweverTheyAreCut) {
  constexpr LossTiling kTilings[] = {
      {4, 19, true}, {11, 19, true}, {4, 19, false}, {3, 5, false}, {11, 18, false}};
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
    for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum})
      for (const bool more : {false, true}) {
        if (dtype != DType::f32 && more != (reduction == Reduction::mean)) continue;
        Setting s = setting();
        s.dtype = dtype, s.bias = more;
        const LinearCrossEntropyOptions o{.reduction = reduction, .label_smoothing = more ? 0.2 : 0};
        const Outcome want = plain(s, o);
        // Half types: a gradient of several tiles is rounded after each.
        const float bound = dtype == DType::f32 ? 3e-6f : dtype == DType::f16 ? 3e-3f : 2.5e-2f;
        for (const LossTiling& tiling : kTilings) {
          if (tiling.early && reduction == Reduction::none) continue;
          SCOPED_TRACE(std::string(name_of(dtype)) + " " + name_of(reduction) + (more ? " more" : "") + " " +
                       std::to_string(tiling.rows) + "x" + std::to_string(tiling.cols) +
                       (tiling.early ? " early" : ""));
          expect_same(fused(s, o, &tiling), want, bound);
        }
      }
}

TEST_P(LinearCrossEntropy, SizesAboutATile) {
  for (const std::int64_t V : {1, 4, 5, 6, 33})
    for (const std::int64_t N : {1, 3, 4}) {
      Setting s = setting();
      s.N = N, s.V = V, s.E = V == 33 ? 1 : 5;
      s.target.assign(static_cast<std::size_t>(N), V - 1);
      const LossTiling tiling{3, 5, false};
      SCOPED_TRACE(std::to_string(N) + "x" + std::to_string(V));
      expect_same(fused(s, {}, &tiling), plain(s, {}), 3e-6f);
      expect_same(fused(s, {}, nullptr), plain(s, {}), 3e-6f);
    }
}

TEST_P(LinearCrossEntropy, KeepsTheShapeOfTheTarget) {
  const Setting s{.device = device(), .N = 6};
  const Tensor x = s.leaf(6, 7, 1), w = s.leaf(19, 7, 2);
  const Tensor t = Tensor::from(Labels{1, 2, 3, 4, 5, 6}, {2, 3}, {.dtype = DType::i64, .device = device()});
  const LinearCrossEntropyOptions each{.reduction = Reduction::none};
  const Tensor loss = linear_cross_entropy(x.reshape({2, 3, 7}), w, t, each);
  EXPECT_EQ(loss.shape(), (Shape{2, 3}));
  EXPECT_EQ(loss.dtype(), DType::f32);
  sum(loss * loss).backward();
  const Tensor x2 = s.leaf(6, 7, 1), w2 = s.leaf(19, 7, 2);
  const Tensor flat = cross_entropy(linear(x2, w2), t.reshape({6}), {.reduction = Reduction::none});
  sum(flat * flat).backward();
  expect_near(floats(loss), floats(flat), 3e-6f, "loss");
  expect_near(floats(x.grad()), floats(x2.grad()), 3e-6f, "dx");
  expect_near(floats(w.grad()), floats(w2.grad()), 3e-6f, "dw");
  const Tensor one = linear_cross_entropy(x.select(0, 0), w, t.select(0, 0).select(0, 0), each);
  EXPECT_EQ(one.shape(), Shape{});
  EXPECT_NEAR(one.item(), loss.to_vector<float>()[0], 1e-6);
}

TEST_P(LinearCrossEntropy, TakesStridedOperands) {
  const Setting s = setting();
  const Tensor xt = s.leaf(7, 11, 1), wt = s.leaf(7, 19, 2);
  const Tensor loss = linear_cross_entropy(xt.t(), wt.t(), s.labels());
  loss.backward();
  const Tensor xt2 = s.leaf(7, 11, 1), wt2 = s.leaf(7, 19, 2);
  const Tensor want = cross_entropy(linear(xt2.t(), wt2.t()), s.labels());
  want.backward();
  EXPECT_NEAR(loss.item(), want.item(), 1e-6);
  expect_near(floats(xt.grad()), floats(xt2.grad()), 3e-6f, "dx");
  expect_near(floats(wt.grad()), floats(wt2.grad()), 3e-6f, "dw");
}

TEST_P(LinearCrossEntropy, IgnoredRowsCountForNothing) {
  Setting s = setting();
  s.target.assign(11, -100);
  for (const LossTiling& tiling : {LossTiling{4, 19, true}, LossTiling{4, 7, false}}) {
    const Outcome all = fused(s, {}, &tiling);
    EXPECT_TRUE(std::isnan(all.loss[0]));
    EXPECT_THAT(all.dx, Each(0.0f));
    EXPECT_THAT(all.dw, Each(0.0f));
    EXPECT_EQ(fused(s, {.reduction = Reduction::sum}, &tiling).loss[0], 0);
  }
  s.target.assign(11, 4);
  s.target[5] = 2;
  const LinearCrossEntropyOptions o{.ignore_index = 4, .label_smoothing = 1};
  expect_same(fused(s, o, nullptr), plain(s, o), 3e-6f);
}

TEST_P(LinearCrossEntropy, NoRows) {
  Setting s = setting();
  s.N = 0;
  s.target.clear();
  const Tensor x = zeros({0, 7}, {.device = device()}), w = s.leaf(19, 7, 2), b = s.leaf(0, 19, 3);
  const Tensor mean = linear_cross_entropy(x, w, s.labels(), {.bias = b});
  EXPECT_TRUE(std::isnan(mean.item()));
  mean.backward();
  EXPECT_THAT(floats(w.grad()), Each(0.0f));
  EXPECT_THAT(floats(b.grad()), Each(0.0f));
  EXPECT_EQ(linear_cross_entropy(x, w, s.labels(), {.reduction = Reduction::sum}).item(), 0);
  const Tensor none = linear_cross_entropy(x, w, s.labels(), {.reduction = Reduction::none});
  EXPECT_EQ(none.shape(), Shape{0});
  sum(none).backward();
}

TEST_P(LinearCrossEntropy, SpecialLogits) {
  // Bias makes whole columns -inf, x makes rows NaN or huge.
  std::vector<float> bias = spread(19, 3), rows = spread(11 * 7, 1);
  bias[3] = bias[12] = -kInfinity;
  rows[7] = kNan;
  for (int e = 0; e < 7; ++e) rows[static_cast<std::size_t>(14 + e)] *= 1e4f;
  const Setting s = setting();
  const auto run = [&](bool whole, const LossTiling* tiling) {
    const Tensor x = Tensor::from(rows, {11, 7}, {.device = device()});
    const Tensor w = s.leaf(19, 7, 2).detach(), b = Tensor::from(bias, {19}, {.device = device()});
    if (whole) return floats(cross_entropy(linear(x, w, b), s.labels(), {.reduction = Reduction::none}));
    return floats(
        detail::linear_cross_entropy(x, w, s.labels(), {.bias = b, .reduction = Reduction::none}, tiling));
  };
  const std::vector<float> want = run(true, nullptr);
  EXPECT_EQ(want[0], kInfinity);
  EXPECT_TRUE(std::isnan(want[1]));
  for (const LossTiling& tiling :
       {LossTiling{4, 19, false}, LossTiling{3, 4, false}, LossTiling{11, 3, false}})
    expect_near(run(false, &tiling), want, 3e-6f, "loss");
}

TEST_P(LinearCrossEntropy, GoesBackTwiceThroughTheSameGraph) {
  for (const LossTiling& tiling : {LossTiling{4, 19, true}, LossTiling{4, 7, false}}) {
    const Setting s = setting();
    const Tensor x = s.leaf(11, 7, 1), w = s.leaf(19, 7, 2);
    const Tensor loss = detail::linear_cross_entropy(x, w, s.labels(), {}, &tiling);
    const std::vector<Tensor> outputs{loss * 0.5}, inputs{x, w};
    const auto first = autograd::grad(outputs, inputs, {}, true);
    const std::vector<float> dx = floats(first[0]), dw = floats(first[1]);
    const auto again = autograd::grad(outputs, inputs, {}, true);
    expect_near(floats(again[0]), dx, 1e-6f, "dx");
    expect_near(floats(again[1]), dw, 1e-6f, "dw");
    EXPECT_EQ(floats(first[1]), dw) << "what was handed out is nobody else's";
    const std::vector<Tensor> weight{w};
    expect_near(floats(autograd::grad(outputs, weight)[0]), dw, 1e-6f, "dw alone");
  }
}

TEST_P(LinearCrossEntropy, LossScalesReachSmallGradients) {
  // Probabilities of 1e-7, below what f16 holds; the scale lifts their gradients.
  Setting s = setting();
  s.dtype = DType::f16, s.N = 2, s.E = 1, s.V = 3, s.target = {0, 0};
  const auto gradient = [&](bool whole) {
    const Tensor x = ones({2, 1}, {.dtype = DType::f16, .device = device()}).requires_grad_();
    const Tensor w = Tensor::from(std::vector<float>{8, -8, -8}, {3, 1}, {.device = device()}).to(DType::f16);
    w.requires_grad_();
    const Tensor loss =
        whole ? cross_entropy(linear(x, w), s.labels()) : linear_cross_entropy(x, w, s.labels());
    (loss * 32768.0).backward();
    return floats(w.grad());
  };
  const std::vector<float> got = gradient(false);
  expect_near(got, gradient(true), 2e-3f, "dw");
  EXPECT_NEAR(got[1], 32768 * std::exp(-16.0), 1e-5);
}

TEST_P(LinearCrossEntropy, MakesOnlyTheGradientsAskedFor) {
  for (const LossTiling& tiling : {LossTiling{4, 19, true}, LossTiling{4, 7, false}}) {
    const Setting s = setting();
    const Tensor x = s.leaf(11, 7, 1), w = s.leaf(19, 7, 2).detach(), b = s.leaf(0, 19, 3).detach();
    detail::linear_cross_entropy(x, w, s.labels(), {.bias = b}, &tiling).backward();
    EXPECT_TRUE(x.grad().defined());
    const Tensor x2 = s.leaf(11, 7, 1), b2 = s.leaf(0, 19, 3);
    detail::linear_cross_entropy(x2.detach(), w, s.labels(), {.bias = b2}, &tiling).backward();
    const Tensor x3 = s.leaf(11, 7, 1), b3 = s.leaf(0, 19, 3);
    cross_entropy(linear(x3, w, b3), s.labels()).backward();
    expect_near(floats(x.grad()), floats(x3.grad()), 3e-6f, "dx");
    expect_near(floats(b2.grad()), floats(b3.grad()), 3e-6f, "db");
  }
}

TEST_P(LinearCrossEntropy, RefusesOverwrittenOperands) {
  const Setting s = setting();
  const Tensor x = s.leaf(11, 7, 1), w = s.leaf(19, 7, 2);
  const Tensor loss = linear_cross_entropy(x, w, s.labels());
  {
    const NoGrad off;
    w.fill_(1);
  }
  EXPECT_THROW(loss.backward(), InvalidArgument);
}

TEST_P(LinearCrossEntropy, RejectsBadArguments) {
  const Setting s = setting();
  const Tensor x = s.leaf(11, 7, 1), w = s.leaf(19, 7, 2), t = s.labels();
  const auto says = [](const char* what) { return ThrowsMessage<InvalidArgument>(HasSubstr(what)); };
  EXPECT_THAT([&] { linear_cross_entropy(Tensor(), w, t); }, says("[linear_cross_entropy]"));
  EXPECT_THAT([&] { linear_cross_entropy(x, Tensor(), t); }, says("weight"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w, Tensor()); }, says("expected target"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w.reshape({7, 19}), t); }, says("expected input [*, 19]"));
  EXPECT_THAT([&] { linear_cross_entropy(x, x.reshape({77}), t); }, says("expected weight [V, E]"));
  EXPECT_THAT([&] { linear_cross_entropy(x, zeros({0, 7}, {.device = device()}), t); }, says("V >= 1"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w.to(DType::f16), t); }, says("f16"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w, t.to(DType::i32)); }, says("target of i64"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w, t.narrow(0, 0, 10)); },
              says("expected target [11], got [10]"));
  EXPECT_THAT([&] { linear_cross_entropy(x, w, t, {.bias = w.select(0, 0)}); }, says("expected bias [19]"));
  for (const double smoothing : {-0.1, 1.1, static_cast<double>(kNan)})
    EXPECT_THAT([&] { linear_cross_entropy(x, w, t, {.label_smoothing = smoothing}); },
                says("label_smoothing"));
  Setting bad = s;
  bad.target[4] = 19;
  EXPECT_THAT([&] { linear_cross_entropy(x, w, bad.labels()); },
              says("expected labels in [0, 19) or ignore_index -100, got 19 in row 4"));
  if (device().is_cpu()) return;
  EXPECT_THAT([&] { linear_cross_entropy(x, w, t.to(Device::parse("cpu"))); }, says("target on"));
  const auto loss = floats(
      linear_cross_entropy(x, w, bad.labels(), {.reduction = Reduction::none, .check_targets = false}));
  EXPECT_TRUE(std::isnan(loss[4]));
  EXPECT_FALSE(std::isnan(loss[0]));
}

TEST(LinearCrossEntropyGrad, FirstAndSecondDerivatives) {
  const std::vector<GradInput> inputs{
      {{5, 3}, fill::normal(0, 1)}, {{7, 3}, fill::normal(0, 1)}, {{7}, fill::normal(0, 1)}};
  const Tensor t = Tensor::from(Labels{2, -100, 6, 0, 2}, {5}, {.dtype = DType::i64});
  for (const LossTiling& tiling : {LossTiling{2, 7, true}, LossTiling{2, 3, false}})
    for (const Reduction reduction : {Reduction::none, Reduction::mean, Reduction::sum}) {
      if (tiling.early && reduction == Reduction::none) continue;
      const auto f = [&](const Inputs& in) {
        return detail::linear_cross_entropy(
            in[0], in[1], t,
            {.bias = in[2], .reduction = reduction, .label_smoothing = reduction == Reduction::sum ? 0 : 0.2},
            &tiling);
      };
      EXPECT_TRUE(gradcheck(f, inputs)) << name_of(reduction);
      // Second derivatives are composed, whatever the tiles.
      if (tiling.early) continue;
      EXPECT_TRUE(gradgradcheck(f, inputs)) << name_of(reduction);
    }
}

TEST(LinearCrossEntropyTiling, StaysWithinItsBounds) {
  constexpr std::int64_t kBytes = std::int64_t{64} << 20;
  for (const std::int64_t N : {0, 1, 7, 1000, 8192, 32768, 1 << 20})
    for (const std::int64_t V : {1, 10, 8192, 50257, 128256, 256000, 1 << 25})
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
        for (const bool gpu : {false, true})
          for (const bool reduced : {false, true}) {
            const LossTiling t = loss_tiling(N, V, dtype, gpu, reduced);
            SCOPED_TRACE(std::to_string(N) + "x" + std::to_string(V));
            EXPECT_GE(t.rows, 1);
            EXPECT_LE(t.rows, std::max<std::int64_t>(N, 1));
            EXPECT_GE(t.cols, 1);
            EXPECT_LE(t.cols, V);
            EXPECT_TRUE(!t.early || (reduced && t.cols == V));
            const std::int64_t ld = (t.cols + 15) / 16 * 16;
            EXPECT_LE(t.rows * ld * static_cast<std::int64_t>(size_of(dtype)), kBytes);
          }
  // GPT-2's sizes on a GPU: whole rows while a half gradient is rounded 8 times at most.
  EXPECT_TRUE(loss_tiling(4096, 50304, DType::bf16, true, true).early);
  EXPECT_FALSE(loss_tiling(16384, 50304, DType::bf16, true, true).early);
  EXPECT_FALSE(loss_tiling(8192, 128256, DType::bf16, true, true).early);
  EXPECT_FALSE(loss_tiling(4096, 50304, DType::bf16, true, false).early);
  EXPECT_FALSE(loss_tiling(4096, 50304, DType::f16, true, true).early);
}

/// Most bytes of one pass forward and backward beside what was there before.
template <class F>
std::size_t peak_of(Device device, F loss) {
  const Tensor probe = zeros({1}, {.device = device});
  MemoryResource& memory = probe.context().memory();
  memory.reset_peaks();
  const std::size_t before = memory.stats().live_bytes;
  loss().backward();
  return memory.stats().peak_live_bytes - before;
}

TEST_P(LinearCrossEntropy, PeakIsATile) {
  Setting s = setting();
  s.N = 128, s.E = 4, s.V = 1024, s.target.assign(128, 5);
  constexpr std::size_t kLogits = 128 * 1024 * 4;
  const Tensor t = s.labels();
  for (const LossTiling& tiling : {LossTiling{16, 1024, true}, LossTiling{32, 256, false}}) {
    const Tensor x = s.leaf(s.N, s.E, 1), w = s.leaf(s.V, s.E, 2);
    EXPECT_LT(peak_of(device(), [&] { return detail::linear_cross_entropy(x, w, t, {}, &tiling); }),
              kLogits / 2)
        << tiling.rows;
  }
  const Tensor x = s.leaf(s.N, s.E, 1), w = s.leaf(s.V, s.E, 2);
  EXPECT_GE(peak_of(device(), [&] { return cross_entropy(linear(x, w), t); }), 2 * kLogits);
}

TEST(LinearCrossEntropyMemory, NeverHoldsTheLogits) {
  constexpr std::int64_t N = 1024, V = 8192, E = 4;
  constexpr std::size_t kLogits = N * V * 4, kGradients = (N + V) * E * 4;
  const Device device = Device::parse("cpu");
  const Setting s{.device = device, .N = N, .E = E, .V = V, .target = Labels(N, 5)};
  const Tensor t = s.labels();
  const auto run = [&](auto f) {
    const Tensor x = s.leaf(N, E, 1), w = s.leaf(V, E, 2);
    return peak_of(device, [&] { return f(x, w); });
  };
  const std::size_t early =
      run([&](const Tensor& x, const Tensor& w) { return linear_cross_entropy(x, w, t); });
  const std::size_t late = run([&](const Tensor& x, const Tensor& w) {
    return sum(linear_cross_entropy(x, w, t, {.reduction = Reduction::none}));
  });
  const std::size_t stored =
      run([&](const Tensor& x, const Tensor& w) { return cross_entropy(linear(x, w), t); });
  // A tile of 512 rows or of 4 MiB, the statistics and a product's workspace of at most 4 MiB.
  EXPECT_LT(early, kLogits / 2 + kGradients + (std::size_t{5} << 20));
  EXPECT_LT(late, kGradients + (std::size_t{9} << 20));
  EXPECT_GE(stored, 2 * kLogits) << "the logits and their gradient";
  RecordProperty("early KiB", static_cast<int>(early >> 10));
  RecordProperty("late KiB", static_cast<int>(late >> 10));
}

}  // namespace
}  // namespace gpunn
