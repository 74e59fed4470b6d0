// Attention as graphs of cuDNN's operations.
//
// The library knows the patterns of fused attention, forward and backward, and runs each as one engine; a
// graph that differs from them by an operation has none. So these are its patterns: scores, causal bound,
// window, softmax with its statistics, product; backward without an f32 accumulator for dq, which is the form
// that adds up in a fixed order.
#include "gpunn/kernels/attention/cudnn_attention_impl.h"

#include <limits>
#include <utility>

#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

using Tensor = CudnnGraph::Tensor;

constexpr std::size_t kAlignment = 256;         // of parts of the workspace
constexpr std::int64_t kFewQueries = 8;         // as the decode kernels
constexpr std::int64_t kUnalignedKeys = 91500;  // the last version that loses keys of a last part of 128

/// Names of tensors in packs.
enum Id : std::int64_t {
  kQ = 1,
  kK,
  kV,
  kY,
  kLse,
  kDy,
  kDq,
  kDk,
  kDv,
  kDelta,
  kScale,
  kNothing,
  kKeys,
  kQueries,
  kWindow,
  kOne
};

/// Numbers that a pack points to.
struct Numbers {
  float scale, nothing = -std::numeric_limits<float>::infinity(), window, one = 1;
  std::int32_t keys, queries;
};

Numbers numbers_of(const CudnnAttentionCall& c) {
  Numbers n{};
  n.scale = static_cast<float>(c.scale);
  n.window = static_cast<float>(c.window - c.shift);
  n.keys = static_cast<std::int32_t>(c.sizes.Tk), n.queries = static_cast<std::int32_t>(c.sizes.Tq);
  return n;
}

/// What a graph asks for, in the order of its pack.
class Pack {
 public:
  void add(Id id, const void* pointer) {
    ids_.push_back(id);
    pointers_.push_back(const_cast<void*>(pointer));
  }
  std::span<const std::int64_t> ids() const { return ids_; }
  std::span<void* const> pointers() const { return pointers_; }

 private:
  std::vector<std::int64_t> ids_;
  std::vector<void*> pointers_;
};

int cudnn_dtype(DType dtype) { return dtype == DType::f16 ? kCudnnHalf : kCudnnBFloat16; }

/// Describes the tensors and operations of a call.
class Builder {
 public:
  Builder(const CudnnGraphs& library, const CudnnAttentionCall& call)
      : graph_(std::make_unique<CudnnGraph>(library)), c_(call), s_(call.sizes) {}

  std::unique_ptr<CudnnGraph> build() && {
    scale_ = g().number(kScale, kCudnnFloat);
    if (c_.causal) nothing_ = g().number(kNothing, kCudnnFloat);
    if (c_.is_backward)
      backward();
    else
      forward();
    return std::move(graph_);
  }

 private:
  CudnnGraph& g() { return *graph_; }
  int dtype() const { return cudnn_dtype(c_.dtype); }
  CudnnExtents weights() const { return {s_.B, s_.Hq, s_.Tq, s_.Tk}; }
  CudnnExtents rows() const { return {s_.B, s_.Hq, s_.Tq, 1}; }
  CudnnExtents row_strides() const { return {s_.Hq * s_.Tq, s_.Tq, 1, 1}; }

  Tensor heads(Id id, const CudnnHeads& h, std::int64_t H, std::int64_t T, std::int64_t D) {
    return g().memory(id, dtype(), {s_.B, H, T, D}, {h.layout.batch, h.layout.head, h.layout.time, 1});
  }
  /// The same with the last two dimensions exchanged.
  Tensor turned_heads(Id id, const CudnnHeads& h, std::int64_t T, std::int64_t D) {
    return g().memory(id, dtype(), {s_.B, s_.Hkv, D, T}, {h.layout.batch, h.layout.head, 1, h.layout.time});
  }
  Tensor row_numbers(Id id) { return g().memory(id, kCudnnFloat, rows(), row_strides()); }

  /// scale q k'
  Tensor scores(const Tensor& q, const Tensor& turned_k) {
    const Tensor product = g().inner(kCudnnFloat, weights());
    g().matmul(q, turned_k, product);
    return g().pointwise(kCudnnMul, product, &scale_);
  }

  /// -inf where a query does not see a key.
  Tensor masked(const Tensor& scores) {
    if (!c_.causal) return scores;
    Tensor row = g().index(scores, 2);
    const Tensor column = g().index(scores, 3);
    if (c_.shift != 0) {
      row = g().integers(kCudnnAdd, row, g().number(kKeys, kCudnnInt32));
      row = g().integers(kCudnnSub, row, g().number(kQueries, kCudnnInt32));
    }
    const Tensor seen = g().select(g().compare(kCudnnGreaterEqual, row, column), scores, nothing_);
    return c_.window > 0 ? windowed(seen) : seen;
  }

