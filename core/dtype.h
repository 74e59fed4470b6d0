#pragma once
// Element types of tensors, and half-precision storage types for host code.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/core/float16.h"

namespace gpunn {

/// Element type. f64 is meant for the reference; half types compute through float.
enum class DType : std::uint8_t { f32, f64, f16, bf16, i32, i64, u8, boolean };

inline constexpr int kDTypeCount = 8;

/// Bytes of one element.
constexpr std::size_t size_of(DType t) {
  constexpr std::size_t sizes[kDTypeCount] = {4, 8, 2, 2, 4, 8, 1, 1};
  return sizes[static_cast<int>(t)];
}

constexpr bool is_floating(DType t) { return t <= DType::bf16; }

/// "f32", "bf16", "bool", …
GPUNN_API const char* name_of(DType t) noexcept;
/// Inverse of name_of; also takes PyTorch's names ("float32", "bfloat16"). Throws InvalidArgument.
GPUNN_API DType parse_dtype(std::string_view name);
inline std::string to_string(DType t) { return name_of(t); }

/// The DType of a C++ element type.
template <class T>
struct DTypeOf;
template <>
struct DTypeOf<float> {
  static constexpr DType value = DType::f32;
};
template <>
struct DTypeOf<double> {
  static constexpr DType value = DType::f64;
};
template <>
struct DTypeOf<Half> {
  static constexpr DType value = DType::f16;
};
template <>
struct DTypeOf<BFloat16> {
  static constexpr DType value = DType::bf16;
};
template <>
struct DTypeOf<std::int32_t> {
  static constexpr DType value = DType::i32;
};
template <>
struct DTypeOf<std::int64_t> {
  static constexpr DType value = DType::i64;
};
template <>
struct DTypeOf<std::uint8_t> {
  static constexpr DType value = DType::u8;
};
template <>
struct DTypeOf<bool> {
  static constexpr DType value = DType::boolean;
};
template <class T>
inline constexpr DType dtype_of = DTypeOf<T>::value;

/// Calls `f(T{})` with the C++ type of a floating dtype; throws nothing, other dtypes return false.
template <class F>
bool visit_floating(DType t, F&& f) {
  switch (t) {
    case DType::f32:
      f(float{});
      return true;
    case DType::f64:
      f(double{});
      return true;
    case DType::f16:
      f(Half{});
      return true;
    case DType::bf16:
      f(BFloat16{});
      return true;
    default:
      return false;
  }
}

/// Calls `f(T{})` with the C++ type of any dtype.
template <class F>
void visit_dtype(DType t, F&& f) {
  if (visit_floating(t, f)) return;
  switch (t) {
    case DType::i32:
      f(std::int32_t{});
      break;
    case DType::i64:
      f(std::int64_t{});
      break;
    case DType::u8:
      f(std::uint8_t{});
      break;
    default:
      f(bool{});
      break;
  }
}

}  // namespace gpunn
