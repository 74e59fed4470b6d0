// Putting descriptors together. Every one is set, made final and never changed again; what an operation does
// (its precision, its mode) is a descriptor beside the operation.
#include "gpunn/core/error.h"
#include "gpunn/kernels/attention/cudnn_graph_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kAlignment = 16;  // of tensors, in bytes
constexpr std::size_t kMostEngines = 16;

CudnnExtents packed(const CudnnExtents& s) { return {s[1] * s[2] * s[3], s[2] * s[3], s[3], 1}; }

}  // namespace

void check_cudnn(const CudnnGraphs& library, CudnnStatus status, const char* call) {
  if (status == kCudnnSuccess) return;
  throw CudaError(concat("[", where(), "] ", call, " failed: ", library.error_string(status),
                         " (cuDNN status ", status, ")"),
                  status);
}

CudnnDescriptor CudnnGraph::make(int kind) {
  owned_.push_back(std::make_unique<Owned>(l_.descriptor_destroy));
  check_cudnn(l_, l_.descriptor_create(kind, owned_.back()->out()), "cudnnBackendCreateDescriptor");
  return owned_.back()->get();
}

void CudnnGraph::finalize(CudnnDescriptor d, const char* what) const {
  check_cudnn(l_, l_.finalize(d), what);
}

void CudnnGraph::set_all(CudnnDescriptor d, int attribute, int type, std::size_t count,
                         const void* values) const {
  check_cudnn(l_, l_.set(d, attribute, type, static_cast<std::int64_t>(count), values),
              "cudnnBackendSetAttribute");
}

CudnnGraph::Tensor CudnnGraph::tensor(Tensor t, bool is_virtual, bool by_value) {
  CudnnDescriptor d = t.descriptor = make(kCudnnTensorKind);
  set(d, kCudnnTensorId, kCudnnTypeInt64, t.id);
  set(d, kCudnnTensorDtype, kCudnnTypeDtype, t.dtype);
  set_all(d, kCudnnTensorSizes, kCudnnTypeInt64, t.sizes.size(), t.sizes.data());
  set_all(d, kCudnnTensorStrides, kCudnnTypeInt64, t.strides.size(), t.strides.data());
  set(d, kCudnnTensorAlignment, kCudnnTypeInt64, kAlignment);
  set(d, kCudnnTensorVirtual, kCudnnTypeBool, is_virtual);
  set(d, kCudnnTensorByValue, kCudnnTypeBool, by_value);
  finalize(d, "cudnnBackendFinalize of a tensor");
  return t;
}

CudnnGraph::Tensor CudnnGraph::memory(std::int64_t id, int dtype, const CudnnExtents& sizes,
                                      const CudnnExtents& strides) {
  return tensor({id, dtype, sizes, strides, nullptr}, false, false);
}
CudnnGraph::Tensor CudnnGraph::number(std::int64_t id, int dtype) {
  return tensor({id, dtype, {1, 1, 1, 1}, {1, 1, 1, 1}, nullptr}, false, true);
}
CudnnGraph::Tensor CudnnGraph::inner(int dtype, const CudnnExtents& sizes) {
  return inner(dtype, sizes, packed(sizes));
}
CudnnGraph::Tensor CudnnGraph::inner(int dtype, const CudnnExtents& sizes, const CudnnExtents& strides) {
  return tensor({next_++, dtype, sizes, strides, nullptr}, true, false);
}

void CudnnGraph::matmul(const Tensor& a, const Tensor& b, const Tensor& c) {
  CudnnDescriptor what = make(kCudnnMatmulKind);
  set(what, kCudnnMatmulPrecision, kCudnnTypeDtype, int{kCudnnFloat});
  finalize(what, "cudnnBackendFinalize of a product");
  CudnnDescriptor d = make(kCudnnMatmulOperation);
  set(d, kCudnnMatmulA, kCudnnTypeDescriptor, a.descriptor);
  set(d, kCudnnMatmulB, kCudnnTypeDescriptor, b.descriptor);
  set(d, kCudnnMatmulC, kCudnnTypeDescriptor, c.descriptor);
  set(d, kCudnnMatmulOf, kCudnnTypeDescriptor, what);
  finalize(d, "cudnnBackendFinalize of a product's operation");
  operations_.push_back(d);
}

