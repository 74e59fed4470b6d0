#pragma once
// Rows and columns of the memory-bound row reductions, bf16, on a GPU: widths of models, then vocabularies.
#include <cstdint>

namespace gpunn::bench {

struct RowSizes {
  const char* name;
  std::int64_t rows, cols;
};

inline constexpr RowSizes kRowReductions[] = {
    {"R1 16384x768", 16384, 768},       {"R2 32768x1024", 32768, 1024},   {"R3 32768x4096", 32768, 4096},
    {"R4 32768x8192", 32768, 8192},     {"R5 4096x16384", 4096, 16384},   {"R6 32768x32768", 32768, 32768},
    {"R7 16384x131072", 16384, 131072}, {"R8 8192x262144", 8192, 262144}, {"R9 131072x128", 131072, 128},
    {"R10 16384x50304", 16384, 50304}};
/// For a CPU, f32.
inline constexpr RowSizes kCpuRows[] = {{"P9 4096x1024", 4096, 1024}, {"P9 512x50304", 512, 50304}};

}  // namespace gpunn::bench
