// The ordered lists of implementations, and what describes their problems.
#include <utility>

#include "gpunn/core/tuning.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn {
namespace {

const Implementation<AttentionProblem> kForwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"decode", DeviceType::cuda, attention_fwd_decode_reason, attention_fwd_decode_workspace,
     Determinism::bitwise, attention_fwd_decode_cuda},
    {"mma", DeviceType::cuda, attention_fwd_mma_reason, nullptr, Determinism::bitwise,
     attention_fwd_mma_cuda},
    {"simt", DeviceType::cuda, attention_fwd_simt_reason, nullptr, Determinism::bitwise,
     attention_fwd_simt_cuda},
#endif
    {"cpu", DeviceType::cpu, attention_fwd_cpu_reason, attention_fwd_cpu_workspace, Determinism::bitwise,
     attention_fwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, attention_fwd_ref},
};
const Implementation<AttentionBackwardProblem> kBackwardEntries[] = {
#if GPUNN_HAS_CUDA
    {"mma", DeviceType::cuda, attention_bwd_mma_reason, attention_bwd_mma_workspace, Determinism::bitwise,
     attention_bwd_mma_cuda},
    {"simt", DeviceType::cuda, attention_bwd_simt_reason, attention_bwd_simt_workspace, Determinism::bitwise,
     attention_bwd_simt_cuda},
#endif
    {"cpu", DeviceType::cpu, attention_bwd_cpu_reason, attention_bwd_cpu_workspace, Determinism::bitwise,
     attention_bwd_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, attention_bwd_ref},
};

/// Operands of one problem; what is absent has no elements.
class Operands {
 public:
  explicit Operands(DType dtype) : dtype_(dtype) {}
  void in(const char* name, const void*& pointer, std::int64_t elements) {
    list_.push_back({name, const_cast<void**>(&pointer), dtype_, elements, Role::in});
  }
  void out(const char* name, void*& pointer, std::int64_t elements) {
    list_.push_back({name, &pointer, dtype_, elements, Role::out});
  }
  template <class T>
  void numbers(const char* name, const T*& pointer, std::int64_t elements, DType dtype) {
    list_.push_back(
        {name, reinterpret_cast<void**>(const_cast<T**>(&pointer)), dtype, pointer ? elements : 0, Role::in});
  }
  /// Sums in the accumulator's dtype; null: not wanted.
  void lse(const void*& pointer, std::int64_t elements, Role role) {
    list_.push_back({"lse", const_cast<void**>(&pointer), accumulator_of(dtype_), elements, role});
  }
  void mask(AttentionMask& m, std::int64_t elements) {
    list_.push_back({"mask", const_cast<void**>(&m.data),
                     m.kind == AttentionMaskKind::boolean ? DType::boolean : dtype_,
                     m.kind == AttentionMaskKind::none ? 0 : elements, Role::in});
  }
  void rule(AttentionRule& r, const AttentionSizes& s) {
    numbers("q_first", r.q_first, s.B + 1, DType::i64);
    numbers("k_first", r.k_first, s.B + 1, DType::i64);
    numbers("q_length", r.q_length, s.B, DType::i64);
    numbers("k_length", r.k_length, s.B, DType::i64);
    numbers("pages", r.pages, s.B * r.table_width, DType::i32);
    numbers("alibi", r.alibi, s.Hq, DType::f32);
  }
  std::vector<Operand> list() && { return std::move(list_); }

 private:
  DType dtype_;
  std::vector<Operand> list_;
};

std::int64_t rows_of(const AttentionSizes& s) { return s.B * s.Hq * s.Tq; }

/// Pairs of a query and a key that it may see, as if all sequences were as long as they can be: lengths are
/// on the device.
double pairs_of(AttentionRule rule, const AttentionSizes& s) {
  double pairs = 0;
  for (std::int64_t i = 0; i < s.Tq; ++i) {
    const KeyRange keys = attention_keys(rule, {s.Tq, s.Tk}, i);
    pairs += static_cast<double>(keys.end - keys.begin);
  }
  return pairs * static_cast<double>(s.B * s.Hq);
}

