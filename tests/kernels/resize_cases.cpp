#include <cmath>
#include <limits>
#include <string>

#include "gpunn/kernels/resize/resize_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

/// [N, C, H, W] to [P, Q]; scale > 0: the step of both dimensions.
struct Resize {
  std::int64_t N, C;
  std::int32_t H, W, P, Q;
  float scale = 0;
};

constexpr Resize kSizes[] = {
    {1, 1, 1, 1, 1, 1},
    {2, 3, 4, 5, 8, 10},
    {2, 3, 4, 5, 4, 5},
    {1, 8, 7, 9, 3, 4},
    {1, 5, 13, 11, 17, 29},
    {1, 2, 1, 6, 5, 13},
    {1, 2, 6, 1, 13, 1},
    {1, 16, 16, 16, 32, 32},
    {1, 33, 5, 7, 10, 14},
    {1, 3, 31, 37, 7, 5},
    {1, 1, 3, 3, 64, 70},
    {2, 24, 8, 6, 1, 1},
    {1, 4, 6, 7, 10, 12, 1 / 1.7f},
    {1, 8, 9, 5, 5, 3, 1.61f},
    {0, 3, 4, 4, 8, 8},
};

ResizeSizes sizes_of(const Resize& r, ResizeRule rule, bool channels_last) {
  const auto axis = [&](std::int32_t in, std::int32_t out) {
    float step = static_cast<float>(in) / static_cast<float>(out);
    if (r.scale > 0) step = r.scale;
    if (rule == ResizeRule::corners)
      step = out > 1 ? static_cast<float>(in - 1) / static_cast<float>(out - 1) : 0.0f;
    return ResizeAxis{in, out, step};
  };
  return {r.N, r.C, axis(r.H, r.P), axis(r.W, r.Q), rule, channels_last};
}

std::string name_of(const Resize& r, ResizeRule rule, bool channels_last, const char* what) {
  constexpr const char* kRules[] = {" nearest", " bilinear", " corners"};
  const auto by = [](auto a, auto b) { return std::to_string(a) + "x" + std::to_string(b); };
  return by(r.N, r.C) + "x" + by(r.H, r.W) + " to " + by(r.P, r.Q) + kRules[static_cast<int>(rule)] +
         (channels_last ? " nhwc" : "") + what;
}

template <class P>
P problem_of(const ResizeSizes& s) {
  P p{};
  p.sizes = s;
  return p;
}

void add_forward(Suite& suite, const Resize& r, ResizeRule rule, bool channels_last, CaseOptions o,
                 const char* what = "") {
  const ResizeSizes s = sizes_of(r, rule, channels_last);
  o.scale = Scale::operand;
  o.small = s.x_elements() + s.y_elements() <= 400;
  o.k = 4;
  suite.add(kResize, name_of(r, rule, channels_last, what), [=] { return problem_of<ResizeProblem>(s); }, o);
}

void add_backward(Suite& suite, const Resize& r, ResizeRule rule, bool channels_last, CaseOptions o,
                  const char* what = "") {
  const ResizeSizes s = sizes_of(r, rule, channels_last);
  const auto readers = [](const ResizeAxis& a) {
    return 2 * std::ceil(static_cast<double>(a.out) / a.in) + 2;
  };
  o.scale = Scale::operand;
  o.small = s.x_elements() + s.y_elements() <= 400;
  o.k = readers(s.h) * readers(s.w);
  o.zeros_ok = {"dx"};
  suite.add(
      kResizeBackward, name_of(r, rule, channels_last, what),
      [=] { return problem_of<ResizeBackwardProblem>(s); }, o);
}

void add(Suite& suite, const Resize& r, ResizeRule rule, bool channels_last, const CaseOptions& o,
         const char* what = "") {
  add_forward(suite, r, rule, channels_last, o, what);
  add_backward(suite, r, rule, channels_last, o, what);
}

}  // namespace

void add_resize_cases(Suite& suite) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const bool channels_last : {false, true}) {
    for (const ResizeRule rule : {ResizeRule::nearest, ResizeRule::bilinear, ResizeRule::corners}) {
      CaseOptions o;
      for (const Resize& r : kSizes)
        if (rule != ResizeRule::corners || r.scale == 0) add(suite, r, rule, channels_last, o);
      // More than 2^16 elements.
      o.dtypes = {DType::f32};
      if (channels_last == (rule == ResizeRule::nearest))
        add(suite, {1, 1, 150, 130, 281, 240}, rule, channels_last, o);
      o.dtypes = {};
      o.shift = 1;
      add(suite, kSizes[7], rule, channels_last, o, " unaligned");
    }
    CaseOptions forward, backward;
    const Fill special =
        fill::cycle({1, kInfinity, -2, std::numeric_limits<double>::quiet_NaN(), 0, -kInfinity, 4});
    forward.fills = {{"x", special}};
    backward.fills = {{"dy", special}};
    add_forward(suite, kSizes[1], ResizeRule::nearest, channels_last, forward, " special");
    add_backward(suite, kSizes[1], ResizeRule::nearest, channels_last, backward, " special");
  }
}

}  // namespace gpunn::parity
