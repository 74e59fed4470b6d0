// Convolutions through cuDNN's descriptors.
//
// Channels last: cuDNN's kernels for that order want the filters in it too, while ours stay [K, C, R, S];
// they are copied into the workspace, and dw out of it. Filters are small beside pictures.
//
// Bias and ReLU are fused where the library can: both with any algorithm, a bias alone with the precomputed
// implicit product. Else the bias is written first and added to (beta 1), so that halves are rounded once all
// the same; and a ReLU afterwards is exact.
//
// Algorithms by FFT and by Winograd's method in separate passes are left out: they round within their
// transforms, beyond the bound of a sum of products that every entry answers to.
#include "gpunn/kernels/conv2d/cudnn_convolution_impl.h"

#include <algorithm>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/owned_handle_impl.h"

namespace gpunn::detail {
namespace {

using Kind = CudnnCall::Kind;

constexpr std::size_t kMostWorkspace = std::size_t{512} << 20;
constexpr std::size_t kAlignment = 256;  // of parts of the workspace
constexpr int kMostAlgorithms = 16;
constexpr float kOne = 1, kZero = 0;

[[noreturn]] void fail(const Cudnn& library, CudnnStatus status, const char* call) {
  throw CudaError(concat("[", where(), "] ", call, " failed: ", library.error_string(status),
                         " (cuDNN status ", status, ")"),
                  status);
}

template <class T>
using Owned = detail::OwnedHandle<T, CudnnStatus>;

int cudnn_dtype(DType dtype) {
  return dtype == DType::f16 ? kCudnnHalf : dtype == DType::bf16 ? kCudnnBFloat16 : kCudnnFloat;
}

/// Filters of one channel, or of one tap, are in both orders.
bool copies_filter(const Conv2dSizes& s) { return s.channels_last && s.C / s.groups > 1 && s.R * s.S > 1; }

/// FFT, and Winograd's method in separate passes.
bool rounds_within(Kind kind, int algorithm) {
  if (kind == Kind::forward)
    return algorithm == kCudnnForwardFft || algorithm == kCudnnForwardFftTiling ||
           algorithm == kCudnnForwardWinogradNonfused;
  if (kind == Kind::dx)
    return algorithm == kCudnnDataFft || algorithm == kCudnnDataFftTiling ||
           algorithm == kCudnnDataWinogradNonfused;
  return algorithm == kCudnnFilterFft || algorithm == kCudnnFilterFftTiling ||
         algorithm == kCudnnFilterWinogradNonfused;
}

bool is_good(const CudnnCall& call, const CudnnAlgorithm& a) {
  const bool exact =
      call.dtype != DType::f32 || call.tf32 || a.math == kCudnnFmaMath || a.math == kCudnnDefaultMath;
  return a.status == kCudnnSuccess && a.determinism == kCudnnDeterministic && a.memory <= kMostWorkspace &&
         exact && a.math != kCudnnConversionMath && !rounds_within(call.kind, a.algorithm);
}

std::int64_t out_extent(std::int64_t in, std::int64_t pad, std::int64_t dilation, std::int64_t window,
                        std::int64_t stride) {
  return (in + 2 * pad - dilation * (window - 1) - 1) / stride + 1;
}

}  // namespace

CudnnCall cudnn_call(const Conv2dProblem& p) {
  return {Kind::forward,
          p.dtype,
          p.sizes,
          const_cast<void*>(p.x),
          const_cast<void*>(p.w),
          p.y,
          p.has_bias ? p.bias : nullptr,
          p.relu,
          p.tf32};
}
CudnnCall cudnn_call(const Conv2dDxProblem& p) {
  return {Kind::dx,
          p.dtype,
          p.sizes,
          p.dx,
          const_cast<void*>(p.w),
          const_cast<void*>(p.dy),
          p.has_bias ? p.bias : nullptr,
          false,
          p.tf32};
}
CudnnCall cudnn_call(const Conv2dDwProblem& p) {
  return {Kind::dw, p.dtype, p.sizes, const_cast<void*>(p.x), p.dw, const_cast<void*>(p.dy),
          nullptr,  false,   p.tf32};
}

const char* cudnn_call_reason(const CudnnCall& call) {
  constexpr std::int64_t kMostElements = 0x7fffffff;
  const Conv2dSizes& s = call.sizes;
  if (const char* const why = device_dtype_reason(call.dtype)) return why;
  if (s.x_elements() > kMostElements || s.y_elements() > kMostElements || s.w_elements() > kMostElements)
    return "takes tensors of fewer than 2^31 elements";
  if (s.P != out_extent(s.H, s.pad_h, s.dilation_h, s.R, s.stride_h) ||
      s.Q != out_extent(s.W, s.pad_w, s.dilation_w, s.S, s.stride_w))
    return "takes as many zeros below and right as above and left";
  const auto together = reinterpret_cast<std::uintptr_t>(call.x) | reinterpret_cast<std::uintptr_t>(call.w) |
                        reinterpret_cast<std::uintptr_t>(call.y) |
                        reinterpret_cast<std::uintptr_t>(call.bias);
  return together % 16 == 0 ? nullptr : "takes tensors aligned to 16 bytes";
}

/// What is kept of a kind of problem.
struct CudnnConvolutions::Plan {
  explicit Plan(const Cudnn& l)
      : x(l.tensor_destroy),
        y(l.tensor_destroy),
        bias(l.tensor_destroy),
        w_plain(l.tensor_destroy),
        w_last(l.tensor_destroy),
        w(l.filter_destroy),
        window(l.window_destroy),
        activation(l.activation_destroy) {}

