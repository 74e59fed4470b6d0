#pragma once
// Embedding: rows of a table by index.
#include <cstdint>
#include <optional>

#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// Indices i64 [*] to [*, embedding_dim]. Key "weight" [num_embeddings, embedding_dim], drawn from N(0, 1) as
/// PyTorch's; the row of `padding_idx` starts as zeros and gets no gradient. A negative padding_idx counts
/// from the end. Indices are checked (kernels/indexing/indexing.h). Throws InvalidArgument for sizes below 1
/// or a padding_idx that is no row.
class GPUNN_API Embedding : public Module {
 public:
  Embedding(std::int64_t num_embeddings, std::int64_t embedding_dim,
            std::optional<std::int64_t> padding_idx = {});

  Tensor forward(const Tensor& index) override { return embedding(weight, index, options_); }
  /// Draws the initial values again.
  void reset_parameters();

  Parameter weight;  // [num_embeddings, embedding_dim]
  GPUNN_MEMBERS(weight)

 private:
  EmbeddingOptions options_;
};

}  // namespace gpunn
