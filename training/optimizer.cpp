#include "gpunn/training/optimizer.h"

#include <charconv>
#include <cmath>
#include <set>
#include <string>
#include <string_view>

#include "gpunn/core/autograd.h"

namespace gpunn {

Optimizer::Optimizer(std::vector<Tensor> parameters) : parameters_(std::move(parameters)) {
  GPUNN_CHECK(!parameters_.empty(), "expected parameters to optimise, got none");
  std::set<const TensorImpl*> seen;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    GPUNN_CHECK(parameters_[i].defined(), "expected defined parameters, number ", i, " is not");
    GPUNN_CHECK(seen.insert(&parameters_[i].impl()).second, "expected each parameter once, number ", i,
                " came before");
  }
}

Optimizer::~Optimizer() = default;

void Optimizer::zero_grad() {
  for (const Tensor& p : parameters_) p.zero_grad();
}

namespace {

constexpr std::string_view kBufferKey = "momentum_buffer.";

void check_rate(double lr) {
  GPUNN_CHECK(std::isfinite(lr) && lr >= 0, "expected a learning rate of at least 0, got ", lr);
}

// Index behind "momentum_buffer.<i>", or -1.
std::int64_t buffer_index(std::string_view key) {
  if (key.substr(0, kBufferKey.size()) != kBufferKey) return -1;
  key.remove_prefix(kBufferKey.size());
  std::int64_t index = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), index);
  return error == std::errc() && end == key.data() + key.size() ? index : -1;
}

}  // namespace

SGD::SGD(std::vector<Tensor> parameters, SgdOptions options)
    : Optimizer(std::move(parameters)), options_(options) {
  check_rate(options_.lr);
  GPUNN_CHECK(std::isfinite(options_.momentum) && options_.momentum >= 0,
              "expected a momentum of at least 0, got ", options_.momentum);
  GPUNN_CHECK(std::isfinite(options_.weight_decay) && options_.weight_decay >= 0,
              "expected a weight decay of at least 0, got ", options_.weight_decay);
  GPUNN_CHECK(!options_.nesterov || (options_.momentum > 0 && options_.dampening == 0),
              "expected momentum above 0 and no dampening with nesterov, got ", options_.momentum, " and ",
              options_.dampening);
  buffers_.resize(this->parameters().size());
}

void SGD::set_learning_rate(double value) {
  check_rate(value);
  options_.lr = value;
}

void SGD::step() {
  const std::vector<Tensor>& params = parameters();
  // Parameters whose momentum starts now are a launch of their own: their buffers are written without being
  // read.
  for (const bool first : {false, true}) {
    entries_.clear();
    for (std::size_t i = 0; i < params.size(); ++i) {
      const bool starts = options_.momentum != 0 && !buffers_[i].defined();
      if (starts != first) continue;
      Tensor grad = params[i].grad();
      if (!grad.defined()) continue;
      Tensor buffer = starts ? empty_like(params[i]) : buffers_[i];
      entries_.push_back({params[i], grad.contiguous(), buffer});
    }
    if (entries_.empty()) continue;
    SgdOptions options = options_;
    options.first_step = first;
    sgd_step(entries_, options);
    if (first)
      for (std::size_t i = 0, e = 0; i < params.size(); ++i)
        if (e < entries_.size() && entries_[e].param.is_same(params[i]))
          buffers_[i] = entries_[e++].momentum_buffer;
  }
  entries_.clear();  // lets go of the gradients
}

StateDict SGD::state_dict() const {
  StateDict out;
  for (std::size_t i = 0; i < buffers_.size(); ++i)
    if (buffers_[i].defined()) out.push_back({std::string(kBufferKey) + std::to_string(i), buffers_[i]});
  return out;
}

void SGD::load_state_dict(const StateDict& state) {
  const std::vector<Tensor>& params = parameters();
  std::vector<Tensor> loaded(params.size());
  NoGrad no_grad;
  for (const NamedTensor& entry : state) {
    const std::int64_t index = buffer_index(entry.first);
    GPUNN_CHECK(index >= 0 && index < static_cast<std::int64_t>(params.size()),
                "optimizer state: unexpected key ", entry.first);
    const Tensor& param = params[static_cast<std::size_t>(index)];
    GPUNN_CHECK(entry.second.shape() == param.shape(), "optimizer state: ", entry.first, " expected ",
                param.shape(), ", got ", entry.second.shape());
    Tensor buffer = empty_like(param.detach());
    buffer.copy_(entry.second);
    loaded[static_cast<std::size_t>(index)] = buffer;
  }
  buffers_ = std::move(loaded);
}

}  // namespace gpunn
