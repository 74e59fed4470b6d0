// Which forward problems the CUDA kernels take, and how they are launched.
#include "gpunn/kernels/attention/attention_device_impl.h"
#include "gpunn/kernels/attention/attention_rows_impl.h"
#include "gpunn/kernels/common/device_dtype.h"

namespace gpunn {
namespace {

constexpr std::int64_t kDecodeQueries = 8;

std::int64_t row_count(const AttentionSizes& s) { return s.B * s.Hq * s.Tq; }

AttentionForwardLaunch forward_launch(const AttentionProblem& p) {
  const bool first = p.rule.q_first != nullptr,
             k_first = p.rule.k_first != nullptr || p.rule.pages != nullptr;
  AttentionForwardLaunch l{};
  l.wide_q = attention_rows_of(p.q, p.q_layout, p.sizes.D, p.dtype, first, 16);
  l.wide_k = attention_rows_of(p.k, p.k_layout, p.sizes.D, p.dtype, k_first, 16);
  l.wide_v = attention_rows_of(p.v, p.v_layout, p.sizes.Dv, p.dtype, k_first, 16);
  l.pairs_y = attention_rows_of(p.y, p.y_layout, p.sizes.Dv, p.dtype, first,
                                2 * static_cast<std::int64_t>(size_of(p.dtype)));
  return l;
}

std::int64_t chunks_of(const AttentionSizes& s) {
  const std::int64_t chunk = attention_decode_chunk(s);
  return (s.Tk + chunk - 1) / chunk;
}

}  // namespace

const char* attention_fwd_mma_reason(const AttentionProblem& p) {
  if (p.dtype != DType::f16 && p.dtype != DType::bf16) return "takes f16 and bf16";
  return attention_size_reason(p.sizes);
}
const char* attention_fwd_simt_reason(const AttentionProblem& p) {
  if (p.dtype != DType::f32) return "takes f32";
  return attention_size_reason(p.sizes);
}
const char* attention_fwd_decode_reason(const AttentionProblem& p) {
  if (p.sizes.Tq > kDecodeQueries) return "takes at most 8 queries a head";
  if (const char* reason = device_dtype_reason(p.dtype)) return reason;
  return attention_size_reason(p.sizes);
}

std::size_t attention_fwd_decode_workspace(const AttentionProblem& p) {
  const std::int64_t chunks = chunks_of(p.sizes);
  if (chunks == 1) return 0;
  return static_cast<std::size_t>(chunks * row_count(p.sizes) * (p.sizes.Dv + 2)) * sizeof(float);
}

void attention_fwd_mma_cuda(const AttentionProblem& p, const Exec& exec) {
  const AttentionForwardLaunch l = forward_launch(p);
  if (attention_is_plain(p)) return attention_fwd_mma_plain_cuda(p, l, exec);
  attention_fwd_mma_general_cuda(p, l, exec);
}

void attention_fwd_simt_cuda(const AttentionProblem& p, const Exec& exec) {
  attention_fwd_simt_tiles_cuda(p, forward_launch(p), exec);
}

void attention_fwd_decode_cuda(const AttentionProblem& p, const Exec& exec) {
  AttentionForwardLaunch l = forward_launch(p);
  const AttentionSizes& s = p.sizes;
  l.row_tiles = (s.Hq / s.Hkv * s.Tq + kDecodeRows - 1) / kDecodeRows;
  l.chunk = attention_decode_chunk(s);
  l.chunks = chunks_of(s);
  if (l.chunks > 1) {  // pairs first: their 8 bytes keep the values aligned for any Dv
    l.sums = static_cast<float*>(exec.workspace);
    l.values = l.sums + l.chunks * row_count(s) * 2;
  }
  if (p.dtype == DType::f32) {
    attention_decode_simt_cuda(p, l, exec);
  } else {
    attention_decode_mma_cuda(p, l, exec);
  }
  if (l.chunks > 1) attention_decode_combine_cuda(p, l, exec);
}

}  // namespace gpunn
