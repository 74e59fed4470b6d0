// oneDNN's f32 convolutions, called single-threaded from our pool. The batch is cut into pieces of a few
// images that fit a core's cache, and the pieces are dealt to lanes: a lane has memory for one piece in the
// order that the library wants, so that turning a picture and convolving it meet in the cache. Where is cut
// depends on sizes only, and the lanes' sums for dw are added in order. Bias of the transposed convolution
// and relu are ours, on pieces that are still in the cache (the library's relu loses NaN).
#include <algorithm>
#include <cstring>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/conv2d/conv2d_onednn_impl.h"

namespace gpunn {
namespace {

using onednn::Kind;
using onednn::library;
using onednn::Plan;
using onednn::plan_for;
using onednn::Runner;
using onednn::Side;

constexpr std::int64_t kPieceBytes = std::int64_t{1} << 20;  // of x and y: half of a second cache
constexpr std::int64_t kLanes = 16;
constexpr std::int64_t kLaneSums = std::int64_t{32} << 20;  // bytes of dw over all lanes

/// How the batch is cut.
struct Cut {
  std::int64_t images;  // of a piece; divides N
  std::int64_t pieces, lanes;
};

Cut cut(const Conv2dSizes& s, Kind kind) {
  const std::int64_t image = (s.x_elements() + s.y_elements()) / s.N * 4;
  Cut c{std::clamp(kPieceBytes / image, std::int64_t{1}, s.N), 0, 0};
  while (s.N % c.images != 0) --c.images;
  c.pieces = s.N / c.images;
  c.lanes = std::min(c.pieces, kLanes);
  if (kind == Kind::dw) c.lanes = std::clamp(kLaneSums / (s.w_elements() * 4), std::int64_t{1}, c.lanes);
  return c;
}

std::shared_ptr<const Plan> plan_of(const Conv2dSizes& s, Kind kind, bool bias) {
  Conv2dSizes piece = s;
  piece.N = cut(s, kind).images;
  return plan_for(kind, piece, bias);
}

std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

/// Where everything lies in the workspace; offsets of a lane are from its begin.
struct Room {
  Room(const Plan& plan, const Cut& c, Kind kind) {
    const auto take = [](std::size_t& end, std::size_t bytes) {
      const std::size_t at = end;
      end += padded(bytes);
      return at;
    };
    if (kind != Kind::dw && plan.w.reordered()) take(lanes, plan.w.bytes());
    scratch = take(lane, plan.scratch_bytes);
    x = take(lane, plan.x.reordered() ? plan.x.bytes() : 0);
    y = take(lane, plan.y.reordered() ? plan.y.bytes() : 0);
    if (kind == Kind::dw) sum = take(lane, plan.w.bytes()), piece = take(lane, plan.w.bytes());
    total = lanes + lane * static_cast<std::size_t>(c.lanes);
  }

