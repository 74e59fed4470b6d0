#include <algorithm>
#include <initializer_list>
#include <vector>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/movement/movement_impl.h"

namespace gpunn::bench {
namespace {

template <class P>
P remap(const std::vector<RemapAxis>& axes) {
  P p{};
  p.dtype = DType::f32;
  p.rank = static_cast<int>(axes.size());
  std::copy(axes.begin(), axes.end(), p.axes);
  return p;
}

CatProblem cat(std::int64_t outer, std::initializer_list<std::int64_t> widths) {
  CatProblem p{};
  p.dtype = DType::f32;
  p.outer = outer;
  for (const std::int64_t w : widths) {
    p.slots[p.count++] = {nullptr, w, p.width};
    p.width += w;
  }
  return p;
}

}  // namespace

void add_movement_rows(Bench& bench) {
  using R = RemapRule;
  bench.row(kCat, "2 of 1M", cat(1, {1 << 20, 1 << 20}));
  bench.row(kCat, "1024x(256,512,256)", cat(1024, {256, 512, 256}));
  const struct {
    const char* name;
    std::vector<RemapAxis> axes;
  } kRows[] = {
      {"pad 2048x32x32 by 2", {{R::shift, 2048, 2048, 0}, {R::shift, 32, 36, 2}, {R::shift, 32, 36, 2}}},
      {"reflect 2048x32x32 by 2",
       {{R::shift, 2048, 2048, 0}, {R::reflect, 32, 36, 2}, {R::reflect, 32, 36, 2}}},
      {"flip 2048x1024", {{R::shift, 2048, 2048, 0}, {R::reverse, 1024, 1024, 0}}},
      {"roll 2048x1024", {{R::wrap, 2048, 2048, 77}, {R::wrap, 1024, 1024, 300}}},
  };
  for (const auto& row : kRows) {
    bench.row(kRemap, row.name, remap<RemapProblem>(row.axes));
    bench.row(kRemapBackward, row.name, remap<RemapBackwardProblem>(row.axes));
  }
}

}  // namespace gpunn::bench
