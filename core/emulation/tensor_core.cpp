// mma.sync and ldmatrix. Layouts: PTX ISA, "Matrix fragments for mma.m16n8k16 / m16n8k8" and "ldmatrix". With
// g = lane / 4 and t = lane % 4, accumulator registers 0, 1 are row g, columns 2t and 2t + 1; 2, 3 are row g
// + 8.
//
// Products are added in float in ascending k. A chip adds several at once and truncates: results differ in
// the last bits, so comparisons with one need tolerances.

#include <bit>
#include <cstring>

#include <cuda_fp16.h>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

struct MmaOperands {
  MmaKind kind;
  float* d;
  const std::uint32_t* a;
  const std::uint32_t* b;
  const float* c;
};

struct MatrixRow {
  std::uint32_t* registers;
  std::uint16_t row[8];
  int count;
  bool transposed;
};

struct Tile {
  float a[16][16];  // [m, k]
  float b[16][8];   // [k, n]
  float c[16][8];   // [m, n]
};

float half_of(MmaKind kind, std::uint32_t word, int which) {
  const auto bits = static_cast<std::uint16_t>(word >> (16 * which));
  return kind == MmaKind::f16_m16n8k16 ? __half2float(__ushort_as_half(bits))
                                       : std::bit_cast<float>(std::uint32_t{bits} << 16);
}

// The tensor core reads sign, exponent and ten bits of mantissa.
float tf32(std::uint32_t word) { return std::bit_cast<float>(word & ~0x1fffu); }

void gather_16bit(Tile& tile, const MmaOperands& o, int g, int t) {
  for (int r = 0; r < 4; ++r)  // register r of a: row g + 8 (r & 1), columns 2t + 8 (r >> 1)
    for (int e = 0; e < 2; ++e)
      tile.a[g + 8 * (r & 1)][2 * t + e + 8 * (r >> 1)] = half_of(o.kind, o.a[r], e);
  for (int r = 0; r < 2; ++r)
    for (int e = 0; e < 2; ++e) tile.b[2 * t + e + 8 * r][g] = half_of(o.kind, o.b[r], e);
}

void gather_tf32(Tile& tile, const MmaOperands& o, int g, int t) {
  for (int r = 0; r < 4; ++r) tile.a[g + 8 * (r & 1)][t + 4 * (r >> 1)] = tf32(o.a[r]);
  for (int r = 0; r < 2; ++r) tile.b[t + 4 * r][g] = tf32(o.b[r]);
}

}  // namespace

void perform_mma(Worker& worker, Warp& warp, std::uint32_t lanes) {
  if (lanes != kFullMask) worker.fail("mma.sync with lanes missing");
  const MmaKind kind = static_cast<const MmaOperands*>(warp.operand[0])->kind;
  const int depth = kind == MmaKind::tf32_m16n8k8 ? 8 : 16;
  alignas(64) Tile tile;
  for (int lane = 0; lane < 32; ++lane) {
    const auto& o = *static_cast<const MmaOperands*>(warp.operand[static_cast<std::size_t>(lane)]);
    if (o.kind != kind) worker.fail("lanes of one warp execute different mma.sync instructions");
    const int g = lane / 4, t = lane % 4;
    if (kind == MmaKind::tf32_m16n8k8) {
      gather_tf32(tile, o, g, t);
    } else {
      gather_16bit(tile, o, g, t);
    }
    for (int e = 0; e < 4; ++e) tile.c[g + 8 * (e >> 1)][2 * t + (e & 1)] = o.c[e];
  }
  for (int m = 0; m < 16; ++m)
    for (int k = 0; k < depth; ++k)
      for (int n = 0; n < 8; ++n) tile.c[m][n] += tile.a[m][k] * tile.b[k][n];
  for (int lane = 0; lane < 32; ++lane) {
    const auto& o = *static_cast<const MmaOperands*>(warp.operand[static_cast<std::size_t>(lane)]);
    const int g = lane / 4, t = lane % 4;
    for (int e = 0; e < 4; ++e) o.d[e] = tile.c[g + 8 * (e >> 1)][2 * t + (e & 1)];
  }
}

void mma(MmaKind kind, float* d, const std::uint32_t* a, const std::uint32_t* b, const float* c) {
  const MmaOperands operands{kind, d, a, b, c};
  this_warp().operand[this_lane()] = &operands;
  warp_rendezvous(kFullMask, WarpOperation::mma);
}

void perform_ldmatrix(Worker& worker, Warp& warp, std::uint32_t lanes) {
  if (lanes != kFullMask) worker.fail("ldmatrix with lanes missing");
  std::array<const MatrixRow*, 32> rows;
  for (std::size_t lane = 0; lane < 32; ++lane)
    rows[lane] = static_cast<const MatrixRow*>(warp.operand[lane]);
  for (std::size_t lane = 0; lane < 32; ++lane) {
    if (rows[lane]->count != rows[0]->count || rows[lane]->transposed != rows[0]->transposed)
      worker.fail("lanes of one warp execute different ldmatrix instructions");
    const std::size_t major = lane / 4, minor = 2 * (lane % 4);
    for (std::size_t m = 0; m < static_cast<std::size_t>(rows[0]->count); ++m) {
      const auto element = [&](std::size_t i) {
        return rows[0]->transposed ? rows[8 * m + minor + i]->row[major]
                                   : rows[8 * m + major]->row[minor + i];
      };
      rows[lane]->registers[m] = element(0) | static_cast<std::uint32_t>(element(1)) << 16;
    }
  }
}

void ldmatrix(std::uint32_t* registers, const void* row, int count, bool transposed) {
  MatrixRow own{registers, {}, count, transposed};
  if (static_cast<int>(this_lane()) < 8 * count) {
    if (shared_offset(row) % 16 != 0) context.worker->fail("ldmatrix row is not aligned to 16 bytes");
    note_read(row, 16);
    std::memcpy(own.row, row, 16);
  }
  this_warp().operand[this_lane()] = &own;
  warp_rendezvous(kFullMask, WarpOperation::ldmatrix);
}

}  // namespace gpunn::emu
