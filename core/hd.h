#pragma once
// GPUNN_HD marks a small function that host and device share. Nothing is included, so that a plain host
// source can use the same header without any CUDA on the machine.

#if defined(__CUDACC__)
#define GPUNN_HD __host__ __device__ __forceinline__
#else
#define GPUNN_HD inline
#endif
