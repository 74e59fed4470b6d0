// worked-numbers: computations that tutorials do by hand, done by the library and compared digit for digit.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/models/recipes/detail/worked_numbers.h"
#include "gpunn/training/report.h"

namespace gpunn {

namespace detail {

std::vector<StatedNumber> stated_numbers(std::string_view text) {
  std::vector<StatedNumber> numbers;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    double value = 0;
    const auto [end, error] =
        std::from_chars(word.data(), word.data() + word.size(), value, std::chars_format::fixed);
    GPUNN_CHECK(error == std::errc() && end == word.data() + word.size() && std::isfinite(value),
                "expected numbers parted by single spaces, got '", std::string(word), "'");
    const std::size_t point = word.find('.');
    const double tolerance = point == word.npos
                                 ? 1e-6 * std::max(1.0, std::abs(value))
                                 : 0.5 * std::pow(10, -static_cast<double>(word.size() - point - 1));
    numbers.push_back({value, tolerance});
  }
  return numbers;
}

double worst_share_of_tolerance(std::string_view stated, std::span<const double> ours) {
  const std::vector<StatedNumber> expected = stated_numbers(stated);
  if (expected.size() != ours.size()) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (!std::isfinite(ours[i])) return std::numeric_limits<double>::infinity();
    worst = std::max(worst, std::abs(ours[i] - expected[i].value) / expected[i].tolerance);
  }
  return worst;
}

}  // namespace detail

namespace {

using detail::WorkedNumber;

struct WorkedSettings : RunSettings {
  WorkedSettings() { epochs = 0; }
};

struct Checked {
  const WorkedNumber* number;
  std::vector<double> ours;
  double share;  // of the tolerance
  bool ok() const { return share <= 1; }
};

struct Curve {
  const char* name;
  Tensor (*f)(const Tensor&);
};

// An activation and its derivative, the latter by backward.
void add_activations(HtmlReport& report) {
  constexpr int kPoints = 201;
  const Curve shapes[] = {{"sigmoid", [](const Tensor& z) { return sigmoid(z); }},
                          {"tanh", [](const Tensor& z) { return tanh(z); }},
                          {"ReLU", [](const Tensor& z) { return relu(z); }},
                          {"leaky ReLU, 0.01", [](const Tensor& z) { return leaky_relu(z); }}};
  std::vector<float> points(kPoints);
  for (std::size_t i = 0; i < points.size(); ++i) points[i] = -5.0F + 0.05F * static_cast<float>(i);
  const std::vector<double> x(points.begin(), points.end());
  LineChart values{.title = "Activations", .x_label = "z", .series = {}, .width = kHalfWidth};
  LineChart slopes{.title = "Their derivatives", .x_label = "z", .series = {}, .width = kHalfWidth};
  for (const Curve& shape : shapes) {
    const Tensor z = Tensor::from(points, {kPoints}).requires_grad_();
    const Tensor y = shape.f(z);
    y.backward(ones_like(y));
    values.series.push_back({.name = shape.name, .y = y.detach().to_vector<double>(), .x = x});
    slopes.series.push_back({.name = shape.name, .y = z.grad().to_vector<double>(), .x = x});
  }
  report.line_chart(values);
  report.line_chart(slopes);
}

void write_report(RecipeContext& context, const std::vector<Checked>& all, const RecipeResult& result,
                  std::size_t right) {
  HtmlReport report("worked-numbers", "Computations done by hand in tutorials, done by the library");
  report.figure("agree", std::to_string(right) + " of " + std::to_string(all.size()),
                "to the last digit printed", result.reached ? Tone::good : Tone::bad);
  report.text(
      "A number agrees when it is within half a unit of the last digit stated; whole numbers agree to one "
      "part "
      "in a million. A star marks inputs that were not stated and were derived from the result.");
  for (std::size_t i = 0; i < all.size();) {
    const std::string group = all[i].number->group;
    std::vector<std::vector<std::string>> rows;
    for (; i < all.size() && group == all[i].number->group; ++i) {
      const WorkedNumber& n = *all[i].number;
      rows.push_back({n.what, n.inputs, n.how, n.stated, detail::significant(all[i].ours, 7),
                      all[i].ok() ? "✓" : "✗ differs"});
    }
    report.section(group);
    report.table({"what", "inputs", "computed by", "stated", "ours", "agrees"}, rows);
    if (group == "Neurons and gradients") add_activations(report);
  }
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

RecipeResult run(RecipeContext& context) {
  RecipeResult result;
  std::vector<Checked> all;
  std::size_t right = 0;
  double worst = 0;
  for (const WorkedNumber& number : detail::worked_numbers()) {
    Checked c{&number, number.compute(), 0};
    c.share = detail::worst_share_of_tolerance(number.stated, c.ours);
    right += c.ok() ? 1 : 0;
    worst = std::max(worst, c.share);
    context.say(std::string(c.ok() ? "  ok      " : "  DIFFERS ") + number.what + ": " +
                detail::significant(c.ours, 7) + " (stated " + number.stated + ")");
    JsonWriter json;
    json.begin_object().field("check", number.what).field("stated", number.stated);
    json.field("ours", detail::significant(c.ours, 9)).field("ok", c.ok());
    context.folder().append_metrics(json.end_object().take());
    all.push_back(std::move(c));
  }
  result.metric("checks", static_cast<double>(all.size()));
  result.metric("agreeing", static_cast<double>(right));
  result.metric("worst_share_of_tolerance", worst);
  result.reached = right == all.size();
  write_report(context, all, result, right);
  return result;
}

}  // namespace

const Recipe kWorkedNumbers{"worked-numbers",
                            "feed-forward networks",
                            "computations done by hand in tutorials, compared digit for digit",
                            "none",
                            "every number agrees to the last digit printed",
                            [] { return std::unique_ptr<RunSettings>(std::make_unique<WorkedSettings>()); },
                            run};

}  // namespace gpunn
