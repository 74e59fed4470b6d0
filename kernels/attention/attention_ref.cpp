// The reference: a row of weights at a time, in double.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/philox.h"
#include "gpunn/kernels/attention/attention_impl.h"
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/common/ref_access.h"

namespace gpunn {
namespace {

constexpr double kNothing = -std::numeric_limits<double>::infinity();

/// A query of one head: what its scores and weights need. P: either problem.
template <class P>
class Row {
 public:
  Row(const P& p, std::int64_t b, std::int64_t h, std::int64_t i)
      : p_(p), b_(b), h_(h), i_(i), hkv_(h / (p.sizes.Hq / p.sizes.Hkv)) {
    lengths_ = attention_lengths(p.rule, p.sizes, b);
    keys_ = i < lengths_.queries ? attention_keys(p.rule, lengths_, i) : KeyRange{0, 0};
    q_ = attention_row(p.q_layout, p.rule.q_first, b, h, i);
  }

  const KeyRange& keys() const { return keys_; }
  std::int64_t q() const { return q_; }
  std::int64_t k(std::int64_t j) const { return attention_key_row(p_.k_layout, p_.rule, b_, hkv_, j); }
  std::int64_t v(std::int64_t j) const { return attention_key_row(p_.v_layout, p_.rule, b_, hkv_, j); }
  std::int64_t head() const { return hkv_; }
  /// Place of the row's lse.
  std::int64_t number() const { return (b_ * p_.sizes.Hq + h_) * p_.sizes.Tq + i_; }

  /// -inf where the mask hides the key.
  double score(std::int64_t j) const {
    const std::int64_t at = b_ * p_.mask.batch + h_ * p_.mask.head + i_ * p_.mask.query + j * p_.mask.key;
    if (p_.mask.kind == AttentionMaskKind::boolean && !static_cast<const bool*>(p_.mask.data)[at])
      return kNothing;
    const double mask =
        p_.mask.kind == AttentionMaskKind::additive ? load_ref(p_.mask.data, p_.dtype, at) : 0;
    if (mask == kNothing) return kNothing;
    double sum = 0;
    const std::int64_t key = k(j);
    for (std::int64_t d = 0; d < p_.sizes.D; ++d)
      sum += load_ref(p_.q, p_.dtype, q_ + d) * load_ref(p_.k, p_.dtype, key + d);
    return p_.scale * sum + mask + bias(j);
  }

  /// 0, or 1 / (1 - p).
  double kept(std::int64_t j) const {
    const AttentionDropout& d = p_.dropout;
    if (!d.on) return 1;
    const std::uint64_t n = attention_number(p_.sizes, b_, h_, i_, j);
    const bool stays = philox_at(d.seed, d.offset + n / 4).v[n % 4] <= d.greatest_kept;
    return stays ? static_cast<double>(d.scale) : 0;
  }

 private:
  double bias(std::int64_t j) const {
    if (!p_.rule.alibi) return 0;
    const std::int64_t distance = attention_position(p_.rule, lengths_, i_) - j;
    return -static_cast<double>(p_.rule.alibi[h_]) * static_cast<double>(distance < 0 ? -distance : distance);
  }

