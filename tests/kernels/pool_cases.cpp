#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "gpunn/kernels/pool/pool_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

/// Windows over a picture; out > 0: adaptive. Contiguous and channels-last each.
struct Windows {
  std::int64_t N, C, H, W;
  int kernel_h, kernel_w, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0, dilation_h = 1, dilation_w = 1;
  bool ceil_mode = false;
  int out_h = 0, out_w = 0;
};

constexpr Windows kSizes[] = {
    {1, 1, 1, 1, 1, 1},
    {2, 3, 4, 4, 2, 2, 2, 2},
    {2, 5, 7, 9, 2, 2, 2, 2},  // the last row and column are seen by no window
    {2, 5, 7, 9, 2, 2, 2, 2, 0, 0, 1, 1, true},
    {1, 4, 28, 28, 2, 2, 2, 2},
    {1, 8, 31, 33, 3, 3, 2, 2, 1, 1},
    {2, 16, 14, 14, 3, 3, 2, 2, 1, 1, 1, 1, true},
    {1, 3, 13, 37, 3, 3, 1, 1, 1, 1},
    {1, 7, 11, 5, 5, 3, 1, 2, 2, 1},
    {1, 2, 17, 19, 3, 3, 3, 3},
    {1, 2, 17, 19, 2, 3, 4, 5, 1, 0, 1, 1, true},
    {1, 1, 3, 3, 7, 7, 1, 1, 3, 3},     // windows larger than the picture
    {1, 9, 1, 23, 1, 4, 1, 3, 0, 2},    // a series
    {1, 1, 2, 65, 2, 32, 2, 2, 1, 16},  // long windows
    {3, 64, 7, 7, 7, 7, 7, 7},          // a channel's mean
    {2, 33, 9, 8, 9, 8, 1, 1},
    {1, 8, 12, 70, 2, 2, 2, 2, 0, 0, 1, 1, true},
    {2, 24, 6, 10, 1, 1, 1, 1, 0, 0, 1, 1, false, 1, 1},
    {1, 5, 6, 6, 1, 1, 1, 1, 0, 0, 1, 1, false, 1, 1},  // shared by a warp or block, and small
    {2, 3, 6, 10, 1, 1, 1, 1, 0, 0, 1, 1, false, 3, 5},
    {1, 5, 7, 11, 1, 1, 1, 1, 0, 0, 1, 1, false, 3, 4},
    {1, 8, 5, 3, 1, 1, 1, 1, 0, 0, 1, 1, false, 7, 5},  // more windows than pixels
};
constexpr Windows kDilated[] = {
    {1, 3, 13, 17, 3, 3, 1, 1, 1, 1, 2, 2},
    {2, 8, 9, 20, 2, 3, 2, 2, 1, 1, 3, 2, true},
    {1, 2, 23, 9, 3, 2, 3, 4, 0, 0, 4, 3},
};

PoolSizes sizes_of(const Windows& s, bool channels_last) {
  const auto axis = [](std::int64_t in, int kernel, int stride, int pad, int dilation, bool ceil_mode,
                       int out) {
    const auto n = static_cast<std::int32_t>(in);
    if (out > 0) return PoolAxis{n, out, 1, 1, 0, 1, true};
    const std::int64_t windows = pool_extent(in, kernel, stride, pad, dilation, ceil_mode);
    return PoolAxis{n, static_cast<std::int32_t>(windows), kernel, stride, pad, dilation, false};
  };
  return {s.N, s.C, axis(s.H, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h, s.ceil_mode, s.out_h),
          axis(s.W, s.kernel_w, s.stride_w, s.pad_w, s.dilation_w, s.ceil_mode, s.out_w), channels_last};
}

std::string name_of(const Windows& s, bool channels_last, const char* what) {
  const auto by = [](auto a, auto b) { return std::to_string(a) + "x" + std::to_string(b); };
  std::string name = by(s.N, s.C) + "x" + by(s.H, s.W);
  if (s.out_h > 0)
    name += " to " + by(s.out_h, s.out_w);
  else
    name += " k" + by(s.kernel_h, s.kernel_w) + " s" + by(s.stride_h, s.stride_w) + " p" +
            by(s.pad_h, s.pad_w) + " d" + by(s.dilation_h, s.dilation_w) + (s.ceil_mode ? " ceil" : "");
  return name + (channels_last ? " nhwc" : "") + what;
}

/// Terms of the longest sum: window pixels forward, windows of a pixel backward.
double terms(const PoolSizes& s) {
  const auto side = [](const PoolAxis& a) {
    if (!a.adaptive) return static_cast<double>(a.kernel);
    return std::max(std::ceil(static_cast<double>(a.in) / a.out),
                    std::ceil(static_cast<double>(a.out) / a.in)) +
           1;
  };
  return side(s.h) * side(s.w);
}

/// Steps of a quarter, the same in every dtype: many ties.
Fill ties() {
  return [](std::int64_t, PhiloxStream& random) { return 0.25 * std::round(3 * random.normal()); };
}

/// An index within each window.
void choose(const PoolSizes& s, std::int32_t* indices) {
  const std::int64_t inner = s.channels_last ? s.C : 1;
  for (std::int64_t e = 0; e < s.y_elements(); ++e) {
    const std::int64_t pixel = e / inner % s.y_pixels();
    const PoolSpan rows = pool_window(s.h, static_cast<std::int32_t>(pixel / s.w.out));
    const PoolSpan cols = pool_window(s.w, static_cast<std::int32_t>(pixel % s.w.out));
    const auto pick = [&](PoolSpan span, std::int32_t step, std::int64_t number) {
      const std::int32_t n = (span.end - span.first + step - 1) / step;
      return span.first + static_cast<std::int32_t>(number % n) * step;
    };
    indices[e] = pick(rows, s.h.dilation, e * 7 % 31) * s.w.in + pick(cols, s.w.dilation, e * 11 % 37);
  }
}

