// The table of worked-numbers. Where only a result is known, the inputs are ones that give it, found by
// solving for round numbers; the row marks them with a star.
#include "gpunn/core/autograd.h"
#include "gpunn/layers/activations.h"
#include "gpunn/layers/functional.h"
#include "gpunn/layers/linear.h"
#include "gpunn/layers/sequential.h"
#include "gpunn/models/recipes/detail/worked_numbers.h"
#include "gpunn/training/clip_grad.h"
#include "gpunn/training/optimizer.h"

namespace gpunn::detail {

namespace {

using Values = std::vector<double>;

Tensor row(const std::vector<float>& values) {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())});
}
Values read(const Tensor& x) { return x.to_vector<double>(); }

// Cross-entropy of two classes when the true one has probability p: the logits ln p and ln(1 - p) give it.
double cross_entropy_at(float p) {
  const Tensor logits = log(row({p, 1 - p})).reshape({1, 2});
  return cross_entropy(logits, Tensor::from(std::vector<std::int64_t>{0}, {1})).item();
}

double bce_of(const std::vector<float>& p) { return binary_cross_entropy(row(p), row({1, 0, 1, 0})).item(); }

double slope_at_3(Tensor (*f)(const Tensor&)) {
  const Tensor z = row({3}).requires_grad_();
  f(z).backward();
  return z.grad().item();
}

// One SGD step of w = 2 with gradient 0.5 at learning rate 0.1.
double decayed(double lambda) {
  const Tensor w = row({2}).requires_grad_();
  w.set_grad(row({0.5F}));
  SGD({w}, {.lr = 0.1, .weight_decay = lambda}).step();
  return w.item();
}

Tensor clip_example() {
  const Tensor w = zeros({4}, {.requires_grad = true});
  w.set_grad(row({-100, 50, -200, 75}));
  return w;
}
Values clipped_norms() {
  const Tensor w = clip_example();
  const double before = clip_grad_norm_({w}, 1).item();
  return {before, norm(w.grad()).item()};
}
Values clipped_values() {
  const Tensor w = clip_example();
  clip_grad_norm_({w}, 1);
  return read(w.grad());
}

// KL of N(mu, sigma^2) from N(0, 1), for each latent variable: (mu^2 + sigma^2 - 1 - ln sigma^2) / 2.
Tensor latent_kl() {
  const Tensor mu = row({0.5F, -0.3F}), variance = square(row({1.2F, 0.8F}));
  return 0.5 * (square(mu) + variance - 1 - log(variance));
}
Values vae_total() { return {(mse_loss(row({0.53F, 0.87F}), row({0.5F, 0.9F})) + sum(latent_kl())).item()}; }

Values sobel() {
  const Tensor patch = Tensor::from({{0, 0, 255}, {0, 0, 255}, {0, 0, 255}});
  const Tensor kernel = Tensor::from({{-1, 0, 1}, {-2, 0, 2}, {-1, 0, 1}});
  return {sum(patch * kernel).item()};
}

Values pooled() {
  const Tensor x = Tensor::from({{1, 3, 2, 8, 0, 1},
                                 {6, 2, 5, 1, 3, 2},
                                 {4, 1, 0, 7, 9, 4},
                                 {2, 3, 6, 5, 8, 1},
                                 {9, 0, 3, 2, 5, 7},
                                 {7, 8, 6, 1, 4, 3}});
  return read(amax(x.reshape({3, 2, 3, 2}), {1, 3}).contiguous());
}

Values batch_norm() {
  const VarMean s = var_mean(row({1, 2, 3, 4}), {}, 0);
  return read(2.0 * (row({1, 2, 3, 4}) - s.mean) / sqrt(s.var + 1e-5) + 0.5);
}

double parameters_of(Module&& model) {
  double count = 0;
  for (const Tensor& p : model.parameters()) count += static_cast<double>(p.numel());
  return count;
}

