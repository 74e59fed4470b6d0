#pragma once
// Tensor-core products of one warp, d = a b + c with float accumulation: mma.sync.aligned (sm_80).
//
// Fragments (PTX ISA, "Matrix fragments for mma.m16n8k16 with floating point type" and "... mma.m16n8k8"),
// with g = lane / 4 and t = lane % 4:
//   a, 16-bit [m16, k16]: register r holds row g + 8 (r & 1), columns 2t + 8 (r >> 1) and the next one (high
//   half) b, 16-bit [k16, n8]:  register r holds rows 2t + 8 r and the next one (high half), column g a, tf32
//   [m16, k8]:  register r holds row g + 8 (r & 1), column t + 4 (r >> 1) b, tf32   [k8, n8]:   register r
//   holds row t + 4 r, column g c, d      [m16, n8]:  register r holds row g + 8 (r >> 1), column 2t + (r &
//   1)

#include <bit>

#include "gpunn/kernels/ptx/common.cuh"

namespace gpunn::ptx {

#if defined(__CUDACC__)

#define GPUNN_PTX_MMA_16816(NAME, TYPE)                                                                    \
  GPUNN_DEVICE void NAME(float(&d)[4], const std::uint32_t(&a)[4], const std::uint32_t(&b)[2],             \
                         const float(&c)[4]) {                                                             \
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." TYPE "." TYPE                                    \
                 ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"                          \
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                          \
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), \
                   "f"(c[2]), "f"(c[3]));                                                                  \
  }
GPUNN_PTX_MMA_16816(mma_m16n8k16_bf16, "bf16")
GPUNN_PTX_MMA_16816(mma_m16n8k16_f16, "f16")
#undef GPUNN_PTX_MMA_16816

GPUNN_DEVICE void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                                   const float (&c)[4]) {
  asm volatile(
      "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%10,%11,%12,%13};"
      : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]), "f"(c[2]),
        "f"(c[3]));
}

// Rounds to tf32 (ten bits of mantissa): nearest, ties away from zero; NaN becomes 0x7fffffff.
GPUNN_DEVICE std::uint32_t cvt_rna_tf32(float x) {
  std::uint32_t bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

#else

inline void mma_m16n8k16_bf16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                              const float (&c)[4]) {
  emu::mma(emu::MmaKind::bf16_m16n8k16, d, a, b, c);
}
inline void mma_m16n8k16_f16(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                             const float (&c)[4]) {
  emu::mma(emu::MmaKind::f16_m16n8k16, d, a, b, c);
}
inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                             const float (&c)[4]) {
  emu::mma(emu::MmaKind::tf32_m16n8k8, d, a, b, c);
}

inline std::uint32_t cvt_rna_tf32(float x) {
  constexpr std::uint32_t kInfinity = 0x7f800000u, kHalfUlp = 0x1000u, kKept = 0xffffe000u;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x), magnitude = bits & 0x7fffffffu;
  if (magnitude > kInfinity) return 0x7fffffffu;
  if (magnitude == kInfinity) return bits;
  return (bits + kHalfUlp) & kKept;  // the carry runs into the exponent, up to infinity
}

#endif

}  // namespace gpunn::ptx
