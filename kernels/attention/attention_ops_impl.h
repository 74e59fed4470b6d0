#pragma once
// What the public functions of attention share: a call with its arguments checked, and the ways to run it.
#include <cstdint>

#include "gpunn/core/autograd.h"
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/attention/attention_impl.h"

namespace gpunn::detail {

/// What a call brings besides q, k and v; undefined where absent.
struct AttentionExtras {
  Tensor mask, q_first, k_first, q_length, k_length, pages, alibi;
};

/// All of a call but its large operands. The pointers are into `extras`.
struct AttentionCall {
  AttentionExtras extras;
  AttentionMask mask{};
  AttentionRule rule{};
  AttentionDropout dropout{};
  AttentionSizes sizes{};
  double scale = 0;
  std::int64_t mask_elements = 0;
  bool unchecked = false;  // numbers on a GPU that nobody looked at

  bool by_rows() const noexcept { return rule.q_first != nullptr; }
  bool empty() const noexcept { return sizes.B == 0 || sizes.Tq == 0 || sizes.Tk == 0; }
};

/// Sizes of heads [B, H, T, D]. Throws InvalidArgument for what does not fit.
AttentionSizes check_attention_heads(const Tensor& q, const Tensor& k, const Tensor& v);
/// Options that hold for every form: scale, causal, window, dropout, slopes. `sizes` are set.
void set_attention_options(AttentionCall& call, const Tensor& q, const AttentionOptions& options);
/// A range of random numbers for the weights. Last, when nothing can fail any more.
void draw_attention_dropout(AttentionCall& call, const Tensor& q, double p);

/// y [B, Hq, Tq, Dv] (memory [B, Tq, Hq, Dv]), or [rows, Hq, Dv]; lse when kept.
struct AttentionFused {
  Tensor y, lse;
};
/// q, k, v with a last stride of 1, of heads or of rows. No history.
AttentionFused attention_fused(const Tensor& q, const Tensor& k, const Tensor& v, AttentionCall& call,
                               bool keep_lse);
/// Fills dq, dk, dv, whatever their strides but the last.
void attention_fused_backward(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& y,
                              const Tensor& lse, const Tensor& dy, AttentionCall& call, Tensor& dq,
                              Tensor& dk, Tensor& dv);
/// The fused op with its gradient recorded; lse is defined when kept or recorded.
AttentionFused attention_recorded(const Tensor& q, const Tensor& k, const Tensor& v, AttentionCall& call,
                                  bool keep_lse);

/// The definition from public ops, differentiable as often as wished, the mask too; in the accumulator's
/// dtype up to the results. Waits for a GPU when the call has lengths. Heads, or rows without weights.
AttentionOutput attention_composed(const Tensor& q, const Tensor& k, const Tensor& v,
                                   const AttentionCall& call, bool need_weights);
/// Gradients of dy by way of it, as functions of q, k, v and dy that have gradients themselves.
Gradients attention_composed_gradients(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& dy,
                                       const AttentionCall& call, const Backward& b);

/// The call as a rule keeps it: extras as saved tensors.
class SavedAttentionCall {
 public:
  explicit SavedAttentionCall(const AttentionCall& call);
  /// Throws InvalidArgument when an extra has been overwritten since.
  AttentionCall operator()(const Backward& b) const;

 private:
  AttentionCall call_;  // extras left empty
  Saved mask_, q_first_, k_first_, q_length_, k_length_, alibi_;
};

// ---- small checks

/// Elements from the first to the last one, strides included; 0 for an empty tensor.
std::int64_t extent_of(const Tensor& t);
/// `t` itself, or a copy whose last stride is 1.
Tensor with_unit_stride(const Tensor& t);
/// Numbers of that dtype, shape and x's device, contiguous. Throws InvalidArgument.
Tensor checked_integers(const Tensor& x, const Tensor& numbers, const char* name, DType dtype,
                        const Shape& shape);
/// i32 [B, pages a sequence], contiguous.
Tensor checked_page_table(const Tensor& x, const Tensor& table, std::int64_t B);
/// Throws InvalidArgument naming the first number outside [least, most]; waits for a GPU.
void check_range(const Tensor& numbers, const char* name, std::int64_t least, std::int64_t most,
                 const char* most_is);
/// Rising from 0 to `rows`, no step above `most`; likewise.
void check_starts(const Tensor& starts, const char* name, std::int64_t rows, std::int64_t most);
/// Pages of rows [0, lengths[b] + more) of each sequence lie in [0, pool). Waits for a GPU.
void check_pages(const Tensor& table, const Tensor& lengths, std::int64_t more, std::int64_t page_size,
                 std::int64_t pool);

}  // namespace gpunn::detail