  Owned<CudnnTensor> x, y, bias;
  Owned<CudnnTensor> w_plain, w_last;  // only when the filter is copied
  Owned<CudnnFilter> w;
  Owned<CudnnWindow> window;
  Owned<CudnnActivation> activation;  // only with a bias or ReLU
  int algorithm = -1;                 // none
  bool fused = false;                 // bias and activation in the library's one call
  std::size_t filter_bytes = 0;       // of the copy, at the start of the workspace
  std::size_t bytes = 0;              // the algorithm's
};

/// Makes a plan.
class CudnnConvolutions::Planner {
 public:
  Planner(const Cudnn& library, CudnnHandle handle, const CudnnCall& call, Plan& plan)
      : l_(library), handle_(handle), call_(call), plan_(plan) {}

  void make() {
    describe();
    std::array<CudnnAlgorithm, kMostAlgorithms> found{};
    const int count = ask(found.data());
    const auto end = found.begin() + std::clamp(count, 0, kMostAlgorithms);
    const auto good = [&](const CudnnAlgorithm& a) { return is_good(call_, a); };
    auto chosen = std::find_if(found.begin(), end, good);
    if (call_.kind == Kind::forward && call_.bias) {
      // Without an activation only this one fuses.
      const auto precomputed = std::find_if(found.begin(), end, [&](const CudnnAlgorithm& a) {
        return good(a) && a.algorithm == kCudnnForwardPrecomputed;
      });
      plan_.fused = call_.relu || precomputed != end;
      if (!call_.relu && precomputed != end) chosen = precomputed;
    }
    if (chosen == end) return;
    // f32 stays with its products in f32, whatever the answer was computed for.
    if (call_.dtype != DType::f32 || call_.tf32)
      check(l_.window_set_math(plan_.window.get(), chosen->math), "cudnnSetConvolutionMathType");
    plan_.bytes = workspace_of(chosen->algorithm);
    if (plan_.bytes <= kMostWorkspace) plan_.algorithm = chosen->algorithm;
  }

 private:
  void check(CudnnStatus status, const char* call) const {
    if (status != kCudnnSuccess) fail(l_, status, call);
  }

  void tensor(Owned<CudnnTensor>& to, std::array<std::int64_t, 4> sizes, bool last) const {
    check(l_.tensor_create(to.out()), "cudnnCreateTensorDescriptor");
    const auto [n, c, h, w] = sizes;
    const std::array<std::int64_t, 4> strides = last ? std::array<std::int64_t, 4>{c * h * w, 1, w * c, c}
                                                     : std::array<std::int64_t, 4>{c * h * w, h * w, w, 1};
    int as_int[2][4];
    for (std::size_t i = 0; i < 4; ++i)
      as_int[0][i] = static_cast<int>(sizes[i]), as_int[1][i] = static_cast<int>(strides[i]);
    check(l_.tensor_set(to.get(), cudnn_dtype(call_.dtype), 4, as_int[0], as_int[1]),
          "cudnnSetTensorNdDescriptor");
  }

  void describe_window() const {
    const Conv2dSizes& s = call_.sizes;
    const auto two = [](std::int64_t h, std::int64_t w) {
      return std::array<int, 2>{static_cast<int>(h), static_cast<int>(w)};
    };
    check(l_.window_create(plan_.window.out()), "cudnnCreateConvolutionDescriptor");
    check(
        l_.window_set(plan_.window.get(), 2, two(s.pad_h, s.pad_w).data(), two(s.stride_h, s.stride_w).data(),
                      two(s.dilation_h, s.dilation_w).data(), kCudnnCrossCorrelation, kCudnnFloat),
        "cudnnSetConvolutionNdDescriptor");
    check(l_.window_set_groups(plan_.window.get(), static_cast<int>(s.groups)),
          "cudnnSetConvolutionGroupCount");
    const int math = call_.dtype == DType::f32 && !call_.tf32 ? kCudnnFmaMath : kCudnnTensorOpMath;
    check(l_.window_set_math(plan_.window.get(), math), "cudnnSetConvolutionMathType");
  }

