#pragma once
// Rotary positions: pairs of features are turned by an angle that grows with the position, so that the
// product of a query and a key depends on their distance.
//
//   (y_a, y_b) = (x_a cos - x_b sin, x_b cos + x_a sin),  angle of pair i at position t: t / base^(2 i / R)
//
// The first R of D features are turned (R even), the others pass. Pairs are (i, i + R / 2), as in GPT-NeoX
// and Llama, or with `interleaved` (2 i, 2 i + 1), as in the paper and GPT-J.
//
// Shapes: x [B, T, H, D] (or [T, H, D]), any strides whose last is 1; y has x's shape and is contiguous.
// Table cos, sin [P, R / 2] in f32 (f64 for f64). positions i64 [T] or [B, T], each in [0, P); undefined: 0,
// 1, ... dtypes: f32, f16, bf16 (computed in f32), f64 on the CPU. Backward keeps the table and the
// positions: it turns back. Any number of derivatives. The table is constant. Determinism: bitwise. Errors:
// InvalidArgument for ranks, sizes, dtypes and devices that do not fit and for positions outside the table
// (looked at on the host; on a GPU that waits for them unless check_positions is off: then such a row becomes
// NaN).
//
// Source: Su et al., "RoFormer: enhanced transformer with rotary position embedding" (2021).
#include <cstdint>

#include "gpunn/core/api.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

struct RotaryTable {
  Tensor cos, sin;  // [positions, features / 2]
};

/// Angles in double, rounded once. Throws InvalidArgument for positions or features below 1, odd features and
/// a base that is not above 0 and finite.
GPUNN_API RotaryTable rotary_table(std::int64_t positions, std::int64_t features, double base = 10000,
                                   TensorOptions options = {});

struct RotaryOptions {
  Tensor positions{};  // i64 [T] or [B, T]; undefined: 0, 1, ...
  bool interleaved = false;
  bool check_positions = true;  // on a GPU; see above
};

GPUNN_API Tensor rotary(const Tensor& x, const RotaryTable& table, const RotaryOptions& options = {});

}  // namespace gpunn
