#include "gpunn/models/recipes/detail/descent.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "gpunn/core/autograd.h"

namespace gpunn::detail {

namespace {

constexpr std::int64_t kWarmUp = 20;  // steps before the rate is measured

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::vector<double> DescentPath::coordinate(std::size_t i) const {
  std::vector<double> values;
  for (const std::vector<double>& point : points) values.push_back(point[i]);
  return values;
}

DescentPath descend(const RecipeContext& context, const std::vector<double>& start,
                    const std::function<Tensor(const Tensor& w)>& loss, const MakeOptimizer& make,
                    std::int64_t steps) {
  const std::vector<float> first(start.begin(), start.end());
  const Tensor w =
      Tensor::from(first, {static_cast<std::int64_t>(first.size())}).to(context.device()).requires_grad_();
  const std::unique_ptr<Optimizer> optimizer = make({w});
  DescentPath path;
  path.points.emplace_back(first.begin(), first.end());
  const auto begin = std::chrono::steady_clock::now();
  auto warm = begin;
  for (std::int64_t step = 0; step < steps && !context.stopped(); ++step) {
    if (step == kWarmUp) warm = std::chrono::steady_clock::now();
    optimizer->zero_grad();
    const Tensor value = loss(w);
    value.backward();
    optimizer->step();
    path.losses.push_back(value.item());
    const std::vector<float> at = w.detach().to_vector<float>();
    path.points.emplace_back(at.begin(), at.end());
  }
  path.seconds = seconds_since(begin);
  path.measured_seconds = path.steps() > kWarmUp ? seconds_since(warm) : 0;
  return path;
}

double largest_difference(const std::vector<std::vector<double>>& a,
                          const std::vector<std::vector<double>>& b, std::size_t points) {
  double largest = 0;
  for (std::size_t k = 0; k < std::min({a.size(), b.size(), points}); ++k)
    for (std::size_t i = 0; i < a[k].size(); ++i) {
      const double difference = std::abs(a[k][i] - b[k][i]);
      if (!(difference <= largest))
        largest = std::isnan(difference) ? std::numeric_limits<double>::infinity() : difference;
    }
  return largest;
}

ContourChart::Path contour_path(std::string name, const DescentPath& path) {
  return {.name = std::move(name), .x = path.coordinate(0), .y = path.coordinate(1)};
}

void add_work(RecipeResult& result, const std::vector<const DescentPath*>& paths) {
  std::int64_t measured = 0;
  double measured_seconds = 0;
  for (const DescentPath* path : paths) {
    result.steps += path->steps();
    result.seconds += path->seconds;
    measured += std::max<std::int64_t>(0, path->steps() - kWarmUp);
    measured_seconds += path->measured_seconds;
  }
  result.steps_per_second = measured_seconds > 0 ? static_cast<double>(measured) / measured_seconds : 0;
}

}  // namespace gpunn::detail
