// One pass over dy (and y): the ReLU's gradient and the sums per channel. Sums are taken in blocks (a stretch
// of one channel's plane, or rows of channels) and the blocks' added in order.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/conv2d/channel_grad_cpu.cpp"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {

// Elements [at, at + n): dz is written, the vectors are handed to `add`.
template <class Add>
HWY_INLINE void Pass(const ChannelGradProblem& p, std::int64_t at, std::int64_t n, Add add) {
  const hn::ScalableTag<float> d;
  const auto* const dy = static_cast<const float*>(p.dy) + at;
  if (!p.relu)
    return ForEachVector(d, n,
                         [&](std::int64_t i, std::int64_t left) { add(LoadPart(d, dy + i, left), i, left); });
  const auto* const y = static_cast<const float*>(p.y) + at;
  auto* const dz = static_cast<float*>(p.dz) + at;
  ForEachVector(d, n, [&](std::int64_t i, std::int64_t left) {
    const auto g =
        hn::IfThenElseZero(hn::Gt(LoadPart(d, y + i, left), hn::Zero(d)), LoadPart(d, dy + i, left));
    StorePart(d, g, dz + i, left);
    add(g, i, left);
  });
}

// A stretch of one channel.
float channel_grad_stretch(const ChannelGradProblem& p, std::int64_t at, std::int64_t n) {
  const hn::ScalableTag<float> d;
  auto even = hn::Zero(d), odd = even;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  Pass(p, at, n, [&](hn::Vec<decltype(d)> g, std::int64_t i, std::int64_t) {
    auto& sum = (i / lanes) % 2 ? odd : even;
    sum = hn::Add(sum, g);
  });
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
}

// Rows of K channels; `sums` [K] are set, unless null.
void channel_grad_rows(const ChannelGradProblem& p, std::int64_t row, std::int64_t rows, float* sums) {
  const hn::ScalableTag<float> d;
  if (sums) std::fill_n(sums, p.K, 0.0f);
  for (std::int64_t r = row; r < row + rows; ++r)
    Pass(p, r * p.K, p.K, [&](hn::Vec<decltype(d)> g, std::int64_t i, std::int64_t left) {
      if (sums) StorePart(d, hn::Add(LoadPart(d, sums + i, left), g), sums + i, left);
    });
}

}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {
namespace {

HWY_EXPORT(channel_grad_stretch);
HWY_EXPORT(channel_grad_rows);

constexpr std::int64_t kBlockRows = 256;
constexpr std::int64_t kMaxBlocks = 256;

// In channels-last order: rows of one block.
std::int64_t block_rows(const ChannelGradProblem& p) {
  return std::max(kBlockRows, (p.N * p.pixels + kMaxBlocks - 1) / kMaxBlocks);
}

std::int64_t blocks(const ChannelGradProblem& p) {
  return p.channels_last ? (p.N * p.pixels + block_rows(p) - 1) / block_rows(p) : p.N;
}

}  // namespace

const char* channel_grad_cpu_reason(const ChannelGradProblem& p) {
  return p.dtype == DType::f32 ? nullptr : "f32 only";
}

std::size_t channel_grad_cpu_workspace(const ChannelGradProblem& p) {
  return p.want_db ? static_cast<std::size_t>(blocks(p) * p.K) * sizeof(float) : 0;
}

void channel_grad_cpu(const ChannelGradProblem& p, const Exec& exec) {
  auto* const sums = p.want_db ? static_cast<float*>(exec.workspace) : nullptr;  // [blocks, K]
  if (p.channels_last) {
    const std::int64_t all = p.N * p.pixels, step = block_rows(p);
    exec.pool->run(blocks(p), [&](std::int64_t b) {
      HWY_DYNAMIC_DISPATCH(channel_grad_rows)
      (p, b * step, std::min(step, all - b * step), sums ? sums + b * p.K : nullptr);
    });
  } else {
    parallel_for(*exec.pool, p.N * p.K, rows_per_chunk(p.pixels), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const float sum = HWY_DYNAMIC_DISPATCH(channel_grad_stretch)(p, i * p.pixels, p.pixels);
        if (sums) sums[i] = sum;
      }
    });
  }
  if (!sums) return;
  auto* const db = static_cast<float*>(p.db);
  std::fill_n(db, p.K, 0.0f);
  for (std::int64_t b = 0; b < blocks(p); ++b)
    for (std::int64_t k = 0; k < p.K; ++k) db[k] += sums[b * p.K + k];
}

}  // namespace gpunn
#endif
