#include "gpunn/layers/recurrent.h"

#include <algorithm>
#include <cmath>
#include <mutex>
#include <set>

#include "gpunn/core/autograd.h"
#include "gpunn/core/branches.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/random/random.h"
#include "gpunn/layers/init.h"

namespace gpunn {

namespace {

constexpr int kMaxStreams = 4;

const char* name_of(RnnMode mode) {
  return mode == RnnMode::lstm ? "lstm" : mode == RnnMode::gru ? "gru" : "rnn";
}

std::string shape_of(const Tensor& x) {
  return x.defined() ? to_string(x.shape()) : std::string("an undefined tensor");
}

RnnMode rnn_mode(RnnNonlinearity f) { return f == RnnNonlinearity::relu ? RnnMode::relu : RnnMode::tanh; }

void check_sizes(RnnMode mode, std::int64_t K, std::int64_t H, RnnNonlinearity f, bool reset_after) {
  GPUNN_CHECK(K >= 1 && H >= 1, "expected input_size and hidden_size of at least 1, got ", K, " and ", H);
  GPUNN_CHECK(mode == RnnMode::relu || f == RnnNonlinearity::tanh, "expected no nonlinearity for ",
              name_of(mode), ", it is RNN's");
  GPUNN_CHECK(mode == RnnMode::gru || reset_after, "expected reset_after = true for ", name_of(mode),
              ", it is GRU's");
}

// Names live as long as the process: those of members are literals or stand here.
const char* intern(std::string key) {
  static std::mutex& mutex = *new std::mutex;
  static std::set<std::string>& names = *new std::set<std::string>;
  const std::lock_guard lock(mutex);
  return names.insert(std::move(key)).first->c_str();
}

Recurrent::Weights make_weights(std::int64_t rows, std::int64_t K, std::int64_t H, bool bias) {
  const MemoryTagScope tag(MemoryTag::weights);
  Recurrent::Weights w{
      .ih = Parameter(empty({rows, K})), .hh = Parameter(empty({rows, H})), .bias_ih = {}, .bias_hh = {}};
  if (bias) {
    w.bias_ih = Parameter(empty({rows}));
    w.bias_hh = Parameter(empty({rows}));
  }
  return w;
}

void draw(std::initializer_list<const Tensor*> weights, std::int64_t H) {
  const double bound = 1 / std::sqrt(static_cast<double>(H));
  for (const Tensor* w : weights)
    if (w->defined()) init::uniform(*w, -bound, bound);
}

RnnWeights handles(const Recurrent::Weights& w) { return {w.ih, w.hh, w.bias_ih, w.bias_hh}; }

/// Index i of the first dimension; undefined stays so.
Tensor part(const Tensor& states, std::int64_t i) {
  return states.defined() ? states.select(0, i) : Tensor();
}
Tensor with_batch(const Tensor& x) { return x.defined() ? x.unsqueeze(1) : x; }
Tensor without_batch(const Tensor& x) { return x.defined() ? x.squeeze(1) : x; }
Tensor rearranged(const Tensor& x, int dim, const Tensor& order) {
  return x.defined() && order.defined() ? index_select(x, dim, order) : x;
}
Tensor swapped(const Tensor& x) { return x.defined() ? x.transpose(0, 1) : x; }
/// [B, H] each as [n, B, H].
Tensor joined(const std::vector<Tensor>& states) {
  return states.size() == 1 ? states[0].unsqueeze(0) : stack(states);
}

RecurrentState joined(const std::vector<Tensor>& h, const std::vector<Tensor>& c, RnnMode mode) {
  return {joined(h), mode == RnnMode::lstm ? joined(c) : Tensor()};
}

}  // namespace

RecurrentState detach(const RecurrentState& s) {
  return {s.h.defined() ? s.h.detach() : s.h, s.c.defined() ? s.c.detach() : s.c};
}
LstmState detach(const LstmState& s) {
  return {s.h.defined() ? s.h.detach() : s.h, s.c.defined() ? s.c.detach() : s.c};
}

// ---- layers

Recurrent::Recurrent(RnnMode mode, std::int64_t input_size, std::int64_t hidden_size,
                     const RecurrentOptions& o)
    : mode_(mode), K_(input_size), H_(hidden_size), options_(o) {
  OpScope scope(name_of(mode));
  check_sizes(mode, K_, H_, o.nonlinearity, o.reset_after);
  GPUNN_CHECK(o.num_layers >= 1, "expected num_layers of at least 1, got ", o.num_layers);
  GPUNN_CHECK(o.dropout >= 0 && o.dropout <= 1, "expected a dropout probability in [0, 1], got ", o.dropout);
  GPUNN_CHECK(o.chunk_steps >= 0, "expected chunk_steps of at least 0, got ", o.chunk_steps);
  const std::int64_t rows = gates_of(mode) * H_;
  for (std::int64_t l = 0; l < o.num_layers; ++l)
    for (std::int64_t d = 0; d < directions(); ++d)
      weights_.push_back(make_weights(rows, l == 0 ? K_ : directions() * H_, H_, o.bias));
  reset_parameters();
}

void Recurrent::reset_parameters() {
  for (const Weights& w : weights_) draw({&w.ih, &w.hh, &w.bias_ih, &w.bias_hh}, H_);
}

void Recurrent::visit_members(MemberVisitor& visitor) {
  for (std::size_t i = 0; i < weights_.size(); ++i) {
    const auto d = static_cast<std::size_t>(directions());
    const std::string suffix = "_l" + std::to_string(i / d) + (i % d == 1 ? "_reverse" : "");
    detail::visit_member(visitor, intern("weight_ih" + suffix), weights_[i].ih);
    detail::visit_member(visitor, intern("weight_hh" + suffix), weights_[i].hh);
    detail::visit_member(visitor, intern("bias_ih" + suffix), weights_[i].bias_ih);
    detail::visit_member(visitor, intern("bias_hh" + suffix), weights_[i].bias_hh);
  }
}

const Recurrent::Weights& Recurrent::weights(std::int64_t layer, std::int64_t direction) const {
  GPUNN_CHECK(layer >= 0 && layer < options_.num_layers && direction >= 0 && direction < directions(),
              "expected one of ", options_.num_layers, " layers and ", directions(), " directions, got ",
              layer, " and ", direction);
  return weights_[static_cast<std::size_t>(layer * directions() + direction)];
}

// Products only, as Linear: a row of x meets w_ih and w_hh of every layer and direction once.
double Recurrent::flops(const Shape& x, const Shape&) const {
  double weights = 0;
  for (const Weights& w : weights_) weights += static_cast<double>(w.ih.numel() + w.hh.numel());
  return 2 * weights * static_cast<double>(x.numel()) / static_cast<double>(K_);
}

void Recurrent::check_state(const RecurrentState& state, std::int64_t batch) const {
  const std::int64_t n = options_.num_layers * directions();
  const Shape want = batch < 0 ? Shape{n, H_} : Shape{n, batch, H_};
  const auto check = [&](const char* name, const Tensor& s) {
    GPUNN_CHECK(!s.defined() || s.shape() == want, "expected state ", name, " ", to_string(want), ", got ",
                shape_of(s));
  };
  check("h", state.h);
  GPUNN_CHECK(mode_ == RnnMode::lstm || !state.c.defined(), "expected no state c for ", name_of(mode_),
              ", it is LSTM's");
  check("c", state.c);
}

Tensor Recurrent::between(const Tensor& y, std::int64_t layer) const {
  const bool last = layer + 1 == options_.num_layers;
  return last || !is_training() || options_.dropout == 0 ? y : dropout(y, options_.dropout, true);
}

RecurrentOutput Recurrent::layers(const Tensor& x, const RecurrentState& state,
                                  const RnnSequenceOptions& how) const {
  RecurrentOutput out{.y = x, .state = {}};
  std::vector<Tensor> h, c;
  for (std::int64_t l = 0; l < options_.num_layers; ++l) {
    std::vector<Tensor> sides;
    // The other direction reads the same steps from their end; its output stays in their order.
    const auto side = [&](std::int64_t d) {
      RnnSequenceOptions own = how;
      own.reverse = d == 1;
      own.reset_after = options_.reset_after;
      const std::int64_t i = l * directions() + d;
      RnnOutput o =
          rnn_sequence(mode_, out.y, part(state.h, i), part(state.c, i), handles(weights(l, d)), own);
      sides.push_back(std::move(o.y));
      h.push_back(std::move(o.h));
      c.push_back(std::move(o.c));
      if (how.keep_gates) out.gates.push_back({std::move(o.gates), std::move(o.cells)});
    };
    if (directions() == 1) {
      side(0);
    } else {
      Branches branches(x.device(), 2);
      for (std::int64_t d : {0, 1}) branches.run([&] { side(d); });
    }
    out.y = between(sides.size() == 1 ? sides[0] : cat(sides, -1), l);
  }
  out.state = joined(h, c, mode_);
  return out;
}

RecurrentOutput Recurrent::chunks(const Tensor& x, const RecurrentState& state,
                                  const RnnSequenceOptions& how) const {
  std::vector<Tensor> parts = split(x, options_.chunk_steps, 0);
  std::vector<Tensor> h, c;
  RecurrentOutput out;
  // A layer's chunk waits for its own last one and for the same one of the layer below, and for nothing else.
  Branches branches(x.device(), static_cast<int>(std::min<std::int64_t>(options_.num_layers, kMaxStreams)));
  for (std::int64_t l = 0; l < options_.num_layers; ++l) {
    branches.run([&] {
      RnnSequenceOptions own = how;
      own.reset_after = options_.reset_after;
      Tensor h_part = part(state.h, l), c_part = part(state.c, l);
      std::vector<Tensor> gates, cells;
      for (Tensor& steps : parts) {
        RnnOutput o = rnn_sequence(mode_, steps, h_part, c_part, handles(weights(l)), own);
        steps = between(o.y, l);
        h_part = std::move(o.h);
        c_part = std::move(o.c);
        if (o.gates.defined()) gates.push_back(std::move(o.gates));
        if (o.cells.defined()) cells.push_back(std::move(o.cells));
      }
      h.push_back(std::move(h_part));
      c.push_back(std::move(c_part));
      if (how.keep_gates)
        out.gates.push_back({gates.empty() ? Tensor() : cat(gates), cells.empty() ? Tensor() : cat(cells)});
    });
  }
  out.y = cat(parts);
  out.state = joined(h, c, mode_);
  return out;
}

RecurrentOutput Recurrent::run(const Tensor& x, const RecurrentState& state, bool keep_gates) const {
  OpScope scope(name_of(mode_));
  GPUNN_CHECK(x.defined() && (x.dim() == 2 || x.dim() == 3) && x.size(-1) == K_, "expected input ",
              options_.batch_first ? "[B, T, " : "[T, B, ", K_, "] or [T, ", K_, "], got ", shape_of(x));
  const bool single = x.dim() == 2;
  const bool swap = !single && options_.batch_first;
  check_state(state, single ? -1 : x.size(swap ? 0 : 1));
  const RecurrentState own = single ? RecurrentState{with_batch(state.h), with_batch(state.c)} : state;
  // Inside, time comes first and there is a batch.
  const Tensor in = single ? x.unsqueeze(1) : swap ? x.transpose(0, 1).contiguous() : x;
  const bool chunked = options_.chunk_steps > 0 && options_.num_layers > 1 && !options_.bidirectional &&
                       in.size(0) > options_.chunk_steps;
  const RnnSequenceOptions how{.keep_gates = keep_gates};
  RecurrentOutput out = chunked ? chunks(in, own, how) : layers(in, own, how);
  if (single) {
    out.y = out.y.squeeze(1);
    out.state = {without_batch(out.state.h), without_batch(out.state.c)};
  } else if (swap) {
    out.y = out.y.transpose(0, 1);
  }
  for (RecurrentGates& g : out.gates) {
    if (swap) g = {swapped(g.gates), swapped(g.cells)};
    if (single) g = {without_batch(g.gates), without_batch(g.cells)};
  }
  return out;
}

RecurrentOutput Recurrent::forward(const Tensor& x, const RecurrentState& state) {
  return run(x, state, false);
}

PackedRecurrentOutput Recurrent::forward(const PackedSequence& x, const RecurrentState& state) {
  OpScope scope(name_of(mode_));
  GPUNN_CHECK(x.data.defined() && x.data.dim() == 2 && x.data.size(1) == K_, "expected packed rows [rows, ",
              K_, "], got ", shape_of(x.data));
  check_state(state, x.packing.batch());
  const RecurrentState own{rearranged(state.h, 1, x.sorted_indices),
                           rearranged(state.c, 1, x.sorted_indices)};
  // States come and go in the caller's order, rows in the packing's.
  RecurrentOutput out = layers(x.data, own, {.packed = &x.packing});
  return {.y = {out.y, x.packing, x.sorted_indices, x.unsorted_indices},
          .state = {rearranged(out.state.h, 1, x.unsorted_indices),
                    rearranged(out.state.c, 1, x.unsorted_indices)}};
}

RecurrentOutput Recurrent::operator()(const Tensor& x, const RecurrentState& state) {
  const ModuleScope scope(*this);
  return forward(x, state);
}

PackedRecurrentOutput Recurrent::operator()(const PackedSequence& x, const RecurrentState& state) {
  const ModuleScope scope(*this);
  return forward(x, state);
}

RecurrentOutput Recurrent::inspect(const Tensor& x, const RecurrentState& state) {
  const ModuleScope scope(*this);
  const NoGrad no_grad;
  return run(x, state, true);
}

RNN::RNN(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options)
    : Recurrent(rnn_mode(options.nonlinearity), input_size, hidden_size, options) {}

LSTM::LSTM(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options)
    : Recurrent(RnnMode::lstm, input_size, hidden_size, options) {}

GRU::GRU(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options)
    : Recurrent(RnnMode::gru, input_size, hidden_size, options) {}

// ---- cells

RecurrentCell::RecurrentCell(RnnMode mode, std::int64_t input_size, std::int64_t hidden_size,
                             const RecurrentCellOptions& options)
    : mode_(mode), reset_after_(options.reset_after) {
  OpScope scope(name_of(mode));
  check_sizes(mode, input_size, hidden_size, options.nonlinearity, options.reset_after);
  Recurrent::Weights w = make_weights(gates_of(mode) * hidden_size, input_size, hidden_size, options.bias);
  weight_ih = std::move(w.ih);
  weight_hh = std::move(w.hh);
  bias_ih = std::move(w.bias_ih);
  bias_hh = std::move(w.bias_hh);
  reset_parameters();
}

void RecurrentCell::reset_parameters() {
  draw({&weight_ih, &weight_hh, &bias_ih, &bias_hh}, weight_hh.size(1));
}

double RecurrentCell::flops(const Shape& x, const Shape&) const {
  const double weights = static_cast<double>(weight_ih.numel() + weight_hh.numel());
  return 2 * weights * static_cast<double>(x.numel()) / static_cast<double>(weight_ih.size(1));
}

RNNCell::RNNCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options)
    : RecurrentCell(rnn_mode(options.nonlinearity), input_size, hidden_size, options) {}

