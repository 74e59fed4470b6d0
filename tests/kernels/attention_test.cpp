// Attention against what it must be: its definition, masks that say the same, the same numbers another way.
#include "gpunn/kernels/attention/attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/philox.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/compare.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/attention_options.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/parity.h"

namespace gpunn {

namespace parity {
void add_attention_cases(Suite& suite);
}

namespace {

using testing::attention_settings;
using testing::AttentionSetting;
using testing::bool_tensor;
using testing::i64_tensor;

constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(AttentionParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_attention_cases); }
#if GPUNN_HAS_CUDA
TEST(AttentionParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_attention_cases); }
#endif

void expect_close(const Tensor& got, const Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.shape(), expected.shape()) << what;
  const auto a = got.to(DType::f64).to_vector<double>(), b = expected.to(DType::f64).to_vector<double>();
  double most = 0;
  for (const double v : b)
    if (std::isfinite(v)) most = std::max(most, std::abs(v));
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isinf(b[i])) {
      EXPECT_EQ(a[i], b[i]) << what << " " << i;
    } else {
      ASSERT_LE(std::abs(a[i] - b[i]), tolerance * most) << what << " " << i;
    }
  }
}

class Attention : public testing::DeviceTest {
 protected:
  Tensor random(const Shape& shape, bool requires_grad = true) const {
    Tensor t = randn(shape).to(device());
    return requires_grad ? t.detach().requires_grad_() : t;
  }
  Tensor filled(const std::vector<float>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.device = device()});
  }
};
GPUNN_ON_EVERY_DEVICE(Attention);

using Values = std::vector<Tensor>;

/// y of f and the gradients of the inputs under a gradient that is not constant.
Values with_gradients(const std::function<Tensor()>& f, const Values& inputs) {
  manual_seed(11);
  const Tensor y = f();
  std::vector<float> dy;
  for (std::int64_t i = 0; i < y.numel(); ++i)
    dy.push_back(static_cast<float>(std::cos(0.3 * static_cast<double>(i))));
  const Tensor g = Tensor::from(dy, y.shape(), {.device = y.device()}).to(y.dtype());
  Values all{y};
  for (const Tensor& d : autograd::grad({{y}}, inputs, {{g}})) all.push_back(d);
  return all;
}

void expect_same(const Values& got, const Values& expected, double tolerance, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i)
    expect_close(got[i], expected[i], tolerance,
                 what + (i == 0 ? " y" : " gradient " + std::to_string(i - 1)));
}

/// Q = K = I, V = [[10, 20], [30, 40]], d = 2: the weights are those of the scores 1 / sqrt(2) and 0.
TEST_P(Attention, ClosedForm) {
  const Tensor q = filled({1, 0, 0, 1}, {1, 2, 2}), v = filled({10, 20, 30, 40}, {1, 2, 2});
  const AttentionOutput out = attention(q, q, v, {}, true);
  const double far = 1 / (1 + std::exp(1 / std::sqrt(2.0))), near = 1 - far;
  const double y[] = {10 * near + 30 * far, 20 * near + 40 * far, 10 * far + 30 * near, 20 * far + 40 * near};
  const double weights[] = {near, far, far, near};
  const auto got = scaled_dot_product_attention(q, q, v).to_vector<float>(),
             composed = out.y.to_vector<float>();
  const auto got_weights = out.weights.to_vector<float>();
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_NEAR(static_cast<double>(got[i]), y[i], 1e-6 * y[i]) << i;
    EXPECT_NEAR(static_cast<double>(composed[i]), y[i], 1e-6 * y[i]) << i;
    EXPECT_NEAR(static_cast<double>(got_weights[i]), weights[i], 1e-6) << i;
  }
}

