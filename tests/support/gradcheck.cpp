#include "tests/support/gradcheck.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"

namespace gpunn {
namespace {

using ::testing::AssertionFailure;
using ::testing::AssertionResult;
using ::testing::AssertionSuccess;

using Vector = std::vector<double>;

Vector draw(const Fill& fill, std::int64_t n, std::uint64_t seed, std::uint64_t stream) {
  PhiloxStream random(seed, stream);
  Vector values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(fill(i, random));
  return values;
}

Tensor leaf(const Vector& values, const Shape& shape) {
  return Tensor::from(values, shape, {.dtype = DType::f64, .device = Device::cpu(), .requires_grad = true});
}

double dot(const Vector& a, const Vector& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// One sample: the point, and the function seen as inputs -> weights · f(inputs).
class Sample {
 public:
  Sample(const GradFunction& f, const std::vector<GradInput>& inputs, const GradcheckOptions& options,
         std::uint64_t seed)
      : f_(f), inputs_(inputs), options_(options), seed_(seed) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      point_.push_back(draw(inputs[i].values, inputs[i].shape.numel(), seed, i));
  }

  AssertionResult check() {
    const Inputs leaves = make_leaves();
    const Tensor y = f_(leaves);
    if (y.dtype() != DType::f64)
      return AssertionFailure() << "expected an f64 result, got " << name_of(y.dtype());
    weights_ = draw(fill::normal(0, 1), y.numel(), seed_, 1000);
    const Tensor dy = Tensor::from(weights_, y.shape(), {.dtype = DType::f64, .device = Device::cpu()});
    const std::vector<Tensor> gradients =
        autograd::grad(std::vector{y}, leaves, std::vector{dy}, false, false, true);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      // An input that the graph does not reach has no gradient, which the differences must confirm.
      if (!gradients[i].defined()) {
        if (AssertionResult r = check_input(i, Vector(point_[i].size(), 0.0)); !r) return r;
        continue;
      }
      if (gradients[i].shape() != inputs_[i].shape)
        return AssertionFailure() << "gradient of input " << i << " has shape "
                                  << to_string(gradients[i].shape()) << ", expected "
                                  << to_string(inputs_[i].shape);
      if (AssertionResult r = check_input(i, gradients[i].to_vector<double>()); !r) return r;
    }
    return AssertionSuccess();
  }

 private:
  Inputs make_leaves() const {
    Inputs leaves;
    for (std::size_t i = 0; i < inputs_.size(); ++i) leaves.push_back(leaf(point_[i], inputs_[i].shape));
    return leaves;
  }

  AssertionResult check_input(std::size_t input, const Vector& gradient) {
    const auto n = static_cast<std::int64_t>(gradient.size());
    const bool full = n <= options_.full_jacobian;
    const std::int64_t directions = full ? n : options_.directions;
    for (std::int64_t d = 0; d < directions; ++d) {
      Vector direction(gradient.size(), 0.0);
      if (full)
        direction[static_cast<std::size_t>(d)] = 1;
      else
        direction = draw(fill::normal(0, 1 / std::sqrt(static_cast<double>(n))), n, seed_,
                         2000 + static_cast<std::uint64_t>(d));
      const double numeric = slope(input, direction), analytic = dot(gradient, direction);
      const double bound = options_.atol + options_.rtol * std::abs(numeric);
      if (!(std::abs(numeric - analytic) <= bound))
        return AssertionFailure() << "input " << input << (full ? ", element " : ", random direction ") << d
                                  << ": backward gives " << analytic << ", central differences " << numeric
                                  << " (bound " << bound << ", seed " << seed_ << ")";
    }
    return AssertionSuccess();
  }

  double slope(std::size_t input, const Vector& direction) {
    const Vector centre = point_[input];
    const auto at = [&](double step) {
      for (std::size_t i = 0; i < centre.size(); ++i) point_[input][i] = centre[i] + step * direction[i];
      const double value = dot(f_(make_leaves()).to_vector<double>(), weights_);
      point_[input] = centre;
      return value;
    };
    return (at(options_.eps) - at(-options_.eps)) / (2 * options_.eps);
  }

  const GradFunction& f_;
  const std::vector<GradInput>& inputs_;
  const GradcheckOptions& options_;
  std::uint64_t seed_;
  std::vector<Vector> point_;
  Vector weights_;
};

}  // namespace

AssertionResult gradcheck(const GradFunction& f, const std::vector<GradInput>& inputs,
                          const GradcheckOptions& options) {
  for (int s = 0; s < options.samples; ++s)
    if (AssertionResult r = Sample(f, inputs, options, options.seed + static_cast<std::uint64_t>(s)).check();
        !r)
      return r;
  return AssertionSuccess();
}

AssertionResult gradgradcheck(const GradFunction& f, const std::vector<GradInput>& inputs,
                              const GradcheckOptions& options) {
  // The function under test is the gradient itself: (inputs, dy) -> all input gradients, one after the other.
  Shape output_shape;
  {
    NoGrad off;
    Inputs probe;
    for (const GradInput& i : inputs)
      probe.push_back(leaf(draw(i.values, i.shape.numel(), options.seed, 0), i.shape));
    output_shape = f(probe).shape();
  }
  for (std::size_t which = 0; which < inputs.size(); ++which) {
    const GradFunction gradient = [&, which](const Inputs& in) {
      const Inputs x(in.begin(), in.end() - 1);
      return autograd::grad(std::vector{f(x)}, std::vector{x[which]}, std::vector{in.back()}, true, true)[0];
    };
    std::vector<GradInput> with_dy = inputs;
    with_dy.push_back({output_shape, fill::normal(0, 1)});
    if (AssertionResult r = gradcheck(gradient, with_dy, options); !r)
      return r << " in the gradient of input " << which;
  }
  return AssertionSuccess();
}

}  // namespace gpunn
