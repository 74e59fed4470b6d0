#pragma once
// How references read and write: any floating dtype through double. A load widens exactly; a store rounds
// once (through float for the half types). Slow on purpose: one switch per element keeps a reference to the
// lines of its formula.
#include <cstdint>

#include "gpunn/core/dtype.h"

namespace gpunn {

/// Element `i` of a floating buffer.
inline double load_ref(const void* data, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return static_cast<double>(static_cast<const float*>(data)[i]);
    case DType::f16:
      return static_cast<double>(static_cast<float>(static_cast<const Half*>(data)[i]));
    case DType::bf16:
      return static_cast<double>(static_cast<float>(static_cast<const BFloat16*>(data)[i]));
    default:
      return static_cast<const double*>(data)[i];
  }
}

/// Rounds `value` to `dtype` and writes it as element `i`.
inline void store_ref(void* data, DType dtype, std::int64_t i, double value) {
  switch (dtype) {
    case DType::f32:
      static_cast<float*>(data)[i] = static_cast<float>(value);
      break;
    case DType::f16:
      static_cast<Half*>(data)[i] = Half(static_cast<float>(value));
      break;
    case DType::bf16:
      static_cast<BFloat16*>(data)[i] = BFloat16(static_cast<float>(value));
      break;
    default:
      static_cast<double*>(data)[i] = value;
      break;
  }
}

/// A buffer to read: `x[i]` is a double.
class RefIn {
 public:
  RefIn(const void* data, DType dtype) : data_(data), dtype_(dtype) {}
  double operator[](std::int64_t i) const { return load_ref(data_, dtype_, i); }

 private:
  const void* data_;
  DType dtype_;
};

/// A buffer to write: `y.set(i, v)`; `y[i]` reads back what was rounded.
class RefOut {
 public:
  RefOut(void* data, DType dtype) : data_(data), dtype_(dtype) {}
  void set(std::int64_t i, double value) const { store_ref(data_, dtype_, i, value); }
  double operator[](std::int64_t i) const { return load_ref(data_, dtype_, i); }

 private:
  void* data_;
  DType dtype_;
};

}  // namespace gpunn