TEST_P(Attention, IsItsDefinition) {
  for (const AttentionSetting& s : attention_settings(device())) {
    const Tensor q = random(s.q()), k = random(s.k()), v = random(s.v());
    const auto run = [&](bool weights) {
      return with_gradients([&] { return attention(q, k, v, s.options, weights).y; }, {q, k, v});
    };
    expect_same(run(false), run(true), 5e-6, s.name);
    const NoGrad off;
    manual_seed(5);
    const AttentionOutput fused = attention(q, k, v, s.options);
    manual_seed(5);
    const AttentionOutput composed = attention(q, k, v, s.options, true);
    expect_close(fused.lse, composed.lse, 2e-6, s.name + " lse");
    EXPECT_FALSE(fused.weights.defined());
    for (const float w : sum(composed.weights, {-1}).to_vector<float>())
      EXPECT_TRUE(w == 0.0F || std::abs(w - 1) < 1e-5F) << s.name << " " << w;
  }
}

TEST_P(Attention, HalvesAreNear) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    for (const AttentionSetting& s : attention_settings(device(), dtype)) {
      if (dtype == DType::bf16 && s.name != "plain" && s.name != "additive mask" && s.name != "all") continue;
      const auto half = [&](const Shape& shape) { return random(shape, false).to(dtype).requires_grad_(); };
      const Tensor q = half(s.q()), k = half(s.k()), v = half(s.v());
      const auto run = [&](bool weights) {
        return with_gradients([&] { return attention(q, k, v, s.options, weights).y; }, {q, k, v});
      };
      expect_same(run(false), run(true), dtype == DType::f16 ? 0x1p-8 : 0x1p-5, s.name);
    }
  }
}

/// True where allowed(i, j).
Tensor mask_of(std::int64_t Tq, std::int64_t Tk, Device device,
               const std::function<bool(std::int64_t, std::int64_t)>& allowed) {
  std::vector<std::uint8_t> seen;
  for (std::int64_t i = 0; i < Tq; ++i)
    for (std::int64_t j = 0; j < Tk; ++j) seen.push_back(allowed(i, j));
  return bool_tensor(seen, {Tq, Tk}, device);
}

TEST_P(Attention, OptionsSayWhatMasksSay) {
  const std::int64_t Tq = 9, Tk = 12;
  const Tensor q = random({1, 2, Tq, 8}), k = random({1, 2, Tk, 8}), v = random({1, 2, Tk, 8});
  const auto compare = [&](const AttentionOptions& a,
                           const std::function<bool(std::int64_t, std::int64_t)>& allowed,
                           const std::string& what) {
    const AttentionOptions b{.mask = mask_of(Tq, Tk, device(), allowed)};
    const auto run = [&](const AttentionOptions& o) {
      return with_gradients([&] { return scaled_dot_product_attention(q, k, v, o); }, {q, k, v});
    };
    expect_same(run(a), run(b), 3e-6, what);
  };
  constexpr AttentionAlign end = AttentionAlign::end;
  compare({.causal = true}, [](auto i, auto j) { return j <= i; }, "causal");
  compare({.causal = true, .align = end}, [](auto i, auto j) { return j <= i + 3; }, "causal, end");
  compare({.window = 3}, [](auto i, auto j) { return std::abs(i - j) < 3; }, "window");
  compare({.align = end, .window = 3}, [](auto i, auto j) { return std::abs(i + 3 - j) < 3; }, "window, end");
  compare({.causal = true, .window = 4}, [](auto i, auto j) { return j <= i && j > i - 4; }, "causal window");
  compare({.window = std::numeric_limits<std::int64_t>::max()}, [](auto, auto) { return true; }, "all");
  const Tensor five = i64_tensor({5}, device());
  compare({.key_lengths = five}, [](auto, auto j) { return j < 5; }, "key lengths");
  compare({.query_lengths = five}, [](auto i, auto) { return i < 5; }, "query lengths");
  compare(
      {.causal = true, .align = end, .key_lengths = five, .query_lengths = i64_tensor({7}, device())},
      [](auto i, auto j) { return i < 7 && j < 5 && j <= i - 2; }, "lengths, causal, end");
}

