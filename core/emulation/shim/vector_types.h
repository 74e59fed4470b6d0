#pragma once
// CUDA's vector types for the emulated build: same names, sizes and alignments as the toolkit's header.

struct uint3 {
  unsigned x, y, z;
};

struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
  constexpr operator uint3() const { return {x, y, z}; }
};

// Vectors of two and four elements are aligned to their size, at most 16 bytes; those of three to one
// element.
#define GPUNN_EMU_VECTOR_1(T, N) \
  struct N##1 { T x; };          \
  inline N##1 make_##N##1(T x) { return {x}; }
#define GPUNN_EMU_VECTOR_2(T, N)                  \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; }; \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }
#define GPUNN_EMU_VECTOR_3(T, N) \
  struct N##3 { T x, y, z; };    \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }
#define GPUNN_EMU_VECTOR_4(T, N)                                                  \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; }; \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define GPUNN_EMU_VECTORS(T, N) \
  GPUNN_EMU_VECTOR_1(T, N) GPUNN_EMU_VECTOR_2(T, N) GPUNN_EMU_VECTOR_3(T, N) GPUNN_EMU_VECTOR_4(T, N)

GPUNN_EMU_VECTORS(signed char, char)
GPUNN_EMU_VECTORS(unsigned char, uchar)
GPUNN_EMU_VECTORS(short, short)
GPUNN_EMU_VECTORS(unsigned short, ushort)
GPUNN_EMU_VECTORS(int, int)
GPUNN_EMU_VECTOR_1(unsigned, uint)
GPUNN_EMU_VECTOR_2(unsigned, uint)
GPUNN_EMU_VECTOR_4(unsigned, uint)
GPUNN_EMU_VECTORS(long long, longlong)
GPUNN_EMU_VECTORS(unsigned long long, ulonglong)
GPUNN_EMU_VECTORS(float, float)
GPUNN_EMU_VECTORS(double, double)
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }

#undef GPUNN_EMU_VECTORS
#undef GPUNN_EMU_VECTOR_1
#undef GPUNN_EMU_VECTOR_2
#undef GPUNN_EMU_VECTOR_3
#undef GPUNN_EMU_VECTOR_4
