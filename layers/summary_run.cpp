// summary() of a forward: who is called, with what shapes, at what cost.
#include <cstdio>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/detail/call_observer.h"
#include "gpunn/layers/detail/text_table.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/summary.h"

namespace gpunn {

LayerCost::~LayerCost() = default;

namespace {

Tensor zeros_as(const Tensor& like, const Shape& shape) {
  return zeros(shape, {.dtype = like.dtype(), .device = like.device()});
}

class Recorder final : public detail::CallObserver {
 public:
  Tensor call(Module& module, const Tensor& x) override {
    const std::size_t row = rows.size();
    rows.push_back({.name = layer_path(), .type = module.type_name(), .depth = depth_});
    const auto* cost = dynamic_cast<const LayerCost*>(&module);
    ++depth_;
    const Tensor y = cost ? layer(module, *cost, x, rows[row]) : module.forward(x);
    --depth_;
    // What calls inside have added stands in the rows behind.
    LayerSummary& mine = rows[row];
    for (std::size_t i = row + 1; i < rows.size(); ++i) {
      if (rows[i].depth != mine.depth + 1) continue;
      mine.flops += rows[i].flops;
      mine.bytes += rows[i].bytes;
    }
    mine.parameters = module.parameter_count();
    if (y.defined()) mine.output = y.shape();
    return y;
  }

  std::vector<LayerSummary> rows;

 private:
  // The layer's own work counts, and that of layers it calls does not: it knows all of it.
  Tensor layer(Module& module, const LayerCost& cost, const Tensor& x, LayerSummary& row) {
    const detail::ObserveCalls off(nullptr);
    const bool dry = x.defined() && x.dim() > cost.sample_rank() && x.size(0) > 0;
    Tensor y = module.forward(dry ? x.narrow(0, 0, 0) : x);
    if (dry) {
      Shape shape = y.shape();
      shape[0] = x.size(0);
      y = zeros_as(y, shape);
    }
    row.flops = cost.flops(x.shape(), y.shape());
    row.bytes = static_cast<double>(x.nbytes() + y.nbytes());
    for (const Tensor& p : module.parameters()) row.bytes += static_cast<double>(p.nbytes());
    return y;
  }

  int depth_ = 0;
};

// Evaluation mode for a scope; every module gets its own mode back.
class Evaluation {
 public:
  explicit Evaluation(Module& module) {
    Modes modes(&modes_);
    modes.child("", module);
    module.eval();
  }
  ~Evaluation() {
    // Parents stand before their children, so each child's own mode comes last.
    for (const auto& [module, mode] : modes_) module->train(mode);
  }
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

 private:
  using List = std::vector<std::pair<Module*, bool>>;
  struct Modes final : MemberVisitor {
    explicit Modes(List* l) : list(l) {}
    void parameter(const char*, Parameter&) override {}
    void buffer(const char*, Buffer&) override {}
    void child(const char*, Module& module) override {
      list->push_back({&module, module.is_training()});
      module.visit_members(*this);
    }
    List* list;
  };
  List modes_;
};

// 1234567 as "1.23 M".
std::string in_units(double value) {
  const char* const units[] = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  for (; value >= 999.5 && unit < 5; ++unit) value /= 1000;
  char text[32];
  std::snprintf(text, sizeof(text), unit == 0 ? "%.0f%s" : "%.3g%s", value, units[unit]);
  return text;
}

}  // namespace

std::vector<LayerSummary> summarize(Module& module, const Tensor& input) {
  NoGrad no_grad;
  const Evaluation evaluation(module);
  Recorder recorder;
  const detail::ObserveCalls observed(&recorder);
  module(input);
  return std::move(recorder.rows);
}

std::vector<LayerSummary> summarize(Module& module, const Shape& input_shape) {
  const std::vector<Tensor> parameters = module.parameters();
  return summarize(module, parameters.empty() ? zeros(input_shape) : zeros_as(parameters[0], input_shape));
}

namespace {
std::string table(const std::vector<LayerSummary>& calls) {
  std::vector<std::array<std::string, 6>> rows;
  rows.push_back({"layer", "type", "output", "parameters", "flops", "bytes"});
  const auto number = [](double value) { return value > 0 ? in_units(value) : std::string(); };
  for (const LayerSummary& c : calls)
    rows.push_back({std::string(static_cast<std::size_t>(2 * c.depth), ' ') + c.name, c.type,
                    to_string(c.output), c.parameters > 0 ? detail::grouped(c.parameters) : "",
                    number(c.flops), number(c.bytes)});
  const LayerSummary& root = calls.front();
  rows.push_back(
      {"total", "", "", detail::grouped(root.parameters), in_units(root.flops), in_units(root.bytes)});
  return detail::text_table(rows, 3);
}
}  // namespace

std::string summary(Module& module, const Tensor& input) { return table(summarize(module, input)); }
std::string summary(Module& module, const Shape& input_shape) {
  return table(summarize(module, input_shape));
}

}  // namespace gpunn
