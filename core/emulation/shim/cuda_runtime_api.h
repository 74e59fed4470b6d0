#pragma once
// Calls of the CUDA runtime that only the library's host code makes; <cuda_runtime.h> has the rest.

#include <cuda_runtime.h>

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority);
