// Leaves of the reduction trees in f32: a few hundred elements by vectors, along a row or down the columns of
// a tile, with any of three operations and a map of the elements.
#include <cmath>

#include "gpunn/kernels/reduce/reduce_leaves_impl.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "gpunn/kernels/reduce/reduce_leaves.cpp"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

#include "gpunn/kernels/common/simd_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace gpunn {
namespace HWY_NAMESPACE {
namespace {

using Tag = hn::ScalableTag<float>;
using Vector = hn::Vec<Tag>;
constexpr std::size_t kMaxLanes = HWY_MAX_BYTES / sizeof(float);

struct SumLeaf {
  static constexpr float kIdentity = 0.0f;
  static HWY_INLINE Vector combine(Vector a, Vector b) { return hn::Add(a, b); }
  static float combine(float a, float b) { return a + b; }
};
struct ProdLeaf {
  static constexpr float kIdentity = 1.0f;
  static HWY_INLINE Vector combine(Vector a, Vector b) { return hn::Mul(a, b); }
  static float combine(float a, float b) { return a * b; }
};
/// NaN wins, whichever side it is on.
struct MaxLeaf {
  static constexpr float kIdentity = -HUGE_VALF;
  static HWY_INLINE Vector combine(Vector a, Vector b) {
    return hn::IfThenElse(hn::Or(hn::Gt(b, a), hn::IsNaN(b)), b, a);
  }
  static float combine(float a, float b) { return b > a || b != b ? b : a; }
};
struct MinLeaf {
  static constexpr float kIdentity = HUGE_VALF;
  static HWY_INLINE Vector combine(Vector a, Vector b) {
    return hn::IfThenElse(hn::Or(hn::Lt(b, a), hn::IsNaN(b)), b, a);
  }
  static float combine(float a, float b) { return b < a || b != b ? b : a; }
};

struct Plain {
  static constexpr bool kFirst = false, kShift = false;
  static HWY_INLINE Vector map(Vector x, Vector, Vector) { return x; }
};
struct Magnitude {
  static constexpr bool kFirst = false, kShift = false;
  static HWY_INLINE Vector map(Vector x, Vector, Vector) { return hn::Abs(x); }
};
struct Square {
  static constexpr bool kFirst = false, kShift = false;
  static HWY_INLINE Vector map(Vector x, Vector, Vector) { return hn::Mul(x, x); }
};
struct Offset {
  static constexpr bool kFirst = true, kShift = false;
  static HWY_INLINE Vector map(Vector x, Vector first, Vector) { return hn::Sub(x, first); }
};
struct Deviation {
  static constexpr bool kFirst = true, kShift = true;
  static HWY_INLINE Vector map(Vector x, Vector first, Vector shift) {
    const Vector d = hn::Sub(hn::Sub(x, first), shift);
    return hn::Mul(d, d);
  }
};
struct Exponential {
  static constexpr bool kFirst = false, kShift = true;
  static HWY_INLINE Vector map(Vector x, Vector, Vector shift) { return Exp(Tag(), hn::Sub(x, shift)); }
};

template <class Op, class Map>
float Row(const float* x, std::size_t n, ReduceShift s) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d);
  const Vector identity = hn::Set(d, Op::kIdentity);
  const Vector first = hn::Set(d, Map::kFirst ? *s.first : 0), shift = hn::Set(d, Map::kShift ? *s.shift : 0);
  Vector a0 = identity, a1 = identity, a2 = identity, a3 = identity;
  const auto at = [&](std::size_t i) HWY_ATTR { return Map::map(hn::LoadU(d, x + i), first, shift); };
  std::size_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    a0 = Op::combine(a0, at(i));
    a1 = Op::combine(a1, at(i + lanes));
    a2 = Op::combine(a2, at(i + 2 * lanes));
    a3 = Op::combine(a3, at(i + 3 * lanes));
  }
  for (; i + lanes <= n; i += lanes) a0 = Op::combine(a0, at(i));
  if (i < n) {
    const Vector part = Map::map(LoadPart(d, x + i, static_cast<std::int64_t>(n - i)), first, shift);
    a1 = Op::combine(a1, hn::IfThenElse(hn::FirstN(d, n - i), part, identity));
  }
  HWY_ALIGN float lane[kMaxLanes];
  hn::Store(Op::combine(Op::combine(a0, a1), Op::combine(a2, a3)), d, lane);
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t j = 0; j < half; ++j) lane[j] = Op::combine(lane[j], lane[j + half]);
  return lane[0];
}

/// Neighbouring columns' values from `p`, where the map has use for them.
template <bool kUsed>
HWY_INLINE Vector PerColumn(const float* p, std::size_t c, std::size_t width) {
  if constexpr (kUsed)
    return LoadPart(Tag(), p + c, static_cast<std::int64_t>(width - c));
  else
    return hn::Zero(Tag());
}

