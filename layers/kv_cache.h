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
  std::int64_t page_size =
      0;  // 0: one contiguous room for each sequence; else pages, taken as they are needed
  DType dtype = DType::f32;
  Device device = default_device();
};

/// What attention asks of a cache for one call: options to pass on beside causal, window and scale.
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
  /// Stores k, v [B, T, Hkv, D] of a layer behind its positions.
  void append(std::int64_t layer, const Tensor& k, const Tensor& v);
  /// Attention of q [B, Hq, T, D] on all that the layer holds now: [B, Hq, T, D].
  Tensor attend(std::int64_t layer, const Tensor& q, std::int64_t window = 0, const Tensor& alibi_slopes = {},
                double scale = 0) const;  // 0: 1 / sqrt(D)
  /// The new positions are there from now on.
  void commit();

  /// Positions of each sequence.
  std::span<const std::int64_t> lengths() const noexcept;
  /// i64 [B] on the device: position of each sequence's first new row, from begin() to commit().
  const Tensor& starts() const noexcept;
  /// Forgets positions from `length` on.
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