/// `axis`: -1 for none.
void CudnnGraph::operation(CudnnPointwise mode, int precision, std::int64_t axis, const Tensor& x,
                           const Tensor* b, const Tensor* t, const Tensor& y) {
  CudnnDescriptor what = make(kCudnnPointwiseKind);
  set(what, kCudnnPointwiseMode, kCudnnTypePointwise, int{mode});
  set(what, kCudnnPointwisePrecision, kCudnnTypeDtype, precision);
  if (axis >= 0) set(what, kCudnnPointwiseAxis, kCudnnTypeInt64, axis);
  finalize(what, "cudnnBackendFinalize of a function");
  CudnnDescriptor d = make(kCudnnPointwiseOperation);
  set(d, kCudnnPointwiseOf, kCudnnTypeDescriptor, what);
  set(d, kCudnnPointwiseX, kCudnnTypeDescriptor, x.descriptor);
  if (b) set(d, kCudnnPointwiseB, kCudnnTypeDescriptor, b->descriptor);
  if (t) set(d, kCudnnPointwiseT, kCudnnTypeDescriptor, t->descriptor);
  set(d, kCudnnPointwiseY, kCudnnTypeDescriptor, y.descriptor);
  finalize(d, "cudnnBackendFinalize of a function's operation");
  operations_.push_back(d);
}

void CudnnGraph::pointwise(CudnnPointwise mode, const Tensor& x, const Tensor* b, const Tensor& y) {
  operation(mode, kCudnnFloat, -1, x, b, nullptr, y);
}
CudnnGraph::Tensor CudnnGraph::pointwise(CudnnPointwise mode, const Tensor& x, const Tensor* b) {
  const Tensor y = inner(kCudnnFloat, x.sizes);
  pointwise(mode, x, b, y);
  return y;
}
CudnnGraph::Tensor CudnnGraph::integers(CudnnPointwise mode, const Tensor& x, const Tensor& b) {
  const Tensor y = inner(kCudnnInt32, x.sizes);
  operation(mode, kCudnnInt32, -1, x, &b, nullptr, y);
  return y;
}
CudnnGraph::Tensor CudnnGraph::index(const Tensor& x, std::int64_t axis) {
  const Tensor y = inner(kCudnnInt32, x.sizes);
  operation(kCudnnIndex, kCudnnFloat, axis, x, nullptr, nullptr, y);
  return y;
}
CudnnGraph::Tensor CudnnGraph::compare(CudnnPointwise mode, const Tensor& x, const Tensor& b) {
  const Tensor y = inner(kCudnnBoolean, x.sizes);
  operation(mode, kCudnnBoolean, -1, x, &b, nullptr, y);
  return y;
}
CudnnGraph::Tensor CudnnGraph::select(const Tensor& condition, const Tensor& x, const Tensor& otherwise) {
  const Tensor y = inner(kCudnnFloat, x.sizes);
  operation(kCudnnSelect, kCudnnFloat, -1, x, &otherwise, &condition, y);
  return y;
}

void CudnnGraph::reduce(CudnnReduction mode, const Tensor& x, const Tensor& y) {
  CudnnDescriptor what = make(kCudnnReductionKind);
  set(what, kCudnnReductionMode, kCudnnTypeReduction, int{mode});
  set(what, kCudnnReductionPrecision, kCudnnTypeDtype, int{kCudnnFloat});
  finalize(what, "cudnnBackendFinalize of a reduction");
  CudnnDescriptor d = make(kCudnnReductionOperation);
  set(d, kCudnnReductionX, kCudnnTypeDescriptor, x.descriptor);
  set(d, kCudnnReductionY, kCudnnTypeDescriptor, y.descriptor);
  set(d, kCudnnReductionOf, kCudnnTypeDescriptor, what);
  finalize(d, "cudnnBackendFinalize of a reduction's operation");
  operations_.push_back(d);
}

CudnnGraph::Tensor CudnnGraph::transposed(const Tensor& x, int dtype) {
  const Tensor y = inner(dtype, {x.sizes[0], x.sizes[1], x.sizes[3], x.sizes[2]},
                         {x.strides[0], x.strides[1], x.strides[3], x.strides[2]});
  CudnnDescriptor d = make(kCudnnReshapeOperation);
  set(d, kCudnnReshapeX, kCudnnTypeDescriptor, x.descriptor);
  set(d, kCudnnReshapeY, kCudnnTypeDescriptor, y.descriptor);
  finalize(d, "cudnnBackendFinalize of a transposition");
  operations_.push_back(d);
  return y;
}

CudnnPlan::CudnnPlan(const CudnnGraphs& library, CudnnHandle handle, std::unique_ptr<CudnnGraph> graph,
                     std::size_t most_workspace)
    : l_(library), graph_(std::move(graph)) {
  CudnnDescriptor d = graph_->make(kCudnnGraphKind);
  graph_->set(d, kCudnnGraphHandle, kCudnnTypeHandle, handle);
  graph_->set_all(d, kCudnnGraphOperations, kCudnnTypeDescriptor, graph_->operations_.size(),
                  graph_->operations_.data());
  const CudnnStatus status = l_.finalize(d);  // where a graph may be none that the library knows at all
  refusal_ = "knows no deterministic engine for it that is content with the workspace";
  if (cudnn_not_supported(status)) return;
  check_cudnn(l_, status, "cudnnBackendFinalize of the graph");
  if (try_heuristics(handle, d, kCudnnHeuristicsBest, most_workspace) ||
      try_heuristics(handle, d, kCudnnHeuristicsFallback, most_workspace))
    refusal_.clear();
}