  Tensor windowed(const Tensor& scores) {
    const Tensor row = g().index(scores, 2), column = g().index(scores, 3);
    const Tensor window = g().number(kWindow, kCudnnFloat);
    const Tensor end = g().pointwise(kCudnnAdd, column, &window);
    return g().select(g().compare(kCudnnGreater, end, row), scores, nothing_);
  }

  void forward() {
    const Tensor q = heads(kQ, c_.q, s_.Hq, s_.Tq, s_.D), k = turned_heads(kK, c_.k, s_.Tk, s_.D);
    const Tensor v = heads(kV, c_.v, s_.Hkv, s_.Tk, s_.Dv), y = heads(kY, c_.y, s_.Hq, s_.Tq, s_.Dv);
    const Tensor score = masked(scores(q, k));
    const Tensor most = g().inner(kCudnnFloat, rows()), sum = g().inner(kCudnnFloat, rows());
    g().reduce(kCudnnMax, score, most);
    const Tensor power = g().pointwise(kCudnnExp, g().pointwise(kCudnnSub, score, &most));
    g().reduce(kCudnnSum, power, sum);
    const Tensor log = g().pointwise(kCudnnLog, sum);  // in the pattern, wanted or not
    g().pointwise(kCudnnAdd, most, &log, c_.lse ? row_numbers(kLse) : g().inner(kCudnnFloat, rows()));
    const Tensor weight = g().inner(dtype(), weights());
    g().pointwise(kCudnnDiv, power, &sum, weight);
    g().matmul(weight, v, y);
  }

  /// dx = w' b, added up over the query heads of a group.
  void key_gradient(const Tensor& w, const Tensor& b, const Tensor& dx) {
    const Tensor turned = g().transposed(w, dtype());
    if (s_.Hq == s_.Hkv) return g().matmul(turned, b, dx);
    const Tensor each = g().inner(kCudnnFloat, {s_.B, s_.Hq, s_.Tk, dx.sizes[3]});
    g().matmul(turned, b, each);
    g().reduce(kCudnnSum, each, dx);
  }

  void backward() {
    const Tensor q = heads(kQ, c_.q, s_.Hq, s_.Tq, s_.D), k = turned_heads(kK, c_.k, s_.Tk, s_.D);
    const Tensor v = turned_heads(kV, c_.v, s_.Tk, s_.Dv), y = heads(kY, c_.y, s_.Hq, s_.Tq, s_.Dv);
    const Tensor dy = heads(kDy, c_.dy, s_.Hq, s_.Tq, s_.Dv), lse = row_numbers(kLse);
    const Tensor products = g().inner(kCudnnFloat, {s_.B, s_.Hq, s_.Tq, s_.Dv});
    g().pointwise(kCudnnMul, dy, &y, products);
    const Tensor sum = g().inner(kCudnnFloat, rows()), one = g().number(kOne, kCudnnFloat);
    g().reduce(kCudnnSum, products, sum);
    const Tensor delta = row_numbers(kDelta);
    g().pointwise(kCudnnMul, sum, &one, delta);  // the place of dropout's factor

    const Tensor score = scores(q, k);
    const Tensor weight = g().pointwise(kCudnnExp, masked(g().pointwise(kCudnnSub, score, &lse)));
    key_gradient(weight, dy, heads(kDv, c_.dv, s_.Hkv, s_.Tk, s_.Dv));

    const Tensor dp = g().inner(kCudnnFloat, weights());
    g().matmul(dy, v, dp);
    const Tensor apart = g().pointwise(kCudnnSub, dp, &delta);
    const Tensor unscaled = g().pointwise(kCudnnMul, apart, &weight);
    const Tensor ds = g().pointwise(kCudnnMul, unscaled, &scale_);
    key_gradient(ds, q, heads(kDk, c_.dk, s_.Hkv, s_.Tk, s_.D));
    g().matmul(ds, g().transposed(k, dtype()), heads(kDq, c_.dq, s_.Hq, s_.Tq, s_.D));
  }

  std::unique_ptr<CudnnGraph> graph_;
  const CudnnAttentionCall& c_;
  const AttentionSizes& s_;
  Tensor scale_{}, nothing_{};
};

