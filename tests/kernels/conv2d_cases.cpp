#include <array>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/common/size2d.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Convolution {
  std::int64_t N, C, H, W, K, R, S;
  Size2d stride = 1, pad = 0, dilation = 1;
  std::int64_t groups = 1;
  bool same = false;
  bool bias = false, relu = false;
  bool channels_last = false;
  bool tf32 = false;
  std::vector<DType> dtypes{};  // empty: all
  bool orders = false;          // repeat under thread orders of the emulator
  bool cpu_blocks = false;      // not for an emulated GPU
};

std::string text(Size2d s) {
  return s.h == s.w ? std::to_string(s.h) : std::to_string(s.h) + "x" + std::to_string(s.w);
}

std::string name_of(const Convolution& q) {
  std::string name = std::to_string(q.N) + "x" + std::to_string(q.C) + "x" + std::to_string(q.H) + "x" +
                     std::to_string(q.W) + " to " + std::to_string(q.K) + " by " + text({q.R, q.S});
  if (q.stride != Size2d(1)) name += " stride " + text(q.stride);
  if (q.same) name += " same";
  if (q.pad != Size2d(0)) name += " pad " + text(q.pad);
  if (q.dilation != Size2d(1)) name += " dilation " + text(q.dilation);
  if (q.groups != 1) name += " groups " + std::to_string(q.groups);
  if (q.bias) name += " bias";
  if (q.relu) name += " relu";
  if (q.channels_last) name += " last";
  if (q.tf32) name += " tf32";
  return name;
}

Conv2dSizes sizes_of(const Convolution& q) {
  Conv2dSizes s{};
  s.N = q.N, s.C = q.C, s.H = q.H, s.W = q.W, s.K = q.K, s.R = q.R, s.S = q.S;
  s.stride_h = q.stride.h, s.stride_w = q.stride.w;
  s.dilation_h = q.dilation.h, s.dilation_w = q.dilation.w;
  s.groups = q.groups, s.channels_last = q.channels_last;
  const std::int64_t span_h = s.dilation_h * (s.R - 1) + 1, span_w = s.dilation_w * (s.S - 1) + 1;
  s.pad_h = q.same ? (span_h - 1) / 2 : q.pad.h, s.pad_w = q.same ? (span_w - 1) / 2 : q.pad.w;
  s.P = q.same ? s.H : (s.H + 2 * s.pad_h - span_h) / s.stride_h + 1;
  s.Q = q.same ? s.W : (s.W + 2 * s.pad_w - span_w) / s.stride_w + 1;
  return s;
}

/// Shares of the rows that a window sees, and of the filter's rows that see one: all others give zeros.
struct Seen {
  double rows, taps;
};
Seen seen(std::int64_t H, std::int64_t P, std::int64_t R, std::int64_t stride, std::int64_t pad,
          std::int64_t dilation) {
  std::vector<bool> rows(static_cast<std::size_t>(H)), taps(static_cast<std::size_t>(R));
  for (std::int64_t p = 0; p < P; ++p)
    for (std::int64_t r = 0; r < R; ++r) {
      const std::int64_t h = p * stride - pad + r * dilation;
      if (h >= 0 && h < H) rows[static_cast<std::size_t>(h)] = taps[static_cast<std::size_t>(r)] = true;
    }
  const auto share = [](const std::vector<bool>& v) {
    std::size_t n = 0;
    for (const bool b : v) n += b;
    return static_cast<double>(n) / static_cast<double>(v.size());
  };
  return {share(rows), share(taps)};
}

CaseOptions options_of(const Convolution& q, std::int64_t terms) {
  CaseOptions o;
  o.k = static_cast<double>(terms) + 2;
  o.scale = Scale::absolute;
  o.dtypes = q.dtypes;
  o.small = q.orders, o.cpu_blocks = q.cpu_blocks;
  if (q.tf32) {
    // Operands lose 13 bits: two rounding errors of 2^-11 a product, 2^13 units of f32.
    o.c = 8192;
    o.dtypes = {DType::f32};
  }
  return o;
}

