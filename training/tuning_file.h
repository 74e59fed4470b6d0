#pragma once
// Files of stored implementation orders (core/tuning.h), which hold for one device, one version of the
// library and, on the CPU, one number of threads:
//
//   {"gpunn": "0.1.0", "device": "NVIDIA H100 80GB HBM3", "threads": 2, "rows": [
//     {"key": "matmul forward f32 M=64 …", "op": "matmul", "direction": "forward",
//      "order": [{"implementation": "cublaslt", "seconds": 4.1e-06}, …]}, …]}
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/tuning.h"

namespace gpunn {

/// `table`, measured on `device` with `threads` CPU threads, as JSON.
GPUNN_API std::string to_json(const TuningTable& table, Device device, int threads);

/// Throws DataError naming `path` when the file cannot be read, is malformed, or is of another device,
/// version or (when `device` is the CPU) number of threads; then the message has both.
GPUNN_API TuningTable read_tuning(const std::string& path, Device device, int threads);

/// read_tuning(), then ops on `device` follow it; the digest is the file's SHA-256. Before a run, not within:
/// implementations may differ in rounding.
GPUNN_API void use_tuning(const std::string& path, Device device, int threads);

}  // namespace gpunn