  void describe() const {
    const Conv2dSizes& s = call_.sizes;
    tensor(plan_.x, {s.N, s.C, s.H, s.W}, s.channels_last);
    tensor(plan_.y, {s.N, s.K, s.P, s.Q}, s.channels_last);
    const std::array<std::int64_t, 4> filter{s.K, s.C / s.groups, s.R, s.S};
    int sizes[4];
    for (std::size_t i = 0; i < 4; ++i) sizes[i] = static_cast<int>(filter[i]);
    check(l_.filter_create(plan_.w.out()), "cudnnCreateFilterDescriptor");
    check(l_.filter_set(plan_.w.get(), cudnn_dtype(call_.dtype), s.channels_last ? kCudnnNhwc : kCudnnNchw, 4,
                        sizes),
          "cudnnSetFilterNdDescriptor");
    if (copies_filter(s)) {
      tensor(plan_.w_plain, filter, false);
      tensor(plan_.w_last, filter, true);
      const auto bytes = static_cast<std::size_t>(s.w_elements()) * size_of(call_.dtype);
      plan_.filter_bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    }
    describe_window();
    if (call_.bias) tensor(plan_.bias, {1, call_.kind == Kind::dx ? s.C : s.K, 1, 1}, s.channels_last);
    if (call_.kind != Kind::forward || (!call_.bias && !call_.relu)) return;
    check(l_.activation_create(plan_.activation.out()), "cudnnCreateActivationDescriptor");
    check(l_.activation_set(plan_.activation.get(), call_.relu ? kCudnnRelu : kCudnnIdentity,
                            kCudnnPropagateNan, 0),
          "cudnnSetActivationDescriptor");
  }

  /// The library's answers, best first.
  int ask(CudnnAlgorithm* found) const {
    const Plan& p = plan_;
    int count = 0;
    CudnnStatus status = kCudnnSuccess;
    if (call_.kind == Kind::forward)
      status = l_.forward_algorithms(handle_, p.x.get(), p.w.get(), p.window.get(), p.y.get(),
                                     kMostAlgorithms, &count, found);
    else if (call_.kind == Kind::dx)
      status = l_.data_algorithms(handle_, p.w.get(), p.y.get(), p.window.get(), p.x.get(), kMostAlgorithms,
                                  &count, found);
    else
      status = l_.filter_algorithms(handle_, p.x.get(), p.y.get(), p.window.get(), p.w.get(), kMostAlgorithms,
                                    &count, found);
    if (cudnn_not_supported(status)) return 0;
    check(status, "cudnnGetConvolution...Algorithm_v7");
    return count;
  }

  std::size_t workspace_of(int algorithm) const {
    const Plan& p = plan_;
    std::size_t bytes = 0;
    CudnnStatus status = kCudnnSuccess;
    if (call_.kind == Kind::forward)
      status =
          l_.forward_workspace(handle_, p.x.get(), p.w.get(), p.window.get(), p.y.get(), algorithm, &bytes);
    else if (call_.kind == Kind::dx)
      status = l_.data_workspace(handle_, p.w.get(), p.y.get(), p.window.get(), p.x.get(), algorithm, &bytes);
    else
      status =
          l_.filter_workspace(handle_, p.x.get(), p.y.get(), p.window.get(), p.w.get(), algorithm, &bytes);
    check(status, "cudnnGetConvolution...WorkspaceSize");
    return bytes;
  }

