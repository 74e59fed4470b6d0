// Which backward problems the CUDA kernels take, and how they are launched.
#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/attention/attention_rows_impl.h"

namespace gpunn {
namespace {

std::size_t delta_bytes(const AttentionSizes& s) {
  return static_cast<std::size_t>(s.B * s.Hq * s.Tq) * sizeof(float);
}

AttentionBackwardLaunch backward_launch(const AttentionBackwardProblem& p, const Exec& exec) {
  const bool first = p.rule.q_first != nullptr, k_first = p.rule.k_first != nullptr;
  const auto wide = [&](const void* data, const AttentionLayout& l, std::int64_t width, bool firsts) {
    return attention_rows_of(data, l, width, p.dtype, firsts, 16);
  };
  const auto pairs = [&](const void* data, const AttentionLayout& l, std::int64_t width, bool firsts) {
    return attention_rows_of(data, l, width, p.dtype, firsts,
                             2 * static_cast<std::int64_t>(size_of(p.dtype)));
  };
  AttentionBackwardLaunch l{};
  l.wide_q = wide(p.q, p.q_layout, p.sizes.D, first);
  l.wide_k = wide(p.k, p.k_layout, p.sizes.D, k_first);
  l.wide_v = wide(p.v, p.v_layout, p.sizes.Dv, k_first);
  l.wide_dy = wide(p.dy, p.dy_layout, p.sizes.Dv, first);
  l.pairs_dq = pairs(p.dq, p.dq_layout, p.sizes.D, first);
  l.pairs_dk = pairs(p.dk, p.dk_layout, p.sizes.D, k_first);
  l.pairs_dv = pairs(p.dv, p.dv_layout, p.sizes.Dv, k_first);
  auto* const deltas = static_cast<float*>(exec.workspace);
  attention_delta_cuda(p, deltas, exec);
  l.deltas = deltas;
  return l;
}

}  // namespace

const char* attention_bwd_mma_reason(const AttentionBackwardProblem& p) {
  if (p.dtype != DType::f16 && p.dtype != DType::bf16) return "takes f16 and bf16";
  return attention_size_reason(p.sizes);
}
const char* attention_bwd_simt_reason(const AttentionBackwardProblem& p) {
  if (p.dtype != DType::f32) return "takes f32";
  return attention_size_reason(p.sizes);
}

std::size_t attention_bwd_mma_workspace(const AttentionBackwardProblem& p) { return delta_bytes(p.sizes); }
std::size_t attention_bwd_simt_workspace(const AttentionBackwardProblem& p) { return delta_bytes(p.sizes); }

void attention_bwd_mma_cuda(const AttentionBackwardProblem& p, const Exec& exec) {
  const AttentionBackwardLaunch l = backward_launch(p, exec);
  attention_dkv_mma_cuda(p, l, exec);
  attention_dq_mma_cuda(p, l, exec);
}

void attention_bwd_simt_cuda(const AttentionBackwardProblem& p, const Exec& exec) {
  const AttentionBackwardLaunch l = backward_launch(p, exec);
  attention_dkv_simt_cuda(p, l, exec);
  attention_dq_simt_cuda(p, l, exec);
}

}  // namespace gpunn