Tensor RNNCell::forward(const Tensor& x, const Tensor& h) {
  const RnnWeights w{weight_ih, weight_hh, bias_ih, bias_hh};
  return mode_ == RnnMode::relu ? rnn_relu_cell(x, h, w) : rnn_tanh_cell(x, h, w);
}

Tensor RNNCell::operator()(const Tensor& x, const Tensor& h) {
  const ModuleScope scope(*this);
  return forward(x, h);
}

LSTMCell::LSTMCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options)
    : RecurrentCell(RnnMode::lstm, input_size, hidden_size, options) {}

LstmState LSTMCell::forward(const Tensor& x, const LstmState& state) {
  return lstm_cell(x, state, {weight_ih, weight_hh, bias_ih, bias_hh});
}

LstmState LSTMCell::operator()(const Tensor& x, const LstmState& state) {
  const ModuleScope scope(*this);
  return forward(x, state);
}

GRUCell::GRUCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options)
    : RecurrentCell(RnnMode::gru, input_size, hidden_size, options) {}

Tensor GRUCell::forward(const Tensor& x, const Tensor& h) {
  return gru_cell(x, h, {weight_ih, weight_hh, bias_ih, bias_hh}, reset_after_);
}

Tensor GRUCell::operator()(const Tensor& x, const Tensor& h) {
  const ModuleScope scope(*this);
  return forward(x, h);
}

}  // namespace gpunn
