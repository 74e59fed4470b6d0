#pragma once
// Recurrent layers over whole sequences, and their cells. Formulas, dtypes, the order of gates and what
// backward keeps are those of the ops (kernels/rnn/rnn.h); names, defaults, keys and initial values are
// PyTorch's. Weights are made on default_device().
//
//   LSTM lstm(65, 256, {.num_layers = 2, .dropout = 0.2});
//   RecurrentState state;                            // undefined: zeros
//   for (const Tensor& window : windows) {           // truncated back-propagation through time
//     auto [y, next, gates] = lstm(window, state);   // [T, B, 256]
//     loss_of(y).backward();
//     state = detach(next);                          // values are carried on, history is not
//   }
//
// Determinism: bitwise, dropout included (by the Runtime's generator).
#include <cstdint>
#include <memory>
#include <vector>

#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "gpunn/layers/layer_cost.h"
#include "gpunn/layers/module.h"

namespace gpunn {

/// What a recurrent layer carries from one sequence to the next. The first extent counts layers, within a
/// layer directions; without a batch there is no B.
struct RecurrentState {
  Tensor h{};  // [layers * directions, B, H]
  Tensor c{};  // likewise, LSTM only
};
/// The same values without history, for truncated back-propagation.
GPUNN_API RecurrentState detach(const RecurrentState& state);
GPUNN_API LstmState detach(const LstmState& state);

/// Activations of one layer in one direction, in the order of the input's steps.
struct RecurrentGates {
  Tensor gates;  // [T, B, G, H], or [B, T, G, H] with batch_first; LSTM: i f g o, GRU: r z n
  Tensor cells;  // [T, B, H] or [B, T, H], LSTM only
};

struct RecurrentOutput {
  Tensor y;  // [T, B, directions * H], or [B, T, ...] with batch_first, or without B as the input
  RecurrentState state;
  std::vector<RecurrentGates> gates{};  // of inspect(): layers * directions
};

struct PackedRecurrentOutput {
  PackedSequence y;      // features: directions * H
  RecurrentState state;  // of each sequence's own last step, in the caller's order
};

enum class RnnNonlinearity : std::uint8_t { tanh, relu };

struct RecurrentOptions {
  std::int64_t num_layers = 1;
  RnnNonlinearity nonlinearity = RnnNonlinearity::tanh;  // RNN only
  bool bias = true;
  bool batch_first = false;  // of input and output; states stay as they are
  double dropout = 0;        // of the output of every layer but the last, while training
  bool bidirectional = false;
  bool reset_after = true;  // GRU only; false: the reset gate acts before the product
  /// Steps that a layer computes before the next one may begin, so that layers overlap on a device with
  /// several streams. 0: whole sequences. It concerns several layers in one direction without packing; it
  /// changes the order in which dropout draws, and rounding.
  std::int64_t chunk_steps = 0;
};

/// Base of RNN, LSTM and GRU: x [T, B, K] (time first), [B, T, K] with batch_first, [T, K] for one sequence,
/// or packed. Directions of a layer run on branches (core/branches.h). Keys, for each layer and direction:
/// "weight_ih_l0" [G H, K or directions * H], "weight_hh_l0" [G H, H], "bias_ih_l0", "bias_hh_l0" [G H],
/// the same with "_reverse", then l1; drawn in this order from U(±1/sqrt(H)).
/// Throws InvalidArgument for sizes and layers below 1, dropout outside [0, 1], an option of another layer,
/// negative chunk_steps; in forward for another rank, another K, states of other shapes, c without LSTM.
class GPUNN_API Recurrent : public Module, public LayerCost {
 public:
  struct Weights {
    Parameter ih, hh, bias_ih, bias_hh;
  };

  /// y, from a state of zeros.
  Tensor forward(const Tensor& x) override { return forward(x, {}).y; }
  RecurrentOutput forward(const Tensor& x, const RecurrentState& state);
  PackedRecurrentOutput forward(const PackedSequence& x, const RecurrentState& state = {});
  using Module::operator();
  RecurrentOutput operator()(const Tensor& x, const RecurrentState& state);
  PackedRecurrentOutput operator()(const PackedSequence& x, const RecurrentState& state = {});
  /// forward() without gradients that keeps the gates, which RNN has none of.
  RecurrentOutput inspect(const Tensor& x, const RecurrentState& state = {});

  /// Draws the initial values again.
  void reset_parameters();
  void visit_members(MemberVisitor& visitor) override;
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 2; }

