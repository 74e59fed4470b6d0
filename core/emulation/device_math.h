#pragma once
// CUDA's mathematical and bit intrinsics for the emulated build. Accuracy is the host library's: the fast
// variants are at least as exact here as on a GPU, so tests of them need tolerances, never bit equality.

#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace gpunn::emu {

inline float exp_fast(float x) { return std::exp(x); }
inline float exp10_fast(float x) { return std::pow(10.0f, x); }
inline float log_fast(float x) { return std::log(x); }
inline float log2_fast(float x) { return std::log2(x); }
inline float log10_fast(float x) { return std::log10(x); }
inline float sin_fast(float x) { return std::sin(x); }
inline float cos_fast(float x) { return std::cos(x); }
inline float tan_fast(float x) { return std::tan(x); }
inline float pow_fast(float x, float y) { return std::pow(x, y); }

// float to integer as the GPU does it: saturating, NaN becomes 0.
template <class Integer>
inline Integer saturate_to(float rounded) {
  constexpr bool kSigned = static_cast<Integer>(-1) < Integer{0};
  constexpr float kBelow = kSigned ? -2147483648.0f : 0.0f, kAbove = kSigned ? 2147483648.0f : 4294967296.0f;
  if (std::isnan(rounded)) return Integer{0};
  if (rounded <= kBelow) return static_cast<Integer>(kBelow);
  if (rounded >= kAbove) return static_cast<Integer>(kSigned ? 0x7fffffffu : 0xffffffffu);
  return static_cast<Integer>(rounded);
}

}  // namespace gpunn::emu

// glibc's <math.h> declares functions of these very names, so they can only be macros.
#define __expf ::gpunn::emu::exp_fast
#define __exp10f ::gpunn::emu::exp10_fast
#define __logf ::gpunn::emu::log_fast
#define __log2f ::gpunn::emu::log2_fast
#define __log10f ::gpunn::emu::log10_fast
#define __sinf ::gpunn::emu::sin_fast
#define __cosf ::gpunn::emu::cos_fast
#define __tanf ::gpunn::emu::tan_fast
#define __powf ::gpunn::emu::pow_fast

inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float __fsqrt_rn(float x) { return std::sqrt(x); }
inline float __frsqrt_rn(float x) { return 1.0f / std::sqrt(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline float __saturatef(float x) { return x > 0.0f ? (x < 1.0f ? x : 1.0f) : 0.0f; }  // NaN becomes 0

inline int __float_as_int(float f) { return std::bit_cast<int>(f); }
inline unsigned __float_as_uint(float f) { return std::bit_cast<unsigned>(f); }
inline float __int_as_float(int i) { return std::bit_cast<float>(i); }
inline float __uint_as_float(unsigned i) { return std::bit_cast<float>(i); }
inline long long __double_as_longlong(double d) { return std::bit_cast<long long>(d); }
inline double __longlong_as_double(long long i) { return std::bit_cast<double>(i); }

inline int __float2int_rn(float x) { return gpunn::emu::saturate_to<int>(std::nearbyint(x)); }
inline int __float2int_rz(float x) { return gpunn::emu::saturate_to<int>(std::trunc(x)); }
inline int __float2int_rd(float x) { return gpunn::emu::saturate_to<int>(std::floor(x)); }
inline int __float2int_ru(float x) { return gpunn::emu::saturate_to<int>(std::ceil(x)); }
inline unsigned __float2uint_rn(float x) { return gpunn::emu::saturate_to<unsigned>(std::nearbyint(x)); }
inline unsigned __float2uint_rz(float x) { return gpunn::emu::saturate_to<unsigned>(std::trunc(x)); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline int __ffsll(long long x) {
  return x == 0 ? 0 : std::countr_zero(static_cast<unsigned long long>(x)) + 1;
}
inline unsigned __brev(unsigned x) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= ((x >> bit) & 1u) << (31 - bit);
  return reversed;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(a) * b) >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>((static_cast<std::int64_t>(a) * b) >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  __extension__ using Wide = unsigned __int128;
  return static_cast<unsigned long long>((static_cast<Wide>(a) * b) >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<std::uint64_t>(high) << 32 | low) << (shift & 31u)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<std::uint64_t>(high) << 32 | low) >> (shift & 31u));
}

// Cache hints mean nothing here.
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
inline T __ldcg(const T* p) {
  return *p;
}
template <class T>
inline T __ldca(const T* p) {
  return *p;
}
template <class T>
inline void __stcs(T* p, T value) {
  *p = value;
}
template <class T>
inline void __stcg(T* p, T value) {
  *p = value;
}

inline long long clock64() {
  return static_cast<long long>(std::chrono::steady_clock::now().time_since_epoch().count());
}

inline int min(int a, int b) { return a < b ? a : b; }
inline int max(int a, int b) { return a > b ? a : b; }
inline unsigned min(unsigned a, unsigned b) { return a < b ? a : b; }
inline unsigned max(unsigned a, unsigned b) { return a > b ? a : b; }
inline long min(long a, long b) { return a < b ? a : b; }
inline long max(long a, long b) { return a > b ? a : b; }
inline unsigned long min(unsigned long a, unsigned long b) { return a < b ? a : b; }
inline unsigned long max(unsigned long a, unsigned long b) { return a > b ? a : b; }
inline long long min(long long a, long long b) { return a < b ? a : b; }
inline long long max(long long a, long long b) { return a > b ? a : b; }
inline unsigned long long min(unsigned long long a, unsigned long long b) { return a < b ? a : b; }
inline unsigned long long max(unsigned long long a, unsigned long long b) { return a > b ? a : b; }
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }
