// What attention refuses, and what it says then.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/attention/attention.h"
#include "tests/support/attention_options.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using testing::i64_tensor;
using ::testing::ThrowsMessage;

class AttentionChecks : public testing::DeviceTest {
 protected:
  Tensor make(const Shape& shape, DType dtype = DType::f32) const {
    return full(shape, 0.5, {.dtype = dtype, .device = device()});
  }
  Tensor numbers(const std::vector<std::int64_t>& values) const { return i64_tensor(values, device()); }
  Tensor table(const std::vector<std::int32_t>& values, const Shape& shape) const {
    return Tensor::from(values, shape, {.dtype = DType::i32, .device = device()});
  }
  /// f is refused with a message that has these words.
  static void refused(const std::function<void()>& f, const std::string& words) {
    EXPECT_THAT(f, ThrowsMessage<InvalidArgument>(HasSubstr(words)));
  }
};
GPUNN_ON_EVERY_DEVICE(AttentionChecks);

TEST_P(AttentionChecks, Tensors) {
  const Tensor q = make({2, 4, 5, 8}), k = make({2, 2, 7, 8});
  const auto no = [&](const Tensor& a, const Tensor& b, const Tensor& c, const std::string& words) {
    refused([&] { scaled_dot_product_attention(a, b, c); }, words);
  };
  no({}, k, k, "expected q");
  no(q, {}, k, "expected k");
  no(q, k, {}, "expected v");
  no(make({2, 5}), k, k, "expected q, k, v [B, heads, T, D]");
  no(make({2, 5, 8}), k, k, "expected q, k, v [B, heads, T, D]");
  no(q, make({3, 2, 7, 8}), k, "expected k and v of 2 sequences");
  no(q, make({2, 2, 7, 9}), k, "expected k of 8 numbers a head");
  no(q, k, make({2, 2, 6, 8}), "expected v [2, 2, 7, Dv]");
  no(q, k, make({2, 1, 7, 8}), "expected v [2, 2, 7, Dv]");
  no(q, make({2, 3, 7, 8}), make({2, 3, 7, 8}),
     "expected a multiple of the heads of k as heads of q, got 4 and 3");
  no(make({2, 0, 5, 8}), make({2, 0, 7, 8}), make({2, 0, 7, 8}), "heads of q, got 0 and 0");
  no(make({2, 2, 5, 0}), make({2, 2, 7, 0}), k, "expected heads of 1 number or more");
  no(q, k.to(DType::f16), k, "f16");
  no(q, k, k.to(DType::i64), "expected floating v");
}

TEST_P(AttentionChecks, Devices) {
  if (device() == Device::cpu()) GTEST_SKIP() << "one device";
  const Tensor q = make({1, 1, 2, 4}), host = full({1, 1, 2, 4}, 0.5, {.device = Device::cpu()});
  refused([&] { scaled_dot_product_attention(q, host, q); }, "cpu");
  refused([&] { scaled_dot_product_attention(q, q, q, {.mask = host.narrow(3, 0, 2)}); },
          "expected the mask on");
  refused([&] { scaled_dot_product_attention(q, q, q, {.key_lengths = i64_tensor({1}, Device::cpu())}); },
          "expected key_lengths on");
}

TEST_P(AttentionChecks, Options) {
  const Tensor q = make({2, 4, 5, 8}), k = make({2, 2, 7, 8});
  const auto no = [&](const AttentionOptions& options, const std::string& words) {
    refused([&] { scaled_dot_product_attention(q, k, k, options); }, words);
    refused([&] { attention(q, k, k, options, true); }, words);
  };
  no({.mask = make({2, 4, 5, 6})}, "expected a mask that broadcasts to [2, 4, 5, 7], got [2, 4, 5, 6]");
  no({.mask = make({4})}, "expected a mask that broadcasts");
  no({.mask = make({1, 2, 4, 5, 7})}, "expected a mask that broadcasts");
  no({.mask = make({2, 2, 5, 7})}, "expected a mask that broadcasts");
  no({.mask = make({5, 7}, DType::f16)}, "expected a mask of bool or f32");
  no({.mask = make({5, 7}, DType::i64)}, "expected a mask of bool or f32");
  no({.window = -1}, "expected window >= 0, got -1");
  for (const double p : {-0.1, 1.0, 1.5, std::numeric_limits<double>::quiet_NaN()})
    no({.dropout_p = p}, "expected dropout_p in [0, 1)");
  no({.scale = std::numeric_limits<double>::infinity()}, "expected a finite scale");
  no({.key_lengths = numbers({7, 8})},
     "expected key_lengths from 0 to 7 (the number of keys), got 8 for sequence 1");
  no({.key_lengths = numbers({-1, 7})}, "got -1 for sequence 0");
  no({.key_lengths = numbers({7})}, "expected key_lengths [2], got [1]");
  no({.key_lengths = make({2})}, "expected key_lengths of i64, got f32");
  no({.query_lengths = numbers({5, 6})}, "expected query_lengths from 0 to 5 (the number of queries), got 6");
  no({.alibi_slopes = make({2})}, "expected alibi_slopes [4], got [2]");
  no({.alibi_slopes = make({4}, DType::f16)}, "expected alibi_slopes of f32, got f16");
  no({.alibi_slopes = make({4}).requires_grad_()}, "expected alibi_slopes without gradient");
  const Tensor one = make({2, 5, 8});
  refused([&] { scaled_dot_product_attention(one, one, one, {.mask = make({1, 2, 5, 5})}); },
          "expected a mask that broadcasts to [2, 5, 5]");
}

