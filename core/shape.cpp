#include "gpunn/core/shape.h"

#include <algorithm>
#include <limits>

#include "gpunn/core/error.h"

namespace gpunn {

std::int64_t checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t product;
  GPUNN_CHECK(!__builtin_mul_overflow(a, b, &product), "size ", a, " x ", b, " does not fit 64 bits");
  return product;
}

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t total;
  GPUNN_CHECK(!__builtin_add_overflow(a, b, &total), "size ", a, " + ", b, " does not fit 64 bits");
  return total;
}

Dims::Dims(std::span<const std::int64_t> values) : rank_(static_cast<int>(values.size())) {
  GPUNN_CHECK(values.size() <= static_cast<std::size_t>(kMaxRank), "expected at most ", kMaxRank,
              " dimensions, got ", values.size());
  std::copy(values.begin(), values.end(), values_.begin());
}

Dims Dims::filled(int rank, std::int64_t value) {
  Dims d;
  for (int i = 0; i < rank; ++i) d.push_back(value);
  return d;
}

std::int64_t Dims::at(int i) const { return (*this)[normalize_dim(i, rank_)]; }

void Dims::push_back(std::int64_t value) {
  GPUNN_CHECK(rank_ < kMaxRank, "expected at most ", kMaxRank, " dimensions");
  values_[static_cast<std::size_t>(rank_++)] = value;
}

bool Dims::operator==(const Dims& other) const noexcept {
  return rank_ == other.rank_ && std::equal(begin(), end(), other.begin());
}

std::int64_t Dims::numel() const noexcept {
  std::int64_t n = 1;
  for (const std::int64_t extent : *this) n *= extent;
  return n;
}

std::string to_string(const Dims& dims) {
  std::string out = "[";
  for (int i = 0; i < dims.rank(); ++i) out += (i ? ", " : "") + std::to_string(dims[i]);
  return out + "]";
}

std::size_t checked_bytes(const Shape& shape, DType dtype) {
  // A zero anywhere makes the tensor empty, but the other extents must still multiply without overflow:
  // strides use them.
  std::int64_t n = static_cast<std::int64_t>(size_of(dtype));
  bool empty = false;
  for (const std::int64_t extent : shape) {
    const bool fits = extent >= 0 && !__builtin_mul_overflow(n, std::max<std::int64_t>(extent, 1), &n);
    GPUNN_CHECK(fits, "expected extents >= 0 whose product in bytes fits 64 bits, got ", shape, " of ",
                dtype);
    empty = empty || extent == 0;
  }
  return empty ? 0 : static_cast<std::size_t>(n);
}

Strides contiguous_strides(const Shape& shape) noexcept {
  Strides strides = shape;
  std::int64_t step = 1;
  for (int i = shape.rank() - 1; i >= 0; --i) {
    strides[i] = step;
    step *= std::max<std::int64_t>(shape[i], 1);
  }
  return strides;
}

Strides channels_last_strides(const Shape& shape) {
  GPUNN_CHECK(shape.rank() == 4, "expected a shape [N, C, H, W] for channels-last, got ", shape);
  const std::int64_t c = std::max<std::int64_t>(shape[1], 1), w = std::max<std::int64_t>(shape[3], 1);
  return {std::max<std::int64_t>(shape[2], 1) * w * c, 1, w * c, c};
}

Shape broadcast_shapes(const Shape& a, const Shape& b) {
  Shape out = Dims::filled(std::max(a.rank(), b.rank()), 1);
  for (int i = 1; i <= out.rank(); ++i) {
    const std::int64_t ea = i <= a.rank() ? a[a.rank() - i] : 1;
    const std::int64_t eb = i <= b.rank() ? b[b.rank() - i] : 1;
    GPUNN_CHECK(ea == eb || ea == 1 || eb == 1, "expected shapes that broadcast, got ", a, " and ", b);
    out[out.rank() - i] = ea == 1 ? eb : ea;
  }
  return out;
}

int normalize_dim(int dim, int rank) {
  GPUNN_CHECK(dim >= -rank && dim < rank, "expected a dimension in [", -rank, ", ", rank, "), got ", dim);
  return dim < 0 ? dim + rank : dim;
}

}  // namespace gpunn
