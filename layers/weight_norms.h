#pragma once
// Layers whose weight is computed from trained values in every forward; keys are those of PyTorch's
// torch.nn.utils.spectral_norm and weight_norm.
//
//   spectral_norm  w = w_orig / sigma, sigma = u . (W v), W being w_orig as a matrix [h, the rest]
//   weight_norm    w = g v / |v|, the norm over everything but dimension `dim`
//
// Sources: T. Miyato et al., "Spectral normalization for generative adversarial networks", 2018; T. Salimans
// and D. Kingma, "Weight normalization", 2016.
#include <concepts>
#include <memory>
#include <utility>

#include "gpunn/layers/conv.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// A layer that can run with a weight that is not its own: Linear, Conv1d, Conv2d, ConvTranspose2d.
template <class L>
concept WeightedLayer =
    std::derived_from<L, Module> && std::derived_from<L, LayerCost> && requires(L& layer, const Tensor& t) {
      { layer.weight } -> std::same_as<Parameter&>;
      { layer.bias } -> std::same_as<Parameter&>;
      { layer.forward_with(t, t) } -> std::same_as<Tensor>;
    };

struct SpectralNormOptions {
  int n_power_iterations = 1;  // in each forward while training
  double eps = 1e-12;          // least length of a vector that is made one long
};

namespace detail {
/// Throws InvalidArgument for options out of range.
GPUNN_API void check_spectral(const SpectralNormOptions& options);
/// A random vector of length 1.
GPUNN_API Tensor unit_vector(std::int64_t n, double eps);
/// The weight over its largest singular value, as `u` and `v` know it; they move `iterations` steps first.
GPUNN_API Tensor spectral_weight(const Tensor& weight, const Tensor& u, const Tensor& v, int dim,
                                 int iterations, double eps);
/// |v| over all dimensions but `dim` (-1: over all), with extents of 1 left (-1: a scalar).
GPUNN_API Tensor norm_except(const Tensor& v, int dim);
GPUNN_API Tensor scaled_weight(const Tensor& g, const Tensor& v, int dim);
}  // namespace detail

/// `layer` with its weight divided by its largest singular value, which a power iteration follows while
/// training; evaluation leaves the vectors alone. Keys "weight_orig", "weight_u" [h], "weight_v" [the rest]
/// and the layer's "bias". h is the number of outputs. Gradients take u and v for constants, as in PyTorch.
template <WeightedLayer L>
class SpectralNorm : public Module, public LayerCost {
 public:
  explicit SpectralNorm(L layer, const SpectralNormOptions& options = {})
      : layer_(std::move(layer)), options_(options) {
    detail::check_spectral(options);
    weight_orig = std::exchange(layer_.weight, Parameter());
    const std::int64_t h = weight_orig.size(kDim);
    const MemoryTagScope tag(MemoryTag::weights);
    weight_u = Buffer(detail::unit_vector(h, options.eps).to(weight_orig.device()));
    weight_v = Buffer(detail::unit_vector(weight_orig.numel() / h, options.eps).to(weight_orig.device()));
  }

  Tensor forward(const Tensor& x) override {
    return layer_.forward_with(
        x, detail::spectral_weight(weight_orig, weight_u, weight_v, kDim,
                                   is_training() ? options_.n_power_iterations : 0, options_.eps));
  }
  double flops(const Shape& x, const Shape& y) const override { return layer_.flops(x, y); }
  int sample_rank() const override { return layer_.sample_rank(); }
  void visit_members(MemberVisitor& visitor) override {
    detail::visit_member(visitor, "bias", layer_.bias);
    detail::visit_member(visitor, "weight_orig", weight_orig);
    detail::visit_member(visitor, "weight_u", weight_u);
    detail::visit_member(visitor, "weight_v", weight_v);
  }
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<SpectralNorm>(*this); }

  Parameter weight_orig;  // the shape of the layer's weight
  Buffer weight_u;        // [h]
  Buffer weight_v;        // [numel / h]

 private:
  // Where the outputs stand in the weight.
  static constexpr int kDim = std::same_as<L, ConvTranspose2d> ? 1 : 0;
  L layer_;
  SpectralNormOptions options_;
};

/// `layer` with its weight in polar form: "weight_g", the lengths, with extents of 1 but for `dim`, and
/// "weight_v", the direction; and the layer's "bias". dim -1: one length for the whole weight, a scalar.
/// Throws InvalidArgument for another dim out of range.
template <WeightedLayer L>
class WeightNorm : public Module, public LayerCost {
 public:
  explicit WeightNorm(L layer, int dim = 0) : layer_(std::move(layer)), dim_(dim) {
    const MemoryTagScope tag(MemoryTag::weights);
    weight_g = Parameter(detail::norm_except(layer_.weight.detach(), dim));
    weight_v = std::exchange(layer_.weight, Parameter());
  }

  Tensor forward(const Tensor& x) override {
    return layer_.forward_with(x, detail::scaled_weight(weight_g, weight_v, dim_));
  }
  double flops(const Shape& x, const Shape& y) const override { return layer_.flops(x, y); }
  int sample_rank() const override { return layer_.sample_rank(); }
  void visit_members(MemberVisitor& visitor) override {
    detail::visit_member(visitor, "bias", layer_.bias);
    detail::visit_member(visitor, "weight_g", weight_g);
    detail::visit_member(visitor, "weight_v", weight_v);
  }
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<WeightNorm>(*this); }

  Parameter weight_g, weight_v;

 private:
  L layer_;
  int dim_;
};

template <WeightedLayer L>
SpectralNorm<L> spectral_norm(L layer, const SpectralNormOptions& options = {}) {
  return SpectralNorm<L>(std::move(layer), options);
}

template <WeightedLayer L>
WeightNorm<L> weight_norm(L layer, int dim = 0) {
  return WeightNorm<L>(std::move(layer), dim);
}

}  // namespace gpunn
