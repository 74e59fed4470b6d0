#pragma once
// Tensor: a cheap handle to (storage, shape, strides, dtype, autograd slot). Copies and views share storage.
//
// Views (reshape, transpose, narrow, …) and the three primitives of core (fill, strided copy with conversion,
// add) are here; every other op is a free function in kernels/. There is no promotion: operands of an op have
// one dtype, and a differing one is an error that names `.to()`. One tensor may be used from one thread at a
// time.
#include <atomic>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/dtype.h"
#include "gpunn/core/error.h"
#include "gpunn/core/shape.h"
#include "gpunn/core/storage.h"

namespace gpunn {

class Node;
struct AutogradSlot;

/// Memory order of a tensor; a field, never guessed from strides.
enum class Layout : std::uint8_t { contiguous, channels_last, strided };

/// What factories make. `device` defaults to default_device().
struct TensorOptions {
  DType dtype = DType::f32;
  std::optional<Device> device{};
  bool requires_grad = false;
};

/// The shared state of tensor handles. Internal; ops reach it through Tensor.
struct GPUNN_API TensorImpl {
  Ref<Storage> storage;
  Shape shape;
  Strides strides;          // elements
  std::int64_t offset = 0;  // elements from the storage's start
  DType dtype = DType::f32;
  Layout layout = Layout::contiguous;
  std::unique_ptr<AutogradSlot> autograd;  // null until gradients concern it

  TensorImpl();
  ~TensorImpl();
  void retain() noexcept { references.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  std::atomic<std::uint32_t> references{1};
};

class GPUNN_API Tensor {
 public:
  /// An undefined tensor: `defined()` is false, everything else throws InvalidArgument.
  Tensor() = default;
  explicit Tensor(Ref<TensorImpl> impl) noexcept : impl_(std::move(impl)) {}

  /// Copies host values into a new tensor of `shape`; sizes must agree.
  template <class T>
  static Tensor from(std::span<const T> values, const Shape& shape, TensorOptions options = {}) {
    return from_host(values.data(), static_cast<std::int64_t>(values.size()), dtype_of<T>, shape, options);
  }
  template <class T>
  static Tensor from(const std::vector<T>& values, const Shape& shape, TensorOptions options = {}) {
    return from(std::span<const T>(values), shape, options);
  }
  /// A one-dimensional f32 tensor, or a two-dimensional one from rows of equal length.
  static Tensor from(std::initializer_list<float> values);
  static Tensor from(std::initializer_list<std::initializer_list<float>> rows);

  bool defined() const noexcept { return static_cast<bool>(impl_); }
  const Shape& shape() const { return impl().shape; }
  const Strides& strides() const { return impl().strides; }
  DType dtype() const { return impl().dtype; }
  Layout layout() const { return impl().layout; }
  Device device() const { return Device(context()); }
  /// The device its ops run on: the storage's, but the CPU for pinned host memory.
  DeviceContext& context() const {
    const Storage& s = *impl().storage;
    return s.place() == Storage::Place::device ? s.context() : host_context(s);
  }
  int dim() const { return shape().rank(); }
  /// Extent of dimension `i`; negative counts from the end.
  std::int64_t size(int i) const { return shape().at(i); }
  std::int64_t numel() const { return shape().numel(); }
  std::size_t nbytes() const { return static_cast<std::size_t>(numel()) * size_of(dtype()); }
  /// Row-major without gaps.
  bool is_contiguous() const { return impl().layout == Layout::contiguous; }
  bool is_same(const Tensor& other) const noexcept { return impl_ == other.impl_; }

  /// Address of the first element on its device; does not wait for pending work. For ops.
  void* data() const {
    const TensorImpl& t = impl();
    return static_cast<char*>(t.storage->data()) + t.offset * static_cast<std::int64_t>(size_of(t.dtype));
  }
  /// Typed host address. Throws InvalidArgument for a device tensor or another dtype; waits for copies that
  /// use it.
  template <class T>
  T* host() const {
    return static_cast<T*>(host_data(dtype_of<T>));
  }
  /// The only element, converted. Throws InvalidArgument unless numel() is 1; waits for the device.
  double item() const;
  /// All elements in row-major order, on the host.
  template <class T>
  std::vector<T> to_vector() const;
  Storage& storage() const { return *impl().storage; }

  // ---- copies
  /// This tensor on `device` (itself when it is there already). Differentiable. `non_blocking` lets a copy
  /// from pinned memory return before it has run.
  Tensor to(Device device, bool non_blocking = false) const;
  /// This tensor in another dtype (itself when it has it). Differentiable between floating dtypes. Halves
  /// round to nearest even; float to integer truncates toward zero.
  Tensor to(DType dtype) const;
  /// A new contiguous tensor with the same values. Differentiable.
  Tensor clone() const;
  /// Itself when it has that memory order, else a copy in it. Differentiable. Throws InvalidArgument for
  /// Layout::strided, and for Layout::channels_last unless the rank is 4.
  Tensor contiguous(Layout layout = Layout::contiguous) const;
  /// A host copy that device copies can read asynchronously.
  Tensor pin_memory(Device device) const;

