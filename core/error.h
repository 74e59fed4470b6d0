#pragma once
// Errors of libgpunn: one hierarchy, one way to raise them.
//
// A message says where (module path and op), what was expected, what came and, where it helps, what to do:
//   [fc1: linear] expected input [*, 784], got [64, 783]
// The place comes from two thread-local scopes: LayerScope (opened by modules) and OpScope (opened by ops).
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "gpunn/core/api.h"

namespace gpunn {

/// Base of everything the library throws.
class GPUNN_API Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  ~Error() override;
};

/// A caller's value is not acceptable: wrong shape, dtype, device, option.
class GPUNN_API InvalidArgument : public Error {
 public:
  using Error::Error;
  ~InvalidArgument() override;
};

/// The request is well formed, but no implementation can serve it; the message lists each one's reason.
class GPUNN_API Unsupported : public Error {
 public:
  using Error::Error;
  ~Unsupported() override;
};

/// No memory for a request, after everything that could be given back was.
class GPUNN_API OutOfMemory : public Error {
 public:
  using Error::Error;
  ~OutOfMemory() override;
};

/// A CUDA call failed; `code()` is CUDA's number.
class GPUNN_API CudaError : public Error {
 public:
  CudaError(const std::string& message, int code) : Error(message), code_(code) {}
  ~CudaError() override;
  int code() const noexcept { return code_; }

 private:
  int code_;
};

/// A sticky CUDA error: the device context is gone; the message carries the first cause.
class GPUNN_API DeviceLost : public CudaError {
 public:
  using CudaError::CudaError;
  ~DeviceLost() override;
};

/// A file or data set is missing, damaged or not what it should be; the message names path and place.
class GPUNN_API DataError : public Error {
 public:
  using Error::Error;
  ~DataError() override;
};

/// Names a module while its forward runs. Nested scopes read "encoder.layer0.fc1". The name must outlive the
/// scope.
class GPUNN_API LayerScope {
 public:
  explicit LayerScope(std::string_view name) noexcept;
  ~LayerScope();
  LayerScope(const LayerScope&) = delete;
  LayerScope& operator=(const LayerScope&) = delete;
};

/// Names the op being run. `name` must be a literal (or outlive the scope). The outermost name wins in
/// messages.
class GPUNN_API OpScope {
 public:
  explicit OpScope(const char* name) noexcept;
  ~OpScope();
  OpScope(const OpScope&) = delete;
  OpScope& operator=(const OpScope&) = delete;

 private:
  const char* previous_;
};

/// Module path of the calling thread, "" outside any module.
GPUNN_API std::string layer_path();
/// Name of the op the calling thread is running, "" outside any op.
GPUNN_API const char* current_op() noexcept;
/// "[layer: op] " for messages, "" when neither is known.
GPUNN_API std::string where();

namespace detail {

// Message building without <iostream>: strings, characters, numbers, and types with an ADL `to_string`.
inline void append(std::string& out, std::string_view s) { out += s; }
inline void append(std::string& out, const char* s) { out += s; }
inline void append(std::string& out, const std::string& s) { out += s; }
inline void append(std::string& out, char c) { out += c; }
inline void append(std::string& out, bool b) { out += b ? "true" : "false"; }
GPUNN_API void append_double(std::string& out, double value);

template <class T>
void append(std::string& out, const T& value) {
  if constexpr (std::is_floating_point_v<T>) {
    append_double(out, static_cast<double>(value));
  } else if constexpr (std::is_arithmetic_v<T>) {
    out += std::to_string(value);
  } else {
    out += to_string(value);
  }
}

template <class... Args>
std::string concat(const Args&... args) {
  std::string out;
  (append(out, args), ...);
  return out;
}

[[noreturn]] GPUNN_API void throw_invalid(const std::string& message);
[[noreturn]] GPUNN_API void throw_unsupported(const std::string& message);
[[noreturn]] GPUNN_API void throw_data(const std::string& message);

}  // namespace detail
}  // namespace gpunn

/// Raises InvalidArgument "[layer: op] …" unless `cond`. Active in every build: it guards trust boundaries.
#define GPUNN_CHECK(cond, ...)                                              \
  do {                                                                      \
    if (!(cond)) [[unlikely]]                                               \
      ::gpunn::detail::throw_invalid(::gpunn::detail::concat(__VA_ARGS__)); \
  } while (0)
