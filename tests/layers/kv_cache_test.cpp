// The cache of keys and values: decoding piece by piece equals computing everything again, for rooms and
// pages, unequal lengths, other orders of sequences and shorter ones.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/layers/attention.h"
#include "gpunn/layers/kv_cache.h"
#include "gpunn/layers/positions.h"
#include "tests/support/devices.h"
#include "tests/support/expect_values.h"
#include "tests/support/hashed_values.h"
#include "tests/support/message_of.h"

namespace gpunn {
namespace {

using ::testing::ElementsAre;
using testing::hashed;
using ::testing::HasSubstr;
using testing::message_of;

using Counts = std::vector<std::int64_t>;

constexpr std::int64_t kLayers = 2, kHeads = 4, kKvHeads = 2, kD = 3, kE = kHeads * kD;
constexpr std::int64_t kPageSizes[] = {0, 1, 3, 16};

/// Two layers of attention with a residual: enough that a wrong row reaches the result.
struct Stack {
  Stack(Device device) {
    for (std::int64_t l = 0; l < kLayers; ++l) {
      layers.emplace_back(kE, kHeads,
                          MultiheadAttentionOptions{.batch_first = true, .num_kv_heads = kKvHeads});
      const NoGrad off;
      std::uint32_t number = static_cast<std::uint32_t>(10 * l);
      for (const auto& [key, tensor] : layers.back().state_dict())
        tensor.copy_(hashed(tensor.shape(), ++number));
      layers.back().to(device);
    }
  }
  /// x [B, T, E], all positions at once.
  Tensor whole(const Tensor& x) {
    const NoGrad off;
    Tensor y = x;
    for (MultiheadAttention& a : layers) y = y + a(y, y, y, {.is_causal = true}).y;
    return y;
  }
  Tensor step(const Tensor& x, KvCache& cache, const Counts& valid = {}) {
    const NoGrad off;
    cache.begin(x.size(1), valid);
    Tensor y = x;
    for (std::int64_t l = 0; l < kLayers; ++l) y = y + layers[static_cast<std::size_t>(l)](y, cache, l);
    cache.commit();
    return y;
  }
  std::vector<MultiheadAttention> layers;
};

class KvCacheTest : public testing::DeviceTest {
 protected:
  KvCache cache(std::int64_t batch, std::int64_t capacity, std::int64_t page_size) const {
    return KvCache({.batch = batch,
                    .capacity = capacity,
                    .layers = kLayers,
                    .kv_heads = kKvHeads,
                    .head_dim = kD,
                    .page_size = page_size,
                    .device = device()});
  }
  /// [B, T, E]: each sequence another.
  Tensor inputs(std::int64_t B, std::int64_t T) const { return hashed({B, T, kE}, 77).to(device()); }