std::size_t delta_bytes(const CudnnAttentionCall& c) {
  if (!c.is_backward) return 0;
  const auto bytes = static_cast<std::size_t>(c.sizes.B * c.sizes.Hq * c.sizes.Tq) * sizeof(float);
  return (bytes + kAlignment - 1) / kAlignment * kAlignment;
}

Pack pack_of(const CudnnAttentionCall& c, const Numbers& n, void* delta) {
  Pack pack;
  pack.add(kQ, c.q.data), pack.add(kK, c.k.data), pack.add(kV, c.v.data), pack.add(kY, c.y.data);
  pack.add(kScale, &n.scale);
  if (c.lse) pack.add(kLse, c.lse);
  if (c.causal) pack.add(kNothing, &n.nothing);
  if (c.causal && c.shift != 0) pack.add(kKeys, &n.keys), pack.add(kQueries, &n.queries);
  if (c.causal && c.window > 0) pack.add(kWindow, &n.window);
  if (!c.is_backward) return pack;
  pack.add(kDy, c.dy.data), pack.add(kDq, c.dq.data), pack.add(kDk, c.dk.data), pack.add(kDv, c.dv.data);
  pack.add(kDelta, delta), pack.add(kOne, &n.one);
  return pack;
}

template <class P>
CudnnAttentionCall common(const P& p) {
  const AttentionSizes& s = p.sizes;
  const AttentionRule& r = p.rule;
  CudnnAttentionCall c{};
  c.dtype = p.dtype, c.sizes = s, c.scale = p.scale, c.causal = r.causal;
  c.shift = r.align_end ? s.Tk - s.Tq : 0;
  // From the first key to the last query, and with no causal bound the other way, too.
  const bool hides = r.window <= s.Tq - 1 + c.shift || (!r.causal && r.window <= s.Tk - 1 - c.shift);
  c.window = hides ? r.window : 0;
  c.other_rules = p.mask.kind != AttentionMaskKind::none || r.q_first || r.k_first || r.q_length ||
                  r.k_length || r.pages || r.alibi || p.dropout.on;
  c.q = {const_cast<void*>(p.q), p.q_layout}, c.k = {const_cast<void*>(p.k), p.k_layout};
  c.v = {const_cast<void*>(p.v), p.v_layout}, c.y = {const_cast<void*>(p.y), p.y_layout};
  c.lse = const_cast<void*>(p.lse);
  return c;
}

/// f(heads, numbers of heads and rows, width) for each tensor of heads.
template <class F>
void for_each_heads(const CudnnAttentionCall& c, F&& f) {
  const AttentionSizes& s = c.sizes;
  f(c.q, s.Hq, s.Tq, s.D), f(c.k, s.Hkv, s.Tk, s.D), f(c.v, s.Hkv, s.Tk, s.Dv), f(c.y, s.Hq, s.Tq, s.Dv);
  if (!c.is_backward) return;
  f(c.dy, s.Hq, s.Tq, s.Dv), f(c.dq, s.Hq, s.Tq, s.D);
  f(c.dk, s.Hkv, s.Tk, s.D), f(c.dv, s.Hkv, s.Tk, s.Dv);
}

const char* memory_reason(const CudnnAttentionCall& c) {
  constexpr std::int64_t kMostElements = std::numeric_limits<std::int32_t>::max();
  std::int64_t together = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(c.lse));
  bool large = false;
  for_each_heads(c, [&](const CudnnHeads& h, std::int64_t H, std::int64_t T, std::int64_t D) {
    const AttentionLayout& l = h.layout;
    together |= static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(h.data));
    together |= (l.batch | l.head | l.time) * static_cast<std::int64_t>(size_of(c.dtype));
    const std::int64_t last = (c.sizes.B - 1) * l.batch + (H - 1) * l.head + (T - 1) * l.time + D;
    large = large || last > kMostElements;
  });
  if (large) return "takes tensors of fewer than 2^31 elements";
  return together % 16 == 0 ? nullptr : "takes rows aligned to 16 bytes";
}

}  // namespace

CudnnAttentionCall cudnn_attention_call(const AttentionProblem& p) { return common(p); }
CudnnAttentionCall cudnn_attention_call(const AttentionBackwardProblem& p) {
  CudnnAttentionCall c = common(p);
  c.is_backward = true;
  c.dy = {const_cast<void*>(p.dy), p.dy_layout};
  c.dq = {p.dq, p.dq_layout}, c.dk = {p.dk, p.dk_layout}, c.dv = {p.dv, p.dv_layout};
  return c;
}

