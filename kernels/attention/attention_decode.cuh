#pragma once
// Decode: few queries over many keys. Blocks of one warp take a chunk of a key head's keys for the queries of
// all heads that read it (16 rows at a time), so that a cache is read once whatever the group; a second
// kernel puts the chunks together in order. Bound by reading the cache: many small blocks keep enough copies
// under way.
#include "gpunn/kernels/attention/attention_fwd.cuh"

namespace gpunn::attention_tile {

template <class T, int kDim>
using DecodeConfig = Config<T, kDim, 1, 1, 32>;

template <class F>
Grid decode_grid(const AttentionProblem& p, const AttentionForwardLaunch& l) {
  return {dim3(static_cast<unsigned>(l.chunks * l.row_tiles * p.sizes.Hkv * p.sizes.B)), dim3(F::C::kThreads),
          F::kBytes};
}

}  // namespace gpunn::attention_tile
