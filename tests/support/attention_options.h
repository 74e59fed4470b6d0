#pragma once
// Every option of attention, one after the other and together: what its tests walk through.
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "gpunn/core/random.h"
#include "gpunn/kernels/attention/attention.h"

namespace gpunn::testing {

/// A call: sizes of q, k, v and the options, on a device.
struct AttentionSetting {
  std::string name;
  std::int64_t B, Hq, Hkv, Tq, Tk, D, Dv;
  AttentionOptions options;

  Shape q() const { return {B, Hq, Tq, D}; }
  Shape k() const { return {B, Hkv, Tk, D}; }
  Shape v() const { return {B, Hkv, Tk, Dv}; }
};

inline Tensor i64_tensor(const std::vector<std::int64_t>& values, Device device) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())},
                      {.dtype = DType::i64, .device = device});
}

/// bool from 0 and 1.
inline Tensor bool_tensor(const std::vector<std::uint8_t>& values, const Shape& shape, Device device) {
  return Tensor::from(values, shape, {.dtype = DType::u8, .device = device}).to(DType::boolean);
}

/// Seen by two of three pairs, but row 0 of the first matrix, which sees nothing.
inline Tensor some_seen(const Shape& shape, Device device) {
  PhiloxStream random(3, 0);
  std::vector<std::uint8_t> seen;
  for (std::int64_t i = 0; i < shape.numel(); ++i) seen.push_back(i >= shape.back() && random.below(3) != 0);
  return bool_tensor(seen, shape, device);
}

inline std::vector<AttentionSetting> attention_settings(Device device, DType dtype = DType::f32) {
  const AttentionSetting base{"plain", 2, 2, 2, 5, 7, 4, 3, {}};
  std::vector<AttentionSetting> all{base};
  const auto add = [&](const char* name) -> AttentionSetting& {
    all.push_back(base);
    all.back().name = name;
    return all.back();
  };
  add("scale").options.scale = 0.9;
  add("causal").options.causal = true;
  {
    auto& s = add("causal, end");
    s.options.causal = true, s.options.align = AttentionAlign::end;
  }
  {
    auto& s = add("causal, end, more queries than keys");
    s.options.causal = true, s.options.align = AttentionAlign::end;
    s.Tq = 7, s.Tk = 5;
  }
  add("window").options.window = 2;
  {
    auto& s = add("causal window");
    s.options.causal = true, s.options.window = 3;
  }
  add("bool mask").options.mask = some_seen({2, 1, 5, 7}, device);
  add("bool mask of keys").options.mask = some_seen({2, 1, 1, 7}, device);
  {
    const Tensor shared = some_seen({5, 7}, device);
    add("bool mask for all").options.mask = shared;
    std::vector<double> values;
    PhiloxStream random(5, 0);
    for (int i = 0; i < 2 * 5 * 7; ++i)
      values.push_back(i % 6 == 5 ? -std::numeric_limits<double>::infinity()
                                  : static_cast<double>(random.normal()));
    add("additive mask").options.mask =
        Tensor::from(values, {2, 5, 7}, {.dtype = DType::f64}).to(dtype).to(device);
  }
  {
    auto& s = add("grouped");
    s.Hq = 4;
  }
  {
    auto& s = add("multi-query");
    s.Hkv = 1;
  }
  add("key lengths").options.key_lengths = i64_tensor({4, 0}, device);
  {
    auto& s = add("lengths");
    s.options.key_lengths = i64_tensor({7, 3}, device);
    s.options.query_lengths = i64_tensor({2, 5}, device);
    s.options.causal = true, s.options.align = AttentionAlign::end;
  }
  add("alibi").options.alibi_slopes = Tensor::from({0.5F, 0.25F}).to(device);
  add("dropout").options.dropout_p = 0.4;
  {
    auto& s = add("all");
    s.Hkv = 1;
    s.options.causal = true, s.options.window = 4, s.options.align = AttentionAlign::end;
    s.options.mask = some_seen({1, 2, 5, 7}, device);
    s.options.key_lengths = i64_tensor({6, 5}, device), s.options.query_lengths = i64_tensor({5, 4}, device);
    s.options.alibi_slopes = Tensor::from({0.3F, 0.1F}).to(device);
    s.options.dropout_p = 0.2, s.options.scale = 0.7;
  }
  return all;
}

}  // namespace gpunn::testing