/// One infinity among that operand's first elements; returns what the case's name says of it.
std::string put_infinity(CaseOptions& o, const char* operand) {
  if (!operand) return "";
  o.fills.emplace_back(operand,
                       fill::every(1 << 20, std::numeric_limits<double>::infinity(), fill::normal(0, 1), 9));
  return " infinity";
}

void add_forward(Suite& suite, const Convolution& q, const char* infinite = nullptr) {
  const Conv2dSizes s = sizes_of(q);
  CaseOptions o = options_of(q, s.C / s.groups * s.R * s.S);
  if (q.relu) o.zeros_ok = {"y"};
  const std::string name = name_of(q) + put_infinity(o, infinite);
  suite.add(
      kConv2d, name,
      [q, s] {
        Conv2dProblem p{};
        p.sizes = s, p.has_bias = q.bias, p.relu = q.relu, p.tf32 = q.tf32;
        return p;
      },
      o);
}

void add_dx(Suite& suite, const Convolution& q, const char* infinite = nullptr) {
  const Conv2dSizes s = sizes_of(q);
  CaseOptions o = options_of(q, s.K / s.groups * s.R * s.S);
  const Seen h = seen(s.H, s.P, s.R, s.stride_h, s.pad_h, s.dilation_h),
             w = seen(s.W, s.Q, s.S, s.stride_w, s.pad_w, s.dilation_w);
  if (h.rows * w.rows < 0.75) o.zeros_ok = {"dx"};
  const std::string name = name_of(q) + put_infinity(o, infinite);
  suite.add(
      kConv2dDx, name,
      [q, s] {
        Conv2dDxProblem p{};
        p.sizes = s, p.has_bias = q.bias, p.tf32 = q.tf32;
        return p;
      },
      o);
}

void add_dw(Suite& suite, const Convolution& q, const char* infinite = nullptr) {
  const Conv2dSizes s = sizes_of(q);
  CaseOptions o = options_of(q, s.N * s.P * s.Q);
  const Seen h = seen(s.H, s.P, s.R, s.stride_h, s.pad_h, s.dilation_h),
             w = seen(s.W, s.Q, s.S, s.stride_w, s.pad_w, s.dilation_w);
  if (h.taps * w.taps < 0.75) o.zeros_ok = {"dw"};
  const std::string name = name_of(q) + put_infinity(o, infinite);
  suite.add(
      kConv2dDw, name,
      [q, s] {
        Conv2dDwProblem p{};
        p.sizes = s, p.tf32 = q.tf32;
        return p;
      },
      o);
}

void add(Suite& suite, const Convolution& q) {
  add_forward(suite, q);
  add_dx(suite, q);
  add_dw(suite, q);
}

/// The same in both orders of the picture, each with one of the halves.
void add_both(Suite& suite, Convolution q) {
  const bool choose = q.dtypes.empty();
  if (choose) q.dtypes = {DType::f32, DType::f16};
  add(suite, q);
  if (choose) q.dtypes = {DType::f32, DType::bf16};
  q.channels_last = true;
  add(suite, q);
}

void add_filters(Suite& suite) {
  add_both(suite, {.N = 1, .C = 1, .H = 1, .W = 1, .K = 1, .R = 1, .S = 1});
  add_both(suite, {.N = 2, .C = 3, .H = 1, .W = 1, .K = 5, .R = 3, .S = 3, .pad = 1});
  add_both(suite, {.N = 2, .C = 33, .H = 5, .W = 7, .K = 31, .R = 1, .S = 1, .bias = true});
  add_both(suite, {.N = 1, .C = 16, .H = 8, .W = 8, .K = 64, .R = 1, .S = 1, .relu = true});
  add_both(suite, {.N = 3, .C = 8, .H = 6, .W = 5, .K = 9, .R = 1, .S = 1, .stride = 2});
  add_both(suite, {.N = 1, .C = 3, .H = 6, .W = 5, .K = 4, .R = 3, .S = 3, .pad = 1, .orders = true});
  add_both(suite,
           {.N = 1, .C = 31, .H = 5, .W = 6, .K = 33, .R = 3, .S = 3, .pad = 1, .bias = true, .relu = true});
  add_both(suite, {.N = 2, .C = 16, .H = 10, .W = 12, .K = 24, .R = 3, .S = 3, .stride = 2, .pad = 1});
  add_both(suite,
           {.N = 1, .C = 3, .H = 19, .W = 17, .K = 8, .R = 7, .S = 7, .stride = 2, .pad = 3, .bias = true});
  add_both(suite, {.N = 2, .C = 1, .H = 14, .W = 14, .K = 6, .R = 5, .S = 5});
  add_both(suite, {.N = 1, .C = 5, .H = 4, .W = 23, .K = 7, .R = 1, .S = 9, .pad = {0, 4}});
  add_both(suite, {.N = 1, .C = 64, .H = 4, .W = 5, .K = 16, .R = 3, .S = 3, .pad = 1, .bias = true});
  add_both(suite, {.N = 3, .C = 32, .H = 4, .W = 4, .K = 16, .R = 3, .S = 3, .pad = 1});
  add_both(suite, {.N = 1, .C = 130, .H = 3, .W = 3, .K = 140, .R = 1, .S = 1});
}

