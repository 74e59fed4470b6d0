#pragma once
// Where an element of a result comes from, along one dimension, and the way back. One text for all devices.
#include <cstdint>

#include "gpunn/core/hd.h"

namespace gpunn {

enum class RemapRule : std::uint8_t {
  shift,       // x[i - shift], outside where there is no such element (pad by a constant, crop)
  reflect,     // x[i - shift] mirrored at both ends, the ends once; |overhang| < extent
  replicate,   // x[i - shift], the nearest end outside
  wrap,        // x[(i - shift) mod extent]: roll, circular padding, tile
  reverse,     // x[extent - 1 - i]
  interleave,  // x[i / shift]: each element `shift` times in a row
};

struct RemapAxis {
  RemapRule rule;
  std::int64_t x, y;  // extents of input and result
  std::int64_t shift;
};

/// s mod n in [0, n); the division, slow on a GPU, only where one period does not do.
GPUNN_HD std::int64_t remap_wrapped(std::int64_t s, std::int64_t n) {
  if (s >= n) s -= n;
  if (s < 0) s += n;
  if (s >= 0 && s < n) return s;
  const std::int64_t rest = s % n;
  return rest < 0 ? rest + n : rest;
}

/// Index in x of element `i` of the result, or -1 for outside.
GPUNN_HD std::int64_t remap_source(const RemapAxis& a, std::int64_t i) {
  const std::int64_t s = i - a.shift;
  switch (a.rule) {
    case RemapRule::shift:
      return s >= 0 && s < a.x ? s : -1;
    case RemapRule::reflect:
      return s < 0 ? -s : s < a.x ? s : 2 * (a.x - 1) - s;
    case RemapRule::replicate:
      return s < 0 ? 0 : s < a.x ? s : a.x - 1;
    case RemapRule::wrap:
      return remap_wrapped(s, a.x);
    case RemapRule::reverse:
      return a.x - 1 - i;
    default:
      return i / a.shift;
  }
}

/// The elements of the result that come from one element of x: `first`, `first + step`, ... up to `last`; for
/// reflect, `mirrored` ones before and behind the middle one (-1 for none).
struct RemapTargets {
  std::int64_t first, last, step;  // none when first > last
  std::int64_t before, behind;     // further single targets, -1 for none; first <= last then
};

GPUNN_HD RemapTargets remap_targets(const RemapAxis& a, std::int64_t s) {
  RemapTargets t{s + a.shift, s + a.shift, 1, -1, -1};
  switch (a.rule) {
    case RemapRule::shift:
      if (t.first < 0 || t.first >= a.y) t.last = t.first - 1;
      break;
    case RemapRule::reflect: {
      const std::int64_t before = a.shift - s, behind = 2 * (a.x - 1) - s + a.shift;
      if (s > 0 && before >= 0) t.before = before;
      if (s < a.x - 1 && behind < a.y) t.behind = behind;
      break;
    }
    case RemapRule::replicate:
      if (s == 0) t.first = 0;
      if (s == a.x - 1) t.last = a.y - 1;
      break;
    case RemapRule::wrap:
      t.first = remap_wrapped(t.first, a.x);
      t.last = a.y - 1;
      t.step = a.x;
      break;
    case RemapRule::reverse:
      t.first = t.last = a.x - 1 - s;
      break;
    default:
      t.first = s * a.shift;
      t.last = t.first + a.shift - 1;
      break;
  }
  return t;
}

}  // namespace gpunn
