#pragma once
// GPUNN_API marks what leaves libgpunn; everything else has hidden visibility.
#if defined(__GNUC__)
#define GPUNN_API __attribute__((visibility("default")))
#else
#define GPUNN_API
#endif