void add_windows(Suite& suite) {
  add_both(suite, {.N = 1, .C = 4, .H = 11, .W = 9, .K = 6, .R = 3, .S = 3, .pad = 2, .dilation = 2});
  add_both(suite, {.N = 2,
                   .C = 3,
                   .H = 13,
                   .W = 11,
                   .K = 5,
                   .R = 3,
                   .S = 2,
                   .stride = {3, 2},
                   .pad = {2, 1},
                   .dilation = {2, 3},
                   .bias = true});
  add_both(suite, {.N = 1, .C = 3, .H = 6, .W = 7, .K = 4, .R = 2, .S = 4, .same = true, .bias = true});
  add_both(suite, {.N = 1, .C = 2, .H = 5, .W = 6, .K = 3, .R = 4, .S = 2, .dilation = {1, 3}, .same = true});
  // Padding beyond the filter: windows that see nothing at all.
  add_both(suite, {.N = 1, .C = 2, .H = 3, .W = 4, .K = 3, .R = 2, .S = 3, .pad = {3, 4}, .bias = true});
  // Strides beyond the filter: pixels that no window sees.
  add_both(suite, {.N = 2, .C = 3, .H = 9, .W = 10, .K = 4, .R = 2, .S = 2, .stride = {4, 3}, .bias = true});
  // Rows below and to the right that are left over.
  add_both(suite, {.N = 1, .C = 4, .H = 10, .W = 9, .K = 4, .R = 3, .S = 3, .stride = {4, 5}, .pad = 1});
}

void add_groups(Suite& suite) {
  add_both(suite,
           {.N = 2, .C = 6, .H = 7, .W = 5, .K = 9, .R = 3, .S = 3, .pad = 1, .groups = 3, .bias = true});
  add_both(suite,
           {.N = 1, .C = 64, .H = 3, .W = 4, .K = 64, .R = 3, .S = 3, .pad = 1, .groups = 2, .relu = true});
  add_both(suite, {.N = 2, .C = 16, .H = 4, .W = 4, .K = 32, .R = 1, .S = 1, .groups = 4});
  for (const bool orders : {true, false})
    add_both(suite, {.N = 2,
                     .C = orders ? 3 : 33,
                     .H = orders ? 4 : 8,
                     .W = orders ? 5 : 9,
                     .K = orders ? 3 : 33,
                     .R = 3,
                     .S = 3,
                     .pad = 1,
                     .groups = orders ? 3 : 33,
                     .bias = true,
                     .relu = !orders,
                     .orders = orders});
  add_both(suite, {.N = 1, .C = 8, .H = 12, .W = 10, .K = 8, .R = 7, .S = 7, .pad = 3, .groups = 8});
  add_both(suite,
           {.N = 2, .C = 5, .H = 11, .W = 13, .K = 5, .R = 5, .S = 5, .stride = 2, .pad = 2, .groups = 5});
  // Two filters a channel.
  add_both(suite, {.N = 1,
                   .C = 4,
                   .H = 9,
                   .W = 6,
                   .K = 8,
                   .R = 3,
                   .S = 3,
                   .pad = {2, 1},
                   .dilation = {2, 1},
                   .groups = 4,
                   .bias = true});
  add_both(suite, {.N = 2, .C = 6, .H = 6, .W = 6, .K = 18, .R = 2, .S = 3, .groups = 6, .same = true});
  // A GPU's block goes round its loop again: over the filters of a channel, over the images of dw.
  Convolution again{.N = 1, .C = 2, .H = 5, .W = 4, .K = 4, .R = 3, .S = 3, .pad = 1, .groups = 2};
  again.orders = true;
  add_dx(suite, again);
  Convolution images{.N = 17, .C = 530, .H = 2, .W = 2, .K = 530, .R = 3, .S = 3, .pad = 1, .groups = 530};
  images.dtypes = {DType::f32};
  add_dw(suite, images);
}

