// Published files of T5: safetensors.
#include <string>
#include <string_view>

#include "gpunn/models/detail/published.h"
#include "gpunn/models/t5.h"

namespace gpunn {

void load_t5_weights(const std::string& path, T5& model) {
  detail::load_published(
      path, model,
      [](std::string_view key) {
        // Attention on the source has no distances; the first published files hold a table for it all the
        // same.
        const bool unused = key.ends_with("embed_tokens.weight") ||
                            key.ends_with("EncDecAttention.relative_attention_bias.weight");
        return detail::PublishedKey{unused ? "" : std::string(key)};
      },
      "shared.weight");
}

}  // namespace gpunn