  RnnMode mode() const noexcept { return mode_; }
  std::int64_t input_size() const noexcept { return K_; }
  std::int64_t hidden_size() const noexcept { return H_; }
  std::int64_t directions() const noexcept { return options_.bidirectional ? 2 : 1; }
  const RecurrentOptions& options() const noexcept { return options_; }
  /// direction 1 is the reverse one. Throws InvalidArgument for what is not there.
  const Weights& weights(std::int64_t layer, std::int64_t direction = 0) const;

 protected:
  Recurrent(RnnMode mode, std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options);

 private:
  RecurrentOutput run(const Tensor& x, const RecurrentState& state, bool keep_gates) const;
  // x [T, B, K] or rows of a packing; state [layers * directions, B, H] in its order.
  RecurrentOutput layers(const Tensor& x, const RecurrentState& state, const RnnSequenceOptions& how) const;
  RecurrentOutput chunks(const Tensor& x, const RecurrentState& state, const RnnSequenceOptions& how) const;
  void check_state(const RecurrentState& state, std::int64_t batch) const;  // batch -1: none
  Tensor between(const Tensor& y, std::int64_t layer) const;

  RnnMode mode_;
  std::int64_t K_, H_;
  RecurrentOptions options_;
  std::vector<Weights> weights_;  // layer * directions + direction
};

/// h_t = tanh or relu(x_t w_ih' + b_ih + h_(t-1) w_hh' + b_hh). Elman, "Finding structure in time", 1990.
class GPUNN_API RNN : public Recurrent {
 public:
  RNN(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options = {});
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<RNN>(*this); }
};

class GPUNN_API LSTM : public Recurrent {
 public:
  LSTM(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options = {});
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<LSTM>(*this); }
};

class GPUNN_API GRU : public Recurrent {
 public:
  GRU(std::int64_t input_size, std::int64_t hidden_size, const RecurrentOptions& options = {});
  std::unique_ptr<Module> copy_module() const override { return std::make_unique<GRU>(*this); }
};

struct RecurrentCellOptions {
  bool bias = true;
  RnnNonlinearity nonlinearity = RnnNonlinearity::tanh;  // RNNCell only
  bool reset_after = true;                               // GRUCell only
};

/// Base of the cells, one step each: x [B, K] or [K], states [B, H] or [H]; undefined ones are zeros. Keys
/// "weight_ih", "weight_hh", "bias_ih", "bias_hh", shaped and drawn as a layer's. Errors as Recurrent's.
class GPUNN_API RecurrentCell : public Module, public LayerCost {
 public:
  /// Draws the initial values again.
  void reset_parameters();
  double flops(const Shape& x, const Shape& y) const override;
  int sample_rank() const override { return 1; }

  Parameter weight_ih, weight_hh, bias_ih, bias_hh;

 protected:
  RecurrentCell(RnnMode mode, std::int64_t input_size, std::int64_t hidden_size,
                const RecurrentCellOptions& options);
  RnnMode mode_;
  bool reset_after_;
};

class GPUNN_API RNNCell : public RecurrentCell {
 public:
  RNNCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options = {});
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  Tensor forward(const Tensor& x, const Tensor& h);
  using Module::operator();
  Tensor operator()(const Tensor& x, const Tensor& h);
  GPUNN_MEMBERS(weight_ih, weight_hh, bias_ih, bias_hh)
};

class GPUNN_API LSTMCell : public RecurrentCell {
 public:
  LSTMCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options = {});
  /// h.
  Tensor forward(const Tensor& x) override { return forward(x, LstmState{}).h; }
  LstmState forward(const Tensor& x, const LstmState& state);
  using Module::operator();
  LstmState operator()(const Tensor& x, const LstmState& state);
  GPUNN_MEMBERS(weight_ih, weight_hh, bias_ih, bias_hh)
};

class GPUNN_API GRUCell : public RecurrentCell {
 public:
  GRUCell(std::int64_t input_size, std::int64_t hidden_size, const RecurrentCellOptions& options = {});
  Tensor forward(const Tensor& x) override { return forward(x, {}); }
  Tensor forward(const Tensor& x, const Tensor& h);
  using Module::operator();
  Tensor operator()(const Tensor& x, const Tensor& h);
  GPUNN_MEMBERS(weight_ih, weight_hh, bias_ih, bias_hh)
};

}  // namespace gpunn