template <class Op, class Map>
void Columns(const float* x, const std::int64_t* offsets, std::size_t rows, ReduceShift s, float* acc,
             std::size_t width) {
  const Tag d;
  const std::size_t lanes = hn::Lanes(d), whole = width / lanes * lanes;
  const auto left = static_cast<std::int64_t>(width - whole);
  const auto map = [&](Vector v, std::size_t c) HWY_ATTR {
    return Map::map(v, PerColumn<Map::kFirst>(s.first, c, width), PerColumn<Map::kShift>(s.shift, c, width));
  };
  // f(c, load) for each vector of the tile; only the last one may be a part.
  const auto each = [&](auto f) HWY_ATTR {
    for (std::size_t c = 0; c < whole; c += lanes)
      f(c, [&](const float* p) HWY_ATTR { return map(hn::LoadU(d, p + c), c); });
    if (left > 0) f(whole, [&](const float* p) HWY_ATTR { return map(LoadPart(d, p + whole, left), whole); });
  };
  each([&](std::size_t c, auto at) HWY_ATTR { hn::StoreU(at(x + offsets[0]), d, acc + c); });
  std::size_t r = 1;
  for (; r + 4 <= rows; r += 4)
    each([&](std::size_t c, auto at) HWY_ATTR {
      const Vector low = Op::combine(at(x + offsets[r]), at(x + offsets[r + 1]));
      const Vector high = Op::combine(at(x + offsets[r + 2]), at(x + offsets[r + 3]));
      hn::StoreU(Op::combine(hn::LoadU(d, acc + c), Op::combine(low, high)), d, acc + c);
    });
  for (; r < rows; ++r)
    each([&](std::size_t c, auto at)
             HWY_ATTR { hn::StoreU(Op::combine(hn::LoadU(d, acc + c), at(x + offsets[r])), d, acc + c); });
}

template <class Op>
void Merge(float* acc, const float* other, std::size_t width) {
  const Tag d;
  for (std::size_t c = 0; c < width; c += hn::Lanes(d))
    hn::StoreU(Op::combine(hn::LoadU(d, acc + c), hn::LoadU(d, other + c)), d, acc + c);
}

template <class Op, class Map = Plain>
constexpr ReduceLeaves kLeaves{Row<Op, Map>, Columns<Op, Map>, Merge<Op>, Op::combine};

ReduceLeaves ChooseLeaves(ReduceLeaf leaf) {
  switch (leaf) {
    case ReduceLeaf::sum:
      return kLeaves<SumLeaf>;
    case ReduceLeaf::max:
      return kLeaves<MaxLeaf>;
    case ReduceLeaf::min:
      return kLeaves<MinLeaf>;
    case ReduceLeaf::prod:
      return kLeaves<ProdLeaf>;
    case ReduceLeaf::sum_magnitude:
      return kLeaves<SumLeaf, Magnitude>;
    case ReduceLeaf::sum_square:
      return kLeaves<SumLeaf, Square>;
    case ReduceLeaf::sum_offset:
      return kLeaves<SumLeaf, Offset>;
    case ReduceLeaf::sum_deviation:
      return kLeaves<SumLeaf, Deviation>;
    case ReduceLeaf::sum_exponential:
      return kLeaves<SumLeaf, Exponential>;
    case ReduceLeaf::max_magnitude:
      return kLeaves<MaxLeaf, Magnitude>;
    default:
      return kLeaves<MinLeaf, Magnitude>;
  }
}

/// Index of the first element that is `value`, or the first NaN; one of them exists.
std::int64_t FindFirst(const float* x, std::int64_t n, float value) {
  const Tag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const Vector wanted = hn::Set(d, value);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    const Vector v = hn::LoadU(d, x + i);
    const auto found = hn::FindFirstTrue(d, hn::Or(hn::Eq(v, wanted), hn::IsNaN(v)));
    if (found >= 0) return i + static_cast<std::int64_t>(found);
  }
  while (i < n - 1 && !(x[i] == value || x[i] != x[i])) ++i;
  return i;
}

}  // namespace
}  // namespace HWY_NAMESPACE
}  // namespace gpunn
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace gpunn {

namespace {
HWY_EXPORT(ChooseLeaves);
HWY_EXPORT(FindFirst);
}  // namespace

ReduceLeaves reduce_leaves(ReduceLeaf leaf) { return HWY_DYNAMIC_DISPATCH(ChooseLeaves)(leaf); }

std::int64_t find_first(const float* x, std::int64_t n, float value) {
  return HWY_DYNAMIC_DISPATCH(FindFirst)(x, n, value);
}

}  // namespace gpunn
#endif  // HWY_ONCE
