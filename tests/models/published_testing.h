#pragma once
// The small models of tests/golden/published_models.py, with the weights of its files.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/models/bert.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/models/llama.h"
#include "gpunn/models/t5.h"
#include "gpunn/models/vit.h"
#include "tests/support/golden_lists.h"

namespace gpunn::testing {

inline Gpt2Options small_gpt2() {
  return {.vocabulary = 13, .context = 10, .features = 8, .layers = 2, .heads = 2, .dropout = 0, .eps = 1e-2};
}
inline LlamaOptions small_llama(std::int64_t window = 0) {
  return {.vocabulary = 11,
          .context = 16,
          .features = 16,
          .layers = 2,
          .heads = 4,
          .kv_heads = 2,
          .inner = 20,
          .window = window,
          .rotary_base = 100,
          .eps = 1e-2};
}
inline T5Options small_t5() {
  return {.vocabulary = 12,
          .features = 10,
          .head_features = 6,
          .heads = 2,
          .inner = 14,
          .layers = 2,
          .buckets = 8,
          .max_distance = 20,
          .dropout = 0,
          .eps = 1e-2};
}
inline BertOptions small_bert() {
  return {.vocabulary = 14,
          .context = 12,
          .features = 8,
          .layers = 2,
          .heads = 2,
          .inner = 12,
          .dropout = 0,
          .eps = 1e-3};
}
inline VitOptions small_vit() {
  return {.image = 12,
          .patch = 4,
          .channels = 2,
          .classes = 5,
          .features = 8,
          .layers = 2,
          .heads = 2,
          .inner = 12,
          .eps = 1e-3};
}

/// Lists by case and part; see the script.
inline const GoldenLists& published_lists() {
  static const GoldenLists lists = golden_lists("published_models.csv");
  return lists;
}

/// A list of whole numbers as i64.
inline Tensor published_ids(const std::string& name, const std::string& part, const Shape& shape,
                            Device device) {
  const std::vector<double>& list = published_lists().at(name).at(part);
  return Tensor::from(std::vector<std::int64_t>(list.begin(), list.end()), shape).to(device);
}

}  // namespace gpunn::testing