bool CudnnPlan::try_heuristics(CudnnHandle handle, CudnnDescriptor graph, CudnnHeuristics mode,
                               std::size_t most_workspace) {
  CudnnDescriptor d = graph_->make(kCudnnHeuristicsKind);
  graph_->set(d, kCudnnHeuristicsGraph, kCudnnTypeDescriptor, graph);
  graph_->set(d, kCudnnHeuristicsMode, kCudnnTypeHeuristics, int{mode});
  const CudnnStatus status = l_.finalize(d);
  if (cudnn_not_supported(status)) return false;
  check_cudnn(l_, status, "cudnnBackendFinalize of the heuristics");
  // The library leaves out engines that fail its own check, which may take a compilation each.
  std::array<CudnnDescriptor, kMostEngines> configs{};
  for (CudnnDescriptor& config : configs) config = graph_->make(kCudnnEngineConfigKind);
  std::int64_t count = 0;
  check_cudnn(
      l_, l_.get(d, kCudnnHeuristicsResults, kCudnnTypeDescriptor, configs.size(), &count, configs.data()),
      "cudnnBackendGetAttribute of the engines");
  for (std::size_t i = 0; i < configs.size() && static_cast<std::int64_t>(i) < count; ++i)
    if (is_deterministic(configs[i]) && try_engine(handle, configs[i], most_workspace)) return true;
  return false;
}

bool CudnnPlan::is_deterministic(CudnnDescriptor config) {
  CudnnDescriptor engine = graph_->make(kCudnnEngineKind);
  std::int64_t count = 0;
  check_cudnn(l_, l_.get(config, kCudnnConfigEngine, kCudnnTypeDescriptor, 1, &count, &engine),
              "cudnnBackendGetAttribute of an engine");
  std::array<int, kCudnnNotes> notes{};
  check_cudnn(l_, l_.get(engine, kCudnnEngineNotes, kCudnnTypeNote, kCudnnNotes, &count, notes.data()),
              "cudnnBackendGetAttribute of an engine's notes");
  for (std::size_t i = 0; i < notes.size() && static_cast<std::int64_t>(i) < count; ++i)
    if (notes[i] == kCudnnNondeterministic) return false;
  return true;
}

bool CudnnPlan::try_engine(CudnnHandle handle, CudnnDescriptor config, std::size_t most_workspace) {
  CudnnDescriptor d = graph_->make(kCudnnPlanKind);
  graph_->set(d, kCudnnPlanHandle, kCudnnTypeHandle, handle);
  graph_->set(d, kCudnnPlanConfig, kCudnnTypeDescriptor, config);
  const CudnnStatus status = l_.finalize(d);
  if (cudnn_not_supported(status)) return false;
  check_cudnn(l_, status, "cudnnBackendFinalize of a plan");
  std::int64_t bytes = 0, count = 0;
  check_cudnn(l_, l_.get(d, kCudnnPlanWorkspace, kCudnnTypeInt64, 1, &count, &bytes),
              "cudnnBackendGetAttribute of the workspace");
  if (bytes < 0 || static_cast<std::size_t>(bytes) > most_workspace) return false;
  plan_ = d;
  workspace_ = static_cast<std::size_t>(bytes);
  return true;
}

void CudnnPlan::run(CudnnHandle handle, std::span<const std::int64_t> ids, std::span<void* const> pointers,
                    void* workspace) const {
  // A pack lasts for a call: descriptors cannot be set anew, and execution copies what it needs.
  OwnedHandle<CudnnDescriptor, CudnnStatus> pack(l_.descriptor_destroy);
  check_cudnn(l_, l_.descriptor_create(kCudnnPackKind, pack.out()), "cudnnBackendCreateDescriptor");
  const CudnnDescriptor d = pack.get();
  graph_->set_all(d, kCudnnPackIds, kCudnnTypeInt64, ids.size(), ids.data());
  graph_->set_all(d, kCudnnPackPointers, kCudnnTypePointer, pointers.size(), pointers.data());
  graph_->set(d, kCudnnPackWorkspace, kCudnnTypePointer, workspace);
  graph_->finalize(d, "cudnnBackendFinalize of the operands");
  check_cudnn(l_, l_.execute(handle, plan_, d), "cudnnBackendExecute");
}

}  // namespace gpunn::detail
