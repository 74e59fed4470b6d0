// Why problems are none for cuDNN's attention: by themselves, and by version and GPU.
#include <gtest/gtest.h>

#if GPUNN_HAS_CUDA

#include "gpunn/kernels/attention/cudnn_attention_impl.h"

namespace gpunn {
namespace {

using detail::cudnn_attention_call;
using detail::cudnn_attention_reason;
using detail::CudnnAttentionCall;

/// A problem that is taken, and what `change` makes of it.
template <class P, class Change>
const char* why_not(Change change) {
  P p{};
  p.dtype = DType::f16, p.scale = 0.5, p.sizes = {2, 4, 2, 16, 16, 64, 64};
  p.q_layout = p.y_layout = {16 * 4 * 64, 64, 4 * 64}, p.k_layout = p.v_layout = {16 * 2 * 64, 64, 2 * 64};
  change(p);
  return cudnn_attention_reason(cudnn_attention_call(p));
}
template <class Change>
void expect_reason(const char* reason, Change change) {
  EXPECT_STREQ(why_not<AttentionProblem>(change), reason);
  EXPECT_STREQ(why_not<AttentionBackwardProblem>(change), reason);
}

TEST(CudnnAttentionReason, SaysWhatItCannotTake) {
  expect_reason(nullptr, [](auto&) {});
  expect_reason(nullptr, [](auto& p) { p.dtype = DType::bf16, p.rule.causal = true, p.rule.window = 3; });
  for (const DType dtype : {DType::f32, DType::f64})
    expect_reason("takes f16 and bf16", [&](auto& p) { p.dtype = dtype; });
  const char* const rules = "takes no masks, lengths, packed rows, pages, slopes and dropout";
  static const std::int64_t number = 0;
  static const std::int32_t page = 0;
  static const float slope = 0;
  expect_reason(rules, [](auto& p) { p.mask.kind = AttentionMaskKind::boolean; });
  expect_reason(rules, [](auto& p) { p.mask.kind = AttentionMaskKind::additive; });
  expect_reason(rules, [](auto& p) { p.rule.q_first = &number; });
  expect_reason(rules, [](auto& p) { p.rule.k_first = &number; });
  expect_reason(rules, [](auto& p) { p.rule.q_length = &number; });
  expect_reason(rules, [](auto& p) { p.rule.k_length = &number; });
  expect_reason(rules, [](auto& p) { p.rule.pages = &page; });
  expect_reason(rules, [](auto& p) { p.rule.alibi = &slope; });
  expect_reason(rules, [](auto& p) { p.dropout.on = true; });
  const char* const width = "takes heads of a multiple of 8 up to 128 elements";
  for (const std::int64_t n : {4, 65, 136, 256}) {
    expect_reason(width, [&](auto& p) { p.sizes.D = n; });
    expect_reason(width, [&](auto& p) { p.sizes.Dv = n; });
  }
  expect_reason(nullptr, [](auto& p) { p.sizes.D = 128, p.sizes.Dv = 8; });
  expect_reason("takes more than 8 queries a head", [](auto& p) { p.sizes.Tq = 8; });
  expect_reason("takes windows of causal attention only", [](auto& p) { p.rule.window = 15; });
  expect_reason(nullptr, [](auto& p) { p.rule.window = 16; });  // hides nothing
  expect_reason("takes windows over at least as many keys as queries",
                [](auto& p) { p.rule.causal = true, p.rule.window = 3, p.sizes.Tq = 17; });
  expect_reason("takes at least as many keys as queries aligned to their end",
                [](auto& p) { p.rule.causal = p.rule.align_end = true, p.sizes.Tq = 17; });
  expect_reason("takes scales above 0", [](auto& p) { p.scale = 0; });
  expect_reason("takes scales above 0", [](auto& p) { p.scale = -1; });
  expect_reason("takes tensors of fewer than 2^31 elements",
                [](auto& p) { p.k_layout.batch = std::int64_t{1} << 31; });
}

TEST(CudnnAttentionReason, WindowsThatHideNothingAreNone) {
  AttentionProblem p{};
  p.sizes = {1, 1, 1, 16, 20, 8, 8};
  const auto window = [&](bool causal, bool end, std::int64_t n) {
    p.rule.causal = causal, p.rule.align_end = end, p.rule.window = n;
    return cudnn_attention_call(p).window;
  };
  EXPECT_EQ(window(true, false, 15), 15) << "the last query is 15 from the first key";
  EXPECT_EQ(window(true, false, 16), 0);
  EXPECT_EQ(window(true, true, 19), 19);
  EXPECT_EQ(window(true, true, 20), 0);
  EXPECT_EQ(window(false, false, 19), 19) << "the first query is 19 from the last key";
  EXPECT_EQ(window(false, false, 20), 0);
}

TEST(CudnnAttentionReason, WantsAlignedRows) {
  const char* const rows = "takes rows aligned to 16 bytes";
  const auto odd = [](const void* offset) { return static_cast<const char*>(offset) + 8; };
  expect_reason(rows, [&](auto& p) { p.q = odd(nullptr); });
  expect_reason(rows, [&](auto& p) { p.v = odd(nullptr); });
  expect_reason(rows, [](auto& p) { p.q_layout.time += 4; });
  expect_reason(rows, [](auto& p) { p.k_layout.head += 1; });
  expect_reason(rows, [](auto& p) { p.v_layout.batch += 2; });
  expect_reason(rows, [](auto& p) { p.y_layout.time += 4; });
  for (AttentionLayout AttentionBackwardProblem::* const member :
       {&AttentionBackwardProblem::dy_layout, &AttentionBackwardProblem::dq_layout,
        &AttentionBackwardProblem::dk_layout, &AttentionBackwardProblem::dv_layout})
    EXPECT_STREQ(why_not<AttentionBackwardProblem>([&](auto& p) { (p.*member).head = 4; }), rows);
  EXPECT_STREQ(why_not<AttentionBackwardProblem>([&](auto& p) { p.lse = odd(nullptr); }), rows);
}

TEST(CudnnAttentionReason, SaysWhatAVersionOrGpuLacks) {
  CudnnAttentionCall forward{}, backward{};
  forward.sizes = backward.sizes = {1, 1, 1, 64, 100, 64, 64};
  backward.is_backward = true;
  const char* const version = "needs cuDNN 9.10.2 or later";
  const char* const gpu = "needs a GPU of compute capability 8.0 or more";
  EXPECT_STREQ(cudnn_attention_reason(forward, 8907, 90), version);
  EXPECT_STREQ(cudnn_attention_reason(forward, 91001, 90), version);
  EXPECT_EQ(cudnn_attention_reason(forward, 91002, 90), nullptr);
  EXPECT_STREQ(cudnn_attention_reason(forward, 91002, 75), gpu);
  EXPECT_STREQ(cudnn_attention_reason(forward, 91002, 0), gpu) << "unknown";
  EXPECT_EQ(cudnn_attention_reason(forward, 91002, 80), nullptr);
  EXPECT_EQ(cudnn_attention_reason(forward, 91900, 120), nullptr);
  EXPECT_STREQ(cudnn_attention_reason(backward, 91900, 100),
               "promises equal gradients up to compute capability 9.0 only");
  EXPECT_EQ(cudnn_attention_reason(backward, 91501, 90), nullptr);
  EXPECT_STREQ(cudnn_attention_reason(backward, 91500, 90),
               "takes a multiple of 128 keys before cuDNN 9.15.1");
  backward.sizes.Tk = 256;
  EXPECT_EQ(cudnn_attention_reason(backward, 91500, 90), nullptr);
}

}  // namespace
}  // namespace gpunn

#endif
