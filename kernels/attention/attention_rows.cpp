// Sequences packed one after the other, and keys in pages.
#include "gpunn/core/op.h"
#include "gpunn/kernels/attention/attention_ops_impl.h"

namespace gpunn {
namespace {

using detail::AttentionCall;

void check_alike(const Tensor& q, const Tensor& k, const Tensor& v) {
  check_floating(q, "q");
  check_floating(k, "k");
  check_floating(v, "v");
  check_same(q, "q", k, "k");
  check_same(q, "q", v, "v");
}

void check_rows(const Tensor& q, const Tensor& k, const Tensor& v, const AttentionOptions& options) {
  check_alike(q, k, v);
  GPUNN_CHECK(q.dim() == 3 && k.dim() == 3 && v.dim() == 3, "expected q, k, v [rows, heads, D], got ",
              q.shape(), ", ", k.shape(), ", ", v.shape());
  GPUNN_CHECK(k.size(2) == q.size(2), "expected k of ", q.size(2), " numbers a head like q, got ", k.size(2));
  GPUNN_CHECK(v.size(0) == k.size(0) && v.size(1) == k.size(1), "expected v [", k.size(0), ", ", k.size(1),
              ", Dv] like k, got ", v.shape());
  GPUNN_CHECK(!options.mask.defined(), "expected no mask with packed rows");
  GPUNN_CHECK(!options.key_lengths.defined() && !options.query_lengths.defined(),
              "expected no lengths with packed rows: the starts say them");
}

Tensor checked_starts(AttentionCall& call, const Tensor& q, const Tensor& starts, const char* name,
                      std::int64_t rows, std::int64_t most, bool check) {
  Tensor found = detail::checked_integers(q, starts, name, DType::i64, {call.sizes.B + 1});
  if (check || found.context().is_cpu())
    detail::check_starts(found, name, rows, most);
  else
    call.unchecked = true;
  return found;
}

void check_pool(const Tensor& t, const char* name) {
  GPUNN_CHECK(t.dim() == 4 && t.size(0) >= 1 && t.size(1) >= 1, "expected ", name,
              " [pages, page size, heads, D], got ", t.shape());
  GPUNN_CHECK((t.size(3) <= 1 || t.strides()[3] == 1) && t.strides()[0] == t.size(1) * t.strides()[1],
              "expected ", name, " whose pages lie one after the other, got strides ",
              to_string(t.strides()));
}

}  // namespace

Tensor attention_varlen(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& query_starts,
                        const Tensor& key_starts, std::int64_t max_queries, std::int64_t max_keys,
                        const AttentionOptions& options) {
  OpScope scope("attention_varlen");
  check_rows(q, k, v, options);
  GPUNN_CHECK(max_queries >= 0 && max_keys >= 0, "expected max_queries and max_keys >= 0, got ", max_queries,
              " and ", max_keys);
  GPUNN_CHECK(query_starts.defined() && query_starts.dim() == 1 && query_starts.size(0) >= 1,
              "expected query_starts [B + 1], got ",
              query_starts.defined() ? to_string(query_starts.shape()) : "an undefined tensor");
  AttentionCall call;
  call.sizes = {query_starts.size(0) - 1, q.size(1), k.size(1), max_queries, max_keys, q.size(2), v.size(2)};
  detail::set_attention_options(call, q, options);
  call.extras.q_first =
      checked_starts(call, q, query_starts, "query_starts", q.size(0), max_queries, options.check_lengths);
  call.extras.k_first =
      checked_starts(call, q, key_starts, "key_starts", k.size(0), max_keys, options.check_lengths);
  call.rule.q_first = static_cast<const std::int64_t*>(call.extras.q_first.data());
  call.rule.k_first = static_cast<const std::int64_t*>(call.extras.k_first.data());
  call.rule.q_rows = q.size(0), call.rule.k_rows = k.size(0);
  detail::draw_attention_dropout(call, q, options.dropout_p);
  return detail::attention_recorded(q, k, v, call, false).y;
}

Tensor attention_paged(const Tensor& q_in, const Tensor& k, const Tensor& v, const Tensor& page_table,
                       const AttentionOptions& options) {
  OpScope scope("attention_paged");
  check_alike(q_in, k, v);
  check_pool(k, "k");
  check_pool(v, "v");
  GPUNN_CHECK(q_in.dim() == 4 && k.size(3) == q_in.size(3), "expected q [B, heads, T, ", k.size(3),
              "] like k, got ", q_in.shape());
  GPUNN_CHECK(v.size(0) == k.size(0) && v.size(1) == k.size(1) && v.size(2) == k.size(2),
              "expected v of the pages of k ", k.shape(), ", got ", v.shape());
  GPUNN_CHECK(options.key_lengths.defined(), "expected key_lengths with pages");
  GPUNN_CHECK(!autograd::wanted(q_in, k, v),
              "expected tensors without gradient: pages are read forward only; "
              "use NoGrad");
  AttentionCall call;
  call.extras.pages = detail::checked_page_table(q_in, page_table, q_in.size(0));
  const std::int64_t width = page_table.size(1), page_size = k.size(1);
  call.sizes = {q_in.size(0), q_in.size(1), k.size(2), q_in.size(2), checked_mul(width, page_size),
                q_in.size(3), v.size(3)};
  detail::set_attention_options(call, q_in, options);
  if (options.check_lengths || q_in.context().is_cpu())
    detail::check_pages(call.extras.pages, call.extras.k_length, 0, page_size, k.size(0));
  call.rule.align_end = true;
  call.rule.pages = static_cast<const std::int32_t*>(call.extras.pages.data());
  call.rule.page_size = page_size, call.rule.table_width = width, call.rule.pool = k.size(0);
  detail::draw_attention_dropout(call, q_in, options.dropout_p);
  return detail::attention_fused(detail::with_unit_stride(q_in), k, v, call, false).y;
}

}  // namespace gpunn
