#pragma once
// A graph of operations put together from cuDNN's descriptors, and the plan that the library makes of it.
#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpunn/kernels/attention/cudnn_graph_api_impl.h"
#include "gpunn/kernels/common/owned_handle_impl.h"

namespace gpunn::detail {

/// Throws CudaError with the library's text and `call` unless `status` is success.
void check_cudnn(const CudnnGraphs& library, CudnnStatus status, const char* call);

using CudnnExtents = std::array<std::int64_t, 4>;

/// Descriptors are kept until the end: what the library copies of them is its secret.
class CudnnGraph {
 public:
  /// A tensor of four dimensions. `id` is its name in a pack and unique.
  struct Tensor {
    std::int64_t id;
    int dtype;
    CudnnExtents sizes, strides;
    CudnnDescriptor descriptor;
  };

  explicit CudnnGraph(const CudnnGraphs& library) : l_(library) {}

  /// In memory that the call brings. All of these throw CudaError.
  Tensor memory(std::int64_t id, int dtype, const CudnnExtents& sizes, const CudnnExtents& strides);
  /// One number in host memory that the call brings.
  Tensor number(std::int64_t id, int dtype);
  /// A step on the way that need not be in memory; packed, of a new id from kFirstInner on.
  Tensor inner(int dtype, const CudnnExtents& sizes);
  Tensor inner(int dtype, const CudnnExtents& sizes, const CudnnExtents& strides);

  /// Sums and functions are computed in f32. Forms with an output as the last argument write into that.
  void matmul(const Tensor& a, const Tensor& b, const Tensor& c);
  void pointwise(CudnnPointwise mode, const Tensor& x, const Tensor* b, const Tensor& y);
  /// An inner tensor of x's sizes in f32.
  Tensor pointwise(CudnnPointwise mode, const Tensor& x, const Tensor* b = nullptr);
  /// Integers: x + b, x - b.
  Tensor integers(CudnnPointwise mode, const Tensor& x, const Tensor& b);
  /// Place of each element of x along an axis, i32.
  Tensor index(const Tensor& x, std::int64_t axis);
  Tensor compare(CudnnPointwise mode, const Tensor& x, const Tensor& b);
  Tensor select(const Tensor& condition, const Tensor& x, const Tensor& otherwise);
  void reduce(CudnnReduction mode, const Tensor& x, const Tensor& y);
  /// x with its last two dimensions exchanged, as `dtype`.
  Tensor transposed(const Tensor& x, int dtype);

  static constexpr std::int64_t kFirstInner = 100;

 private:
  friend class CudnnPlan;
  using Owned = OwnedHandle<CudnnDescriptor, CudnnStatus>;

  CudnnDescriptor make(int kind);
  void finalize(CudnnDescriptor d, const char* what) const;
  template <class T>
  void set(CudnnDescriptor d, int attribute, int type, const T& value) const {
    set_all(d, attribute, type, 1, &value);
  }
  void set_all(CudnnDescriptor d, int attribute, int type, std::size_t count, const void* values) const;
  Tensor tensor(Tensor t, bool is_virtual, bool by_value);
  void operation(CudnnPointwise mode, int precision, std::int64_t axis, const Tensor& x, const Tensor* b,
                 const Tensor* t, const Tensor& y);

  const CudnnGraphs& l_;
  std::vector<std::unique_ptr<Owned>> owned_;
  std::vector<CudnnDescriptor> operations_;
  std::int64_t next_ = kFirstInner;
};

/// A graph with the engine that runs it.
class CudnnPlan {
 public:
  /// Takes the first engine that the heuristics name, that promises equal bits and wants at most
  /// `most_workspace` bytes. Throws CudaError.
  CudnnPlan(const CudnnGraphs& library, CudnnHandle handle, std::unique_ptr<CudnnGraph> graph,
            std::size_t most_workspace);

  /// Empty, or why there is none.
  const std::string& refusal() const noexcept { return refusal_; }
  std::size_t workspace() const noexcept { return workspace_; }
  /// Runs it on the handle's stream. `pointers` are those of `ids`.
  void run(CudnnHandle handle, std::span<const std::int64_t> ids, std::span<void* const> pointers,
           void* workspace) const;

 private:
  bool try_heuristics(CudnnHandle handle, CudnnDescriptor graph, CudnnHeuristics mode,
                      std::size_t most_workspace);
  bool is_deterministic(CudnnDescriptor config);
  bool try_engine(CudnnHandle handle, CudnnDescriptor config, std::size_t most_workspace);

  const CudnnGraphs& l_;
  std::unique_ptr<CudnnGraph> graph_;
  CudnnDescriptor plan_ = nullptr;
  std::string refusal_;
  std::size_t workspace_ = 0;
};

}  // namespace gpunn::detail
