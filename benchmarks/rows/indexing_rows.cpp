#include "benchmarks/op_bench.h"
#include "gpunn/kernels/indexing/indexing_impl.h"

namespace gpunn::bench {
namespace {

template <class P>
P rows(std::int64_t entries, std::int64_t width, std::int64_t n) {
  P p{};
  p.dtype = DType::f32;
  p.outer = 1;
  p.extent = entries;
  p.inner = width;
  p.n = n;
  p.skip = -1;
  return p;
}

/// Along the last dimension of [rows, extent], `n` indices a row.
GatherProblem gather(std::int64_t rows, std::int64_t extent, std::int64_t n) {
  GatherProblem p{};
  p.dtype = DType::f32;
  p.rank = 2;
  p.shape[0] = rows;
  p.shape[1] = n;
  p.x_strides[0] = extent;
  p.extent = extent;
  p.step = 1;
  return p;
}

ScatterProblem scatter(std::int64_t rows, std::int64_t extent, std::int64_t n) {
  ScatterProblem p{};
  p.dtype = DType::f32;
  p.rank = 1;
  p.shape[0] = rows;
  p.index_strides[0] = n;
  p.y_strides[0] = extent;
  p.n = n;
  p.index_step = 1;
  p.extent = extent;
  p.step = 1;
  p.y_elements = rows * extent;
  p.with_src = true;
  return p;
}

}  // namespace

void add_indexing_rows(Bench& bench) {
  constexpr std::int64_t kEntries = 50257, kWidth = 768, kTokens = 8192;
  bench.row(kSelectRows, "8192 of 50257x768", rows<SelectRowsProblem>(kEntries, kWidth, kTokens), kEntries);
  bench.row(kAddRows, "8192 of 50257x768", rows<AddRowsProblem>(kEntries, kWidth, kTokens), kEntries);
  bench.row(kAddRows, "8192 of 2x768", rows<AddRowsProblem>(2, kWidth, kTokens));
  bench.row(kGather, "2048x1024 of 1024", gather(2048, 1024, 1024), 1024);
  bench.row(kScatter, "2048x1024 of 1024", scatter(2048, 1024, 1024), 1024);
  bench.row(kScatterAdd, "2048x1024 of 1024", scatter(2048, 1024, 1024), 1024);
  bench.row(kScatterAdd, "1x1M of 64K", scatter(1, 1 << 16, 1 << 20), 1 << 16);
  MaskedFillProblem fill{};
  fill.dtype = DType::f32;
  fill.rank = 2;
  fill.shape[0] = 2048;
  fill.shape[1] = 1024;
  fill.mask_strides[1] = 1;
  bench.row(kMaskedFill, "2048x1024, mask [1024]", fill);
  MaskPositionsProblem positions{};
  positions.dtype = DType::f32;
  positions.n = 1 << 21;
  bench.row(kMaskPositions, "2M", positions);
  OneHotProblem one_hot{};
  one_hot.dtype = DType::f32;
  one_hot.n = 2048;
  one_hot.classes = 1024;
  bench.row(kOneHot, "2048x1024", one_hot, 1024);
  IndexCheckProblem check{};
  check.dtype = DType::f32;
  check.n = kTokens;
  check.extent = kEntries;
  bench.row(kIndexCheck, "8192", check, kEntries);
}

}  // namespace gpunn::bench