/// On a GPU, lengths that nobody checks are clamped; the CPU always looks.
TEST_P(AttentionChecks, UncheckedLengthsAreClamped) {
  const Tensor q = make({2, 1, 3, 8}), k = make({2, 1, 7, 8});
  const AttentionOptions options{.key_lengths = numbers({70, -7}), .check_lengths = false};
  if (device() == Device::cpu()) {
    refused([&] { scaled_dot_product_attention(q, k, k, options); }, "got 70 for sequence 0");
    return;
  }
  const std::vector<float> y = scaled_dot_product_attention(q, k, k, options).contiguous().to_vector<float>();
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(y[i], i < 24 ? 0.5F : 0.0F) << i;
}

TEST_P(AttentionChecks, PackedProjection) {
  const auto no = [&](const Tensor& qkv, std::int64_t heads, std::int64_t kv, const std::string& words) {
    refused([&] { attention_packed_qkv(qkv, heads, kv); }, words);
  };
  no(make({2, 5, 23}), 2, 2, "expected qkv [B, T, 6 D], got [2, 5, 23]");
  no(make({2, 24}), 2, 2, "expected qkv [B, T, 6 D]");
  no(make({2, 5, 0}), 2, 2, "expected qkv [B, T, 6 D]");
  no(make({2, 5, 24}), 0, 2, "expected 1 head or more, got 0 and 2");
  no(make({2, 5, 24}), 2, -1, "expected 1 head or more");
  no(make({2, 5, 35}), 3, 2, "as heads of q, got 3 and 2");
  no(make({2, 5, 24}, DType::i64), 2, 2, "expected");
  refused([&] { attention_packed_qkv(make({2, 5, 24}), 2, 2, {.mask = make({4, 5})}); },
          "expected a mask that broadcasts");
}

TEST_P(AttentionChecks, PackedRows) {
  const Tensor q = make({6, 4, 8}), k = make({9, 2, 8}), qs = numbers({0, 2, 6}), ks = numbers({0, 4, 9});
  const auto no = [&](const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& as, const Tensor& bs,
                      std::int64_t most, const std::string& words, const AttentionOptions& options = {}) {
    refused([&] { attention_varlen(a, b, c, as, bs, most, 5, options); }, words);
  };
  no(make({1, 6, 4, 8}), k, k, qs, ks, 4, "expected q, k, v [rows, heads, D]");
  no(q, make({9, 2, 7}), k, qs, ks, 4, "expected k of 8 numbers a head");
  no(q, k, make({8, 2, 8}), qs, ks, 4, "expected v [9, 2, Dv] like k");
  no(q, make({9, 3, 8}), make({9, 3, 8}), qs, ks, 4, "as heads of q, got 4 and 3");
  no(q, k, k, {}, ks, 4, "expected query_starts [B + 1]");
  no(q, k, k, qs, {}, 4, "expected key_starts");
  no(q, k, k, qs, numbers({0, 9}), 4, "expected key_starts [3], got [2]");
  no(q, k, k, numbers({0, 3, 7}), ks, 4, "expected query_starts from 0 to the number of rows, 6, got 0 to 7");
  no(q, k, k, numbers({1, 3, 6}), ks, 4, "got 1 to 6");
  no(q, k, k, numbers({0, 7, 6}), ks, 7, "expected query_starts that rise");
  no(q, k, k, qs, numbers({0, 3, 9}), 4, "expected key_starts that rise by 0 to 5, got 3 and then 9");
  no(q, k, k, qs, ks, -1, "expected max_queries and max_keys >= 0");
  no(q, k, k, qs, ks, 3, "expected query_starts that rise by 0 to 3");
  no(q, k, k, qs, ks, 4, "expected no mask with packed rows", {.mask = make({4, 5})});
  no(q, k, k, qs, ks, 4, "expected no lengths with packed rows", {.key_lengths = numbers({1, 1})});
  no(q, k, k, qs, ks, 4, "expected no lengths with packed rows", {.query_lengths = numbers({1, 1})});
}

