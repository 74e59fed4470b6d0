#pragma once
// Sequences of different lengths without padding: all first steps, then all second ones, and so on. Sequences
// stand in order of falling length, so that those of a step are the first ones of the step before. As
// PyTorch's torch.nn.utils.rnn.
//
// Errors: InvalidArgument for lengths that are zero, beyond the tensor, not one a sequence, or not falling
// with enforce_sorted; for an empty list of sequences.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Which row belongs to which step and sequence. Immutable; copies share their content.
class GPUNN_API Packing {
 public:
  /// Lengths in falling order, at least one, each at least 1. `device`: where the rows will be computed.
  Packing(std::span<const std::int64_t> lengths, const Device& device);

  std::int64_t steps() const noexcept;  // T
  std::int64_t batch() const noexcept;  // B
  std::int64_t rows() const noexcept;   // the sum of the lengths
  /// [T + 1]: the first row of each step, on the host; the last one is rows().
  std::span<const std::int64_t> first_rows() const noexcept;
  /// The same as an i64 tensor on the device.
  const Tensor& first_rows_on_device() const noexcept;
  /// [B]: i64 on the device, the row of each sequence's last step.
  const Tensor& last_rows_on_device() const noexcept;
  /// [rows() - B]: i64 on the device, for each row from row B on the row of its sequence one step before.
  const Tensor& previous_rows_on_device() const noexcept;
  /// How many sequences have step t.
  std::int64_t batch_size(std::int64_t t) const;
  std::span<const std::int64_t> lengths() const noexcept;

 private:
  struct Content;
  std::shared_ptr<const Content> content_;
};

struct PackedSequence {
  Tensor data;  // [rows, ...]
  Packing packing;
  Tensor sorted_indices;  // i64 [B]: packed sequence b is the caller's sorted_indices[b]; undefined: in order
  Tensor unsorted_indices;  // i64 [B]: its inverse
};

/// x [T, B, ...], or [B, T, ...] with batch_first; lengths [B]. With enforce_sorted they must fall already.
/// Differentiable by x.
GPUNN_API PackedSequence pack_padded_sequence(const Tensor& x, std::span<const std::int64_t> lengths,
                                              bool batch_first = false, bool enforce_sorted = true);

struct PaddedSequence {
  Tensor data;                        // [T, B, ...] or [B, T, ...]
  std::vector<std::int64_t> lengths;  // [B], in the caller's order
};

/// The inverse; rows beyond a length hold `padding_value`. `total_length`: steps of the result, at least the
/// longest length, which is the default. Differentiable by packed.data.
GPUNN_API PaddedSequence pad_packed_sequence(const PackedSequence& packed, bool batch_first = false,
                                             double padding_value = 0, std::int64_t total_length = 0);

/// Sequences [T_b, ...] as one tensor [T, B, ...] or [B, T, ...].
GPUNN_API Tensor pad_sequence(std::span<const Tensor> sequences, bool batch_first = false,
                              double padding_value = 0);
/// Sequences [T_b, ...], packed.
GPUNN_API PackedSequence pack_sequence(std::span<const Tensor> sequences, bool enforce_sorted = true);

}  // namespace gpunn
