// Implementation lists of pooling, what their problems read and write, and what they cost.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

constexpr auto kCpu = DeviceType::cpu;
constexpr auto kBitwise = Determinism::bitwise;
constexpr auto kPortable = Determinism::portable;  // what only moves elements

template <class P>
const char* accepts_cpu(const P& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

#if GPUNN_HAS_CUDA
constexpr auto kCuda = DeviceType::cuda;

template <class P>
const char* accepts_cuda(const P& p) {
  return device_dtype_reason(p.dtype);
}
#endif

constexpr Implementation<MaxPoolProblem> kMaxPoolEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, accepts_cuda<MaxPoolProblem>, nullptr, kPortable, max_pool_fwd_cuda},
#endif
    {"cpu", kCpu, accepts_cpu<MaxPoolProblem>, nullptr, kPortable, max_pool_fwd_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, max_pool_fwd_ref},
};

constexpr Implementation<MaxPoolBackwardProblem> kMaxPoolBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, accepts_cuda<MaxPoolBackwardProblem>, nullptr, kBitwise, max_pool_bwd_cuda},
#endif
    {"cpu", kCpu, accepts_cpu<MaxPoolBackwardProblem>, nullptr, kBitwise, max_pool_bwd_cpu},
    {"ref", kCpu, nullptr, nullptr, kBitwise, max_pool_bwd_ref},
};

constexpr Implementation<PoolGatherProblem> kPoolGatherEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, accepts_cuda<PoolGatherProblem>, nullptr, kPortable, pool_gather_cuda},
#endif
    {"cpu", kCpu, accepts_cpu<PoolGatherProblem>, nullptr, kPortable, pool_gather_cpu},
    {"ref", kCpu, nullptr, nullptr, kPortable, pool_gather_ref},
};

constexpr Implementation<AvgPoolProblem> kAvgPoolEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, accepts_cuda<AvgPoolProblem>, nullptr, kBitwise, avg_pool_fwd_cuda},
#endif
    {"cpu", kCpu, accepts_cpu<AvgPoolProblem>, nullptr, kBitwise, avg_pool_fwd_cpu},
    {"ref", kCpu, nullptr, nullptr, kBitwise, avg_pool_fwd_ref},
};

constexpr Implementation<AvgPoolBackwardProblem> kAvgPoolBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", kCuda, accepts_cuda<AvgPoolBackwardProblem>, nullptr, kBitwise, avg_pool_bwd_cuda},
#endif
    {"cpu", kCpu, accepts_cpu<AvgPoolBackwardProblem>, nullptr, kBitwise, avg_pool_bwd_cpu},
    {"ref", kCpu, nullptr, nullptr, kBitwise, avg_pool_bwd_ref},
};

/// Where an operand description writes a pointer.
template <class T>
void** pointer_of(T*& p) {
  return reinterpret_cast<void**>(const_cast<std::remove_const_t<T>**>(&p));
}

double bytes(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

/// One operation for each element of each window, as if none reached outside.
double window_elements(const PoolSizes& s) {
  const auto side = [](const PoolAxis& a) {
    return a.adaptive ? static_cast<double>(a.in) / a.out : static_cast<double>(a.kernel);
  };
  return static_cast<double>(s.y_elements()) * side(s.h) * side(s.w);
}

}  // namespace

constexpr ImplementationList<MaxPoolProblem> kMaxPool{"max_pool2d", "forward", kMaxPoolEntries};
constexpr ImplementationList<MaxPoolBackwardProblem> kMaxPoolBackward{"max_pool2d", "backward",
                                                                      kMaxPoolBackwardEntries};
constexpr ImplementationList<PoolGatherProblem> kPoolGather{"max_pool2d", "gather", kPoolGatherEntries};
constexpr ImplementationList<AvgPoolProblem> kAvgPool{"avg_pool2d", "forward", kAvgPoolEntries};
constexpr ImplementationList<AvgPoolBackwardProblem> kAvgPoolBackward{"avg_pool2d", "backward",
                                                                      kAvgPoolBackwardEntries};

std::vector<Operand> operands(MaxPoolProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {{"x", pointer_of(p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"y", &p.y, p.dtype, y, Role::out},
          {"indices", pointer_of(p.indices), DType::i32, p.want_indices ? y : 0, Role::out}};
}

std::vector<Operand> operands(MaxPoolBackwardProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {{"dy", pointer_of(p.dy), p.dtype, y, Role::in},
          {"indices", pointer_of(p.indices), DType::i32, y, Role::in},
          {"dx", &p.dx, p.dtype, p.sizes.x_elements(), Role::out}};
}

std::vector<Operand> operands(PoolGatherProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {{"x", pointer_of(p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"indices", pointer_of(p.indices), DType::i32, y, Role::in},
          {"y", &p.y, p.dtype, y, Role::out}};
}

std::vector<Operand> operands(AvgPoolProblem& p) {
  return {{"x", pointer_of(p.x), p.dtype, p.sizes.x_elements(), Role::in},
          {"y", &p.y, p.dtype, p.sizes.y_elements(), Role::out}};
}

std::vector<Operand> operands(AvgPoolBackwardProblem& p) {
  return {{"dy", pointer_of(p.dy), p.dtype, p.sizes.y_elements(), Role::in},
          {"dx", &p.dx, p.dtype, p.sizes.x_elements(), Role::out}};
}

Cost cost(const MaxPoolProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {bytes(p.sizes.x_elements() + y, p.dtype) + (p.want_indices ? bytes(y, DType::i32) : 0),
          window_elements(p.sizes)};
}

Cost cost(const MaxPoolBackwardProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {bytes(p.sizes.x_elements() + y, p.dtype) + bytes(y, DType::i32), static_cast<double>(y)};
}

Cost cost(const PoolGatherProblem& p) {
  const std::int64_t y = p.sizes.y_elements();
  return {bytes(2 * y, p.dtype) + bytes(y, DType::i32), 0};
}

Cost cost(const AvgPoolProblem& p) {
  return {bytes(p.sizes.x_elements() + p.sizes.y_elements(), p.dtype), window_elements(p.sizes)};
}

Cost cost(const AvgPoolBackwardProblem& p) {
  return {bytes(p.sizes.x_elements() + p.sizes.y_elements(), p.dtype), window_elements(p.sizes)};
}

}  // namespace gpunn