/// Bytes of q, k, v and y, and of the mask as far as it is not broadcast.
struct Bytes {
  double q, k, v, y, mask, lse;
};
Bytes bytes_of(DType dtype, const AttentionSizes& s, const AttentionMask& m) {
  const auto size = static_cast<double>(size_of(dtype));
  const auto extent = [](std::int64_t stride, std::int64_t n) {
    return stride == 0 ? 1.0 : static_cast<double>(n);
  };
  const double queries = static_cast<double>(rows_of(s)), keys = static_cast<double>(s.B * s.Hkv * s.Tk);
  double mask = 0;
  if (m.kind != AttentionMaskKind::none)
    mask = extent(m.batch, s.B) * extent(m.head, s.Hq) * extent(m.query, s.Tq) * extent(m.key, s.Tk) *
           (m.kind == AttentionMaskKind::boolean ? 1 : size);
  return {queries * static_cast<double>(s.D) * size,
          keys * static_cast<double>(s.D) * size,
          keys * static_cast<double>(s.Dv) * size,
          queries * static_cast<double>(s.Dv) * size,
          mask,
          queries * static_cast<double>(size_of(accumulator_of(dtype)))};
}

template <class P>
void describe_common(const P& p, TuningKey& key) {
  const AttentionSizes& s = p.sizes;
  const AttentionRule& r = p.rule;
  key.add("B", s.B).add("Hq", s.Hq).add("Hkv", s.Hkv).add("Tq", s.Tq).add("Tk", s.Tk);
  key.add("D", s.D).add("Dv", s.Dv).add("mask", static_cast<int>(p.mask.kind));
  key.add("mask_query", p.mask.query != 0).add("mask_key", p.mask.key);
  key.add("causal", r.causal).add("align_end", r.align_end).add("window", r.window);
  key.add("packed", r.q_first != nullptr).add("q_lengths", r.q_length != nullptr);
  key.add("k_lengths", r.k_length != nullptr).add("page_size", r.page_size);
  key.add("alibi", r.alibi != nullptr).add("dropout", p.dropout.on).add("tf32", p.tf32);
  key.add("q_time", p.q_layout.time).add("k_time", p.k_layout.time).add("v_time", p.v_layout.time);
}

}  // namespace

const ImplementationList<AttentionProblem> kAttentionForward{"attention", "forward", kForwardEntries};
const ImplementationList<AttentionBackwardProblem> kAttentionBackward{"attention", "backward",
                                                                      kBackwardEntries};

std::vector<Operand> operands(AttentionProblem& p) {
  Operands o(p.dtype);
  o.in("q", p.q, p.q_elements);
  o.in("k", p.k, p.k_elements);
  o.in("v", p.v, p.v_elements);
  o.mask(p.mask, p.mask_elements);
  o.rule(p.rule, p.sizes);
  o.out("y", p.y, p.y_elements);
  o.lse(const_cast<const void*&>(p.lse), p.lse ? rows_of(p.sizes) : 0, Role::out);
  return std::move(o).list();
}

std::vector<Operand> operands(AttentionBackwardProblem& p) {
  Operands o(p.dtype);
  o.in("q", p.q, p.q_elements);
  o.in("k", p.k, p.k_elements);
  o.in("v", p.v, p.v_elements);
  o.mask(p.mask, p.mask_elements);
  o.rule(p.rule, p.sizes);
  o.in("y", p.y, p.y_elements);
  o.in("dy", p.dy, p.dy_elements);
  o.lse(p.lse, rows_of(p.sizes), Role::in);
  o.out("dq", p.dq, p.dq_elements);
  o.out("dk", p.dk, p.dk_elements);
  o.out("dv", p.dv, p.dv_elements);
  return std::move(o).list();
}

Cost cost(const AttentionProblem& p) {
  const Bytes b = bytes_of(p.dtype, p.sizes, p.mask);
  const double each = 2 * static_cast<double>(p.sizes.D + p.sizes.Dv);
  return {b.q + b.k + b.v + b.y + b.mask + (p.lse ? b.lse : 0), pairs_of(p.rule, p.sizes) * each};
}

Cost cost(const AttentionBackwardProblem& p) {
  const Bytes b = bytes_of(p.dtype, p.sizes, p.mask);
  const double each = 2 * static_cast<double>(3 * p.sizes.D + 2 * p.sizes.Dv);  // scores are computed again
  return {2 * (b.q + b.k + b.v + b.y) + b.mask + b.lse, pairs_of(p.rule, p.sizes) * each};
}

void describe(const AttentionProblem& p, TuningKey& key) {
  describe_common(p, key);
  key.add("lse", p.lse != nullptr).add_alignment({p.q, p.k, p.v, p.y});
}
void describe(const AttentionBackwardProblem& p, TuningKey& key) {
  describe_common(p, key);
  key.add_alignment({p.q, p.k, p.v, p.y, p.dy, p.dq, p.dk, p.dv});
}

}  // namespace gpunn
