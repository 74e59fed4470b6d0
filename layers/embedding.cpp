#include "gpunn/layers/embedding.h"

#include "gpunn/core/autograd.h"
#include "gpunn/layers/init.h"

namespace gpunn {

Embedding::Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim,
                     std::optional<std::int64_t> padding_idx) {
  GPUNN_CHECK(num_embeddings >= 1 && embedding_dim >= 1, "expected Embedding sizes of at least 1, got ",
              num_embeddings, " and ", embedding_dim);
  if (padding_idx) {
    GPUNN_CHECK(*padding_idx >= -num_embeddings && *padding_idx < num_embeddings,
                "expected a padding_idx from ", -num_embeddings, " to ", num_embeddings - 1, ", got ",
                *padding_idx);
    options_.padding_idx = *padding_idx < 0 ? *padding_idx + num_embeddings : *padding_idx;
  }
  {
    const MemoryTagScope tag(MemoryTag::weights);
    weight = Parameter(empty({num_embeddings, embedding_dim}));
  }
  reset_parameters();
}

void Embedding::reset_parameters() {
  init::normal(weight, 0, 1);
  if (!options_.padding_idx) return;
  NoGrad off;
  weight.narrow(0, *options_.padding_idx, 1).zero_();
}

}  // namespace gpunn
