#pragma once
// Keys and values of earlier positions, so that a decoder computes each position once.
//
//   KvCache cache({.batch = 2, .capacity = 256, .layers = 4, .kv_heads = 8, .head_dim = 64});
//   Tensor a = model(prompt, cache);   // positions 0 to T - 1 of every sequence
//   Tensor b = model(next, cache);     // one more each
//
// Rows are right-aligned in time only: sequence b holds lengths()[b] positions, each sequence its own number,
// so prompts of unequal lengths share a batch. A call of a model goes: begin(T, valid), then append() and
// attend() in each layer, then commit().
// Not for training: what is written carries no gradient. Not to be shared between threads.
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

struct KvCacheOptions {
  std::int64_t batch = 1;
  std::int64_t capacity = 0;  // positions of a sequence
  std::int64_t layers = 1;
  std::int64_t kv_heads = 1;
  std::int64_t head_dim = 0;
  std::int64_t page_size = 0;  // 0: one room for each sequence; else rows of a page, taken as needed
  DType dtype = DType::f32;
  Device device = default_device();
};

/// Pages are shared by sequences with a common past (after reorder()) and copied when one of them goes on in
/// its last page; the pool doubles as it grows. Attention is causal, its queries stand behind what is there.
/// Errors: InvalidArgument for shapes and numbers that do not fit, layers that are not there, and calls out
/// of order: append() and attend() between begin() and commit(), attend() behind append() of its layer,
/// commit() behind append() of all. A begin() without commit() is given up by the next begin(), truncate() or
/// reorder().
class GPUNN_API KvCache {
 public:
  /// Throws InvalidArgument for sizes below 1. Contiguous rooms are allocated here, pages at begin().
  explicit KvCache(const KvCacheOptions& options);
  ~KvCache();
  KvCache(KvCache&&) noexcept;
  KvCache& operator=(KvCache&&) noexcept;

  /// A call with T new positions a sequence, of which the first valid[b] count (empty: all). Throws
  /// InvalidArgument naming the sequence when they do not fit, and nothing has changed then.
  void begin(std::int64_t T, std::span<const std::int64_t> valid = {});
  /// Stores k, v [B, T, Hkv, D] of a layer behind its positions; rows that do not count may hold anything.
  void append(std::int64_t layer, const Tensor& k, const Tensor& v);
  /// Attention of q [B, Hq, T, D] on all that the layer holds now: [B, Hq, T, D]; rows that do not count give
  /// 0.
  Tensor attend(std::int64_t layer, const Tensor& q, std::int64_t window = 0, const Tensor& alibi_slopes = {},
                double scale = 0) const;  // 0: 1 / sqrt(D)
  /// The new positions are there from now on.
  void commit();

  /// Positions of each sequence.
  std::span<const std::int64_t> lengths() const noexcept;
  /// i64 [B] on the device: position of each sequence's first new row, from begin() to commit().
  const Tensor& starts() const noexcept;
  /// Forgets positions from `length` on, at most the sequence's own.
  void truncate(std::int64_t sequence, std::int64_t length);
  /// Sequence b becomes a copy of sequence from[b] (beam search); the batch becomes from.size().
  void reorder(std::span<const std::int64_t> from);
  const KvCacheOptions& options() const noexcept;
  /// Bytes that are allocated.
  std::int64_t bytes() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gpunn
