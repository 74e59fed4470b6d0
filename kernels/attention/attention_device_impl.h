#pragma once
// What host and kernels of the CUDA implementations agree on.
#include <cstdint>

#include "gpunn/core/exec.h"
#include "gpunn/kernels/attention/attention_impl.h"

namespace gpunn {

/// How a forward launch reads and writes, and how decode splits the keys.
struct AttentionForwardLaunch {
  bool wide_q, wide_k, wide_v;  // rows allow 16-byte pieces
  bool pairs_y;                 // two elements at a time
  std::int64_t row_tiles;       // of a head; packed: of a key head
  // Decode: keys of a chunk, how many chunks, and what they leave: weighted values [chunks, rows, Dv] of
  // weights 2^(score - m), and m (in units of ln 2) and their sum l [chunks, rows, 2]; rows = B Hq Tq. One
  // chunk writes the result itself.
  std::int64_t chunk, chunks;
  float* values;
  float* sums;
};

struct AttentionBackwardLaunch {
  bool wide_q, wide_k, wide_v, wide_dy;
  bool pairs_dq, pairs_dk, pairs_dv;
  std::int64_t tiles;   // of queries (dq) or keys (dk, dv)
  const float* deltas;  // [B, Hq, Tq]: dy . y
};

/// Whether masks, lengths and all that is added to scores come down to ranges of keys.
template <class P>
bool attention_is_plain(const P& p) {
  return p.mask.kind == AttentionMaskKind::none && p.rule.alibi == nullptr && p.rule.pages == nullptr &&
         !p.dropout.on && p.scale > 0;
}

/// Keys of a chunk of decode, and how many chunks: sizes alone decide, so that bits do not depend on the GPU.
inline constexpr std::int64_t kDecodeRows = 16;          // of a block
inline constexpr std::int64_t kDecodeBlocks = 132 * 12;  // enough to keep a large GPU's memory busy
inline constexpr std::int64_t kDecodeLeastKeys = 128;    // below, writing parts costs as much as reading keys
inline std::int64_t attention_decode_chunk(const AttentionSizes& s) {
  const std::int64_t tiles = (s.Hq / s.Hkv * s.Tq + kDecodeRows - 1) / kDecodeRows;
  const std::int64_t wanted = kDecodeBlocks / (tiles * s.Hkv * s.B) + 1;
  const std::int64_t chunk = ((s.Tk + wanted - 1) / wanted + 31) / 32 * 32;
  return chunk < kDecodeLeastKeys ? kDecodeLeastKeys : chunk;
}

/// Rows of 32, 64, 128 or 256 elements.
inline int attention_padded_dim(const AttentionSizes& s) {
  const std::int64_t most = s.D > s.Dv ? s.D : s.Dv;
  return most <= 32 ? 32 : most <= 64 ? 64 : most <= 128 ? 128 : 256;
}

void attention_fwd_mma_plain_cuda(const AttentionProblem& p, AttentionForwardLaunch l, const Exec& exec);
void attention_fwd_mma_general_cuda(const AttentionProblem& p, AttentionForwardLaunch l, const Exec& exec);
void attention_fwd_simt_tiles_cuda(const AttentionProblem& p, AttentionForwardLaunch l, const Exec& exec);
void attention_decode_mma_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l, const Exec& exec);
void attention_decode_simt_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l, const Exec& exec);
void attention_decode_combine_cuda(const AttentionProblem& p, const AttentionForwardLaunch& l,
                                   const Exec& exec);

void attention_delta_cuda(const AttentionBackwardProblem& p, float* deltas, const Exec& exec);
void attention_dq_mma_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec);
void attention_dkv_mma_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec);
void attention_dq_simt_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec);
void attention_dkv_simt_cuda(const AttentionBackwardProblem& p, AttentionBackwardLaunch l, const Exec& exec);

}  // namespace gpunn
