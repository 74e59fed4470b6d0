#pragma once
// Shapes and strides: inline, rank <= 8, with overflow-checked size arithmetic.
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/dtype.h"

namespace gpunn {

inline constexpr int kMaxRank = 8;

/// a * b and a + b for sizes >= 0; throw InvalidArgument on overflow of 64 bits.
GPUNN_API std::int64_t checked_mul(std::int64_t a, std::int64_t b);
GPUNN_API std::int64_t checked_add(std::int64_t a, std::int64_t b);

/// Up to eight 64-bit extents (or strides), stored inline.
class GPUNN_API Dims {
 public:
  Dims() = default;
  /// Throws InvalidArgument when there are more than kMaxRank values.
  Dims(std::initializer_list<std::int64_t> values) : Dims(std::span(values.begin(), values.size())) {}
  explicit Dims(std::span<const std::int64_t> values);
  explicit Dims(const std::vector<std::int64_t>& values) : Dims(std::span<const std::int64_t>(values)) {}
  /// `rank` copies of `value`.
  static Dims filled(int rank, std::int64_t value);

  int rank() const noexcept { return rank_; }
  bool empty() const noexcept { return rank_ == 0; }
  std::int64_t operator[](int i) const noexcept { return values_[static_cast<std::size_t>(i)]; }
  std::int64_t& operator[](int i) noexcept { return values_[static_cast<std::size_t>(i)]; }
  /// Like [] with negative indices counted from the end; throws InvalidArgument when out of range.
  std::int64_t at(int i) const;
  void push_back(std::int64_t value);
  const std::int64_t* data() const noexcept { return values_.data(); }
  const std::int64_t* begin() const noexcept { return values_.data(); }
  const std::int64_t* end() const noexcept { return values_.data() + rank_; }
  std::int64_t back() const noexcept { return values_[static_cast<std::size_t>(rank_ - 1)]; }
  bool operator==(const Dims& other) const noexcept;

  /// Product of the extents (1 for rank 0). Extents are validated when a Tensor is made, so this cannot
  /// overflow there.
  std::int64_t numel() const noexcept;

 private:
  std::array<std::int64_t, kMaxRank> values_{};
  int rank_ = 0;
};

using Shape = Dims;
using Strides = Dims;  // in elements

/// "[64, 784]"
GPUNN_API std::string to_string(const Dims& dims);

/// Throws InvalidArgument for negative extents or when numel * size_of(dtype) overflows; returns the bytes.
GPUNN_API std::size_t checked_bytes(const Shape& shape, DType dtype);
/// Row-major strides.
GPUNN_API Strides contiguous_strides(const Shape& shape) noexcept;
/// NHWC strides of a rank-4 NCHW shape.
GPUNN_API Strides channels_last_strides(const Shape& shape);
/// NumPy/PyTorch broadcasting; throws InvalidArgument naming both shapes.
GPUNN_API Shape broadcast_shapes(const Shape& a, const Shape& b);
/// Maps a possibly negative dimension into [0, rank); throws InvalidArgument.
GPUNN_API int normalize_dim(int dim, int rank);

}  // namespace gpunn