TEST_P(Attention, BoolMaskIsAdditiveMask) {
  const Tensor q = random({2, 2, 5, 8}), k = random({2, 2, 7, 8}), v = random({2, 2, 7, 8});
  for (const Shape& shape : {Shape{2, 1, 5, 7}, {1, 2, 1, 7}, {5, 7}, {2, 5, 1}, {7}}) {
    const Tensor seen = testing::some_seen(shape, device());
    const Tensor added = masked_fill(zeros(shape, {.device = device()}), logical_not(seen), -kInfinity);
    const auto run = [&](const Tensor& mask) {
      return with_gradients([&] { return scaled_dot_product_attention(q, k, v, {.mask = mask}); }, {q, k, v});
    };
    expect_same(run(seen), run(added), 3e-6, to_string(shape));
  }
}

/// A transposed mask, and one with gaps, are read in place.
TEST_P(Attention, StridedMasks) {
  const Tensor q = random({1, 2, 6, 8}), k = random({1, 2, 4, 8});
  const Tensor wide = random({4, 12}, false);
  const Tensor mask = wide.narrow(1, 3, 6).t();
  expect_close(scaled_dot_product_attention(q, k, k, {.mask = mask}),
               scaled_dot_product_attention(q, k, k, {.mask = mask.clone()}), 0, "transposed");
}

TEST_P(Attention, StridedOperands) {
  const std::int64_t B = 2, T = 6, H = 3, D = 8;
  const auto heads = [&](const Tensor& x) { return x.view({B, T, H, D}).transpose(1, 2); };
  const Tensor q = random({B, T, H * D}), k = random({B, T, H * D}), v = random({B, T, H * D});
  const auto run = [&](bool copy) {
    const auto f = [&] {
      const auto split = [&](const Tensor& x) { return copy ? heads(x).contiguous() : heads(x); };
      return scaled_dot_product_attention(split(q), split(k), split(v), {.causal = true});
    };
    return with_gradients(f, {q, k, v});
  };
  expect_same(run(false), run(true), 0, "heads of projections");
  const Tensor y = scaled_dot_product_attention(heads(q), heads(k), heads(v));
  EXPECT_TRUE(y.transpose(1, 2).is_contiguous());
  const Tensor split = heads(q).detach().requires_grad_();
  const Tensor dq =
      autograd::grad({{sum(scaled_dot_product_attention(split, heads(k), heads(v)))}}, {{split}})[0];
  EXPECT_TRUE(dq.transpose(1, 2).is_contiguous());
  // Numbers in the wrong order, and heads that are one and the same.
  const Tensor turned = random({B, H, D, T}).transpose(2, 3),
               shared = expand(random({B, 1, T, D}), {B, H, T, D});
  expect_close(scaled_dot_product_attention(turned, shared, shared),
               scaled_dot_product_attention(turned.clone(), shared.clone(), shared.clone()), 0,
               "other strides");
}

TEST_P(Attention, OneHeadNeedsNoDimension) {
  const Tensor q = random({2, 5, 8}), k = random({2, 7, 8}), v = random({2, 7, 4});
  const Tensor mask = testing::some_seen({2, 5, 7}, device());
  const AttentionOutput three = attention(q, k, v, {.mask = mask}, true);
  const AttentionOutput four =
      attention(q.unsqueeze(1), k.unsqueeze(1), v.unsqueeze(1), {.mask = mask.unsqueeze(1)}, true);
  EXPECT_EQ(three.y.shape(), (Shape{2, 5, 4}));
  EXPECT_EQ(three.lse.shape(), (Shape{2, 5}));
  EXPECT_EQ(three.weights.shape(), (Shape{2, 5, 7}));
  expect_close(three.y, four.y.squeeze(1), 0, "y");
  expect_close(three.lse, four.lse.squeeze(1), 0, "lse");
  expect_close(attention(q, k, v, {.mask = mask}).y, three.y, 3e-6, "fused");
}

