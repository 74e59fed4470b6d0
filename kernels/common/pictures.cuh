#pragma once
// What kernels over pictures share: a picture in either order as [outer, rows, columns, inner], inner being
// vectors of channels in channels-last order and 1 otherwise.
#include <cstdint>

#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/convert.cuh"
#include "gpunn/kernels/common/vec.cuh"

namespace gpunn {

inline constexpr int kPictureThreads = 256;

/// Vectors of kVec channels between two pixels.
template <int kVec>
GPUNN_HD std::int64_t picture_inner(bool channels_last, std::int64_t C) {
  return channels_last ? C / kVec : 1;
}

/// Whether picture_place() may count `n` vectors in 32 bits.
inline bool fits_32_bits(std::int64_t n) { return n <= 0x7fffffff; }

struct PicturePlace {
  std::int64_t outer, inner;
  std::int32_t row, col;
};

/// Of vector `e`; the 64-bit division takes several times as long as the one of 32 bits.
GPUNN_DEVICE PicturePlace picture_place(std::int64_t e, std::int32_t rows, std::int32_t cols,
                                        std::int64_t inner, bool small) {
  if (small) {
    auto i = static_cast<std::uint32_t>(e);
    const auto n = static_cast<std::uint32_t>(inner), r = static_cast<std::uint32_t>(rows),
               c = static_cast<std::uint32_t>(cols);
    const std::uint32_t pixel = n > 1 ? i / n : i, line = pixel / c, outer = line / r;
    return {outer, i - pixel * n, static_cast<std::int32_t>(line - outer * r),
            static_cast<std::int32_t>(pixel - line * c)};
  }
  const std::int64_t pixel = e / inner, line = pixel / cols, outer = line / rows;
  return {outer, e - pixel * inner, static_cast<std::int32_t>(line - outer * rows),
          static_cast<std::int32_t>(pixel - line * cols)};
}

GPUNN_DEVICE std::int64_t picture_first() {
  return static_cast<std::int64_t>(blockIdx.x) * kPictureThreads + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t picture_stride() { return static_cast<std::int64_t>(gridDim.x) * kPictureThreads; }

/// `blocks` of them; beyond `most` they take several turns.
inline Grid picture_grid(std::int64_t blocks, std::int64_t most = std::int64_t{1} << 30) {
  return {dim3(static_cast<unsigned>(blocks < most ? blocks : most)), dim3(kPictureThreads)};
}
/// A thread per element.
inline Grid picture_thread_grid(std::int64_t n) {
  return picture_grid((n + kPictureThreads - 1) / kPictureThreads);
}

/// Calls f(std::integral_constant<int, kVec>) with kVec = 16 bytes of channels where the order, the number of
/// channels and all addresses allow (indices move with as many elements), else 1.
template <class T, class F>
void for_picture_vectors(bool channels_last, std::int64_t C, const void* a, const void* b,
                         const void* indices, F&& f) {
  constexpr int kVec = kVecWidth<T>;
  const auto aligned = [](const void* p, std::size_t bytes) {
    return reinterpret_cast<std::uintptr_t>(p) % bytes == 0;
  };
  if (channels_last && C % kVec == 0 && aligned(a, 16) && aligned(b, 16) &&
      aligned(indices, kVec * sizeof(std::int32_t)))
    f(std::integral_constant<int, kVec>{});
  else
    f(std::integral_constant<int, 1>{});
}

}  // namespace gpunn
