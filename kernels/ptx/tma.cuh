#pragma once
// Tensor maps and cp.async.bulk.tensor (PTX ISA, "cp.async.bulk.tensor", "Swizzling modes"; sm_90).
//
// The destination is aligned to 128 bytes, with swizzle of 32, 64 or 128 bytes to 256, 512 or 1024. Elements
// outside the tensor arrive as zero and count as transferred.

#include "gpunn/kernels/ptx/mbarrier.cuh"

#if defined(__CUDACC__)
#include <cuda.h>
#endif

namespace gpunn::ptx {

enum class TmaSwizzle : unsigned { none, bytes_32, bytes_64, bytes_128 };  // CUtensorMapSwizzle's numbering

// A row-major matrix of 16-bit floats and the box that one load brings.
struct TmaMatrix {
  const void* data;  // device memory, 16-byte aligned
  std::uint64_t rows, columns;
  std::uint64_t pitch_bytes;  // multiple of 16
  unsigned box_rows, box_columns;
  TmaSwizzle swizzle;
};

#if defined(__CUDACC__)

using TensorMap = CUtensorMap;

// Host. Kernels take the map as `const __grid_constant__ ptx::TensorMap`.
inline cudaError_t make_tensor_map_bf16(TensorMap* map, const TmaMatrix& m) {
  void* function = nullptr;
  cudaDriverEntryPointQueryResult found{};
  const cudaError_t error =
      cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, 12000, cudaEnableDefault, &found);
  if (error != cudaSuccess) return error;
  if (found != cudaDriverEntryPointSuccess || function == nullptr) return cudaErrorNotSupported;
  const cuuint64_t size[] = {m.columns, m.rows}, stride[] = {m.pitch_bytes};
  const cuuint32_t box[] = {m.box_columns, m.box_rows}, element_stride[] = {1, 1};
  const CUresult result = reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function)(
      map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(m.data), size, stride, box, element_stride,
      CU_TENSOR_MAP_INTERLEAVE_NONE, static_cast<CUtensorMapSwizzle>(m.swizzle),
      CU_TENSOR_MAP_L2_PROMOTION_L2_128B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

GPUNN_DEVICE void tma_load_2d(void* shared, const TensorMap* map, int column, int row,
                              std::uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], "
      "[%4];" ::"r"(shared_address(shared)),
      "l"(map), "r"(column), "r"(row), "r"(shared_address(barrier))
      : "memory");
}

#else

using TensorMap = emu::TensorMap;

inline cudaError_t make_tensor_map_bf16(TensorMap* map, const TmaMatrix& m) {
  if (reinterpret_cast<std::uintptr_t>(m.data) % 16 != 0 || m.pitch_bytes % 16 != 0 || m.box_rows == 0 ||
      m.box_rows > 256 || m.box_columns == 0 || m.box_columns > 256)
    return cudaErrorInvalidValue;
  *map = {};
  map->base = reinterpret_cast<std::uint64_t>(m.data);
  map->rank = map->element_bytes = 2;
  map->size[0] = m.columns;
  map->size[1] = m.rows;
  map->stride[1] = m.pitch_bytes;
  map->box[0] = m.box_columns;
  map->box[1] = m.box_rows;
  map->swizzle = static_cast<emu::Swizzle>(m.swizzle);
  return cudaSuccess;
}

inline void tma_load_2d(void* shared, const TensorMap* map, int column, int row, std::uint64_t* barrier) {
  const int coordinates[] = {column, row};
  emu::tma_load(shared, *map, coordinates, barrier);
}

#endif

}  // namespace gpunn::ptx