constexpr WorkedNumber kNumbers[] = {
    {"Probabilities and losses", "softmax", "[2, 1, 0.1, 3, -1]", "softmax", "0.233 0.086 0.035 0.634 0.012",
     [] { return read(softmax(row({2, 1, 0.1F, 3, -1}), 0)); }},
    {"Probabilities and losses", "cross-entropy", "probability of the true class 0.95, 0.5, 0.05",
     "cross-entropy of logits", "0.0513 0.6931 2.9957",
     [] { return Values{cross_entropy_at(0.95F), cross_entropy_at(0.5F), cross_entropy_at(0.05F)}; }},
    {"Probabilities and losses", "MSE, good house prices",
     "truth 200k 300k 250k 400k, predicted 205k 290k 255k 395k *", "MSE loss", "43750000",
     [] {
       return read(mse_loss(row({205e3F, 290e3F, 255e3F, 395e3F}), row({200e3F, 300e3F, 250e3F, 400e3F})));
     }},
    {"Probabilities and losses", "MSE, bad house prices", "the same houses, predicted 250k 370k 190k 430k *",
     "MSE loss", "2975000000",
     [] {
       return read(mse_loss(row({250e3F, 370e3F, 190e3F, 430e3F}), row({200e3F, 300e3F, 250e3F, 400e3F})));
     }},
    {"Probabilities and losses", "BCE, good classifier", "truth 1 0 1 0, predicted 0.9 0.1 0.85 0.15 *",
     "binary cross-entropy", "0.1339", [] { return Values{bce_of({0.9F, 0.1F, 0.85F, 0.15F})}; }},
    {"Probabilities and losses", "BCE, unsure classifier", "truth 1 0 1 0, predicted 0.6 0.4 0.55 0.45 *",
     "binary cross-entropy", "0.5543", [] { return Values{bce_of({0.6F, 0.4F, 0.55F, 0.45F})}; }},
    {"Probabilities and losses", "BCE, wrong classifier", "truth 1 0 1 0, predicted 0.1 0.9 0.2 0.8 *",
     "binary cross-entropy", "1.9560", [] { return Values{bce_of({0.1F, 0.9F, 0.2F, 0.8F})}; }},

    {"Neurons and gradients", "sigmoid neuron", "weights 2 3, bias 0, inputs (1, 0) (0.5, 1) (1, 1) (0, 0) *",
     "linear with sigmoid", "0.8808 0.9820 0.9933 0.5000",
     [] {
       const Tensor x = Tensor::from({{1, 0}, {0.5F, 1}, {1, 1}, {0, 0}});
       return read(linear(x, row({2, 3}).reshape({1, 2}), row({0}), Activation::sigmoid));
     }},
    {"Neurons and gradients", "gradient of sigmoid", "z = 3", "backward", "0.04518",
     [] { return Values{slope_at_3([](const Tensor& z) { return sigmoid(z); })}; }},
    {"Neurons and gradients", "gradient of tanh", "z = 3", "backward", "0.00987",
     [] { return Values{slope_at_3([](const Tensor& z) { return tanh(z); })}; }},
    {"Neurons and gradients", "gradient of ReLU", "z = 3", "backward", "1",
     [] { return Values{slope_at_3([](const Tensor& z) { return relu(z); })}; }},
    {"Neurons and gradients", "gradient of leaky ReLU", "z = 3, slope 0.01 below 0", "backward", "1",
     [] { return Values{slope_at_3([](const Tensor& z) { return leaky_relu(z); })}; }},

    {"Training steps", "norm before and after clipping", "gradient [-100, 50, -200, 75], to norm 1",
     "clip_grad_norm", "241.0913 1.0000", clipped_norms},
    {"Training steps", "the clipped gradient", "the same", "clip_grad_norm", "-0.4148 0.2074 -0.8296 0.3111",
     clipped_values},
    {"Training steps", "a step with L2 penalty", "w = 2, gradient 0.5, rate 0.1 *; lambda 0, 0.01, 0.1, 1",
     "SGD with weight decay", "1.950 1.948 1.930 1.750",
     [] { return Values{decayed(0), decayed(0.01), decayed(0.1), decayed(1)}; }},

    {"Generative models", "VAE: KL of two latent variables",
     "mean 0.5, deviation 1.2; mean -0.3, deviation 0.8 *", "its closed form", "0.1627 0.0881",
     [] { return read(latent_kl()); }},
    {"Generative models", "VAE: reconstruction + KL", "the same, (0.5, 0.9) restored as (0.53, 0.87) *",
     "MSE loss, sum of the KL", "0.2517", vae_total},
    {"Generative models", "optimal discriminator",
     "densities of data and generator 0.4 and 0.1; 0.3 and 0.3 *", "p / (p + q)", "0.8000 0.5000",
     [] {
       const Tensor p = row({0.4F, 0.3F});
       return read(p / (p + row({0.1F, 0.3F})));
     }},
    {"Generative models", "GAN: discriminator's loss on a real sample", "D = 0.9",
     "binary cross-entropy, target 1", "0.1054",
     [] { return Values{binary_cross_entropy(row({0.9F}), row({1})).item()}; }},
    {"Generative models", "GAN: generator's loss", "D = 0.1", "binary cross-entropy, target 1", "2.3026",
     [] { return Values{binary_cross_entropy(row({0.1F}), row({1})).item()}; }},

    {"Pictures and normalisation", "Sobel filter on an edge", "three rows of 0 0 255 *",
     "composed: sum of products", "1020", sobel},
    {"Pictures and normalisation", "2 x 2 maximum pooling of 6 x 6",
     "1 3 2 8 0 1 / 6 2 5 1 3 2 / 4 1 0 7 9 4 / 2 3 6 5 8 1 / 9 0 3 2 5 7 / 7 8 6 1 4 3 *",
     "composed: reshape and amax", "6 8 3 4 7 9 9 6 7", pooled},
    {"Pictures and normalisation", "batch normalisation", "[1, 2, 3, 4], gamma 2, beta 0.5, eps 1e-5",
     "composed: var and mean", "-2.183 -0.394 1.394 3.183", batch_norm},

    {"Parameter counts", "2-3-1", "weights and biases", "Linear", "13",
     [] { return Values{parameters_of(Sequential(Linear(2, 3), ReLU(), Linear(3, 1), Sigmoid()))}; }},
    {"Parameter counts", "784-128-10", "weights and biases", "Linear", "101770",
     [] { return Values{parameters_of(Sequential(Linear(784, 128), ReLU(), Linear(128, 10)))}; }},
    {"Parameter counts", "784-256-128-64-10", "weights and biases", "Linear", "242762",
     [] {
       return Values{parameters_of(Sequential(Linear(784, 256), ReLU(), Linear(256, 128), ReLU(),
                                              Linear(128, 64), ReLU(), Linear(64, 10)))};
     }},
};

}  // namespace

std::span<const WorkedNumber> worked_numbers() noexcept { return kNumbers; }

}  // namespace gpunn::detail
