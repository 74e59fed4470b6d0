// The loops of the step kernels: a launch per step, two for GRU with the reset before the product.
#include "gpunn/core/device_api.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/steps_impl.h"

namespace gpunn {
namespace {

bool tensor_cores(DType dtype, bool tf32) { return dtype != DType::f32 || tf32; }

bool two_phases(const RnnSizes& s) { return s.mode == RnnMode::gru && !s.reset_after; }

std::int64_t bytes_of(DType dtype) { return static_cast<std::int64_t>(size_of(dtype)); }

/// Row of an operand whose rows have `width` elements.
const void* at_row(const void* from, std::int64_t row, std::int64_t width, DType dtype) {
  return static_cast<const std::byte*>(from) + row * width * bytes_of(dtype);
}
void* at_row(void* from, std::int64_t row, std::int64_t width, DType dtype) {
  return static_cast<std::byte*>(from) + row * width * bytes_of(dtype);
}

/// f32 [B, H] at the start of the workspace.
std::size_t state_bytes(const RnnSizes& s) {
  const auto bytes = static_cast<std::size_t>(s.B * s.H) * sizeof(float);
  return (bytes + 63) / 64 * 64;
}

std::int64_t multiprocessors(const Exec& exec) { return exec.device->api().info().multiprocessors; }

void forward_step(const RnnForwardProblem& p, const RnnForwardStep& s, const Exec& exec) {
  if (tensor_cores(p.dtype, p.tf32)) return rnn_fwd_step_mma_cuda(p, s, exec);
  rnn_fwd_step_simt_cuda(p, s, exec);
}

void backward_step(const RnnBackwardProblem& p, const RnnBackwardStep& s, const Exec& exec) {
  if (tensor_cores(p.dtype, p.tf32)) return rnn_bwd_step_mma_cuda(p, s, exec);
  rnn_bwd_step_simt_cuda(p, s, exec);
}

}  // namespace

int rnn_piece_bytes(std::initializer_list<const void*> pointers, std::int64_t H, DType dtype) {
  auto all = static_cast<std::uintptr_t>(H * bytes_of(dtype));
  for (const void* p : pointers) all |= reinterpret_cast<std::uintptr_t>(p);
  return all % 16 == 0 ? 16 : all % 4 == 0 ? 4 : 1;
}

const char* rnn_fwd_steps_reason(const RnnForwardProblem& p) { return device_dtype_reason(p.dtype); }
const char* rnn_bwd_steps_reason(const RnnBackwardProblem& p) { return device_dtype_reason(p.dtype); }

std::size_t rnn_fwd_steps_workspace(const RnnForwardProblem& p) {
  if (p.sizes.mode == RnnMode::lstm) return state_bytes(p.sizes);
  if (!two_phases(p.sizes)) return 0;
  return state_bytes(p.sizes) +
         (p.extra ? 0 : static_cast<std::size_t>(p.sizes.B * p.sizes.H * bytes_of(p.dtype)));
}

std::size_t rnn_bwd_steps_workspace(const RnnBackwardProblem& p) {
  return p.sizes.mode == RnnMode::lstm || p.sizes.mode == RnnMode::gru ? state_bytes(p.sizes) : 0;
}

void rnn_fwd_steps_cuda(const RnnForwardProblem& p, const Exec& exec) {
  const std::int64_t H = p.sizes.H;
  RnnForwardStep s{};
  s.state = static_cast<float*>(exec.workspace);
  void* const kept = two_phases(p.sizes) && !p.extra
                         ? static_cast<std::byte*>(exec.workspace) + state_bytes(p.sizes)
                         : nullptr;
  s.multiprocessors = multiprocessors(exec);
  s.bytes = rnn_piece_bytes({p.w_hh, p.h0, p.y, p.extra}, H, p.dtype);
  for (std::int64_t i = 0; i < p.sizes.T; ++i) {
    s.rows = rnn_rows(p, p.host_first_row, i);
    s.left = at_row(p.y, s.rows.before.row, H, p.dtype);
    s.left_rows = s.rows.before.batch;
    s.first_gate = 0;
    if (!two_phases(p.sizes)) {
      s.phase = RnnPhase::whole;
      forward_step(p, s, exec);
      continue;
    }
    s.phase = RnnPhase::reset;
    s.reset = p.extra ? at_row(p.extra, s.rows.now.row, H, p.dtype) : kept;
    forward_step(p, s, exec);
    s.phase = RnnPhase::candidate;
    s.first_gate = 2;
    s.left = s.reset;
    s.left_rows = s.rows.now.batch;
    forward_step(p, s, exec);
  }
}

void rnn_bwd_steps_cuda(const RnnBackwardProblem& p, const Exec& exec) {
  const std::int64_t H = p.sizes.H, GH = p.sizes.G() * H;
  RnnBackwardStep s{};
  s.carry = static_cast<float*>(exec.workspace);
  s.multiprocessors = multiprocessors(exec);
  s.bytes = rnn_piece_bytes({p.w_hh, p.dgx, p.dextra}, H, p.dtype);
  // Down to one before the first step: it has only gradients of initial states.
  for (std::int64_t i = p.sizes.T - 1; i >= -1; --i) {
    s.rows = rnn_rows(p, p.host_first_row, i);
    s.phase = RnnPhase::whole;
    s.left = at_row(p.dgx, s.rows.next.row, GH, p.dtype);
    s.left_extra = p.dextra ? at_row(p.dextra, s.rows.next.row, H, p.dtype) : nullptr;
    s.left_rows = s.rows.next.batch;
    s.weights = p.w_hh;
    s.K = two_phases(p.sizes) ? 2 * H : GH;
    s.split = p.dextra ? 2 * H : s.K;
    backward_step(p, s, exec);
    if (!two_phases(p.sizes) || i < 0) continue;
    s.phase = RnnPhase::reset;
    s.left = at_row(at_row(p.dgx, s.rows.now.row, GH, p.dtype), 2, H, p.dtype);
    s.left_rows = s.rows.now.batch;
    s.weights = at_row(p.w_hh, 2 * H, H, p.dtype);
    s.K = s.split = H;
    backward_step(p, s, exec);
  }
}

}  // namespace gpunn
