#pragma once

namespace gpunn::bench {

/// GFLOP/s of one core when nothing but f32 multiply-adds in registers runs, measured now.
double fma_peak_gflops();

}  // namespace gpunn::bench