/// More than 2^16 of one size after the other: a grid's second and third dimension end there. One op each
/// where that tells enough: an emulated GPU takes seconds for as many blocks.
void add_long(Suite& suite) {
  const std::vector<DType> f32{DType::f32};
  const Convolution row{
      .N = 1, .C = 1, .H = 1, .W = 70000, .K = 1, .R = 1, .S = 3, .pad = {0, 1}, .dtypes = f32};
  add_forward(suite, row);
  add_dx(suite, row);
  add_dx(suite, {.N = 66000, .C = 1, .H = 1, .W = 1, .K = 1, .R = 1, .S = 1, .dtypes = f32});
  const Convolution groups{
      .N = 1, .C = 66000, .H = 1, .W = 1, .K = 66000, .R = 1, .S = 1, .groups = 66000, .dtypes = f32};
  add_dx(suite, groups);
  add_dw(suite, groups);
}

/// What the GPU's products of matrices choose by size: tiles of 128 x 128 and 128 x 64 from 132 of them on,
/// pieces of the pixels in tiles of either side, more phases of dx than one launch takes.
void add_tiles(Suite& suite) {
  const std::vector<DType> some{DType::f32, DType::bf16}, half{DType::f16};
  Convolution wide{.N = 1, .C = 528, .H = 10, .W = 13, .K = 4752, .R = 1, .S = 1, .groups = 66};
  wide.bias = true, wide.dtypes = half;
  add_forward(suite, wide);
  wide.channels_last = true, wide.dtypes = some;
  add_forward(suite, wide);
  std::swap(wide.C, wide.K);
  add_dx(suite, wide);
  Convolution narrow{.N = 1, .C = 528, .H = 10, .W = 13, .K = 528, .R = 2, .S = 1, .pad = {1, 0}};
  narrow.groups = 66, narrow.channels_last = true, narrow.dtypes = half;
  add_forward(suite, narrow);
  add_dx(suite, narrow);
  for (const bool last : {true, false}) {
    for (const std::int64_t C : {8, 9}) {
      Convolution pixels{.N = 2, .C = C, .H = 24, .W = 23, .K = 72, .R = 3, .S = 3, .pad = 1};
      pixels.channels_last = last, pixels.dtypes = some;
      add_dw(suite, pixels);
    }
    Convolution phases{.N = 2, .C = 3, .H = 21, .W = 20, .K = 8, .R = 10, .S = 3, .stride = {9, 10}};
    phases.pad = {2, 1}, phases.dilation = {1, 4}, phases.channels_last = last;
    add_dx(suite, phases);
  }
  // The direct kernel takes 16 filters at a time: in blocks of their own, and one after the other.
  for (const bool last : {true, false}) {
    Convolution few{.N = 1, .C = 2, .H = 21, .W = 70, .K = 37, .R = 3, .S = 5, .stride = 2, .pad = 1};
    few.bias = true, few.channels_last = last, few.dtypes = some;
    add_forward(suite, few);
  }
  Convolution turns{.N = 530, .C = 1, .H = 1, .W = 1, .K = 20, .R = 1, .S = 1, .dtypes = {DType::f32}};
  turns.orders = true;
  add_forward(suite, turns);
}