const char* cudnn_attention_reason(const CudnnAttentionCall& c) {
  const AttentionSizes& s = c.sizes;
  if (c.dtype != DType::f16 && c.dtype != DType::bf16) return "takes f16 and bf16";
  if (c.other_rules) return "takes no masks, lengths, packed rows, pages, slopes and dropout";
  if (s.D > 128 || s.Dv > 128 || s.D % 8 != 0 || s.Dv % 8 != 0)
    return "takes heads of a multiple of 8 up to 128 elements";
  if (s.Tq <= kFewQueries) return "takes more than 8 queries a head";
  if (c.window > 0 && !c.causal) return "takes windows of causal attention only";
  if (c.window > 0 && s.Tq > s.Tk) return "takes windows over at least as many keys as queries";
  if (c.causal && c.shift < 0) return "takes at least as many keys as queries aligned to their end";
  if (!(c.scale > 0)) return "takes scales above 0";
  return memory_reason(c);
}

const char* cudnn_attention_reason(const CudnnAttentionCall& c, std::size_t version, int capability) {
  if (version < kCudnnLeastAttentionVersion) return "needs cuDNN 9.10.2 or later";
  if (capability < 80) return "needs a GPU of compute capability 8.0 or more";
  if (!c.is_backward) return nullptr;
  if (capability >= 100) return "promises equal gradients up to compute capability 9.0 only";
  if (version <= kUnalignedKeys && c.sizes.Tk % 128 != 0)
    return "takes a multiple of 128 keys before cuDNN 9.15.1";
  return nullptr;
}

/// The plan of a kind of call, or why there is none.
struct CudnnAttention::Kept {
  std::unique_ptr<CudnnPlan> plan;
  std::string refusal;
};

CudnnAttention::CudnnAttention(const CudnnGraphs& library) : library_(library) {
  check_cudnn(library_, library_.create(&handle_), "cudnnCreate");
}
CudnnAttention::~CudnnAttention() {
  plans_.clear();
  library_.destroy(handle_);
}

CudnnAttention::Key CudnnAttention::key_of(const CudnnAttentionCall& c) {
  const AttentionSizes& s = c.sizes;
  Key key{c.is_backward,
          static_cast<std::int64_t>(c.dtype),
          s.B,
          s.Hq,
          s.Hkv,
          s.Tq,
          s.Tk,
          s.D,
          s.Dv,
          c.causal,
          c.shift != 0,
          c.window > 0,
          c.lse != nullptr};
  for_each_heads(c, [&](const CudnnHeads& h, std::int64_t, std::int64_t, std::int64_t) {
    key.insert(key.end(), {h.layout.batch, h.layout.head, h.layout.time});
  });
  return key;
}

/// The lock is held. A failure is kept, too: to plan takes up to a second and would fail again.
const CudnnAttention::Kept& CudnnAttention::kept(const CudnnAttentionCall& c) {
  static const Kept full{nullptr, "keeps 512 plans at most"};
  Key key = key_of(c);
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  if (plans_.size() >= kMostPlans) return full;
  Kept made;
  try {
    made.plan = std::make_unique<CudnnPlan>(library_, handle_, Builder(library_, c).build(), kMostWorkspace);
    made.refusal = made.plan->refusal();
  } catch (const Error& e) {
    made.refusal = concat("failed to plan it: ", e.what());
  }
  if (!made.refusal.empty()) made.plan.reset();
  return *plans_.emplace(std::move(key), std::make_unique<const Kept>(std::move(made))).first->second;
}

const char* CudnnAttention::refusal(const CudnnAttentionCall& c) {
  const std::lock_guard lock(mutex_);
  const Kept& k = kept(c);
  return k.plan ? nullptr : k.refusal.c_str();
}

std::size_t CudnnAttention::workspace(const CudnnAttentionCall& c) {
  const std::lock_guard lock(mutex_);
  const Kept& k = kept(c);
  return k.plan ? delta_bytes(c) + k.plan->workspace() : 0;
}

void CudnnAttention::run(const CudnnAttentionCall& c, const Exec& exec) {
  const std::lock_guard lock(mutex_);
  const Kept& k = kept(c);
  if (!k.plan) throw_unsupported(concat("cuDNN ", k.refusal));
  check_cudnn(library_, library_.set_stream(handle_, exec.stream), "cudnnSetStream");
  const Numbers numbers = numbers_of(c);
  auto* const scratch = static_cast<char*>(exec.workspace);
  const Pack pack = pack_of(c, numbers, scratch);
  k.plan->run(handle_, pack.ids(), pack.pointers(), scratch ? scratch + delta_bytes(c) : nullptr);
}

}  // namespace gpunn::detail