/// Heads of a group read one key head, however the copies are written.
TEST_P(Attention, GroupsRepeatKeys) {
  const Tensor q = random({2, 6, 5, 8}), k = random({2, 2, 7, 8}), v = random({2, 2, 7, 8});
  const auto run = [&](bool repeated) {
    const auto f = [&] {
      if (!repeated) return scaled_dot_product_attention(q, k, v, {.causal = true});
      return scaled_dot_product_attention(q, repeat_interleave(k, 3, 1), repeat_interleave(v, 3, 1),
                                          {.causal = true});
    };
    return with_gradients(f, {q, k, v});
  };
  expect_same(run(false), run(true), 3e-6, "groups");
}

TEST_P(Attention, OrderOfKeysDoesNotMatter) {
  const Tensor q = random({2, 2, 5, 8}), k = random({2, 2, 37, 8}), v = random({2, 2, 37, 8});
  std::vector<std::int64_t> order;
  for (std::int64_t j = 0; j < 37; ++j) order.push_back(j * 11 % 37);
  const Tensor index = i64_tensor(order, device());
  expect_close(scaled_dot_product_attention(q, index_select(k, 2, index), index_select(v, 2, index)),
               scaled_dot_product_attention(q, k, v), 2e-6, "permuted");
}

TEST_P(Attention, RowsThatSeeNothing) {
  const Tensor q = random({1, 2, 4, 8}), k = random({1, 2, 4, 8});
  for (const bool additive : {false, true}) {
    Tensor mask = mask_of(4, 4, device(), [](auto i, auto) { return i != 2; });
    if (additive) mask = masked_fill(zeros({4, 4}, {.device = device()}), logical_not(mask), -kInfinity);
    for (const bool weights : {false, true}) {
      const AttentionOutput out = attention(q, k, k, {.mask = mask}, weights);
      for (const float y : out.y.select(2, 2).to_vector<float>()) EXPECT_EQ(y, 0);
      for (const float lse : out.lse.select(2, 2).to_vector<float>()) EXPECT_EQ(lse, -kInfinity);
      const Values d = autograd::grad({{sum(out.y * out.y)}}, {{q, k}});
      for (const float g : d[0].select(2, 2).to_vector<float>()) EXPECT_EQ(g, 0);
      for (const float g : d[1].to_vector<float>()) EXPECT_TRUE(std::isfinite(g));
    }
  }
}

/// What lies behind a length is not looked at, whatever it is.
TEST_P(Attention, NothingBehindALengthIsRead) {
  Tensor k = random({2, 2, 9, 8}, false), v = random({2, 2, 9, 8}, false);
  const Tensor q = random({2, 2, 3, 8}, false), lengths = i64_tensor({9, 4}, device());
  const Tensor expected = scaled_dot_product_attention(q, k, v, {.key_lengths = lengths});
  for (const Tensor& t : {k, v})
    t.narrow(0, 1, 1).narrow(2, 4, 5).fill_(std::numeric_limits<double>::quiet_NaN());
  expect_close(scaled_dot_product_attention(q, k, v, {.key_lengths = lengths}), expected, 0, "NaN behind");
}

TEST_P(Attention, EmptyTensors) {
  const auto run = [&](std::int64_t B, std::int64_t Tq, std::int64_t Tk) {
    const Tensor q = random({B, 2, Tq, 4}), k = random({B, 1, Tk, 4}), v = random({B, 1, Tk, 3});
    const Values all = with_gradients([&] { return scaled_dot_product_attention(q, k, v); }, {q, k, v});
    EXPECT_EQ(all[0].shape(), (Shape{B, 2, Tq, 3}));
    for (const Tensor& t : all)
      for (const float x : t.to_vector<float>()) EXPECT_EQ(x, 0);
    EXPECT_EQ(all[1].shape(), q.shape());
    EXPECT_EQ(all[3].shape(), v.shape());
    const AttentionOutput out = attention(q, k, v, {.causal = true, .dropout_p = 0.5});
    for (const float lse : out.lse.to_vector<float>()) EXPECT_EQ(lse, -kInfinity);
  };
  run(0, 3, 4);
  run(2, 0, 4);
  run(2, 3, 0);
}