void add_tf32(Suite& suite) {
  add_both(suite, {.N = 2, .C = 16, .H = 8, .W = 8, .K = 32, .R = 3, .S = 3, .pad = 1, .tf32 = true});
  add_both(suite,
           {.N = 1, .C = 5, .H = 9, .W = 7, .K = 9, .R = 3, .S = 2, .stride = 2, .bias = true, .tf32 = true});
  add_both(suite, {.N = 1, .C = 8, .H = 5, .W = 5, .K = 8, .R = 3, .S = 3, .groups = 2, .tf32 = true});
}

/// The long sum over the pixels of dw, and bases that are not aligned.
void add_special(Suite& suite) {
  const std::vector<DType> some{DType::f32, DType::bf16};
  for (const bool last : {false, true}) {
    Convolution q{.N = 2, .C = 3, .H = 40, .W = 36, .K = 4, .R = 3, .S = 3, .pad = 1, .dtypes = some};
    q.channels_last = last;
    add_dw(suite, q);
    q.C = q.K = q.groups = 2;
    add_dw(suite, q);
    const Convolution odd{
        .N = 2, .C = 8, .H = 6, .W = 8, .K = 16, .R = 3, .S = 3, .pad = 1, .channels_last = last};
    const Conv2dSizes s = sizes_of(odd);
    CaseOptions o = options_of(odd, 8 * 9);
    o.shift = 1;
    suite.add(
        kConv2d, name_of(odd) + " unaligned",
        [s] {
          Conv2dProblem p{};
          p.sizes = s;
          return p;
        },
        o);
    suite.add(
        kConv2dDx, name_of(odd) + " unaligned",
        [s] {
          Conv2dDxProblem p{};
          p.sizes = s;
          return p;
        },
        o);
    o.k = 2 * 6 * 8;
    suite.add(
        kConv2dDw, name_of(odd) + " unaligned",
        [s] {
          Conv2dDwProblem p{};
          p.sizes = s;
          return p;
        },
        o);
  }
}

void add_channel_grad(Suite& suite, std::array<std::int64_t, 3> size, bool last, bool relu, bool want_db,
                      const char* what = "", CaseOptions o = {}) {
  const auto [N, K, pixels] = size;
  o.k = static_cast<double>(N * pixels) + 2;
  o.scale = Scale::absolute;
  if (relu) o.zeros_ok = {"dz", "db"};
  o.small = N * K * pixels <= 400;
  suite.add(
      kChannelGrad,
      std::to_string(N) + "x" + std::to_string(K) + "x" + std::to_string(pixels) + (relu ? " relu" : "") +
          (want_db ? " db" : "") + (last ? " last" : "") + what,
      [=] {
        ChannelGradProblem p{};
        p.N = size[0], p.K = size[1], p.pixels = size[2];
        p.channels_last = last, p.relu = relu, p.want_db = want_db;
        return p;
      },
      o);
}

void add_channel_grads(Suite& suite) {
  constexpr std::array<std::int64_t, 3> sizes[] = {{1, 1, 1},   {2, 3, 33},   {5, 31, 32},
                                                   {3, 64, 49}, {1, 33, 31},  {7, 1, 1031},
                                                   {2, 5, 700}, {1100, 2, 1}, {1, 300, 3}};
  for (const auto& size : sizes)
    for (const bool last : {false, true}) {
      add_channel_grad(suite, size, last, false, true);
      add_channel_grad(suite, size, last, true, true);
      add_channel_grad(suite, size, last, true, false);
    }
  for (const bool last : {false, true}) {
    CaseOptions long_sum;
    long_sum.dtypes = {DType::f32};
    add_channel_grad(suite, {2, 1, 34000}, last, true, true, "", long_sum);
    add_channel_grad(suite, {1, 66000, 1}, last, false, true, "", long_sum);
    CaseOptions in_place;
    in_place.alias = {{"dz", "dy"}};
    add_channel_grad(suite, {3, 5, 130}, last, true, true, " in place", in_place);
    CaseOptions shifted;
    shifted.shift = 1;
    add_channel_grad(suite, {2, 8, 96}, last, true, true, " unaligned", shifted);
  }
}

