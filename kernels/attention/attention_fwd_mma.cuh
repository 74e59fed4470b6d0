#pragma once
// Forward on tensor cores: what the two sources with its kernels share.
#include "gpunn/kernels/attention/attention_fwd.cuh"

namespace gpunn::attention_tile {

/// Tiles by row length: two fragments of rows a warp read each fragment of keys and values from shared memory
/// half as often as one, as far as registers allow.
template <class T, int kDim, bool kGeneral>
using MmaForwardConfig = Config < T,
      kDim,
      kDim<128 || (kDim == 128 && !kGeneral) ? 2 : 1, 4, kDim == 32 || (kDim == 64 && !kGeneral) ? 64 : 32>;

}  // namespace gpunn::attention_tile