  const P& p_;
  std::int64_t b_, h_, i_, hkv_, q_ = 0;
  AttentionLengths lengths_{};
  KeyRange keys_{};
};

/// Calls f(Row) for every row that is stored somewhere, with whether it lies behind its sequence's length.
template <class P, class F>
void for_each_row(const P& p, std::int64_t b, std::int64_t h, F&& f) {
  for (std::int64_t i = 0; i < p.sizes.Tq; ++i) f(Row<P>(p, b, h, i), i);
}

void forward_row(const AttentionProblem& p, const Row<AttentionProblem>& row, std::int64_t y,
                 std::vector<double>& scores, std::vector<double>& sums) {
  const KeyRange keys = row.keys();
  scores.clear();
  double most = kNothing;
  bool seen = false;
  for (std::int64_t j = keys.begin; j < keys.end; ++j) {
    scores.push_back(row.score(j));
    seen = seen || !(scores.back() == kNothing);
    most = std::max(most, scores.back());
  }
  double total = 0;
  if (seen)
    for (double& s : scores) total += s = std::exp(s - most);
  if (p.lse)
    store_ref(p.lse, accumulator_of(p.dtype), row.number(), seen ? most + std::log(total) : kNothing);
  if (y < 0) return;
  sums.assign(static_cast<std::size_t>(p.sizes.Dv), 0.0);
  for (std::int64_t j = keys.begin; seen && j < keys.end; ++j) {
    const double weight = scores[static_cast<std::size_t>(j - keys.begin)] / total * row.kept(j);
    if (weight == 0) continue;  // what is hidden may hold anything
    const std::int64_t v = row.v(j);
    for (std::int64_t d = 0; d < p.sizes.Dv; ++d)
      sums[static_cast<std::size_t>(d)] += weight * load_ref(p.v, p.dtype, v + d);
  }
  for (std::int64_t d = 0; d < p.sizes.Dv; ++d)
    store_ref(p.y, p.dtype, y + d, sums[static_cast<std::size_t>(d)]);
}

/// Gradients of the keys and values of one head, added up over its queries.
struct KeySums {
  std::vector<double> dk, dv;
};

void backward_row(const AttentionBackwardProblem& p, const Row<AttentionBackwardProblem>& row, std::int64_t y,
                  std::int64_t dy, std::int64_t dq, KeySums& sums) {
  const AttentionSizes& s = p.sizes;
  const double lse = load_ref(p.lse, accumulator_of(p.dtype), row.number());
  double delta = 0;
  for (std::int64_t d = 0; d < s.Dv; ++d)
    delta += load_ref(p.dy, p.dtype, dy + d) * load_ref(p.y, p.dtype, y + d);
  std::vector<double> dq_sums(static_cast<std::size_t>(s.D), 0.0);
  for (std::int64_t j = row.keys().begin; lse != kNothing && j < row.keys().end; ++j) {
    const double weight = std::exp(row.score(j) - lse), kept = row.kept(j);
    if (weight == 0) continue;
    const std::int64_t k = row.k(j), v = row.v(j);
    double dp = 0;
    for (std::int64_t d = 0; d < s.Dv; ++d) {
      const double g = load_ref(p.dy, p.dtype, dy + d);
      dp += g * load_ref(p.v, p.dtype, v + d);
      sums.dv[static_cast<std::size_t>(j * s.Dv + d)] += kept * weight * g;
    }
    const double ds = weight * (kept * dp - delta) * p.scale;
    for (std::int64_t d = 0; d < s.D; ++d) {
      dq_sums[static_cast<std::size_t>(d)] += ds * load_ref(p.k, p.dtype, k + d);
      sums.dk[static_cast<std::size_t>(j * s.D + d)] += ds * load_ref(p.q, p.dtype, row.q() + d);
    }
  }
  for (std::int64_t d = 0; d < s.D; ++d)
    store_ref(p.dq, p.dtype, dq + d, dq_sums[static_cast<std::size_t>(d)]);
}

void store_keys(const AttentionBackwardProblem& p, std::int64_t b, std::int64_t h, std::int64_t rows,
                const KeySums& sums) {
  const AttentionSizes& s = p.sizes;
  for (std::int64_t j = 0; j < rows; ++j) {
    const std::int64_t k = attention_row(p.dk_layout, p.rule.k_first, b, h, j);
    const std::int64_t v = attention_row(p.dv_layout, p.rule.k_first, b, h, j);
    for (std::int64_t d = 0; d < s.D; ++d)
      store_ref(p.dk, p.dtype, k + d, sums.dk[static_cast<std::size_t>(j * s.D + d)]);
    for (std::int64_t d = 0; d < s.Dv; ++d)
      store_ref(p.dv, p.dtype, v + d, sums.dv[static_cast<std::size_t>(j * s.Dv + d)]);
  }
}

}  // namespace

void attention_fwd_ref(const AttentionProblem& p, const Exec&) {
  std::vector<double> scores, sums;
  for (std::int64_t b = 0; b < p.sizes.B; ++b)
    for (std::int64_t h = 0; h < p.sizes.Hq; ++h)
      for_each_row(p, b, h, [&](const Row<AttentionProblem>& row, std::int64_t i) {
        const bool stored = !p.rule.q_first || i < attention_lengths(p.rule, p.sizes, b).queries;
        forward_row(p, row, stored ? attention_row(p.y_layout, p.rule.q_first, b, h, i) : -1, scores, sums);
      });
}

void attention_bwd_ref(const AttentionBackwardProblem& p, const Exec&) {
  const AttentionSizes& s = p.sizes;
  const std::int64_t group = s.Hq / s.Hkv;
  for (std::int64_t b = 0; b < s.B; ++b) {
    const AttentionLengths n = attention_lengths(p.rule, s, b);
    for (std::int64_t hkv = 0; hkv < s.Hkv; ++hkv) {
      KeySums sums{std::vector<double>(static_cast<std::size_t>(s.Tk * s.D), 0.0),
                   std::vector<double>(static_cast<std::size_t>(s.Tk * s.Dv), 0.0)};
      for (std::int64_t h = hkv * group; h < (hkv + 1) * group; ++h)
        for_each_row(p, b, h, [&](const Row<AttentionBackwardProblem>& row, std::int64_t i) {
          if (p.rule.q_first && i >= n.queries) return;
          backward_row(p, row, attention_row(p.y_layout, p.rule.q_first, b, h, i),
                       attention_row(p.dy_layout, p.rule.q_first, b, h, i),
                       attention_row(p.dq_layout, p.rule.q_first, b, h, i), sums);
        });
      store_keys(p, b, hkv, p.rule.k_first ? n.keys : s.Tk, sums);
    }
  }
}

}  // namespace gpunn