TEST_P(AttentionChecks, Pages) {
  const Tensor q = make({2, 4, 1, 8}), k = make({5, 3, 2, 8}), pages = table({4, 0, 1, 3}, {2, 2});
  const AttentionOptions good{.key_lengths = numbers({6, 3})};
  const auto no = [&](const Tensor& a, const Tensor& b, const Tensor& c, const Tensor& t,
                      const AttentionOptions& options, const std::string& words) {
    refused([&] { attention_paged(a, b, c, t, options); }, words);
  };
  no(q, k, k, pages, {}, "expected key_lengths with pages");
  no(q, k, k, pages, {.key_lengths = numbers({7, 3})}, "expected key_lengths from 0 to 6");
  no(q, make({5, 2, 8}), k, pages, good, "expected k [pages, page size, heads, D]");
  no(q, k, make({5, 4, 2, 8}), pages, good, "expected v of the pages of k");
  no(q, k.transpose(0, 1), k.transpose(0, 1), pages, good, "whose pages lie one after the other");
  no(make({2, 4, 1, 9}), k, k, pages, good, "expected q [B, heads, T, 8]");
  no(q, k, k, {}, good, "expected a page table [B, pages a sequence]");
  no(q, k, k, table({1, 2}, {1, 2}), good, "expected the page table [2, 2], got [1, 2]");
  no(q, k, k, numbers({1, 2}).unsqueeze(1), good, "expected the page table of i32");
  no(q, k, k, table({4, 5, 1, 3}, {2, 2}), good, "expected pages from 0 to 4, got 5 as page 1 of sequence 0");
  no(q, k, k, table({4, 0, -1, 3}, {2, 2}), good, "got -1 as page 0 of sequence 1");
  no(make({2, 4, 1, 8}).requires_grad_(), k, k, pages, good, "expected tensors without gradient");
  // Entries behind the length are not looked at.
  EXPECT_EQ(attention_paged(q, k, k, table({4, 0, 1, 77}, {2, 2}), good).shape(), q.shape());
}

TEST_P(AttentionChecks, Caches) {
  Tensor cache = make({2, 6, 2, 8}), pages = make({5, 3, 2, 8});
  const Tensor x = make({2, 4, 2, 8}), starts = numbers({0, 2}), t = table({4, 0, 1, 3}, {2, 2});
  refused([&] { kv_append_(cache, make({3, 4, 2, 8}), numbers({0, 0, 0})); }, "expected x of 2 sequences");
  refused([&] { kv_append_(cache, make({2, 4, 1, 8}), starts); }, "expected x [B, T, 2, 8] like the cache");
  refused([&] { kv_append_(cache, make({2, 4, 8}), starts); }, "expected a cache and x of rank 4");
  refused([&] { kv_append_(cache, x.to(DType::f16), starts); }, "f16");
  refused([&] { kv_append_(cache, {}, starts); }, "undefined");
  refused([&] { kv_append_(cache, x, numbers({0, 3})); }, "expected starts from 0 to 2");
  refused([&] { kv_append_(cache, x, numbers({-1, 2})); }, "got -1 for sequence 0");
  refused([&] { kv_append_(cache, x, numbers({0})); }, "expected starts [2], got [1]");
  refused([&] { kv_append_(cache, make({2, 7, 2, 8}), numbers({0, 0})); }, "expected starts from 0 to -1");
  Tensor turned = cache.transpose(2, 3);
  refused([&] { kv_append_(turned, make({2, 4, 8, 2}), starts); },
          "expected a cache whose rows are contiguous");
  Tensor wanted = make({2, 6, 2, 8}).requires_grad_();
  EXPECT_THROW(kv_append_(wanted, x, starts), Unsupported);
  refused([&] { kv_append_paged_(pages, x, numbers({0, 3}), t); }, "expected starts from 0 to 2");
  refused([&] { kv_append_paged_(pages, x, starts, table({4, 5, 1, 3}, {2, 2})); },
          "expected pages from 0 to 4, got 5");
  refused([&] { kv_append_paged_(pages, x, starts, numbers({0, 1})); }, "expected a page table");
}

}  // namespace
}  // namespace gpunn
