#include "gpunn/models/recipes/detail/attention_pictures.h"

#include "gpunn/core/error.h"
#include "gpunn/models/recipes/detail/text_run.h"

namespace gpunn::detail {
namespace {

HeatMap map_of(const std::string& title, const Tensor& weights, const std::vector<std::string>& queries,
               const std::vector<std::string>& keys) {
  HeatMap map{.title = title,
              .rows = static_cast<int>(weights.size(0)),
              .columns = static_cast<int>(weights.size(1)),
              .values = {},
              .row_labels = queries,
              .column_labels = keys,
              .x_label = "looked at",
              .y_label = "looks",
              .maximum = 1};
  for (const float w : weights.to(DType::f32).contiguous().to_vector<float>())
    map.values.push_back(static_cast<double>(w));
  return map;
}

}  // namespace

std::vector<std::string> characters_of(const CharacterVocab& vocab, std::span<const std::int64_t> tokens) {
  std::vector<std::string> characters;
  for (const std::int64_t id : tokens) characters.push_back(visible(vocab.character(id)));
  return characters;
}

void report_attention(HtmlReport& report, std::span<const Tensor> layers,
                      const std::vector<std::string>& queries, const std::vector<std::string>& keys) {
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i > 0 && i + 1 < layers.size()) continue;
    const Tensor heads = layers[i].select(0, 0);
    const std::string name = layers.size() > 1 ? "Layer " + std::to_string(i + 1) + ", head " : "Head ";
    for (std::int64_t h = 0; h < heads.size(0); ++h)
      report.heat_map(
          map_of(name + std::to_string(h + 1), heads.select(0, h), queries, keys.empty() ? queries : keys));
  }
}

}  // namespace gpunn::detail