TEST_P(Attention, LargeScoresDoNotOverflow) {
  const Tensor q = full({1, 1, 2, 4}, 3e15, {.device = device()});
  Tensor k = zeros({1, 1, 3, 4}, {.device = device()});
  k.narrow(2, 1, 1).fill_(1e15);  // a score of 6e30
  const Tensor v = filled({1, 2, 3}, {1, 1, 3, 1});
  const AttentionOutput out = attention(q, k, v);
  for (const float y : out.y.to_vector<float>()) EXPECT_EQ(y, 2);
  for (const float lse : out.lse.to_vector<float>()) EXPECT_NEAR(lse / 6e30F, 1, 1e-6);
}

/// A mask that is overwritten between forward and backward is noticed.
TEST_P(Attention, SavedMasksAreGuarded) {
  const Tensor q = random({1, 1, 3, 4}), mask = testing::some_seen({3, 3}, device());
  const Tensor y = sum(scaled_dot_product_attention(q, q, q, {.mask = mask}));
  mask.fill_(1);
  EXPECT_THROW(y.backward(), InvalidArgument);
}

// ---- dropout

/// With equal scores and V = I, y is the factors times the weight 1 / Tk.
Tensor factors(const Tensor& y, double p) { return y * (static_cast<double>(y.size(-1)) * (1 - p)); }

Tensor identity(std::int64_t n, std::int64_t heads, Device device) {
  std::vector<float> values(static_cast<std::size_t>(n * n), 0.0F);
  for (std::int64_t i = 0; i < n; ++i) values[static_cast<std::size_t>(i * n + i)] = 1;
  return expand(Tensor::from(values, {1, 1, n, n}, {.device = device}), {1, heads, n, n});
}

TEST_P(Attention, DropoutKeepsTheRightNumbers) {
  const std::int64_t H = 3, Tq = 33, Tk = 30;  // rows of 32 numbers
  const double p = 0.3;
  const Tensor q = zeros({1, H, Tq, 4}, {.device = device()}), k = zeros({1, H, Tk, 4}, {.device = device()});
  manual_seed(42);
  const Tensor y = scaled_dot_product_attention(q, k, identity(Tk, H, device()), {.dropout_p = p});
  const std::vector<float> kept = factors(y, p).contiguous().to_vector<float>();
  double number_kept = 0;
  for (std::size_t row = 0; row < static_cast<std::size_t>(H * Tq); ++row)
    for (std::size_t j = 0; j < static_cast<std::size_t>(Tk); ++j) {
      const std::uint64_t n = row * 32 + j;
      const bool stays = philox_at(42, n / 4).v[n % 4] < 0.7 * 0x1p32;
      ASSERT_NEAR(kept[row * Tk + j], stays ? 1 : 0, 1e-5) << row << " " << j;
      number_kept += stays;
    }
  const double all = static_cast<double>(H * Tq * Tk);
  EXPECT_NEAR(number_kept / all, 1 - p, 4 * std::sqrt(p * (1 - p) / all));
  manual_seed(42);
  const Tensor same = scaled_dot_product_attention(q, k, identity(Tk, H, device()), {.dropout_p = p});
  const Tensor next = scaled_dot_product_attention(q, k, identity(Tk, H, device()), {.dropout_p = p});
  EXPECT_EQ(same.to_vector<float>(), y.to_vector<float>());
  EXPECT_NE(next.to_vector<float>(), y.to_vector<float>());
}

/// dv_j = sum_i d_ij p_ij dy_i: with dy = I the transpose of what forward used.
TEST_P(Attention, BackwardDropsTheSame) {
  const std::int64_t H = 2, T = 35;
  const Tensor q = zeros({1, H, T, 4}, {.device = device()});
  const Tensor v = identity(T, H, device()).contiguous().requires_grad_();
  const Tensor y = scaled_dot_product_attention(q, q, v, {.dropout_p = 0.4});
  y.backward(identity(T, H, device()));
  expect_close(v.grad(), y.detach().transpose(2, 3), 1e-6, "dv");
}

// ---- other forms

