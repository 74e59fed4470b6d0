// A sequence from public ops: second derivatives, and what the fused op is tested against.
#include <cstdint>
#include <vector>

#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn_ops_impl.h"

namespace gpunn::detail {
namespace {

/// Gates [g0, g1) of a [B, G H].
Tensor gates(const Tensor& a, std::int64_t H, std::int64_t g0, std::int64_t g1) {
  return a.narrow(1, g0 * H, (g1 - g0) * H);
}

Tensor rows(const Tensor& w, std::int64_t begin, std::int64_t count) {
  return w.defined() ? w.narrow(0, begin, count) : Tensor();
}

LstmState next_state(RnnMode mode, const Tensor& gx, const LstmState& s, const RnnWeights& w,
                     bool reset_after) {
  if (mode == RnnMode::gru) return {gru_step(gx, s.h, w, reset_after), {}};
  const Tensor a = linear(s.h, w.w_hh, w.b_hh, Activation::none, gx);
  if (mode == RnnMode::lstm) return lstm_from_sums(a, s.c);
  return {mode == RnnMode::tanh ? tanh(a) : relu(a), {}};
}

/// The states of all sequences, of which each step changes the first ones.
class States {
 public:
  explicit States(const Tensor& all) : all_(all) {}
  Tensor front(std::int64_t batch) const { return all_.narrow(0, 0, batch); }
  void set_front(const Tensor& front) {
    const std::int64_t batch = front.size(0), rest = all_.size(0) - batch;
    all_ = rest == 0 ? front : cat({front, all_.narrow(0, batch, rest)});
  }
  const Tensor& all() const { return all_; }

 private:
  Tensor all_;
};

}  // namespace

LstmState lstm_from_sums(const Tensor& a, const Tensor& c) {
  const std::int64_t H = c.size(1);
  const Tensor i = sigmoid(gates(a, H, 0, 1)), f = sigmoid(gates(a, H, 1, 2));
  const Tensor g = tanh(gates(a, H, 2, 3)), o = sigmoid(gates(a, H, 3, 4));
  const Tensor next = f * c + i * g;
  return {o * tanh(next), next};
}

Tensor gru_from_products(const Tensor& gx, const Tensor& gh, const Tensor& h) {
  const std::int64_t H = h.size(1);
  const Tensor rz = sigmoid(gates(gx, H, 0, 2) + gates(gh, H, 0, 2));
  const Tensor n = tanh(gates(gx, H, 2, 3) + gates(rz, H, 0, 1) * gates(gh, H, 2, 3));
  return n + gates(rz, H, 1, 2) * (h - n);
}

Tensor gru_step(const Tensor& gx, const Tensor& h, const RnnWeights& w, bool reset_after) {
  if (reset_after) return gru_from_products(gx, linear(h, w.w_hh, w.b_hh), h);
  const std::int64_t H = h.size(1);
  const Tensor rz = sigmoid(gates(gx, H, 0, 2) + linear(h, rows(w.w_hh, 0, 2 * H), rows(w.b_hh, 0, 2 * H)));
  const Tensor reset = gates(rz, H, 0, 1) * h;
  const Tensor n = tanh(gates(gx, H, 2, 3) + linear(reset, rows(w.w_hh, 2 * H, H), rows(w.b_hh, 2 * H, H)));
  return n + gates(rz, H, 1, 2) * (h - n);
}

RnnOutput rnn_by_steps(RnnMode mode, const Tensor& x, const Tensor& h0, const Tensor& c0, const RnnWeights& w,
                       const RnnSequenceOptions& options) {
  const Packing* const packing = options.packed;
  const std::int64_t T = packing ? packing->steps() : x.size(0), B = packing ? packing->batch() : x.size(1);
  const std::int64_t H = w.w_hh.size(1), K = x.size(-1);
  const TensorOptions like{.dtype = x.dtype(), .device = x.device()};
  States h(h0.defined() ? h0 : zeros({B, H}, like)), c(c0.defined() ? c0 : zeros({B, H}, like));
  const Tensor gx = linear(x.reshape({packing ? packing->rows() : T * B, K}), w.w_ih, w.b_ih);
  std::vector<Tensor> y(static_cast<std::size_t>(T));
  for (std::int64_t i = 0; i < T; ++i) {
    const std::int64_t t = options.reverse ? T - 1 - i : i;
    const std::int64_t row = packing ? packing->first_rows()[static_cast<std::size_t>(t)] : t * B;
    const std::int64_t batch = packing ? packing->batch_size(t) : B;
    const LstmState next =
        next_state(mode, gx.narrow(0, row, batch), {h.front(batch), c.front(batch)}, w, options.reset_after);
    h.set_front(next.h);
    if (mode == RnnMode::lstm) c.set_front(next.c);
    y[static_cast<std::size_t>(t)] = next.h;
  }
  Shape shape = x.shape();
  shape[x.dim() - 1] = H;
  RnnOutput out;
  out.y = T == 0 ? empty(shape, like) : cat(y).reshape(shape);
  out.h = h.all();
  if (mode == RnnMode::lstm) out.c = c.all();
  return out;
}

}  // namespace gpunn::detail
