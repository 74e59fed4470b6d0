// Checks of attention's arguments. Lengths, starts and page tables are data: they are looked at on the host.
#include <algorithm>
#include <cmath>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"

namespace gpunn::detail {
namespace {

/// Integers of a contiguous tensor on the host, without a copy where they are there already.
template <class T>
class HostNumbers {
 public:
  explicit HostNumbers(const Tensor& t) {
    if (t.numel() == 0) return;
    if (t.context().is_cpu()) {
      data_ = t.host<T>();
    } else {
      copy_ = t.to_vector<T>();
      data_ = copy_.data();
    }
  }
  T operator[](std::int64_t i) const { return data_[i]; }

 private:
  std::vector<T> copy_;
  const T* data_ = nullptr;
};

void check_mask(const AttentionCall& call, const Tensor& q, const Tensor& mask) {
  GPUNN_CHECK(mask.dtype() == DType::boolean || mask.dtype() == q.dtype(), "expected a mask of bool or ",
              q.dtype(), " like q, got ", mask.dtype(), "; convert it with .to()");
  GPUNN_CHECK(&mask.context() == &q.context(), "expected the mask on ", q.device(), " like q, got ",
              mask.device(), "; move it with .to()");
  const AttentionSizes& s = call.sizes;
  const std::int64_t full[] = {s.B, s.Hq, s.Tq, s.Tk};
  bool fits = mask.dim() <= 4;
  for (int i = 0; fits && i < mask.dim(); ++i) {
    const std::int64_t n = mask.shape()[mask.dim() - 1 - i];
    fits = n == 1 || n == full[3 - i];
  }
  GPUNN_CHECK(fits, "expected a mask that broadcasts to [", s.B, ", ", s.Hq, ", ", s.Tq, ", ", s.Tk,
              "], got ", mask.shape());
}

void set_mask(AttentionCall& call, const Tensor& q, const Tensor& mask) {
  check_mask(call, q, mask);
  std::int64_t strides[4] = {};
  for (int i = 0; i < mask.dim(); ++i)
    if (mask.shape()[i] != 1) strides[4 - mask.dim() + i] = mask.strides()[i];
  call.extras.mask = mask;
  call.mask = {
      mask.data(), mask.dtype() == DType::boolean ? AttentionMaskKind::boolean : AttentionMaskKind::additive,
      strides[0],  strides[1],
      strides[2],  strides[3]};
  call.mask_elements = extent_of(mask);
}

Tensor checked_lengths(AttentionCall& call, const Tensor& q, const Tensor& lengths, const char* name,
                       std::int64_t most, const char* most_is, bool check) {
  Tensor found = checked_integers(q, lengths, name, DType::i64, {call.sizes.B});
  if (check || found.context().is_cpu())
    check_range(found, name, 0, most, most_is);
  else
    call.unchecked = true;
  return found;
}

}  // namespace

std::int64_t extent_of(const Tensor& t) {
  std::int64_t last = 0;
  for (int i = 0; i < t.dim(); ++i) {
    if (t.shape()[i] == 0) return 0;
    last += (t.shape()[i] - 1) * t.strides()[i];
  }
  return last + 1;
}

Tensor with_unit_stride(const Tensor& t) {
  const int last = t.dim() - 1;
  return t.shape()[last] <= 1 || t.strides()[last] == 1 ? t : t.contiguous();
}

Tensor checked_integers(const Tensor& x, const Tensor& numbers, const char* name, DType dtype,
                        const Shape& shape) {
  GPUNN_CHECK(numbers.defined(), "expected ", name, ", got an undefined tensor");
  GPUNN_CHECK(numbers.dtype() == dtype, "expected ", name, " of ", dtype, ", got ", numbers.dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(numbers.shape() == shape, "expected ", name, " ", shape, ", got ", numbers.shape());
  GPUNN_CHECK(&numbers.context() == &x.context(), "expected ", name, " on ", x.device(),
              " like the other tensors, got ", numbers.device(), "; move it with .to()");
  return numbers.contiguous();
}

Tensor checked_page_table(const Tensor& x, const Tensor& table, std::int64_t B) {
  GPUNN_CHECK(table.defined() && table.dim() == 2 && table.size(1) >= 1,
              "expected a page table [B, pages a sequence], got ",
              table.defined() ? to_string(table.shape()) : "an undefined tensor");
  return checked_integers(x, table, "the page table", DType::i32, {B, table.size(1)});
}

void check_range(const Tensor& numbers, const char* name, std::int64_t least, std::int64_t most,
                 const char* most_is) {
  const HostNumbers<std::int64_t> values(numbers);
  for (std::int64_t b = 0; b < numbers.numel(); ++b)
    GPUNN_CHECK(values[b] >= least && values[b] <= most, "expected ", name, " from ", least, " to ", most,
                " (", most_is, "), got ", values[b], " for sequence ", b);
}

void check_starts(const Tensor& starts, const char* name, std::int64_t rows, std::int64_t most) {
  const HostNumbers<std::int64_t> values(starts);
  const std::int64_t B = starts.numel() - 1;
  GPUNN_CHECK(values[0] == 0 && values[B] == rows, "expected ", name, " from 0 to the number of rows, ", rows,
              ", got ", values[0], " to ", values[B]);
  for (std::int64_t b = 0; b < B; ++b)
    GPUNN_CHECK(values[b] <= values[b + 1] && values[b + 1] - values[b] <= most, "expected ", name,
                " that rise by 0 to ", most, ", got ", values[b], " and then ", values[b + 1]);
}

void check_pages(const Tensor& table, const Tensor& lengths, std::int64_t more, std::int64_t page_size,
                 std::int64_t pool) {
  const HostNumbers<std::int32_t> pages(table);
  const HostNumbers<std::int64_t> rows(lengths);
  const std::int64_t width = table.size(1);
  for (std::int64_t b = 0; b < lengths.numel(); ++b) {
    const std::int64_t n = rows[b] + more;
    for (std::int64_t i = 0; i < n / page_size + (n % page_size != 0); ++i) {
      const std::int32_t page = pages[b * width + i];
      GPUNN_CHECK(page >= 0 && page < pool, "expected pages from 0 to ", pool - 1, ", got ", page,
                  " as page ", i, " of sequence ", b);
    }
  }
}

AttentionSizes check_attention_heads(const Tensor& q, const Tensor& k, const Tensor& v) {
  GPUNN_CHECK(q.dim() == 4 && k.dim() == 4 && v.dim() == 4,
              "expected q, k, v [B, heads, T, D] (or all [B, T, D]), got ", q.shape(), ", ", k.shape(), ", ",
              v.shape());
  const AttentionSizes s{q.size(0), q.size(1), k.size(1), q.size(2), k.size(2), q.size(3), v.size(3)};
  GPUNN_CHECK(k.size(0) == s.B && v.size(0) == s.B, "expected k and v of ", s.B, " sequences like q, got ",
              k.size(0), " and ", v.size(0));
  GPUNN_CHECK(k.size(3) == s.D, "expected k of ", s.D, " numbers a head like q, got ", k.size(3));
  GPUNN_CHECK(v.size(1) == s.Hkv && v.size(2) == s.Tk, "expected v [", s.B, ", ", s.Hkv, ", ", s.Tk,
              ", Dv] like k, got ", v.shape());
  return s;
}

void set_attention_options(AttentionCall& call, const Tensor& q, const AttentionOptions& options) {
  const AttentionSizes& s = call.sizes;
  GPUNN_CHECK(s.D >= 1 && s.Dv >= 1, "expected heads of 1 number or more, got ", s.D, " and ", s.Dv);
  GPUNN_CHECK(s.Hkv >= 1 && s.Hq >= 1 && s.Hq % s.Hkv == 0,
              "expected a multiple of the heads of k as heads of q, got ", s.Hq, " and ", s.Hkv);
  GPUNN_CHECK(options.window >= 0, "expected window >= 0, got ", options.window);
  GPUNN_CHECK(options.dropout_p >= 0 && options.dropout_p < 1, "expected dropout_p in [0, 1), got ",
              options.dropout_p);
  call.scale = options.scale ? *options.scale : 1 / std::sqrt(static_cast<double>(s.D));
  GPUNN_CHECK(std::isfinite(call.scale), "expected a finite scale, got ", call.scale);
  call.rule.causal = options.causal;
  call.rule.align_end = options.align == AttentionAlign::end;
  // More than all there is means nothing, and sums with it must not overflow.
  call.rule.window = std::min(options.window, checked_add(s.Tq, s.Tk));
  if (options.mask.defined()) set_mask(call, q, options.mask);
  if (options.key_lengths.defined())
    call.extras.k_length = checked_lengths(call, q, options.key_lengths, "key_lengths", s.Tk,
                                           "the number of keys", options.check_lengths);
  if (options.query_lengths.defined())
    call.extras.q_length = checked_lengths(call, q, options.query_lengths, "query_lengths", s.Tq,
                                           "the number of queries", options.check_lengths);
  if (options.alibi_slopes.defined()) {
    call.extras.alibi = checked_integers(q, options.alibi_slopes, "alibi_slopes", DType::f32, {s.Hq});
    GPUNN_CHECK(!options.alibi_slopes.requires_grad(),
                "expected alibi_slopes without gradient; detach() them");
  }
  const auto numbers = [](const Tensor& t) {
    return t.defined() ? static_cast<const std::int64_t*>(t.data()) : nullptr;
  };
  call.rule.k_length = numbers(call.extras.k_length);
  call.rule.q_length = numbers(call.extras.q_length);
  if (call.extras.alibi.defined()) call.rule.alibi = static_cast<const float*>(call.extras.alibi.data());
}

void draw_attention_dropout(AttentionCall& call, const Tensor& q, double p) {
  const AttentionSizes& s = call.sizes;
  if (p == 0 || call.empty()) return;
  const std::int64_t blocks =
      checked_mul(checked_mul(checked_mul(s.B, s.Hq), s.Tq), checked_add(s.Tk, 3) / 4);
  checked_mul(blocks, 4);
  const double kept = std::max(1.0, (1 - p) * 0x1p32 + 0.5);  // of 2^32 values
  const auto count = std::min(static_cast<std::uint64_t>(kept), std::uint64_t{1} << 32);
  Generator& generator = q.context().runtime().generator();
  const std::uint64_t offset = generator.reserve(static_cast<std::uint64_t>(blocks));
  call.dropout = {generator.seed(), offset, static_cast<std::uint32_t>(count - 1),
                  static_cast<float>(1 / (1 - p)), true};
}

}  // namespace gpunn::detail
