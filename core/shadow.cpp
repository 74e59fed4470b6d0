// Slow paths that look at a problem through its operands: a forced reference for device tensors, shadow
// execution.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"

namespace gpunn::detail {
namespace {

std::size_t bytes_of(const Operand& o) { return static_cast<std::size_t>(o.elements) * size_of(o.dtype); }

/// Blocking copies between pageable host memory and operands of `context`, through pinned memory on a GPU.
class Carrier {
 public:
  explicit Carrier(DeviceContext& context) : context_(context) {}

  void to_host(void* host, const void* device, std::size_t bytes) {
    if (bytes == 0) return;
    if (context_.is_cpu()) {
      std::memcpy(host, device, bytes);
      return;
    }
    const RawStream stream = context_.current_stream();
    const Pinned staged(context_, bytes);
    context_.api().copy(staged.data, device, bytes, CopyKind::device_to_host, stream);
    context_.api().synchronize_stream(stream);
    std::memcpy(host, staged.data, bytes);
  }

  void to_device(void* device, const void* host, std::size_t bytes) {
    if (bytes == 0) return;
    if (context_.is_cpu()) {
      std::memcpy(device, host, bytes);
      return;
    }
    const RawStream stream = context_.current_stream();
    const Pinned staged(context_, bytes);
    std::memcpy(staged.data, host, bytes);
    context_.api().copy(device, staged.data, bytes, CopyKind::host_to_device, stream);
    context_.api().synchronize_stream(stream);
  }

 private:
  struct Pinned {
    Pinned(DeviceContext& c, std::size_t n)
        : context(c), bytes(n), stream(c.current_stream()), data(c.pinned().allocate(n, stream)) {}
    ~Pinned() { context.pinned().deallocate(data, bytes, stream); }
    Pinned(const Pinned&) = delete;
    Pinned& operator=(const Pinned&) = delete;
    DeviceContext& context;
    std::size_t bytes;
    RawStream stream;
    void* data;
  };
  DeviceContext& context_;
};

using Buffer = std::vector<std::max_align_t>;
Buffer make_buffer(std::size_t bytes) { return Buffer(bytes / sizeof(std::max_align_t) + 1); }

/// Points the problem's operands at host buffers for a scope.
class Redirect {
 public:
  Redirect(std::span<Operand> operands, std::vector<Buffer>& buffers) : operands_(operands) {
    for (std::size_t i = 0; i < operands.size(); ++i) {
      original_.push_back(*operands[i].pointer);
      if (*operands[i].pointer) *operands[i].pointer = buffers[i].data();
    }
  }
  ~Redirect() {
    for (std::size_t i = 0; i < operands_.size(); ++i) *operands_[i].pointer = original_[i];
  }
  Redirect(const Redirect&) = delete;
  Redirect& operator=(const Redirect&) = delete;

 private:
  std::span<Operand> operands_;
  std::vector<void*> original_;
};

void run_on_host(DeviceContext& context, const ErasedRun& erased) {
  Buffer scratch = make_buffer(erased.workspace(erased.problem, erased.entry));
  Exec exec;
  exec.device = &context.runtime().cpu();
  exec.pool = &context.runtime().pool();
  exec.workspace = scratch.data();
  exec.workspace_bytes = scratch.size() * sizeof(std::max_align_t);
  erased.run(erased.problem, erased.entry, exec);
}

/// Operands that share memory (in-place ops) share a buffer's contents: the later one starts from the earlier
/// one's.
std::vector<Buffer> copies_of(DeviceContext& context, std::span<Operand> operands) {
  Carrier carrier(context);
  std::vector<Buffer> buffers;
  for (const Operand& o : operands) {
    buffers.push_back(make_buffer(bytes_of(o)));
    // Outputs too: with strides they may have gaps that must keep what they hold.
    if (*o.pointer) carrier.to_host(buffers.back().data(), *o.pointer, bytes_of(o));
  }
  return buffers;
}

double element(const void* data, DType dtype, std::int64_t i) {
  double value = 0;
  visit_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    T x;
    std::memcpy(&x, static_cast<const char*>(data) + i * static_cast<std::int64_t>(sizeof(T)), sizeof x);
    if constexpr (std::is_arithmetic_v<T>)
      value = static_cast<double>(x);
    else
      value = static_cast<double>(static_cast<float>(x));
  });
  return value;
}

/// Relative to the largest magnitude of the operand: what rounding in another order can explain, with a
/// margin.
double shadow_bound(DType dtype) {
  switch (dtype) {
    case DType::f64:
      return 1e-10;
    case DType::f32:
      return 1e-4;
    case DType::f16:
      return 1e-2;
    case DType::bf16:
      return 5e-2;
    default:
      return 0;
  }
}

}  // namespace

void run_on_host_copies(DeviceContext& context, std::span<Operand> operands, const ErasedRun& erased) {
  auto buffers = copies_of(context, operands);
  {
    const Redirect redirect(operands, buffers);
    run_on_host(context, erased);
  }
  Carrier carrier(context);
  for (std::size_t i = 0; i < operands.size(); ++i)
    if (operands[i].role != Role::in && *operands[i].pointer)
      carrier.to_device(*operands[i].pointer, buffers[i].data(), bytes_of(operands[i]));
}

struct Shadow::State {
  DeviceContext& context;
  std::span<Operand> operands;
  std::vector<Buffer> buffers;
  std::uint64_t skipped;  // issues, before this op
};

Shadow::Shadow(DeviceContext& context, std::span<Operand> operands) {
  if (!context.is_cpu()) context.api().synchronize_device();
  state_ = std::make_unique<State>(
      State{context, operands, copies_of(context, operands), context.scheduler().counters().skipped});
}
Shadow::~Shadow() = default;

void Shadow::compare(const char* op, const char* implementation, const ErasedRun& reference) {
  State& s = *state_;
  // With a failed input nothing was computed. (Another thread's skip costs a comparison, no more.)
  if (s.context.scheduler().counters().skipped != s.skipped) return;
  {
    const Redirect redirect(s.operands, s.buffers);
    run_on_host(s.context, reference);
  }
  Carrier carrier(s.context);
  for (std::size_t i = 0; i < s.operands.size(); ++i) {
    const Operand& o = s.operands[i];
    if (o.role == Role::in || !*o.pointer) continue;
    Buffer got = make_buffer(bytes_of(o));
    carrier.to_host(got.data(), *o.pointer, bytes_of(o));
    double scale = 0;
    for (std::int64_t k = 0; k < o.elements; ++k) {
      const double v = std::fabs(element(s.buffers[i].data(), o.dtype, k));
      if (std::isfinite(v)) scale = std::max(scale, v);
    }
    const double bound = shadow_bound(o.dtype) * std::max(scale, 1e-30);
    for (std::int64_t k = 0; k < o.elements; ++k) {
      const double want = element(s.buffers[i].data(), o.dtype, k), have = element(got.data(), o.dtype, k);
      const bool same = std::isnan(want) ? std::isnan(have) : want == have || std::fabs(have - want) <= bound;
      if (!same)
        throw Error(concat(where(), "shadow execution: ", op, "=", implementation,
                           " differs from the reference at ", o.name, "[", k, "]: expected ", want, ", got ",
                           have, " (bound ", bound, ")"));
    }
  }
}

}  // namespace gpunn::detail
