#pragma once
// ldmatrix: 8x8 matrices of 16-bit elements from shared memory into mma fragments (PTX ISA, "ldmatrix",
// sm_75).
//
// Lanes 8i..8i+7 give the 16-byte aligned addresses of the rows of matrix i. Register i of lane l then holds
// elements 2 (l % 4) and 2 (l % 4) + 1 of row l / 4 of matrix i; with _trans, of column l / 4.

#include "gpunn/kernels/ptx/common.cuh"

namespace gpunn::ptx {

#if defined(__CUDACC__)

#define GPUNN_PTX_LDMATRIX(SUFFIX, TRANS)                                                 \
  GPUNN_DEVICE void ldmatrix_x1##SUFFIX(std::uint32_t(&r)[1], const void* row) {          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x1" TRANS ".shared.b16 {%0}, [%1];"          \
                 : "=r"(r[0])                                                             \
                 : "r"(shared_address(row))                                               \
                 : "memory");                                                             \
  }                                                                                       \
  GPUNN_DEVICE void ldmatrix_x2##SUFFIX(std::uint32_t(&r)[2], const void* row) {          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x2" TRANS ".shared.b16 {%0,%1}, [%2];"       \
                 : "=r"(r[0]), "=r"(r[1])                                                 \
                 : "r"(shared_address(row))                                               \
                 : "memory");                                                             \
  }                                                                                       \
  GPUNN_DEVICE void ldmatrix_x4##SUFFIX(std::uint32_t(&r)[4], const void* row) {          \
    asm volatile("ldmatrix.sync.aligned.m8n8.x4" TRANS ".shared.b16 {%0,%1,%2,%3}, [%4];" \
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])                         \
                 : "r"(shared_address(row))                                               \
                 : "memory");                                                             \
  }
GPUNN_PTX_LDMATRIX(, "")
GPUNN_PTX_LDMATRIX(_trans, ".trans")
#undef GPUNN_PTX_LDMATRIX

#else

inline void ldmatrix_x1(std::uint32_t (&r)[1], const void* row) { emu::ldmatrix(r, row, 1, false); }
inline void ldmatrix_x2(std::uint32_t (&r)[2], const void* row) { emu::ldmatrix(r, row, 2, false); }
inline void ldmatrix_x4(std::uint32_t (&r)[4], const void* row) { emu::ldmatrix(r, row, 4, false); }
inline void ldmatrix_x1_trans(std::uint32_t (&r)[1], const void* row) { emu::ldmatrix(r, row, 1, true); }
inline void ldmatrix_x2_trans(std::uint32_t (&r)[2], const void* row) { emu::ldmatrix(r, row, 2, true); }
inline void ldmatrix_x4_trans(std::uint32_t (&r)[4], const void* row) { emu::ldmatrix(r, row, 4, true); }

#endif

}  // namespace gpunn::ptx
