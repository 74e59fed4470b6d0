// autograd-demo: gradients of three small expressions against their closed forms, and the recorded graphs.
#include <algorithm>

#include "gpunn/core/graph_walk.h"
#include "gpunn/io/diagrams.h"
#include "gpunn/io/file.h"
#include "gpunn/io/html_report.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/numbers.h"
#include "gpunn/training/report.h"

namespace gpunn {

namespace {

using Values = std::vector<double>;
using detail::significant;

constexpr double kTolerance = 1e-6;  // on sums and products of a few numbers near 1
constexpr std::int64_t kRows = 3, kColumns = 4;

struct DemoSettings : RunSettings {
  DemoSettings() { epochs = 0; }
};

struct Input {
  const char* name;
  Tensor value;      // a leaf
  const char* rule;  // its gradient, as text
  Values expected;   // and by the closed form
};

struct Demo {
  const char* key;    // of files and metrics
  const char* title;  // the expression
  std::vector<Input> inputs;
  Tensor result;
  double error = 0;  // the largest over all gradients
};

Values values_of(const Tensor& t) { return t.detach().to_vector<double>(); }

Tensor random_leaf(const Shape& shape) {
  const Tensor t = randn(shape);
  return t.requires_grad_();
}

// y = a + b: dy/da = dy/db = 1.
Demo sum_demo() {
  const Tensor a = random_leaf({}), b = random_leaf({});
  return {"sum", "y = a + b", {{"a", a, "1", {1}}, {"b", b, "1", {1}}}, a + b};
}

// y = a^2 b: dy/da = 2ab, dy/db = a^2.
Demo product_demo() {
  const Tensor a = random_leaf({}), b = random_leaf({});
  const double va = a.item(), vb = b.item();
  return {"product", "y = a^2 b", {{"a", a, "2ab", {2 * va * vb}}, {"b", b, "a^2", {va * va}}}, a * a * b};
}

// y = sum(Ax + b): dy/dA_ij = x_j, dy/dx_j = sum_i A_ij, dy/db_i = 1.
Demo linear_demo() {
  const Tensor a = random_leaf({kRows, kColumns}), x = random_leaf({kColumns}), b = random_leaf({kRows});
  const Values va = values_of(a), vx = values_of(x);
  Values da, dx(static_cast<std::size_t>(kColumns));
  for (std::size_t i = 0; i < static_cast<std::size_t>(kRows); ++i)
    for (std::size_t j = 0; j < dx.size(); ++j) {
      da.push_back(vx[j]);
      dx[j] += va[i * dx.size() + j];
    }
  return {
      "linear",
      "y = sum(Ax + b)",
      {{"A", a, "x in every row", da}, {"x", x, "column sums of A", dx}, {"b", b, "1", Values(kRows, 1.0)}},
      sum(matmul(a, x) + b)};
}

std::string shape_text(const Tensor& t) {
  return t.dim() == 0 ? significant(t.item(), 4) : to_string(t.shape());
}

// The graph as it was recorded; only the names of the inputs are ours.
GraphDrawing graph_of(const Demo& demo) {
  GraphDrawing graph{.title = std::string("Recorded graph of ") + demo.title};
  std::vector<const Node*> nodes;
  autograd::visit_graph(std::span(&demo.result, 1), [&](const Node& node) {
    GraphDrawing::Node drawn{.label = node.name()};
    for (const Input& input : demo.inputs)
      if (autograd::gradient_edge(input.value).node.get() == &node)
        drawn = {.label = input.name, .note = shape_text(input.value), .kind = GraphDrawing::Kind::input};
    graph.nodes.push_back(std::move(drawn));
    nodes.push_back(&node);
  });
  for (std::size_t n = 0; n < nodes.size(); ++n)
    for (const Edge& edge : nodes[n]->inputs()) {
      const auto at = std::find(nodes.begin(), nodes.end(), edge.node.get());
      if (at != nodes.end()) graph.arrows.push_back({static_cast<std::size_t>(at - nodes.begin()), n});
    }
  graph.nodes.push_back(
      {.label = "y", .note = significant(demo.result.item(), 4), .kind = GraphDrawing::Kind::result});
  graph.arrows.push_back({0, nodes.size()});
  return graph;
}

void add_to_report(HtmlReport& report, const RunFolder& folder, const Demo& demo) {
  const GraphDrawing graph = graph_of(demo);
  const Svg picture = draw(graph);
  write_file_atomic(folder.file(std::string(demo.key) + ".svg"), picture.document());
  write_file_atomic(folder.file(std::string(demo.key) + ".dot"), to_dot(graph));
  report.section(demo.title);
  report.drawing(picture);
  std::vector<std::vector<std::string>> rows;
  for (const Input& input : demo.inputs) {
    const Values ours = values_of(input.value.grad());
    rows.push_back({std::string("dy/d") + input.name, input.rule, significant(input.expected, 6),
                    significant(ours, 6), significant(detail::largest_difference(ours, input.expected), 2)});
  }
  report.table({"gradient", "closed form", "its value", "backward", "largest error"}, rows);
}

RecipeResult run(RecipeContext& context) {
  RunFolder& folder = context.folder();
  RecipeResult result;
  std::vector<Demo> demos{sum_demo(), product_demo(), linear_demo()};
  double worst = 0;
  for (Demo& demo : demos) {
    demo.result.backward();
    for (const Input& input : demo.inputs) {
      const Values ours = values_of(input.value.grad());
      const double error = detail::largest_difference(ours, input.expected);
      demo.error = std::max(demo.error, error);
      context.say("  " + std::string(demo.title) + ": dy/d" + input.name + " = " + input.rule + " = " +
                  significant(ours, 6) + ", off by " + significant(error, 2));
      JsonWriter json;
      json.begin_object().field("expression", demo.title).field("gradient", input.name).field("error", error);
      folder.append_metrics(json.end_object().take());
    }
    result.metric(std::string(demo.key) + "_error", demo.error);
    worst = std::max(worst, demo.error);
  }
  result.metric("worst_error", worst);
  result.reached = worst <= kTolerance;

  HtmlReport report("autograd-demo", "Gradients of small expressions, and the graphs that gave them");
  report.figure("largest error", significant(worst, 2), "of all gradients, against the closed forms",
                result.reached ? Tone::good : Tone::bad);
  report.text(
      "Each graph is the one that was recorded while the expression was computed: values flow to the right, "
      "gradients back to the left. Blue boxes are inputs, with their value or shape.");
  for (const Demo& demo : demos) add_to_report(report, folder, demo);
  report.section("Environment");
  report_environment(report, context.device());
  folder.write_report(report.html());
  return result;
}

}  // namespace

const Recipe kAutogradDemo{"autograd-demo",
                           "feed-forward networks",
                           "gradients of three small expressions, with the recorded graphs drawn",
                           "random inputs",
                           "every gradient equals the closed form to 1e-6",
                           [] { return std::unique_ptr<RunSettings>(std::make_unique<DemoSettings>()); },
                           run};

}  // namespace gpunn
