#pragma once
// One table that is both embedding and output layer. Source: Press and Wolf, "Using the output embedding to
// improve language models" (2017).
//
//   struct Lm : Module {
//     TiedEmbedding wte{50257, 768};
//     Tensor forward(const Tensor& ids) override { return wte.logits(body(wte(ids))); }
//     void visit_members(MemberVisitor& visitor) override {
//       detail::visit_member(visitor, "wte", wte);
//       visit_tied(visitor, "lm_head.weight", wte.weight);  // the key that PyTorch's state dict has as well
//     }
//     std::unique_ptr<Module> copy_module() const override { return std::make_unique<Lm>(*this); }
//   };
//
// There is one parameter, so nothing has to be kept equal: copies, moves, conversions and optimizers see it
// once, and gradients of both uses add up in it. (Two Parameter members that were given one tensor come apart
// when the module is copied.) The state dict lists it under both keys; load_state_dict() is content with one
// of them, since files differ in which they hold, and of two different values takes the last, as PyTorch.
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/layers/embedding.h"

namespace gpunn {

/// Embedding whose table is the output layer's weight too. Key "weight" [num_embeddings, embedding_dim].
class GPUNN_API TiedEmbedding : public Embedding {
 public:
  using Embedding::Embedding;
  /// x [*, embedding_dim] against every row of the table: [*, num_embeddings].
  Tensor logits(const Tensor& x) {
    const ModuleScope scope(*this);
    return linear(x, weight);
  }
  GPUNN_MEMBERS(weight)
};

/// Reports a parameter that is listed already under its second key.
inline void visit_tied(MemberVisitor& visitor, const char* key, Parameter& value) {
  detail::visit_member(visitor, key, value);
}

}  // namespace gpunn