  const Cudnn& l_;
  CudnnHandle handle_;
  const CudnnCall& call_;
  Plan& plan_;
};

CudnnConvolutions::CudnnConvolutions(const Cudnn& library) : library_(library) {
  check(library_.create(&handle_), "cudnnCreate");
}

CudnnConvolutions::~CudnnConvolutions() {
  plans_.clear();
  library_.destroy(handle_);
}

void CudnnConvolutions::check(CudnnStatus status, const char* call) const {
  if (status != kCudnnSuccess) fail(library_, status, call);
}

CudnnConvolutions::Key CudnnConvolutions::key_of(const CudnnCall& call) {
  const Conv2dSizes& s = call.sizes;
  const int what = static_cast<int>(call.kind) | static_cast<int>(call.dtype) << 2 | s.channels_last << 10 |
                   (call.bias != nullptr) << 11 | call.relu << 12 | call.tf32 << 13;
  return {what, s.N,        s.C,        s.H,     s.W,     s.K,          s.R,          s.S,     s.P,
          s.Q,  s.stride_h, s.stride_w, s.pad_h, s.pad_w, s.dilation_h, s.dilation_w, s.groups};
}

/// The lock is held.
CudnnConvolutions::Plan& CudnnConvolutions::plan(const CudnnCall& call) {
  const Key key = key_of(call);
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  auto made = std::make_unique<Plan>(library_);
  Planner(library_, handle_, call, *made).make();
  return *plans_.emplace(key, std::move(made)).first->second;
}

bool CudnnConvolutions::accepts(const CudnnCall& call) {
  const std::lock_guard lock(mutex_);
  return plan(call).algorithm >= 0;
}

std::size_t CudnnConvolutions::workspace(const CudnnCall& call) {
  const std::lock_guard lock(mutex_);
  const Plan& p = plan(call);
  return p.filter_bytes + p.bytes;
}

void CudnnConvolutions::run(const CudnnCall& call, const Exec& exec) {
  const std::lock_guard lock(mutex_);
  Plan& p = plan(call);
  if (p.algorithm < 0) throw_unsupported("cuDNN knows no deterministic algorithm for this convolution");
  check(library_.set_stream(handle_, exec.stream), "cudnnSetStream");
  switch (call.kind) {
    case Kind::forward:
      return forward(p, call, exec);
    case Kind::dx:
      return dx(p, call, exec);
    case Kind::dw:
      return dw(p, call, exec);
  }
}

/// The filter as the plan has described it.
const void* CudnnConvolutions::filter(const Plan& p, const CudnnCall& call, const Exec& exec) {
  if (p.filter_bytes == 0) return call.w;
  check(library_.transform(handle_, &kOne, p.w_plain.get(), call.w, &kZero, p.w_last.get(), exec.workspace),
        "cudnnTransformTensor");
  return exec.workspace;
}

void CudnnConvolutions::forward(Plan& p, const CudnnCall& call, const Exec& exec) {
  void* const scratch = static_cast<char*>(exec.workspace) + p.filter_bytes;
  const void* const w = filter(p, call, exec);
  if (p.fused) {
    // alpha2 is 0: y stands where another summand would.
    const CudnnStatus status = library_.forward_bias_activation(
        handle_, &kOne, p.x.get(), call.x, p.w.get(), w, p.window.get(), p.algorithm, scratch, p.bytes,
        &kZero, p.y.get(), call.y, p.bias.get(), call.bias, p.activation.get(), p.y.get(), call.y);
    if (!cudnn_not_supported(status)) return check(status, "cudnnConvolutionBiasActivationForward");
    p.fused = false;  // not for this kind of problem: from now on in steps
  }
  if (call.bias)
    check(library_.add(handle_, &kOne, p.bias.get(), call.bias, &kZero, p.y.get(), call.y), "cudnnAddTensor");
  check(library_.forward(handle_, &kOne, p.x.get(), call.x, p.w.get(), w, p.window.get(), p.algorithm,
                         scratch, p.bytes, call.bias ? &kOne : &kZero, p.y.get(), call.y),
        "cudnnConvolutionForward");
  if (call.relu)
    check(library_.activate(handle_, p.activation.get(), &kOne, p.y.get(), call.y, &kZero, p.y.get(), call.y),
          "cudnnActivationForward");
}

void CudnnConvolutions::dx(const Plan& p, const CudnnCall& call, const Exec& exec) {
  void* const scratch = static_cast<char*>(exec.workspace) + p.filter_bytes;
  const void* const w = filter(p, call, exec);
  if (call.bias)
    check(library_.add(handle_, &kOne, p.bias.get(), call.bias, &kZero, p.x.get(), call.x), "cudnnAddTensor");
  check(library_.backward_data(handle_, &kOne, p.w.get(), w, p.y.get(), call.y, p.window.get(), p.algorithm,
                               scratch, p.bytes, call.bias ? &kOne : &kZero, p.x.get(), call.x),
        "cudnnConvolutionBackwardData");
}

void CudnnConvolutions::dw(const Plan& p, const CudnnCall& call, const Exec& exec) {
  void* const scratch = static_cast<char*>(exec.workspace) + p.filter_bytes;
  void* const to = p.filter_bytes > 0 ? exec.workspace : call.w;
  check(library_.backward_filter(handle_, &kOne, p.x.get(), call.x, p.y.get(), call.y, p.window.get(),
                                 p.algorithm, scratch, p.bytes, &kZero, p.w.get(), to),
        "cudnnConvolutionBackwardFilter");
  if (p.filter_bytes > 0)
    check(library_.transform(handle_, &kOne, p.w_last.get(), to, &kZero, p.w_plain.get(), call.w),
          "cudnnTransformTensor");
}

}  // namespace gpunn::detail