/// Where the CPU's code divides its work: bands of rows, parts of the sum over the pixels, blocks of channels
/// and of filters, tiles of several rows of a channel.
void add_cpu_blocks(Suite& suite) {
  const auto blocks = [](Convolution q) {
    q.dtypes = {DType::f32}, q.cpu_blocks = true;
    return q;
  };
  // Planes of 64 x 42 x 53 elements are more than a band takes.
  Convolution q = blocks({.N = 1, .C = 64, .H = 42, .W = 52, .K = 5, .R = 3, .S = 3, .pad = 1});
  add_forward(suite, q);
  std::swap(q.C, q.K);
  add_dx(suite, q);
  // Parts of the pixels; parts of the filters for one picture.
  add(suite, blocks({.N = 4, .C = 12, .H = 20, .W = 20, .K = 20, .R = 3, .S = 3, .pad = 1}));
  add(suite, blocks({.N = 1, .C = 16, .H = 18, .W = 21, .K = 64, .R = 3, .S = 3}));
  // Several blocks of filters, in a row of panels that ends with one vector too many.
  add(suite, blocks({.N = 1, .C = 304, .H = 4, .W = 16, .K = 26, .R = 3, .S = 3, .pad = 1}));
  // Several blocks of channels of x.
  add_dw(suite, blocks({.N = 2, .C = 520, .H = 16, .W = 16, .K = 8, .R = 1, .S = 1}));
  // Depthwise: bands, and tiles of one to four vectors.
  const auto depthwise = [&](Convolution c) {
    c.groups = c.C;
    add_both(suite, blocks(c));
  };
  depthwise({.N = 1, .C = 2, .H = 133, .W = 130, .K = 2, .R = 3, .S = 3, .pad = 1});
  depthwise({.N = 1, .C = 3, .H = 13, .W = 61, .K = 3, .R = 5, .S = 5, .pad = 2});
  depthwise({.N = 2, .C = 3, .H = 11, .W = 37, .K = 6, .R = 7, .S = 7, .pad = 3});
  depthwise({.N = 1, .C = 3, .H = 12, .W = 20, .K = 3, .R = 3, .S = 4});
}

/// One infinity near the border: it reaches what sees it and nothing else, whatever is read beside it.
void add_infinities(Suite& suite) {
  for (const bool last : {false, true})
    for (const std::int64_t groups : {1, 3}) {
      Convolution q{
          .N = 1, .C = 3, .H = 9, .W = 10, .K = 6, .R = 3, .S = 3, .pad = 1, .dtypes = {DType::f32}};
      q.groups = groups, q.channels_last = last;
      add_forward(suite, q, "x");
      add_dw(suite, q, "x");
      add_dx(suite, q, "dy");
    }
}

}  // namespace

void add_conv2d_cases(Suite& suite) {
  add_cpu_blocks(suite);
  add_infinities(suite);
  add_filters(suite);
  add_windows(suite);
  add_groups(suite);
  add_long(suite);
  add_tiles(suite);
  add_tf32(suite);
  add_special(suite);
  add_channel_grads(suite);
}

/// Few and small, for a build under TSan.
void add_conv2d_race_cases(Suite& suite) {
  const std::vector<DType> some{DType::f32, DType::bf16};
  add_both(suite,
           {.N = 2, .C = 3, .H = 7, .W = 6, .K = 5, .R = 3, .S = 3, .pad = 1, .bias = true, .dtypes = some});
  add_both(suite, {.N = 1, .C = 33, .H = 4, .W = 5, .K = 17, .R = 1, .S = 1, .relu = true, .dtypes = some});
  add_both(suite, {.N = 2, .C = 16, .H = 6, .W = 5, .K = 24, .R = 2, .S = 2, .stride = 2, .tf32 = true});
  add_both(suite,
           {.N = 2, .C = 4, .H = 6, .W = 7, .K = 4, .R = 3, .S = 3, .pad = 1, .groups = 4, .dtypes = some});
  CaseOptions o;
  o.dtypes = {DType::f32};
  for (const bool last : {false, true}) add_channel_grad(suite, {3, 5, 70}, last, true, true, "", o);
}

}  // namespace gpunn::parity
