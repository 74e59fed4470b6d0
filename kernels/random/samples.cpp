// What is drawn on the CPU and copied to where it is wanted.
#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/op.h"
#include "gpunn/core/random.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/random/random.h"

namespace gpunn {
namespace {

/// draws * factor + shift in f32, each step rounded by itself: the same bits on every device.
Tensor scaled(const Tensor& draws, double factor, double shift, const TensorOptions& options) {
  const NoGrad no_grad;
  const Tensor t = (draws * factor + shift).to(options.dtype);
  if (options.requires_grad) t.requires_grad_();
  return t;
}

TensorOptions draw_options(const TensorOptions& options) {
  GPUNN_CHECK(is_floating(options.dtype), "expected a floating dtype, got ", options.dtype);
  return {.dtype = DType::f32, .device = options.device};
}

bool fits(double value) { return std::isfinite(static_cast<float>(value)); }

// ---- multinomial

/// Rows of weights and what is drawn from each.
struct Sampling {
  const double* weights;  // [rows, categories]
  std::int64_t* indices;  // [rows, samples]
  std::int64_t rows, categories, samples;
  std::uint64_t seed, offset;  // two numbers of 64 bits to a Philox block
};

/// Number `i` of the range, in (0, 1): 53 bits and a half.
double uniform_at(const Sampling& s, std::int64_t i) {
  const Philox4 r = philox_at(s.seed, s.offset + static_cast<std::uint64_t>(i) / 2);
  const int half = static_cast<int>(i % 2) * 2;
  const std::uint64_t bits = std::uint64_t{r.v[half]} << 32 | r.v[half + 1];
  return (static_cast<double>(bits >> 12) + 0.5) * 0x1p-52;
}

/// Throws InvalidArgument for weights that nothing can be drawn from; returns how many are positive.
std::int64_t check_row(const double* weights, std::int64_t categories, std::int64_t row) {
  std::int64_t positive = 0;
  for (std::int64_t c = 0; c < categories; ++c) {
    GPUNN_CHECK(weights[c] >= 0 && std::isfinite(weights[c]), "expected finite weights >= 0, got ",
                weights[c], " for category ", c, " of row ", row);
    positive += weights[c] > 0;
  }
  GPUNN_CHECK(positive > 0, "expected a positive weight, got none in row ", row);
  return positive;
}

/// Where a uniform number falls among the running sums.
void draw_with_replacement(const Sampling& s, std::int64_t row) {
  const double* weights = s.weights + row * s.categories;
  // Weights near the greatest double must not add up to infinity; a power of two changes no digit.
  const int exponent = std::ilogb(*std::max_element(weights, weights + s.categories));
  std::vector<double> sums(static_cast<std::size_t>(s.categories));
  double total = 0;
  std::size_t last = 0;  // of positive weight: rounding may not lead beyond it
  for (std::size_t c = 0; c < sums.size(); ++c) {
    const double weight = std::scalbn(weights[c], -exponent);
    if (weight > 0) last = c;
    sums[c] = total += weight;
  }
  for (std::int64_t i = row * s.samples; i < (row + 1) * s.samples; ++i) {
    const auto at = std::upper_bound(sums.begin(), sums.end(), uniform_at(s, i) * total);
    s.indices[i] = static_cast<std::int64_t>(std::min(last, static_cast<std::size_t>(at - sums.begin())));
  }
}

/// The first of exponential clocks that run at the weights' speeds; compared by logarithm, since a time may
/// overflow. Equal times go by index.
void draw_without_replacement(const Sampling& s, std::int64_t row) {
  std::vector<std::pair<double, std::int64_t>> clocks;
  for (std::int64_t c = 0; c < s.categories; ++c) {
    const std::int64_t i = row * s.categories + c;
    if (s.weights[i] > 0)
      clocks.emplace_back(std::log(-std::log(uniform_at(s, i))) - std::log(s.weights[i]), c);
  }
  std::partial_sort(clocks.begin(), clocks.begin() + s.samples, clocks.end());
  for (std::int64_t k = 0; k < s.samples; ++k)
    s.indices[row * s.samples + k] = clocks[static_cast<std::size_t>(k)].second;
}

}  // namespace

Tensor uniform(const Shape& shape, double low, double high, TensorOptions options) {
  OpScope scope("uniform");
  GPUNN_CHECK(fits(low) && fits(high) && fits(high - low) && low <= high, "expected finite low <= high, got ",
              low, " and ", high);
  return scaled(rand(shape, draw_options(options)), high - low, low, options);
}

Tensor normal(const Shape& shape, double mean, double std, TensorOptions options) {
  OpScope scope("normal");
  GPUNN_CHECK(fits(mean) && fits(std) && std >= 0, "expected finite mean and finite std >= 0, got ", mean,
              " and ", std);
  return scaled(randn(shape, draw_options(options)), std, mean, options);
}

Tensor multinomial(const Tensor& probabilities, std::int64_t num_samples, bool replacement) {
  OpScope scope("multinomial");
  check_floating(probabilities, "probabilities");
  const int rank = probabilities.dim();
  GPUNN_CHECK(rank == 1 || rank == 2, "expected probabilities [C] or [N, C], got ", probabilities.shape());
  GPUNN_CHECK(num_samples >= 1, "expected num_samples >= 1, got ", num_samples);
  const std::int64_t categories = probabilities.size(-1), rows = rank == 1 ? 1 : probabilities.size(0);
  GPUNN_CHECK(categories >= 1, "expected at least one category, got ", probabilities.shape());
  GPUNN_CHECK(replacement || num_samples <= categories, "expected at most ", categories,
              " samples without replacement, got ", num_samples);
  Runtime& runtime = Runtime::current();
  const Tensor weights = probabilities.detach().to(Device::cpu()).to(DType::f64).contiguous();
  const Tensor drawn =
      empty_on(runtime.cpu(), rank == 1 ? Shape{num_samples} : Shape{rows, num_samples}, DType::i64);
  Sampling s{weights.host<double>(), drawn.host<std::int64_t>(), rows, categories, num_samples, 0, 0};
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t positive = check_row(s.weights + row * categories, categories, row);
    GPUNN_CHECK(replacement || num_samples <= positive, "expected at most ", positive,
                " samples without replacement, the positive weights of row ", row, ", got ", num_samples);
  }
  const std::int64_t draws = rows * (replacement ? num_samples : categories);
  s.offset = runtime.generator().reserve(static_cast<std::uint64_t>(draws + 1) / 2);
  s.seed = runtime.generator().seed();
  parallel_for(runtime.pool(), rows, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row)
      replacement ? draw_with_replacement(s, row) : draw_without_replacement(s, row);
  });
  return drawn.to(probabilities.device());
}

}  // namespace gpunn