TEST_P(Attention, PackedProjection) {
  for (const AttentionSetting& s : attention_settings(device())) {
    if (s.options.mask.defined() || s.options.query_lengths.defined()) continue;
    const std::int64_t T = s.Tk, D = s.D;
    const Tensor qkv = random({2, T, (s.Hq + 2 * s.Hkv) * D});
    const auto part = [&](std::int64_t heads, std::int64_t first) {
      return qkv.narrow(2, first * D, heads * D).view({2, T, heads, D}).transpose(1, 2);
    };
    const auto apart = [&] {
      const Tensor y = scaled_dot_product_attention(part(s.Hq, 0), part(s.Hkv, s.Hq),
                                                    part(s.Hkv, s.Hq + s.Hkv), s.options);
      return y.transpose(1, 2).reshape({2, T, s.Hq * D});
    };
    expect_same(with_gradients([&] { return attention_packed_qkv(qkv, s.Hq, s.Hkv, s.options); }, {qkv}),
                with_gradients(apart, {qkv}), 0, s.name);
  }
  const Tensor qkv = random({2, 4, 24}), mask = random({4, 4});
  const auto with_mask = [&] { return attention_packed_qkv(qkv, 2, 2, {.mask = mask}); };
  EXPECT_EQ(with_gradients(with_mask, {qkv, mask})[2].shape(), mask.shape());
}

/// Runs that copy operands one by one (the reference beside every op) find the same gradient.
TEST_P(Attention, PackedProjectionBesideTheReference) {
  Runtime runtime({.shadow = true});
  const RuntimeScope scope(runtime);
  const Tensor qkv = random({2, 5, 24});
  const Tensor y = attention_packed_qkv(qkv, 2, 2, {.causal = true});
  y.backward(ones_like(y.detach()));
  const Tensor twice = qkv.detach().requires_grad_();
  const auto part = [&](std::int64_t first) {
    return twice.narrow(2, first, 8).view({2, 5, 2, 4}).transpose(1, 2);
  };
  const Tensor z = scaled_dot_product_attention(part(0), part(8), part(16), {.causal = true});
  z.backward(ones_like(z.detach()));
  expect_close(qkv.grad(), twice.grad(), 1e-6, "dqkv");
}

TEST_P(Attention, PackedRowsArePaddedSequences) {
  const std::vector<std::int64_t> queries{4, 0, 5, 2}, keys{6, 3, 1, 7};
  const auto starts = [&](const std::vector<std::int64_t>& lengths) {
    std::vector<std::int64_t> all{0};
    for (const std::int64_t n : lengths) all.push_back(all.back() + n);
    return all;
  };
  const auto qs = starts(queries), ks = starts(keys);
  for (const AttentionSetting& s : attention_settings(device())) {
    if (s.options.mask.defined() || s.options.key_lengths.defined() || s.options.dropout_p > 0) continue;
    const Tensor q = random({qs.back(), s.Hq, s.D}), k = random({ks.back(), s.Hkv, s.D}),
                 v = random({ks.back(), s.Hkv, s.Dv});
    const auto packed = [&] {
      return attention_varlen(q, k, v, i64_tensor(qs, device()), i64_tensor(ks, device()), 5, 7, s.options);
    };
    const auto one_by_one = [&] {
      Values parts;
      for (std::size_t b = 0; b < queries.size(); ++b) {
        const auto rows = [&](const Tensor& t, std::int64_t first, std::int64_t n) {
          return t.narrow(0, first, n).transpose(0, 1).unsqueeze(0);
        };
        const Tensor y = scaled_dot_product_attention(rows(q, qs[b], queries[b]), rows(k, ks[b], keys[b]),
                                                      rows(v, ks[b], keys[b]), s.options);
        parts.push_back(y.squeeze(0).transpose(0, 1));
      }
      return cat(parts, 0);
    };
    expect_same(with_gradients(packed, {q, k, v}), with_gradients(one_by_one, {q, k, v}), 3e-6, s.name);
  }
}

}  // namespace
}  // namespace gpunn
