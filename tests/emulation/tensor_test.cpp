// Tensor-core wrappers against plain products, with the fragment layouts written down once more here.

#include "tests/emulation/tensor_kernels.h"

#include <cuda_fp16.h>

#include <bit>
#include <cmath>

#include "gpunn/core/emulation/ptx.h"
#include "tests/emulation/device_array.h"
#include "tests/emulation/hopper_kernels.h"
#include "tests/emulation/schedules.h"

namespace gpunn::test {
namespace {

class TensorCoreRace : public OrderedTest {};
INSTANTIATE_TEST_SUITE_P(Orders, TensorCoreRace, testing::ValuesIn(kOrders), order_name);

// Multiples of 1/8 in [-2, 2]: exact in all formats, and sums of a few hundred products are exact in float.
float value_at(std::size_t i, std::size_t salt) {
  return static_cast<float>((i * 2654435761u + salt * 40503u) >> 7 & 31u) / 8.0f - 2.0f;
}

std::vector<__nv_bfloat16> bf16_matrix(std::size_t count, std::size_t salt) {
  std::vector<__nv_bfloat16> m(count);
  for (std::size_t i = 0; i < count; ++i) m[i] = __float2bfloat16_rn(value_at(i, salt));
  return m;
}

std::uint32_t encode(Product kind, float v) {
  switch (kind) {
    case Product::bf16:
      return __bfloat16_as_ushort(__float2bfloat16_rn(v));
    case Product::f16:
      return __half_as_ushort(__float2half_rn(v));
    default:
      return std::bit_cast<std::uint32_t>(v);
  }
}

struct Position {
  std::size_t row, column;
};
// PTX ISA, matrix fragments of mma.m16n8k16 (.bf16, .f16) and mma.m16n8k8 (.tf32): where element e of a lane
// lies.
Position a_position(Product kind, std::size_t lane, std::size_t e) {
  const std::size_t group = lane >> 2, in_group = lane % 4;
  if (kind == Product::tf32) return {e == 0 || e == 2 ? group : group + 8, e < 2 ? in_group : in_group + 4};
  const bool upper = e < 2 || (e >= 4 && e < 6);
  return {upper ? group : group + 8, e < 4 ? in_group * 2 + (e & 1) : in_group * 2 + (e & 1) + 8};
}
Position b_position(Product kind, std::size_t lane, std::size_t e) {
  const std::size_t group = lane >> 2, in_group = lane % 4;
  if (kind == Product::tf32) return {e == 0 ? in_group : in_group + 4, group};
  return {e < 2 ? in_group * 2 + (e & 1) : in_group * 2 + (e & 1) + 8, group};
}
Position c_position(std::size_t lane, std::size_t e) {
  return {e < 2 ? lane >> 2 : (lane >> 2) + 8, lane % 4 * 2 + (e & 1)};
}

TEST_P(TensorCoreRace, MmaAgainstPlainProducts) {
  for (const Product kind : {Product::bf16, Product::f16, Product::tf32}) {
    const std::size_t depth = kind == Product::tf32 ? 8 : 16, per_register = kind == Product::tf32 ? 1 : 2;
    const auto a_at = [&](Position p) { return value_at(p.row * depth + p.column, 1); };
    const auto b_at = [&](Position p) { return value_at(p.row * 8 + p.column, 2); };
    const auto c_at = [&](Position p) { return value_at(p.row * 8 + p.column, 3); };
    std::vector<std::uint32_t> a(128), b(64);
    std::vector<float> c(128);
    for (std::size_t lane = 0; lane < 32; ++lane) {
      for (std::size_t e = 0; e < 4 * per_register; ++e)
        a[lane * 4 + e / per_register] |= encode(kind, a_at(a_position(kind, lane, e)))
                                          << 16 * (e % per_register);
      for (std::size_t e = 0; e < 2 * per_register; ++e)
        b[lane * 2 + e / per_register] |= encode(kind, b_at(b_position(kind, lane, e)))
                                          << 16 * (e % per_register);
      for (std::size_t e = 0; e < 4; ++e) c[lane * 4 + e] = c_at(c_position(lane, e));
    }
    if (kind == Product::tf32)
      for (std::uint32_t& word : a) word |= 0x1fffu;  // bits below tf32's mantissa must not matter
    DeviceArray<std::uint32_t> device_a(a), device_b(b);
    DeviceArray<float> device_c(c), d(128);
    ASSERT_EQ(launch_mma(kind, device_a.data(), device_b.data(), device_c.data(), d.data()), cudaSuccess);
    d.download();
    for (std::size_t lane = 0; lane < 32; ++lane)
      for (std::size_t e = 0; e < 4; ++e) {
        const Position p = c_position(lane, e);
        double expected = c_at(p);
        for (std::size_t k = 0; k < depth; ++k) expected += double{a_at({p.row, k})} * b_at({k, p.column});
        ASSERT_EQ(d.host[lane * 4 + e], expected)
            << static_cast<int>(kind) << " lane " << lane << " element " << e;
      }
  }
}

TEST_P(TensorCoreRace, Ldmatrix) {
  std::vector<std::uint16_t> rows(32 * 8);
  for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = static_cast<std::uint16_t>(i * 257 + 3);
  DeviceArray<std::uint16_t> source(rows);
  DeviceArray<std::uint32_t> out(128);
  for (const int count : {1, 2, 4})
    for (const bool transposed : {false, true}) {
      ASSERT_EQ(launch_ldmatrix(count, transposed, source.data(), out.data()), cudaSuccess);
      out.download();
      for (std::size_t lane = 0; lane < 32; ++lane)
        for (std::size_t m = 0; m < static_cast<std::size_t>(count); ++m)
          for (std::size_t e = 0; e < 2; ++e) {
            const std::size_t line = lane / 4, position = lane % 4 * 2 + e;
            const std::size_t row = m * 8 + (transposed ? position : line),
                              column = transposed ? line : position;
            ASSERT_EQ(out.host[lane * 4 + m] >> (16 * e) & 0xffffu, rows[row * 8 + column]);
          }
    }
}

TEST_P(TensorCoreRace, CpAsyncSizesAndZeroFill) {
  for (const int bytes : {4, 8, 16}) {
    const std::size_t size = static_cast<std::size_t>(bytes) * 32;
    std::vector<unsigned char> content(size);
    std::vector<int> valid(32);
    for (std::size_t i = 0; i < size; ++i) content[i] = static_cast<unsigned char>(i * 31 + 7);
    for (std::size_t i = 0; i < 32; ++i) valid[i] = i % 3 != 1;
    DeviceArray<unsigned char> source(content), out(size);
    DeviceArray<int> flags(valid);
    ASSERT_EQ(launch_cp_async(bytes, source.data(), flags.data(), out.data()), cudaSuccess);
    out.download();
    for (std::size_t i = 0; i < size; ++i)
      ASSERT_EQ(out.host[i], valid[i / static_cast<std::size_t>(bytes)] != 0 ? content[i] : 0)
          << bytes << " " << i;
  }
}

TEST_P(TensorCoreRace, CpAsyncGroups) {
  DeviceArray<float> source(std::vector<float>{1, 2, 3}), out(3);
  ASSERT_EQ(launch_cp_async_groups(source.data(), out.data()), cudaSuccess);
  EXPECT_EQ(out.download(), (std::vector<float>{1, 2, 3}));
}

void expect_product(const std::vector<__nv_bfloat16>& a, const std::vector<__nv_bfloat16>& b,
                    const std::vector<float>& c, std::size_t M, std::size_t N, std::size_t K) {
  for (std::size_t m = 0; m < M; ++m)
    for (std::size_t n = 0; n < N; ++n) {
      double expected = 0;
      for (std::size_t k = 0; k < K; ++k)
        expected += double{__bfloat162float(a[m * K + k])} * __bfloat162float(b[n * K + k]);
      ASSERT_EQ(c[m * N + n], expected) << m << " " << n;
    }
}

TEST_P(TensorCoreRace, PipelinedGemm) {
  constexpr std::size_t M = 72, N = 40, K = 56;
  const auto a = bf16_matrix(M * K, 4), b = bf16_matrix(N * K, 5);
  DeviceArray<__nv_bfloat16> device_a(a), device_b(b);
  DeviceArray<float> c(M * N);
  ASSERT_EQ(launch_tensor_gemm(device_a.data(), device_b.data(), c.data(), M, N, K), cudaSuccess);
  expect_product(a, b, c.download(), M, N, K);
}

TEST_P(TensorCoreRace, TransposedOperand) {
  const auto a = bf16_matrix(256, 6), b = bf16_matrix(128, 7);
  DeviceArray<__nv_bfloat16> device_a(a), device_b(b);
  DeviceArray<float> c(128);
  ASSERT_EQ(launch_transposed_b(device_a.data(), device_b.data(), c.data()), cudaSuccess);
  c.download();
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n) {
      double expected = 0;
      for (std::size_t k = 0; k < 16; ++k)
        expected += double{__bfloat162float(a[m * 16 + k])} * __bfloat162float(b[k * 8 + n]);
      ASSERT_EQ(c.host[m * 8 + n], expected);
    }
}

TEST_P(TensorCoreRace, HopperPipeline) {
  constexpr std::size_t M = 128, N = 64, K = 256;
  const auto a = bf16_matrix(M * K, 8), b = bf16_matrix(N * K, 9);
  DeviceArray<__nv_bfloat16> device_a(a), device_b(b);
  DeviceArray<float> c(M * N);
  ASSERT_EQ(launch_hopper_gemm(device_a.data(), device_b.data(), c.data(), M, N, K), cudaSuccess);
  expect_product(a, b, c.download(), M, N, K);
}

TEST_P(TensorCoreRace, HopperCoreMatrices) {
  constexpr std::size_t kSide = 64;
  const auto a = bf16_matrix(kSide * kSide, 10), b = bf16_matrix(kSide * kSide, 11);
  const auto pack = [](const std::vector<__nv_bfloat16>& m) {
    std::vector<__nv_bfloat16> packed(m.size());
    for (std::size_t row = 0; row < kSide; ++row)
      for (std::size_t k = 0; k < kSide; ++k)
        packed[k / 8 * 512 + row / 8 * 64 + row % 8 * 8 + k % 8] = m[row * kSide + k];
    return packed;
  };
  DeviceArray<__nv_bfloat16> device_a(pack(a)), device_b(pack(b));
  DeviceArray<float> c(kSide * kSide);
  ASSERT_EQ(launch_hopper_core_matrices(device_a.data(), device_b.data(), c.data()), cudaSuccess);
  expect_product(a, b, c.download(), kSide, kSide, kSide);
}

// Swizzled K-major tiles: in rows of w bytes, 16-byte chunk j of row r lies at chunk j ^ (r * w / 128 % (w /
// 16)).
TEST(WgmmaDescriptor, SwizzledRows) {
  struct Mode {
    std::uint64_t code;
    std::uint32_t width;
  };
  for (const Mode mode : {Mode{1, 128}, Mode{2, 64}, Mode{3, 32}}) {
    const std::uint32_t start = 4096, group = 8 * mode.width;
    const std::uint64_t descriptor =
        start >> 4 | std::uint64_t{1} << 16 | std::uint64_t{group >> 4} << 32 | mode.code << 62;
    for (std::uint32_t row = 0; row < 64; ++row)
      for (std::uint32_t k = 0; k < mode.width / 2; ++k) {
        const std::uint32_t chunk = k / 8 ^ (row * mode.width / 128 % (mode.width / 16));
        EXPECT_EQ(emu::descriptor_address(descriptor, static_cast<int>(row), static_cast<int>(k), false),
                  start + row * mode.width + chunk * 16 + k % 8 * 2);
      }
  }
}

}  // namespace
}  // namespace gpunn::test
