// Cells: what a step does after its two products, as one kernel each way. A thread takes the units of one
// 16-byte piece (or one unit where rows are not aligned) with all their gates; every byte moves once.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/vec.cuh"
#include "gpunn/kernels/rnn/rnn_impl.h"
#include "gpunn/kernels/rnn/rnn_step_impl.h"

namespace gpunn {
namespace {

constexpr int kThreads = 256;
constexpr int kLstm = 4, kGru = 3;  // gates, by which the modes are told apart

/// The pieces of one unit group: piece (b, j) of an operand [B, H], gate g of it in one [B, G, H].
template <class T, int N>
struct Piece {
  std::int64_t b, j, H;
  bool valid;

  GPUNN_DEVICE Piece(std::int64_t B, std::int64_t H_) : H(H_) {
    const std::int64_t pieces = H / N, i = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
    valid = i < B * pieces;
    b = i / pieces;
    j = i % pieces * N;
  }
  GPUNN_DEVICE Vec<T, N> load(const void* from) const {
    return load_vec<N>(static_cast<const T*>(from) + b * H + j);
  }
  GPUNN_DEVICE Vec<T, N> load(const void* from, int gates, int g) const {
    return load_vec<N>(static_cast<const T*>(from) + (b * gates + g) * H + j);
  }
  GPUNN_DEVICE void store(void* to, const Vec<T, N>& v) const {
    store_vec<N>(static_cast<T*>(to) + b * H + j, v);
  }
  GPUNN_DEVICE void store(void* to, int gates, int g, const Vec<T, N>& v) const {
    store_vec<N>(static_cast<T*>(to) + (b * gates + g) * H + j, v);
  }
};

template <class T, int N, int kGates>
GPUNN_KERNEL __launch_bounds__(kThreads) rnn_cell_fwd_kernel(RnnCellProblem p) {
  const Piece<T, N> at(p.B, p.H);
  if (!at.valid) return;
  Vec<T, N> x[kGates], h[kGates], gates[kGates], h_next, c_next;
  GPUNN_UNROLL
  for (int g = 0; g < kGates; ++g) {
    x[g] = at.load(p.gx, kGates, g);
    h[g] = at.load(p.gh, kGates, g);
  }
  const Vec<T, N> before = at.load(kGates == kLstm ? p.c : p.h);
  GPUNN_UNROLL
  for (int v = 0; v < N; ++v) {
    const auto sum = [&](int g) { return to_float(x[g].v[v]) + to_float(h[g].v[v]); };
    if constexpr (kGates == kLstm) {
      const auto u = lstm_unit(sum(0), sum(1), sum(2), sum(3), to_float(before.v[v]));
      gates[0].v[v] = from_float<T>(u.i);
      gates[1].v[v] = from_float<T>(u.f);
      gates[2].v[v] = from_float<T>(u.g);
      gates[3].v[v] = from_float<T>(u.o);
      c_next.v[v] = from_float<T>(u.c);
      h_next.v[v] = from_float<T>(u.h);
    } else {
      const auto u =
          gru_unit(sum(0), sum(1), to_float(x[2].v[v]), to_float(h[2].v[v]), to_float(before.v[v]));
      gates[0].v[v] = from_float<T>(u.r);
      gates[1].v[v] = from_float<T>(u.z);
      gates[2].v[v] = from_float<T>(u.n);
      h_next.v[v] = from_float<T>(u.h);
    }
  }
  at.store(p.h_next, h_next);
  if constexpr (kGates == kLstm) at.store(p.c_next, c_next);
  if (!p.gates) return;
  GPUNN_UNROLL
  for (int g = 0; g < kGates; ++g) at.store(p.gates, kGates, g, gates[g]);
}

template <class T, int N>
GPUNN_DEVICE Vec<T, N> load_or_zero(const Piece<T, N>& at, const void* from) {
  return from ? at.load(from) : Vec<T, N>{};
}

template <class T, int N>
GPUNN_KERNEL __launch_bounds__(kThreads) rnn_cell_bwd_lstm_kernel(RnnCellBackwardProblem p) {
  const Piece<T, N> at(p.B, p.H);
  if (!at.valid) return;
  Vec<T, N> gates[kLstm], grads[kLstm], dc;
  GPUNN_UNROLL
  for (int g = 0; g < kLstm; ++g) gates[g] = at.load(p.gates, kLstm, g);
  const Vec<T, N> c = at.load(p.c), c_next = at.load(p.c_next), dh_next = load_or_zero(at, p.dh_next),
                  dc_next = load_or_zero(at, p.dc_next);
  GPUNN_UNROLL
  for (int v = 0; v < N; ++v) {
    const LstmUnit<float> u{to_float(gates[0].v[v]), to_float(gates[1].v[v]), to_float(gates[2].v[v]),
                            to_float(gates[3].v[v]), to_float(c_next.v[v]),   0.0f};
    const auto d = lstm_unit_grad(u, to_float(c.v[v]), to_float(dh_next.v[v]), to_float(dc_next.v[v]));
    grads[0].v[v] = from_float<T>(d.di);
    grads[1].v[v] = from_float<T>(d.df);
    grads[2].v[v] = from_float<T>(d.dg);
    grads[3].v[v] = from_float<T>(d.d_o);
    dc.v[v] = from_float<T>(d.dc_prev);
  }
  GPUNN_UNROLL
  for (int g = 0; g < kLstm; ++g) at.store(p.dgx, kLstm, g, grads[g]);
  at.store(p.dc, dc);
}

template <class T, int N>
GPUNN_KERNEL __launch_bounds__(kThreads) rnn_cell_bwd_gru_kernel(RnnCellBackwardProblem p) {
  const Piece<T, N> at(p.B, p.H);
  if (!at.valid) return;
  Vec<T, N> gates[kGru], grads[kGru], dhn, dh;
  GPUNN_UNROLL
  for (int g = 0; g < kGru; ++g) gates[g] = at.load(p.gates, kGru, g);
  const Vec<T, N> hn = at.load(p.gh, kGru, 2), h = at.load(p.h), dh_next = load_or_zero(at, p.dh_next);
  GPUNN_UNROLL
  for (int v = 0; v < N; ++v) {
    const GruUnit<float> u{to_float(gates[0].v[v]), to_float(gates[1].v[v]), to_float(gates[2].v[v]), 0.0f};
    const auto d = gru_unit_grad(u, to_float(hn.v[v]), to_float(h.v[v]), to_float(dh_next.v[v]));
    grads[0].v[v] = from_float<T>(d.dr);
    grads[1].v[v] = from_float<T>(d.dz);
    grads[2].v[v] = from_float<T>(d.dn);
    dhn.v[v] = from_float<T>(d.dhn);
    dh.v[v] = from_float<T>(d.dh_prev);
  }
  GPUNN_UNROLL
  for (int g = 0; g < kGru; ++g) {
    at.store(p.dgx, kGru, g, grads[g]);
    at.store(p.dgh, kGru, g, g == 2 ? dhn : grads[g]);
  }
  at.store(p.dh, dh);
}

bool aligned(std::initializer_list<const void*> pointers) {
  std::uintptr_t all = 0;
  for (const void* p : pointers) all |= reinterpret_cast<std::uintptr_t>(p);
  return all % 16 == 0;
}

template <int N>
Grid grid_of(std::int64_t B, std::int64_t H) {
  return {dim3(static_cast<unsigned>((B * (H / N) + kThreads - 1) / kThreads)), dim3(kThreads)};
}

template <class T, int N>
void forward(const RnnCellProblem& p, const Exec& exec) {
  const bool lstm = p.mode == RnnMode::lstm;
  launch("rnn_cell_fwd_kernel", lstm ? rnn_cell_fwd_kernel<T, N, kLstm> : rnn_cell_fwd_kernel<T, N, kGru>,
         grid_of<N>(p.B, p.H), exec, p);
}

template <class T, int N>
void backward(const RnnCellBackwardProblem& p, const Exec& exec) {
  if (p.mode == RnnMode::lstm)
    return launch("rnn_cell_bwd_lstm_kernel", rnn_cell_bwd_lstm_kernel<T, N>, grid_of<N>(p.B, p.H), exec, p);
  launch("rnn_cell_bwd_gru_kernel", rnn_cell_bwd_gru_kernel<T, N>, grid_of<N>(p.B, p.H), exec, p);
}

}  // namespace

void rnn_cell_fwd_cuda(const RnnCellProblem& p, const Exec& exec) {
  const bool pointers = aligned({p.gx, p.gh, p.h, p.c, p.h_next, p.c_next, p.gates});
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (pointers && p.H % kVecWidth<T> == 0) return forward<T, kVecWidth<T>>(p, exec);
    forward<T, 1>(p, exec);
  });
}

void rnn_cell_bwd_cuda(const RnnCellBackwardProblem& p, const Exec& exec) {
  const bool pointers =
      aligned({p.dh_next, p.dc_next, p.gates, p.gh, p.h, p.c, p.c_next, p.dgx, p.dgh, p.dh, p.dc});
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    if (pointers && p.H % kVecWidth<T> == 0) return backward<T, kVecWidth<T>>(p, exec);
    backward<T, 1>(p, exec);
  });
}

}  // namespace gpunn