  // ---- views (share storage; differentiable)
  /// One extent may be -1. Copies only when strides do not allow a view.
  Tensor reshape(const Shape& shape) const;
  /// Like reshape, but throws InvalidArgument when a copy would be needed.
  Tensor view(const Shape& shape) const;
  Tensor flatten(int start_dim = 0, int end_dim = -1) const;
  Tensor permute(const Dims& order) const;
  Tensor transpose(int a, int b) const;
  /// Transpose of a matrix.
  Tensor t() const;
  Tensor squeeze(int dim) const;
  Tensor unsqueeze(int dim) const;
  /// Elements [start, start + length) along `dim`.
  Tensor narrow(int dim, std::int64_t start, std::int64_t length) const;
  /// Index `index` of `dim`; the dimension disappears.
  Tensor select(int dim, std::int64_t index) const;

  // ---- in place (throw Unsupported on a tensor that needs a gradient unless under NoGrad)
  void fill_(double value) const;
  void zero_() const { fill_(0); }
  /// Copies `source` (same shape; any dtype, strides; any device) into this tensor.
  void copy_(const Tensor& source) const;

  // ---- autograd
  bool requires_grad() const noexcept;
  /// Marks a leaf. Throws InvalidArgument for integers and for results of recorded ops.
  const Tensor& requires_grad_(bool on = true) const;
  bool is_leaf() const noexcept;
  /// The gradient, undefined until written by backward.
  Tensor grad() const;
  void set_grad(const Tensor& grad) const;
  void zero_grad() const { set_grad({}); }
  /// Runs backward from this tensor. `gradient` defaults to one for a single element.
  void backward(const Tensor& gradient = {}, bool retain_graph = false, bool create_graph = false) const;
  /// Same values and storage, no gradient history.
  Tensor detach() const;

  TensorImpl& impl() const {
    if (!impl_) [[unlikely]]
      undefined();
    return *impl_;
  }
  const Ref<TensorImpl>& ref() const noexcept { return impl_; }

 private:
  [[noreturn]] static void undefined();
  static DeviceContext& host_context(const Storage& pinned);
  static Tensor from_host(const void* values, std::int64_t count, DType dtype, const Shape& shape,
                          const TensorOptions& options);
  void* host_data(DType dtype) const;
  void copy_to_host(void* destination, DType dtype) const;

  Ref<TensorImpl> impl_;
};

template <class T>
std::vector<T> Tensor::to_vector() const {
  std::vector<T> out(static_cast<std::size_t>(numel()));
  copy_to_host(out.data(), dtype_of<T>);
  return out;
}

// ---- factories. Throw InvalidArgument for negative or overflowing shapes, OutOfMemory.
GPUNN_API Tensor empty(const Shape& shape, TensorOptions options = {});
GPUNN_API Tensor full(const Shape& shape, double value, TensorOptions options = {});
GPUNN_API Tensor zeros(const Shape& shape, TensorOptions options = {});
GPUNN_API Tensor ones(const Shape& shape, TensorOptions options = {});
/// Uninitialised, contiguous, same shape, dtype and device.
GPUNN_API Tensor empty_like(const Tensor& like);
GPUNN_API Tensor zeros_like(const Tensor& like);
GPUNN_API Tensor ones_like(const Tensor& like);
/// Fast path for ops: contiguous result on a context, shape known to be valid.
GPUNN_API Tensor empty_on(DeviceContext& context, const Shape& shape, DType dtype);
/// The same in contiguous or channels-last order; the latter needs rank 4, which is not checked.
GPUNN_API Tensor empty_on(DeviceContext& context, const Shape& shape, DType dtype, Layout layout);
/// Uniform [0,1) and standard normal f32 values, drawn on the CPU from the Runtime's generator: equal on
/// every device.
GPUNN_API Tensor rand(const Shape& shape, TensorOptions options = {});
GPUNN_API Tensor randn(const Shape& shape, TensorOptions options = {});

/// {"fc1.weight", tensor}: what state dicts and files hold.
using NamedTensor = std::pair<std::string, Tensor>;

/// Shape, dtype, device and (for small tensors) the values.
GPUNN_API std::string to_string(const Tensor& tensor);

namespace detail {
/// A view without gradient history; strides and offset in elements, offset relative to `base`.
GPUNN_API Tensor raw_view(const Tensor& base, const Shape& shape, const Strides& strides,
                          std::int64_t offset);
/// a + b for tensors of one shape, dtype and device, without gradient history (the graph walk's own
/// addition).
GPUNN_API Tensor raw_add(const Tensor& a, const Tensor& b);
/// a += b in place, likewise.
GPUNN_API void raw_add_(const Tensor& a, const Tensor& b);
}  // namespace detail

}  // namespace gpunn
