#include "gpunn/models/vit.h"

#include <cmath>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/init.h"
#include "gpunn/models/detail/evaluation_scope.h"

namespace gpunn {
namespace {

const VitOptions& checked(const VitOptions& o) {
  GPUNN_CHECK(o.image >= 1 && o.patch >= 1 && o.image % o.patch == 0,
              "expected a patch that divides the image, got ", o.patch, " and ", o.image);
  GPUNN_CHECK(o.channels >= 1 && o.classes >= 1 && o.features >= 1,
              "expected channels, classes and features of at least 1, got ", o.channels, ", ", o.classes,
              " and ", o.features);
  return o;
}

TransformerEncoder make_encoder(const VitOptions& o) {
  TransformerLayerOptions layer;
  layer.dim_feedforward = o.inner;
  layer.dropout = o.dropout;
  layer.activation = FeedForward::gelu;
  layer.layer_norm_eps = o.eps;
  layer.batch_first = true;
  layer.norm_first = true;
  return TransformerEncoder(TransformerEncoderLayer(o.features, o.heads, layer), o.layers,
                            LayerNorm(o.features, {.eps = o.eps}));
}

void draw(const Tensor& w, double deviation) {
  init::trunc_normal(w, 0, deviation, -2 * deviation, 2 * deviation);
}

}  // namespace

Vit::Vit(const VitOptions& options)
    : patches(checked(options).channels, options.features, options.patch, {.stride = options.patch}),
      class_token(zeros({1, 1, options.features})),
      positions(
          zeros({1, 1 + options.image / options.patch * (options.image / options.patch), options.features})),
      dropout(options.dropout),
      encoder(make_encoder(options)),
      head(options.features, options.classes),
      options_(options) {
  draw(patches.weight, 1 / std::sqrt(static_cast<double>(options.channels * options.patch * options.patch)));
  init::zeros(patches.bias);
  draw(positions, 0.02);
  // Deviations of 0.02, as for wider models, make small ones start slowly: after two passes of the recipe
  // 81.2 % instead of 83.4 %.
  for (const auto& [name, value] : encoder.named_parameters()) {
    if (value.dim() == 2) init::xavier_uniform(value);
    if (value.dim() == 1 && name.ends_with("bias")) init::zeros(value);
  }
  init::zeros(head.weight);
  init::zeros(head.bias);
}

Tensor Vit::embed(const Tensor& x) {
  GPUNN_CHECK(x.defined() && x.dim() == 4 && x.size(2) == options_.image && x.size(3) == options_.image,
              "expected pictures [N, ", options_.channels, ", ", options_.image, ", ", options_.image,
              "], got ", x.defined() ? to_string(x.shape()) : "an undefined tensor");
  const std::int64_t N = x.size(0), E = options_.features;
  const Tensor rows = patches(x).reshape({N, E, grid() * grid()}).transpose(1, 2);
  return dropout(cat({expand(class_token, {N, 1, E}), rows}, 1) + positions);
}

Tensor Vit::forward(const Tensor& x) { return head(encoder(embed(x)).select(1, 0)); }

std::vector<Tensor> Vit::attention_maps(const Tensor& x) {
  const NoGrad no_grad;
  const detail::EvaluationScope evaluation(*this);
  const ModuleScope scope(*this);
  return encoder.inspect(embed(x)).maps.encoder;
}

}  // namespace gpunn