  std::size_t lanes = 0;  // before them: the filters as wanted
  std::size_t lane = 0;
  std::size_t scratch, x, y, sum = 0, piece = 0, total;
};

std::size_t workspace_for(const Conv2dSizes& s, Kind kind, bool bias) {
  const auto plan = plan_of(s, kind, bias);
  return plan ? Room(*plan, cut(s, kind), kind).total : 0;
}

/// Where our own path was measured to be faster (NOTES.md).
bool left_to_ours(const Conv2dSizes& s, Kind kind) {
  const bool one_channel = s.C / s.groups == 1;
  if (one_channel && (!s.channels_last || kind == Kind::dw)) return true;
  return kind == Kind::dx && s.groups == 1 && s.C <= 4;
}

const char* reason_for(DType dtype, const Conv2dSizes& s, Kind kind, bool bias) {
  if (dtype != DType::f32) return "takes f32";
  if (left_to_ours(s, kind)) return "leaves few channels to the entry cpu";
  if (!library().engine) return "needs libdnnl.so.2, which could not be opened";
  return plan_of(s, kind, bias) ? nullptr : "has no primitive for these sizes";
}

/// Runs f(runner, lane's memory, first piece, last piece) for every lane.
template <class F>
void for_lanes(const Cut& c, const Room& room, const Exec& exec, F&& f) {
  auto* const base = static_cast<char*>(exec.workspace) + room.lanes;
  exec.pool->run(c.lanes, [&](std::int64_t lane) {
    const OneOnednnThread scope;
    char* const memory = base + room.lane * static_cast<std::size_t>(lane);
    Runner runner(memory + room.scratch);
    f(runner, memory, lane * c.pieces / c.lanes, (lane + 1) * c.pieces / c.lanes);
  });
}

/// The filters as the convolution wants them.
const void* filters(const Plan& plan, const Room& room, const void* w, const Exec& exec) {
  if (!plan.w.reordered()) return w;
  const OneOnednnThread scope;
  Runner(static_cast<char*>(exec.workspace) + room.lanes + room.scratch)
      .reorder(plan.w, true, w, exec.workspace);
  return exec.workspace;
}

/// The operand of a piece as wanted: where it is, or turned into `buffer`.
const void* wanted(Runner& runner, const Side& side, const float* data, char* buffer) {
  if (!side.reordered()) return data;
  runner.reorder(side, true, data, buffer);
  return buffer;
}

void add_bias(float* dx, const float* bias, const Conv2dSizes& s, std::int64_t images) {
  const std::int64_t pixels = s.H * s.W;
  for (std::int64_t row = 0; row < (s.channels_last ? images * pixels : images * s.C); ++row) {
    if (s.channels_last)
      for (std::int64_t c = 0; c < s.C; ++c) dx[row * s.C + c] += bias[c];
    else
      for (std::int64_t i = 0; i < pixels; ++i) dx[row * pixels + i] += bias[row % s.C];
  }
}

}  // namespace

const char* conv2d_onednn_reason(const Conv2dProblem& p) {
  return reason_for(p.dtype, p.sizes, Kind::forward, p.has_bias);
}
const char* conv2d_dx_onednn_reason(const Conv2dDxProblem& p) {
  return reason_for(p.dtype, p.sizes, Kind::dx, false);
}
const char* conv2d_dw_onednn_reason(const Conv2dDwProblem& p) {
  return reason_for(p.dtype, p.sizes, Kind::dw, false);
}
std::size_t conv2d_onednn_workspace(const Conv2dProblem& p) {
  return workspace_for(p.sizes, Kind::forward, p.has_bias);
}
std::size_t conv2d_dx_onednn_workspace(const Conv2dDxProblem& p) {
  return workspace_for(p.sizes, Kind::dx, false);
}
std::size_t conv2d_dw_onednn_workspace(const Conv2dDwProblem& p) {
  return workspace_for(p.sizes, Kind::dw, false);
}

void conv2d_onednn(const Conv2dProblem& p, const Exec& exec) {
  const Cut c = cut(p.sizes, Kind::forward);
  const auto plan = plan_of(p.sizes, Kind::forward, p.has_bias);
  const Room room(*plan, c, Kind::forward);
  const void* const w = filters(*plan, room, p.w, exec);
  const std::int64_t x_piece = p.sizes.x_elements() / c.pieces, y_piece = p.sizes.y_elements() / c.pieces;
  dnnl_memory_desc_t bias{};
  const dnnl_dims_t K{p.sizes.K};
  onednn::check(library().dnnl_memory_desc_init_by_tag(&bias, 1, K, dnnl_f32, dnnl_x), "describing bias");
  for_lanes(c, room, exec, [&](Runner& runner, char* memory, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto* x = static_cast<const float*>(p.x) + i * x_piece;
      auto* const y = static_cast<float*>(p.y) + i * y_piece;
      void* const to = plan->y.reordered() ? memory + room.y : static_cast<void*>(y);
      runner.run(plan->convolution,
                 {{DNNL_ARG_SRC, &plan->x.wanted, wanted(runner, plan->x, x, memory + room.x)},
                  {DNNL_ARG_WEIGHTS, &plan->w.wanted, w},
                  {DNNL_ARG_BIAS, &bias, p.has_bias ? p.bias : nullptr},
                  {DNNL_ARG_DST, &plan->y.wanted, to}});
      if (plan->y.reordered()) runner.reorder(plan->y, false, to, y);
      if (p.relu)
        for (std::int64_t j = 0; j < y_piece; ++j) y[j] = y[j] < 0 ? 0 : y[j];
    }
  });
}

