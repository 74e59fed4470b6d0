// Streams and windows of tokens; padding, packing and buckets of sequences of unequal length.
#include "gpunn/training/sequence_batches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/token_streams.h"

namespace gpunn {
namespace {

using Ids = std::vector<std::int64_t>;

Ids counted(std::int64_t n) {
  Ids ids(static_cast<std::size_t>(n));
  std::iota(ids.begin(), ids.end(), std::int64_t{0});
  return ids;
}

Ids values(const Tensor& t) { return t.to_vector<std::int64_t>(); }

TEST(TokenStreamsTest, RowsContinueEachOther) {
  const auto data =
      std::make_shared<TokenStreams>(counted(50), TokenStreamOptions{.streams = 3, .length = 4});
  EXPECT_EQ(data->windows(), 4) << "49 tokens with one behind, 16 a stream";
  const DataLoader loader(data, {.batch_size = 3});
  ASSERT_EQ(loader.size(), 4);
  Ids next{0, 16, 32};
  for (const Batch& batch : loader.epoch(0)) {
    ASSERT_EQ(batch.inputs.shape(), (Shape{3, 4}));
    const Ids x = values(batch.inputs), y = values(batch.targets);
    for (std::size_t b = 0; b < 3; ++b)
      for (std::size_t t = 0; t < 4; ++t) {
        EXPECT_EQ(x[4 * b + t], next[b]++);
        EXPECT_EQ(y[4 * b + t], next[b]);
      }
  }
  EXPECT_EQ(next, (Ids{16, 32, 48})) << "no token is left between streams";
}

TEST(TokenStreamsTest, ShiftsDependOnSeedAndEpoch) {
  const TokenStreamOptions options{.streams = 2, .length = 5, .shift = true, .seed = 7};
  const TokenStreams data(counted(60), options), same(counted(60), options);
  const std::int64_t first[] = {0};
  std::set<std::int64_t> shifts;
  for (std::int64_t epoch = 0; epoch < 60; ++epoch) {
    const std::int64_t shift = data.shift(epoch);
    EXPECT_TRUE(shift >= 0 && shift < 5);
    EXPECT_EQ(same.shift(epoch), shift);
    EXPECT_EQ(values(data.get_in_epoch(first, epoch).inputs)[0], shift);
    shifts.insert(shift);
  }
  EXPECT_EQ(shifts.size(), 5U);
  TokenStreamOptions other = options;
  other.seed = 8;
  int different = 0;
  for (std::int64_t epoch = 0; epoch < 60; ++epoch)
    different += TokenStreams(counted(60), other).shift(epoch) != data.shift(epoch) ? 1 : 0;
  EXPECT_GT(different, 20);
  // The latest start still has a token behind its last one: nothing is read past the end.
  for (const std::int64_t n : {11, 14, 15, 16, 60}) {
    if (n < 15) {
      EXPECT_THROW(TokenStreams(counted(n), options), InvalidArgument) << n;
      continue;
    }
    const TokenStreams edge(counted(n), options);
    for (std::int64_t epoch = 0; epoch < 20; ++epoch)
      for (const std::int64_t token : values(edge.get_in_epoch(counted(edge.size()), epoch).targets))
        EXPECT_LT(token, n);
  }
}

TEST(TokenStreamsTest, RefusesTooFewTokens) {
  EXPECT_EQ(TokenStreams(counted(9), {.streams = 2, .length = 4}).windows(), 1);
  EXPECT_THROW(TokenStreams(counted(8), {.streams = 2, .length = 4}), InvalidArgument);
  EXPECT_THROW(TokenStreams({}, {}), InvalidArgument);
  EXPECT_THROW(TokenStreams(counted(9), {.streams = 0}), InvalidArgument);
  EXPECT_THROW(TokenStreams(counted(9), {.length = 0}), InvalidArgument);
}

TEST(TokenWindowsTest, StartsAreDrawnEvenlyAndByRowAlone) {
  const TokenWindows data(counted(20), {.length = 4, .windows = 4000, .seed = 3});
  std::vector<int> counts(16);
  for (std::int64_t row = 0; row < 4000; ++row) ++counts.at(static_cast<std::size_t>(data.start(row, 2)));
  double chi = 0;
  for (const int count : counts) chi += (count - 250.0) * (count - 250.0) / 250.0;
  EXPECT_LT(chi, 37.7) << "15 degrees of freedom, one in a thousand";
  EXPECT_GT(chi, 3) << "drawn, not dealt";
  const std::int64_t rows[] = {17, 3, 17};
  const Ids x = values(data.get_in_epoch(rows, 2).inputs), y = values(data.get_in_epoch(rows, 2).targets);
  EXPECT_EQ(x[0], data.start(17, 2));
  EXPECT_EQ(x[4], data.start(3, 2));
  EXPECT_EQ(y[11], x[8] + 4);
  int moved = 0;
  for (std::int64_t row = 0; row < 100; ++row) moved += data.start(row, 0) != data.start(row, 1) ? 1 : 0;
  EXPECT_GT(moved, 80);
  EXPECT_EQ(TokenWindows(counted(21), {.length = 4}).size(), 5);
  EXPECT_EQ(TokenWindows(counted(5), {.length = 4}).start(0, 0), 0);
  EXPECT_THROW(TokenWindows(counted(4), {.length = 4}), InvalidArgument);
  EXPECT_THROW(TokenWindows(counted(4), {.length = 0}), InvalidArgument);
}

const std::vector<TokenSequence> kSequences{{1, 2}, {3, 4, 5, 6}, {7}, {8, 9}};

TEST(PadTokensTest, PadsSortsAndCuts) {
  const PaddedTokens plain = pad_tokens(kSequences);
  EXPECT_EQ(plain.tokens.shape(), (Shape{4, 4}));
  EXPECT_EQ(values(plain.tokens), (Ids{1, 2, 0, 0, 3, 4, 5, 6, 7, 0, 0, 0, 8, 9, 0, 0}));
  EXPECT_EQ(plain.lengths, (Ids{2, 4, 1, 2}));
  EXPECT_EQ(plain.order, (Ids{0, 1, 2, 3}));
  EXPECT_EQ(padded_lengths(plain.tokens), plain.lengths);
  const PaddedTokens sorted =
      pad_tokens(kSequences, {.padding = -1, .max_length = 3, .batch_first = false, .sorted = true});
  EXPECT_EQ(sorted.tokens.shape(), (Shape{3, 4}));
  EXPECT_EQ(values(sorted.tokens), (Ids{3, 1, 8, 7, 4, 2, 9, -1, 5, -1, -1, -1}));
  EXPECT_EQ(sorted.lengths, (Ids{3, 2, 2, 1}));
  EXPECT_EQ(sorted.order, (Ids{1, 0, 3, 2})) << "equal lengths stay in order";
  EXPECT_THROW(pad_tokens(std::vector<TokenSequence>{}), InvalidArgument);
  EXPECT_THROW(pad_tokens(std::vector<TokenSequence>{{1}, {}}), InvalidArgument);
  EXPECT_THROW(pad_tokens(kSequences, {.max_length = -1}), InvalidArgument);
  EXPECT_THROW(padded_lengths(Tensor::from(Ids{1, 0, 0, 0}, {2, 2})), InvalidArgument);
  EXPECT_THROW(padded_lengths(Tensor::from(Ids{1, 2}, {2})), InvalidArgument);
  EXPECT_THROW(padded_lengths(Tensor::from({{1, 2}})), InvalidArgument);
}

TEST(PackTokensTest, StepsStandOneAfterTheOther) {
  const PackedTokens packed = pack_tokens(kSequences);
  EXPECT_EQ(values(packed.tokens), (Ids{3, 1, 8, 7, 4, 2, 9, 5, 6}));
  EXPECT_EQ(packed.lengths, (Ids{4, 2, 2, 1}));
  EXPECT_EQ(packed.order, (Ids{1, 0, 3, 2}));
  EXPECT_EQ(values(pack_tokens(kSequences, 1).tokens), (Ids{1, 3, 7, 8}));
  EXPECT_THROW(pack_tokens(std::vector<TokenSequence>{{}}), InvalidArgument);
}

TEST(BucketOrderTest, NeighboursAreAlikeAndNoneIsLost) {
  PhiloxStream random(11, 0);
  Ids lengths;
  for (int i = 0; i < 1003; ++i) lengths.push_back(1 + static_cast<std::int64_t>(random.below(60)));
  const BucketOptions options{.batch_size = 10, .pool = 20, .seed = 5};
  const Ids order = bucket_order(lengths, options, 0);
  Ids sorted = order;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, counted(1003));
  EXPECT_EQ(bucket_order(lengths, options, 0), order);
  EXPECT_NE(bucket_order(lengths, options, 1), order);
  const auto padding = [&](const Ids& rows) {
    std::int64_t wasted = 0;
    for (std::size_t first = 0; first < 1000; first += 10) {
      std::int64_t longest = 0, sum = 0;
      for (std::size_t i = first; i < first + 10; ++i) {
        const std::int64_t length = lengths[static_cast<std::size_t>(rows[i])];
        longest = std::max(longest, length);
        sum += length;
      }
      wasted += 10 * longest - sum;
    }
    return wasted;
  };
  EXPECT_LT(padding(order) * 5, padding(counted(1003)));
  // Batches of all lengths come early and late: sorted ones would rise within each pool.
  double early = 0, late = 0;
  for (std::size_t i = 0; i < 500; ++i) {
    early += static_cast<double>(lengths[static_cast<std::size_t>(order[i])]) / 500;
    late += static_cast<double>(lengths[static_cast<std::size_t>(order[i + 500])]) / 500;
  }
  EXPECT_NEAR(early, late, 8);
  EXPECT_TRUE(bucket_order({}, options, 0).empty());
  EXPECT_EQ(bucket_order(Ids{5}, options, 0), (Ids{0}));
  EXPECT_THROW(bucket_order(lengths, {.batch_size = 0}, 0), InvalidArgument);
  EXPECT_THROW(bucket_order(lengths, {.pool = 0}, 0), InvalidArgument);
}

TEST(LabelledSequencesTest, BatchesAreThoseOfTheBuckets) {
  std::vector<TokenSequence> sequences;
  Ids labels;
  for (std::int64_t i = 0; i < 43; ++i) {
    sequences.emplace_back(static_cast<std::size_t>(1 + i * 7 % 13), i + 1);
    labels.push_back(i + 100);
  }
  const auto data = std::make_shared<LabelledSequences>(
      sequences, labels, LabelledSequencesOptions{.max_length = 9, .bucket_batch = 4, .seed = 2});
  for (const int workers : {0, 3}) {
    std::map<std::int64_t, int> seen;
    for (const std::int64_t epoch : {0, 1}) {
      std::int64_t full_width = 0;
      const DataLoader loader(data, {.batch_size = 4, .workers = workers});
      for (const Batch& batch : loader.epoch(epoch)) {
        const Ids lengths = padded_lengths(batch.inputs), y = values(batch.targets), x = values(batch.inputs);
        const std::int64_t T = batch.inputs.size(1);
        EXPECT_EQ(*std::max_element(lengths.begin(), lengths.end()), T);
        for (std::size_t b = 0; b < y.size(); ++b) {
          const std::int64_t i = y[b] - 100;
          EXPECT_EQ(x[b * static_cast<std::size_t>(T)], i + 1);
          EXPECT_EQ(lengths[b], std::min<std::int64_t>(1 + i * 7 % 13, 9));
          ++seen[i];
        }
        full_width += T == 9 ? 1 : 0;
      }
      EXPECT_LT(full_width, 8) << "short ones stand together";
    }
    EXPECT_EQ(seen.size(), 43U);
    for (const auto& [i, count] : seen) EXPECT_EQ(count, 2) << i;
  }
  const LabelledSequences plain(sequences, labels);
  const std::int64_t rows[] = {2, 0};
  EXPECT_EQ(values(plain.get_in_epoch(rows, 3).targets), (Ids{102, 100}));
  EXPECT_EQ(plain.get({}).size(), 0);
  EXPECT_THROW(LabelledSequences(sequences, {1, 2}), InvalidArgument);
  EXPECT_THROW(LabelledSequences({{1}, {2, 0}}, {1, 2}), InvalidArgument) << "the padding itself";
  EXPECT_THROW(LabelledSequences({{1}, {}}, {1, 2}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
