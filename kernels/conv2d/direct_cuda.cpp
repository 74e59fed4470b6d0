// The direct convolution on a GPU: which problems it takes, and how it shares them out.
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/conv2d/direct_impl.h"
#include "gpunn/kernels/conv2d/pieces_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kSharedBytes = 48 * 1024;  // of a block, without asking for more

std::int64_t part_of(std::int64_t results, std::int64_t stride, std::int64_t window, std::int64_t dilation) {
  return (results - 1) * stride + (window - 1) * dilation + 1;
}

std::int64_t shared_bytes(const Conv2dSizes& s) {
  const std::int64_t part = part_of(kDirectHigh, s.stride_h, s.R, s.dilation_h) *
                            part_of(kDirectColumns, s.stride_w, s.S, s.dilation_w);
  return s.C / s.groups * (s.R * s.S * kDirectFilters + part) * 4;
}

DirectTile tile_of(const Conv2dProblem& p) {
  const Conv2dSizes& s = p.sizes;
  const auto pieces = [](std::int64_t all, std::int64_t each) {
    return static_cast<int>((all + each - 1) / each);
  };
  DirectTile t{};
  t.rows = static_cast<int>(part_of(kDirectHigh, s.stride_h, s.R, s.dilation_h));
  t.columns = static_cast<int>(part_of(kDirectColumns, s.stride_w, s.S, s.dilation_w));
  t.across = pieces(s.Q, kDirectColumns), t.down = pieces(s.P, kDirectHigh);
  t.chunks = pieces(s.K / s.groups, kDirectFilters);
  // A block that goes through all filters loads its part of x once; few tiles want more blocks.
  t.chunk_blocks = static_cast<int>(piece_count(t.chunks, s.N * s.groups * t.across * t.down));
  t.vectors = s.channels_last && s.K / s.groups % 4 == 0 &&
              reinterpret_cast<std::uintptr_t>(p.y) % (4 * size_of(p.dtype)) == 0;
  return t;
}

}  // namespace

const char* conv2d_direct_reason(const Conv2dProblem& p) {
  constexpr std::int64_t kMostExtent = 1 << 16, kMostBlocks = 0x7fffffff;
  const Conv2dSizes& s = p.sizes;
  if (const char* const why = device_dtype_reason(p.dtype)) return why;
  if (s.C / s.groups > kDirectChannels) return "takes up to 4 input channels a group";
  // Before they are multiplied.
  for (const std::int64_t extent : {s.R, s.S, s.stride_h, s.stride_w, s.dilation_h, s.dilation_w})
    if (extent >= kMostExtent) return "takes windows, strides and dilations below 2^16";
  if (shared_bytes(s) > kSharedBytes) return "takes windows whose part of a picture fits in 48 KiB";
  if ((s.P + kDirectHigh) * s.stride_h + s.pad_h > kMostBlocks ||
      (s.Q + kDirectColumns) * s.stride_w + s.pad_w > kMostBlocks)
    return "takes padded pictures of fewer than 2^31 rows and columns";
  const DirectTile t = tile_of(p);
  if (s.N * s.groups * t.chunk_blocks > kMostBlocks / t.across / t.down) return "takes fewer than 2^31 tiles";
  return nullptr;
}

void conv2d_direct_cuda(const Conv2dProblem& p, const Exec& exec) { direct_tiles_cuda(p, tile_of(p), exec); }

}  // namespace gpunn