void conv2d_dx_onednn(const Conv2dDxProblem& p, const Exec& exec) {
  const Cut c = cut(p.sizes, Kind::dx);
  const auto plan = plan_of(p.sizes, Kind::dx, false);
  const Room room(*plan, c, Kind::dx);
  const void* const w = filters(*plan, room, p.w, exec);
  const std::int64_t x_piece = p.sizes.x_elements() / c.pieces, y_piece = p.sizes.y_elements() / c.pieces;
  for_lanes(c, room, exec, [&](Runner& runner, char* memory, std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      const auto* dy = static_cast<const float*>(p.dy) + i * y_piece;
      auto* const dx = static_cast<float*>(p.dx) + i * x_piece;
      void* const to = plan->x.reordered() ? memory + room.x : static_cast<void*>(dx);
      runner.run(plan->convolution,
                 {{DNNL_ARG_DIFF_DST, &plan->y.wanted, wanted(runner, plan->y, dy, memory + room.y)},
                  {DNNL_ARG_WEIGHTS, &plan->w.wanted, w},
                  {DNNL_ARG_DIFF_SRC, &plan->x.wanted, to}});
      if (plan->x.reordered()) runner.reorder(plan->x, false, to, dx);
      if (p.has_bias) add_bias(dx, static_cast<const float*>(p.bias), p.sizes, c.images);
    }
  });
}

void conv2d_dw_onednn(const Conv2dDwProblem& p, const Exec& exec) {
  const Cut c = cut(p.sizes, Kind::dw);
  const auto plan = plan_of(p.sizes, Kind::dw, false);
  const Room room(*plan, c, Kind::dw);
  const std::int64_t x_piece = p.sizes.x_elements() / c.pieces, y_piece = p.sizes.y_elements() / c.pieces;
  const auto elements = static_cast<std::int64_t>(plan->w.bytes() / sizeof(float));
  for_lanes(c, room, exec, [&](Runner& runner, char* memory, std::int64_t begin, std::int64_t end) {
    auto* const sum = reinterpret_cast<float*>(memory + room.sum);
    for (std::int64_t i = begin; i < end; ++i) {
      const auto* x = static_cast<const float*>(p.x) + i * x_piece;
      const auto* dy = static_cast<const float*>(p.dy) + i * y_piece;
      auto* const to = i == begin ? sum : reinterpret_cast<float*>(memory + room.piece);
      runner.run(plan->convolution,
                 {{DNNL_ARG_SRC, &plan->x.wanted, wanted(runner, plan->x, x, memory + room.x)},
                  {DNNL_ARG_DIFF_DST, &plan->y.wanted, wanted(runner, plan->y, dy, memory + room.y)},
                  {DNNL_ARG_DIFF_WEIGHTS, &plan->w.wanted, to}});
      for (std::int64_t j = 0; i > begin && j < elements; ++j) sum[j] += to[j];
    }
  });
  auto* const first = static_cast<char*>(exec.workspace) + room.lanes;
  auto* const total = reinterpret_cast<float*>(first + room.sum);
  for (std::int64_t lane = 1; lane < c.lanes; ++lane) {
    const auto* sum =
        reinterpret_cast<const float*>(first + room.lane * static_cast<std::size_t>(lane) + room.sum);
    for (std::int64_t j = 0; j < elements; ++j) total[j] += sum[j];
  }
  if (!plan->w.reordered()) {
    std::memcpy(p.dw, total, plan->w.bytes());
    return;
  }
  const OneOnednnThread scope;
  Runner(first + room.scratch).reorder(plan->w, false, total, p.dw);
}

}  // namespace gpunn