  /// Rows [first, first + n) of sequence b are what the whole sequence x[b] gives.
  void expect_rows(Stack& stack, const Tensor& got, std::int64_t row, const Tensor& sequence,
                   std::int64_t first, std::int64_t n) {
    const Tensor whole = stack.whole(sequence.narrow(0, 0, first + n).unsqueeze(0)).select(0, 0);
    testing::expect_values(got.select(0, row).narrow(0, 0, n),
                           whole.narrow(0, first, n).contiguous().to_vector<double>(),
                           "sequence " + std::to_string(row) + " from " + std::to_string(first), 1e-5);
  }
};
GPUNN_ON_EVERY_DEVICE(KvCacheTest);

TEST_P(KvCacheTest, PiecesEqualTheWhole) {
  for (const std::int64_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Stack stack(device());
    const Tensor x = inputs(2, 9);
    const std::vector<double> want = stack.whole(x).to_vector<double>();
    for (const Counts& pieces : {Counts{9}, Counts{4, 1, 1, 3}, Counts{1, 7, 1}}) {
      KvCache own = cache(2, 9, page_size);
      std::vector<Tensor> parts;
      std::int64_t at = 0;
      for (const std::int64_t n : pieces) {
        parts.push_back(stack.step(x.narrow(1, at, n), own));
        at += n;
      }
      EXPECT_THAT(own.lengths(), ElementsAre(9, 9));
      testing::expect_values(cat(parts, 1), want, "y", 1e-5);
    }
  }
}

// Prompts of unequal lengths, then steps in which a sequence may rest; the rows that do not count are NaN.
TEST_P(KvCacheTest, UnequalLengths) {
  const std::vector<Counts> steps{{3, 5, 1}, {1, 1, 1}, {2, 0, 4}, {0, 1, 0}, {1, 1, 1}};
  for (const std::int64_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Stack stack(device());
    const Tensor x = inputs(3, 8);
    KvCache own = cache(3, 8, page_size);
    Counts at{0, 0, 0};
    for (const Counts& counts : steps) {
      const std::int64_t T = *std::max_element(counts.begin(), counts.end());
      const Tensor piece = full({3, T, kE}, std::nan(""), {.device = device()});
      for (int b = 0; b < 3; ++b) {
        const std::size_t i = static_cast<std::size_t>(b);
        if (counts[i] > 0)
          piece.select(0, b).narrow(0, 0, counts[i]).copy_(x.select(0, b).narrow(0, at[i], counts[i]));
      }
      const Tensor y = stack.step(piece, own, counts);
      for (int b = 0; b < 3; ++b) {
        const std::size_t i = static_cast<std::size_t>(b);
        if (counts[i] > 0) expect_rows(stack, y, b, x.select(0, b), at[i], counts[i]);
        at[i] += counts[i];
      }
    }
    EXPECT_THAT(own.lengths(), ElementsAre(7, 8, 7));
  }
}

TEST_P(KvCacheTest, ReorderCopiesSequences) {
  for (const std::int64_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Stack stack(device());
    const Tensor x = inputs(3, 9);
    KvCache own = cache(2, 9, page_size);
    stack.step(x.narrow(0, 0, 2).narrow(1, 0, 5), own, {4, 5});
    // Three sequences go on from the second, one from the first; each with inputs of its own.
    own.reorder(Counts{1, 1, 0, 1});
    EXPECT_EQ(own.options().batch, 4);
    EXPECT_THAT(own.lengths(), ElementsAre(5, 5, 4, 5));
    const Tensor more = hashed({4, 3, kE}, 78).to(device());
    const Tensor y = stack.step(more, own);
    const Counts from{1, 1, 0, 1};
    std::vector<Tensor> whole;
    for (int b = 0; b < 4; ++b) {
      const std::int64_t source = from[static_cast<std::size_t>(b)], length = source == 1 ? 5 : 4;
      whole.push_back(cat({x.select(0, source).narrow(0, 0, length), more.select(0, b)}, 0));
      expect_rows(stack, y, b, whole.back(), length, 3);
    }
    // Fewer again, each beside what it shared its past with.
    own.reorder(Counts{3, 0});
    const Tensor last = hashed({2, 1, kE}, 79).to(device());
    const Tensor z = stack.step(last, own);
    expect_rows(stack, z, 0, cat({whole[3], last.select(0, 0)}, 0), 8, 1);
    expect_rows(stack, z, 1, cat({whole[0], last.select(0, 1)}, 0), 8, 1);
    // In place when the number stays.
    own.reorder(Counts{1, 0});
    EXPECT_THAT(own.lengths(), ElementsAre(9, 9));
  }
}

TEST_P(KvCacheTest, TruncateForgets) {
  for (const std::int64_t page_size : kPageSizes) {
    SCOPED_TRACE(page_size);
    Stack stack(device());
    const Tensor x = inputs(2, 8), other = hashed({2, 3, kE}, 78).to(device());
    KvCache own = cache(2, 8, page_size);
    stack.step(x, own);
    own.truncate(0, 2);
    own.truncate(1, 0);
    EXPECT_THAT(own.lengths(), ElementsAre(2, 0));
    const Tensor y = stack.step(other, own);
    expect_rows(stack, y, 0, cat({x.select(0, 0).narrow(0, 0, 2), other.select(0, 0)}, 0), 2, 3);
    expect_rows(stack, y, 1, other.select(0, 1), 0, 3);
    // A sequence that shares its past forgets alone.
    own.reorder(Counts{0, 0});
    own.truncate(1, 1);
    const Tensor more = hashed({2, 2, kE}, 80).to(device());
    const Tensor z = stack.step(more, own);
    const Tensor past = cat({x.select(0, 0).narrow(0, 0, 2), other.select(0, 0)}, 0);
    expect_rows(stack, z, 0, cat({past, more.select(0, 0)}, 0), 5, 2);
    expect_rows(stack, z, 1, cat({x.select(0, 0).narrow(0, 0, 1), more.select(0, 1)}, 0), 1, 2);
  }
}

TEST_P(KvCacheTest, ACallThatWasGivenUpLeavesNothing) {
  for (const std::int64_t page_size : kPageSizes) {
    Stack stack(device());
    const Tensor x = inputs(1, 6);
    KvCache own = cache(1, 6, page_size);
    stack.step(x.narrow(1, 0, 3), own);
    own.begin(3);
    own.append(0, zeros({1, 3, kKvHeads, kD}, {.device = device()}),
               zeros({1, 3, kKvHeads, kD}, {.device = device()}));
    EXPECT_THROW(own.begin(4), InvalidArgument);  // one too many
    EXPECT_THAT(own.lengths(), ElementsAre(3));
    const Tensor y = stack.step(x.narrow(1, 3, 2), own);
    expect_rows(stack, y, 0, x.select(0, 0), 3, 2);
  }
}

TEST_P(KvCacheTest, HalvesAreKeptAsTheyAre) {
  for (const std::int64_t page_size : {0, 3}) {
    Stack stack(device());
    for (MultiheadAttention& a : stack.layers) a.to(DType::bf16);
    const Tensor half = inputs(2, 7).to(DType::bf16);
    const std::vector<double> want = stack.whole(half).to_vector<double>();
    KvCacheOptions o = cache(2, 7, page_size).options();
    o.dtype = DType::bf16;
    KvCache own(o);
    const Tensor y = cat({stack.step(half.narrow(1, 0, 5), own), stack.step(half.narrow(1, 5, 2), own)}, 1);
    EXPECT_EQ(y.dtype(), DType::bf16);
    // Below 1e-4 on the CPU and emulated; a kernel for few queries may round weights elsewhere, by 2^-9 each.
    testing::expect_values(y, want, "y", 0.02);
    if (page_size == 0) {
      EXPECT_EQ(2 * own.bytes(), cache(2, 7, 0).bytes());
    }
  }
}

TEST_P(KvCacheTest, WindowsAndSlopesReachAttention) {
  const Tensor q = hashed({1, 2, 4, kD}, 1).to(device());
  const Tensor k = hashed({1, 4, kKvHeads, kD}, 2).to(device()),
               v = hashed({1, 4, kKvHeads, kD}, 3).to(device());
  KvCache own = cache(1, 4, 0);
  own.begin(4);
  own.append(0, k, v);
  // Only itself: y is v, by heads.
  testing::expect_values(own.attend(0, q, 1), v.transpose(1, 2).contiguous().to_vector<double>(), "window",
                         1e-6);
  // So steep that the nearest key is all.
  const Tensor steep = full({2}, 1000, {.device = device()});
  testing::expect_values(own.attend(0, q, 0, steep), v.transpose(1, 2).contiguous().to_vector<double>(),
                         "slopes", 1e-6);
  // So small that all count alike: the last query sees the mean.
  const std::vector<double> mean_of =
      own.attend(0, q, 0, {}, 1e-12).select(2, 3).contiguous().to_vector<double>();
  const std::vector<double> values = v.to_vector<double>();
  for (std::size_t d = 0; d < mean_of.size(); ++d)
    EXPECT_NEAR(mean_of[d], (values[d] + values[d + 6] + values[d + 12] + values[d + 18]) / 4, 1e-6);
}

TEST(KvCache, PagesAreTakenAsTheyAreNeeded) {
  const KvCacheOptions o{
      .batch = 2, .capacity = 1000, .layers = 1, .kv_heads = 1, .head_dim = 2, .page_size = 10};
  const std::int64_t page = 10 * 2 * 4 * 2;  // rows, head_dim, bytes, keys and values
  KvCache own(o);
  EXPECT_EQ(own.bytes(), 0);
  const auto step = [&](std::int64_t T, const Counts& valid) {
    own.begin(T, valid);
    own.append(0, zeros({own.options().batch, T, 1, 2}), zeros({own.options().batch, T, 1, 2}));
    own.commit();
  };
  step(11, {11, 3});
  EXPECT_EQ(own.bytes(), 3 * page);
  step(7, {});
  EXPECT_EQ(own.bytes(), 3 * page);  // 18 and 10 positions fill no further page
  own.truncate(0, 5);
  step(1, {1, 1});  // the page that came back serves the other sequence
  EXPECT_EQ(own.bytes(), 3 * page);
  // Ten readers of one past hold it once.
  own.reorder(Counts(10, 1));
  EXPECT_EQ(own.bytes(), 3 * page);
  KvCacheOptions rooms = o;
  rooms.page_size = 0;
  EXPECT_EQ(KvCache(rooms).bytes(), 2 * 100 * page);
  // What a call had taken that was given up serves the next one.
  KvCache again(o);
  again.begin(30, Counts{30, 0});
  again.begin(20, Counts{1, 20});
  EXPECT_EQ(again.bytes(), 3 * page);
}

TEST(KvCache, StartsAreThePositionsOfNewRows) {
  KvCache own({.batch = 2, .capacity = 4, .layers = 1, .kv_heads = 1, .head_dim = 1});
  EXPECT_FALSE(own.starts().defined());
  own.begin(2, Counts{2, 1});
  own.append(0, zeros({2, 2, 1, 1}), zeros({2, 2, 1, 1}));
  own.commit();
  own.begin(1);
  EXPECT_THAT(own.starts().to_vector<std::int64_t>(), ElementsAre(2, 1));
  EXPECT_THAT(positions_behind(own.lengths(), 3, 4, Device::cpu()).to_vector<std::int64_t>(),
              ElementsAre(2, 3, 3, 1, 2, 3));
  KvCache moved = std::move(own);
  EXPECT_THAT(moved.lengths(), ElementsAre(2, 1));
}

TEST(KvCache, Refuses) {
  const KvCacheOptions o{.batch = 2, .capacity = 4, .layers = 1, .kv_heads = 1, .head_dim = 2};
  KvCache fresh(o), open(o), used(o);
  open.begin(2);
  used.begin(3, Counts{3, 2});
  const Tensor rows = zeros({2, 3, 1, 2});
  used.append(0, rows, rows);
  used.commit();
  const auto with = [&](auto change) {
    KvCacheOptions changed = o;
    change(changed);
    KvCache made(changed);
  };
  const std::map<std::string, std::function<void()>> refused{
      {"[kv_cache] expected batch, capacity, layers, kv_heads and head_dim of at least 1, got 2, 0, 1, 1 and "
       "2",
       [&] { with([](KvCacheOptions& c) { c.capacity = 0; }); }},
      {"expected a page_size of at least 1, or 0",
       [&] { with([](KvCacheOptions& c) { c.page_size = -1; }); }},
      {"expected a floating dtype, got i64", [&] { with([](KvCacheOptions& c) { c.dtype = DType::i64; }); }},
      {"expected at least one new position, got 0", [&] { fresh.begin(0); }},
      {"expected counts of 2 sequences, got 1", [&] { fresh.begin(1, Counts{1}); }},
      {"expected from 0 to 2 new positions of sequence 1, got 3", [&] { fresh.begin(2, Counts{1, 3}); }},
      {"expected from 0 to 2 new positions of sequence 0, got -1", [&] { fresh.begin(2, Counts{-1, 1}); }},
      {"at most 4 positions of sequence 0, got 5 new ones behind 0", [&] { fresh.begin(5); }},
      {"at most 4 positions of sequence 0, got 2 new ones behind 3", [&] { used.begin(2); }},
      {"at most 4 positions of sequence 1, got 3 new ones behind 2", [&] { used.begin(3, Counts{1, 3}); }},
      {"expected begin() before keys", [&] { fresh.append(0, rows, rows); }},
      {"expected begin() before commit()", [&] { fresh.commit(); }},
      {"expected one of 1 layers, got 1", [&] { open.append(1, rows, rows); }},
      {"expected keys and values [2, 2, 1, 2], got [2, 3, 1, 2]", [&] { open.append(0, rows, rows); }},
      {"expected append() of layer 0 before attend()", [&] { open.attend(0, zeros({2, 1, 2, 2})); }},
      {"expected append() of every layer before commit(), layer 0 has none", [&] { open.commit(); }},
      {"expected a length from 0 to 3 of sequence 0, got 4", [&] { used.truncate(0, 4); }},
      {"expected one of 2 sequences, got 2", [&] { used.truncate(2, 0); }},
      {"expected at least one sequence", [&] { used.reorder({}); }},
      {"expected sequences below 2, got 2", [&] { used.reorder(Counts{0, 2}); }},
  };
  for (const auto& [text, run] : refused) EXPECT_THAT(message_of(run), HasSubstr(text));
  open.append(0, rows.narrow(1, 0, 2), rows.narrow(1, 0, 2));
  EXPECT_THAT(message_of([&] { open.attend(0, zeros({2, 1, 1, 2})); }),
              HasSubstr("expected queries [2, heads, 2, 2], got [2, 1, 1, 2]"));
  EXPECT_THAT(used.lengths(), ElementsAre(3, 2));
  MultiheadAttention learnt(2, 1, {.add_bias_kv = true});
  EXPECT_THAT(message_of([&] { learnt(zeros({2, 2, 2}), open, 0); }),
              HasSubstr("expected attention without keys of its own"));
}

}  // namespace
}  // namespace gpunn
