// Caches: what is appended, and attention that reads it row by row and in pages.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "tests/support/attention_options.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using testing::i64_tensor;

class AttentionCache : public testing::DeviceTest {
 protected:
  void SetUp() override { manual_seed(3); }
  Tensor random(const Shape& shape) const { return randn(shape).to(device()); }
  Tensor table(const std::vector<std::int32_t>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.dtype = DType::i32, .device = device()});
  }
};
GPUNN_ON_EVERY_DEVICE(AttentionCache);

void expect_close(const Tensor& got, const Tensor& expected, double tolerance) {
  const std::vector<float> a = got.contiguous().to_vector<float>(),
                           b = expected.contiguous().to_vector<float>();
  ASSERT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i)
    ASSERT_LE(std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])), tolerance) << i;
}

TEST_P(AttentionCache, AppendWritesItsRowsAndNoOthers) {
  const Tensor before = random({3, 7, 2, 5}), x = random({3, 2, 2, 5});
  Tensor cache = before.clone();
  kv_append_(cache, x, i64_tensor({0, 5, 3}, device()));
  const Tensor expected = before.clone();
  expected.narrow(0, 0, 1).narrow(1, 0, 2).copy_(x.narrow(0, 0, 1));
  expected.narrow(0, 1, 1).narrow(1, 5, 2).copy_(x.narrow(0, 1, 1));
  expected.narrow(0, 2, 1).narrow(1, 3, 2).copy_(x.narrow(0, 2, 1));
  EXPECT_EQ(cache.to_vector<float>(), expected.to_vector<float>());
  // Heads split off a projection, into one layer of a cache for all of them.
  Tensor layers = zeros({2, 3, 7, 2, 5}, {.device = device()});
  Tensor layer = layers.select(0, 1);
  const Tensor projection = random({3, 2, 30});
  const Tensor heads = projection.narrow(2, 10, 10).view({3, 2, 2, 5});
  kv_append_(layer, heads, i64_tensor({1, 0, 2}, device()));
  expect_close(layers.select(0, 1).select(0, 2).narrow(0, 2, 2), heads.select(0, 2), 0);
  for (const float v : layers.select(0, 0).to_vector<float>()) EXPECT_EQ(v, 0);
}

TEST_P(AttentionCache, AppendToPagesFollowsTheTable) {
  Tensor pages = zeros({5, 2, 2, 3}, {.device = device()});
  const Tensor x = random({2, 3, 2, 3}), t = table({3, 0, 4, 1}, {2, 2});
  kv_append_paged_(pages, x, i64_tensor({0, 1}, device()), t);
  const auto row = [&](std::int64_t page, std::int64_t r) { return pages.select(0, page).select(0, r); };
  expect_close(row(3, 0), x.select(0, 0).select(0, 0), 0);
  expect_close(row(3, 1), x.select(0, 0).select(0, 1), 0);
  expect_close(row(0, 0), x.select(0, 0).select(0, 2), 0);
  expect_close(row(4, 1), x.select(0, 1).select(0, 0), 0);
  expect_close(row(1, 0), x.select(0, 1).select(0, 1), 0);
  expect_close(row(1, 1), x.select(0, 1).select(0, 2), 0);
  for (const Tensor& untouched : {row(0, 1), row(2, 0), row(2, 1), row(4, 0)})
    for (const float v : untouched.to_vector<float>()) EXPECT_EQ(v, 0);
}

/// Two tokens at a time behind prompts of unequal lengths give what the whole sequences give, from a
/// contiguous cache and from pages.
TEST_P(AttentionCache, StepByStepIsAllAtOnce) {
  const std::int64_t B = 2, Hq = 4, Hkv = 2, T = 10, D = 8, step = 2, page_size = 3;
  const Tensor q = random({B, T, Hq, D}), k = random({B, T, Hkv, D}), v = random({B, T, Hkv, D});
  const Tensor t = table({7, 2, 5, 0, 1, 6, 3, 4}, {B, 4});
  for (const std::int64_t window : {0, 4}) {
    const Tensor whole = scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2),
                                                      {.causal = true, .window = window});
    Tensor k_cache = full({B, 12, Hkv, D}, NAN, {.device = device()}), v_cache = k_cache.clone();
    Tensor k_pages = full({8, page_size, Hkv, D}, NAN, {.device = device()}), v_pages = k_pages.clone();
    for (std::int64_t at = 0; at < T; at += step) {
      const auto rows = [&](const Tensor& x) { return x.narrow(1, at, step); };
      const Tensor starts = i64_tensor({at, at}, device()),
                   lengths = i64_tensor({at + step, at + step}, device());
      kv_append_(k_cache, rows(k), starts);
      kv_append_(v_cache, rows(v), starts);
      kv_append_paged_(k_pages, rows(k), starts, t);
      kv_append_paged_(v_pages, rows(v), starts, t);
      AttentionOptions options{.causal = true, .align = AttentionAlign::end, .window = window};
      options.key_lengths = lengths;
      const Tensor expected = whole.narrow(2, at, step), now = rows(q).transpose(1, 2);
      expect_close(
          scaled_dot_product_attention(now, k_cache.transpose(1, 2), v_cache.transpose(1, 2), options),
          expected, 2e-6);
      expect_close(attention_paged(now, k_pages, v_pages, t, options), expected, 2e-6);
    }
  }
}

TEST_P(AttentionCache, PagesAreAContiguousCache) {
  const Tensor q = random({2, 4, 3, 8}), pages = random({6, 4, 2, 8}), values = random({6, 4, 2, 8});
  const Tensor t = table({5, 1, 3, 0, 2, 4}, {2, 3});
  const auto gathered = [&](const Tensor& pool) {
    std::vector<Tensor> sequences;
    for (const auto& order : {std::vector<std::int64_t>{5, 1, 3}, {0, 2, 4}}) {
      std::vector<Tensor> rows;
      for (const std::int64_t page : order) rows.push_back(pool.select(0, page));
      sequences.push_back(cat(rows, 0));
    }
    return stack(sequences, 0).transpose(1, 2);
  };
  for (const bool causal : {false, true}) {
    AttentionOptions options{.causal = causal, .align = AttentionAlign::end};
    options.key_lengths = i64_tensor({12, 5}, device());
    options.alibi_slopes = Tensor::from({0.5F, 0.4F, 0.3F, 0.2F}).to(device());
    options.mask = testing::some_seen({2, 1, 1, 12}, device());
    expect_close(attention_paged(q, pages, values, t, options),
                 scaled_dot_product_attention(q, gathered(pages), gathered(values), options), 2e-6);
  }
}

}  // namespace
}  // namespace gpunn
