// Implementation lists of joining and remapping, what their problems read and write, and what they cost.
#include <string>

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn {
namespace {

const char* accepts_f32(const RemapBackwardProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "takes f32";
}

constexpr Implementation<CatProblem> kCatEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, cat_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::portable, cat_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, cat_ref},
};

constexpr Implementation<RemapProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, nullptr, nullptr, Determinism::portable, remap_fwd_cuda},
#endif
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::portable, remap_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::portable, remap_fwd_ref},
};

constexpr Implementation<RemapBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const RemapBackwardProblem& p) { return device_dtype_reason(p.dtype); },
     nullptr, Determinism::bitwise, remap_bwd_cuda},
#endif
    {"cpu", DeviceType::cpu, accepts_f32, nullptr, Determinism::bitwise, remap_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, remap_bwd_ref},
};

double bytes_of(std::int64_t elements, DType dtype) {
  return static_cast<double>(elements) * static_cast<double>(size_of(dtype));
}

}  // namespace

constexpr ImplementationList<CatProblem> kCat{"cat", "forward", kCatEntries};
constexpr ImplementationList<RemapProblem> kRemap{"remap", "forward", kForwardEntries};
constexpr ImplementationList<RemapBackwardProblem> kRemapBackward{"remap", "backward", kBackwardEntries};

std::int64_t x_numel(int rank, const RemapAxis* axes) {
  std::int64_t n = 1;
  for (int d = 0; d < rank; ++d) n *= axes[d].x;
  return n;
}

std::int64_t y_numel(int rank, const RemapAxis* axes) {
  std::int64_t n = 1;
  for (int d = 0; d < rank; ++d) n *= axes[d].y;
  return n;
}

// Columns of y that belong to the slots of other problems are kept: y is then read as well as written.
std::vector<Operand> operands(CatProblem& p) {
  std::vector<Operand> list;
  std::int64_t filled = 0;
  for (int i = 0; i < p.count; ++i) {
    list.push_back({"x", const_cast<void**>(&p.slots[i].x), p.dtype, p.outer * p.slots[i].width, Role::in});
    filled += p.slots[i].width;
  }
  list.push_back({"y", &p.y, p.dtype, p.outer * p.width, filled == p.width ? Role::out : Role::inout});
  return list;
}

std::vector<Operand> operands(RemapProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, x_numel(p.rank, p.axes), Role::in},
          {"y", &p.y, p.dtype, y_numel(p.rank, p.axes), Role::out}};
}

std::vector<Operand> operands(RemapBackwardProblem& p) {
  return {{"dy", const_cast<void**>(&p.dy), p.dtype, y_numel(p.rank, p.axes), Role::in},
          {"dx", &p.dx, p.dtype, x_numel(p.rank, p.axes), Role::out}};
}

Cost cost(const CatProblem& p) {
  std::int64_t filled = 0;
  for (int i = 0; i < p.count; ++i) filled += p.slots[i].width;
  return {2 * bytes_of(p.outer * filled, p.dtype), 0};
}

Cost cost(const RemapProblem& p) {
  return {bytes_of(x_numel(p.rank, p.axes) + y_numel(p.rank, p.axes), p.dtype), 0};
}

Cost cost(const RemapBackwardProblem& p) {
  const std::int64_t terms = y_numel(p.rank, p.axes);
  return {bytes_of(x_numel(p.rank, p.axes) + terms, p.dtype), static_cast<double>(terms)};
}

}  // namespace gpunn