template <class P>
void choose_indices(P& p) {
  choose(p.sizes, const_cast<std::int32_t*>(p.indices));
}

void add_max(Suite& suite, const Windows& w, bool channels_last, CaseOptions o, const char* what = "") {
  const PoolSizes s = sizes_of(w, channels_last);
  const std::string name = name_of(w, channels_last, what);
  o.small = s.x_elements() <= 200;
  o.zeros_ok = {"y", "indices", "dx"};
  for (const bool want : {true, false})
    suite.add(
        kMaxPool, name + (want ? " indices" : ""),
        [=] {
          MaxPoolProblem p{};
          p.sizes = s, p.want_indices = want;
          return p;
        },
        o);
  o.fills.clear();
  o.k = terms(s);
  o.scale = Scale::operand;
  suite.add(
      kMaxPoolBackward, name,
      [=] {
        MaxPoolBackwardProblem p{};
        p.sizes = s;
        return p;
      },
      o, choose_indices<MaxPoolBackwardProblem>);
  suite.add(
      kPoolGather, name,
      [=] {
        PoolGatherProblem p{};
        p.sizes = s;
        return p;
      },
      o, choose_indices<PoolGatherProblem>);
}

void add_avg(Suite& suite, const Windows& w, bool channels_last, bool count_include_pad,
             std::int64_t divisor_override, CaseOptions o, const char* what = "") {
  const PoolSizes s = sizes_of(w, channels_last);
  const std::string name = name_of(w, channels_last, what);
  o.k = terms(s);
  o.scale = Scale::operand;
  o.small = s.x_elements() <= 200;
  o.zeros_ok = {"dx"};
  const auto set = [=](auto p) {
    p.sizes = s, p.count_include_pad = count_include_pad, p.divisor_override = divisor_override;
    return p;
  };
  suite.add(kAvgPool, name, [=] { return set(AvgPoolProblem{}); }, o);
  suite.add(kAvgPoolBackward, name, [=] { return set(AvgPoolBackwardProblem{}); }, o);
}

/// Values that compare unlike others: NaN wins, of infinities the first.
void add_special(Suite& suite, bool channels_last) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  CaseOptions o;
  o.fills = {
      {"x", fill::cycle({kNan, 1, kInfinity, -kInfinity, kNan, 0, -0.0, -kInfinity, 3, kNan, kNan, 2, -1})}};
  for (const Windows& w : {Windows{1, 8, 9, 37, 3, 3, 2, 2, 1, 1}, Windows{1, 3, 6, 6, 2, 2, 2, 2},
                           Windows{1, 8, 8, 8, 1, 1, 1, 1, 0, 0, 1, 1, false, 1, 1}})
    add_max(suite, w, channels_last, o, " special");
  o.fills = {{"x", fill::constant(-kInfinity)}};
  for (const Windows& w : {Windows{1, 2, 5, 39, 3, 3, 2, 2, 1, 1}, Windows{1, 2, 9, 9, 9, 9, 9, 9, 4, 4}})
    add_max(suite, w, channels_last, o, " -inf");
}

/// More wide windows than blocks run at once on a GPU: a block takes another one after its first.
void add_turns(Suite& suite) {
  CaseOptions o;
  o.dtypes = {DType::f32}, o.small = true;
  suite.add(
      kMaxPool, "1100x1x6x6 in turns nhwc indices",
      [] {
        MaxPoolProblem p{};
        p.sizes = sizes_of({1100, 1, 6, 6, 6, 6}, true), p.want_indices = true;
        return p;
      },
      o);
}

}  // namespace

void add_pool_cases(Suite& suite) {
  add_turns(suite);
  for (const bool channels_last : {false, true}) {
    CaseOptions o, tied;
    tied.fills = {{"x", ties()}};
    for (const Windows& w : kSizes) {
      add_max(suite, w, channels_last, tied);
      add_avg(suite, w, channels_last, true, 0, o);
    }
    for (const Windows& w : kDilated) add_max(suite, w, channels_last, tied);
    for (const Windows& w : {kSizes[5], kSizes[6], kSizes[10], kSizes[11]})
      add_avg(suite, w, channels_last, false, 0, o, " without padding");
    for (const std::int64_t divisor : {3, -2})
      add_avg(suite, kSizes[6], channels_last, true, divisor, o, divisor > 0 ? " by 3" : " by -2");
    add_special(suite, channels_last);
    // More than 2^16 elements.
    const Windows large{1, channels_last ? 3 : 1, channels_last ? 100 : 300, 220, 3, 2, 2, 1, 1, 0};
    o.dtypes = tied.dtypes = {DType::f32};
    add_max(suite, large, channels_last, tied);
    add_avg(suite, large, channels_last, true, 0, o);
    o.dtypes = tied.dtypes = {};
    o.shift = tied.shift = 1;
    add_max(suite, kSizes[6], channels_last, tied, " unaligned");
    add_avg(suite, kSizes[6], channels_last, true, 0, o, " unaligned");
    o.shift = tied.shift = 0;
    for (const Windows& w : {Windows{0, 3, 4, 4, 2, 2, 2, 2}}) {
      add_max(suite, w, channels_last, tied);
      add_avg(suite, w, channels_last, true, 0, o);
    }
  }
}

}  // namespace gpunn::parity
