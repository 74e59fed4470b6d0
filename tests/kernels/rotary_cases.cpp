#include <string>

#include "gpunn/kernels/rotary/rotary_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Size {
  std::int64_t B, T, H, D, R;
};

enum class Positions : std::uint8_t { none, shared, own };

/// Contiguous [B, T, H, D], or with `split` the first third of the features of [B, T, H, 3 D].
RotaryProblem problem(const Size& s, bool interleaved, Positions positions, bool split) {
  RotaryProblem p{};
  p.B = s.B, p.T = s.T, p.H = s.H, p.D = s.D, p.R = s.R, p.P = s.T + 3;
  const std::int64_t row = split ? 3 * s.D : s.D;
  p.x_head = row, p.x_time = s.H * row, p.x_batch = s.T * s.H * row;
  p.has_positions = positions != Positions::none;
  p.position_batch = positions == Positions::own ? s.T : 0;
  p.interleaved = interleaved;
  return p;
}

}  // namespace

void add_rotary_cases(Suite& suite) {
  const auto add = [&](const char* name, const Size& s, bool interleaved,
                       Positions positions = Positions::none, bool split = false, bool back = false) {
    CaseOptions o;
    o.scale = Scale::operand;  // a difference of two products
    o.fills = {{"cos", fill::uniform(-1, 1)},
               {"sin", fill::uniform(-1, 1)},
               {"positions", fill::integers(0, s.T + 3)}};
    o.small = s.B * s.T * s.H * s.D <= 2000;
    suite.add(
        kRotary, std::string(name) + (interleaved ? " interleaved" : "") + (back ? " back" : ""),
        [=] {
          RotaryProblem p = problem(s, interleaved, positions, split);
          p.back = back;
          return p;
        },
        o);
  };
  for (const bool interleaved : {false, true}) {
    add("1x1x1x2", {1, 1, 1, 2, 2}, interleaved);
    add("2x3x4x8", {2, 3, 4, 8, 8}, interleaved);
    add("2x5x3x6 odd pairs", {2, 5, 3, 6, 6}, interleaved, Positions::shared);
    add("1x7x2x10 part of the features", {1, 7, 2, 10, 6}, interleaved, Positions::own);
    add("2x5x2x64 wide, part", {2, 5, 2, 64, 32}, interleaved, Positions::own, false, true);
    add("2x33x3x40 split off", {2, 33, 3, 40, 40}, interleaved, Positions::own, true);
    add("1x17x2x65 odd width", {1, 17, 2, 65, 34}, interleaved, Positions::none, true, true);
    add("2x131x4x128", {2, 131, 4, 128, 128}, interleaved, Positions::shared);
  }
}

}  // namespace gpunn::parity
