#include "tests/support/cudnn_rnn_fake.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>

#include "gpunn/kernels/common/ref_access.h"

namespace gpunn {
namespace {

using namespace detail;

constexpr CudnnStatus kBad = 2000;  // bad parameter
constexpr std::size_t kHead = 64;   // of the reserve: a sign of what was done with it
constexpr int kAfterForward = 0xa5, kAfterData = 0x5a;

struct Tensor3 {
  int dtype = -1;
  std::array<int, 3> sizes{}, strides{};
};
struct Dropout {
  float probability = -1;
};
struct Rnn {
  int algorithm, cell, bias, direction, input, dtype, compute, math, inputs, units, projection, layers;
  const Dropout* dropout;
  unsigned flags;
};
struct Sequence {
  int dtype, layout, steps, batch, features;
  std::vector<int> lengths;
};

FakeCudnnRnn* fake = nullptr;

CudnnStatus called(const char* name) {
  ++fake->calls[name];
  const auto found = fake->fail.find(name);
  return found == fake->fail.end() ? kCudnnSuccess : found->second;
}
CudnnStatus worked(const char* name) {
  fake->order.emplace_back(name);
  return called(name);
}

template <class Real, class Handle>
CudnnStatus make(const char* name, Handle* out) {
  if (const CudnnStatus status = called(name)) return status;
  *out = reinterpret_cast<Handle>(new Real{});
  ++fake->live;
  return kCudnnSuccess;
}
template <class Real, class Handle>
CudnnStatus destroy(Handle handle) {
  delete reinterpret_cast<Real*>(handle);
  --fake->live;
  return kCudnnSuccess;
}
Tensor3& of(CudnnTensor t) { return *reinterpret_cast<Tensor3*>(t); }
Rnn& of(CudnnRnn r) { return *reinterpret_cast<Rnn*>(r); }
Sequence& of(CudnnSequence s) { return *reinterpret_cast<Sequence*>(s); }

DType dtype_of(int dtype) {
  return dtype == kCudnnHalf ? DType::f16 : dtype == kCudnnBFloat16 ? DType::bf16 : DType::f32;
}
RnnMode mode_of(const Rnn& r) {
  constexpr RnnMode modes[] = {RnnMode::relu, RnnMode::tanh, RnnMode::lstm, RnnMode::gru};
  return modes[r.cell];
}

/// Where the parameters of gate `id` lie.
struct Place {
  std::size_t matrix, bias;
  std::int64_t rows, columns;
};
std::size_t with_gap(std::size_t bytes) { return fake->joined ? bytes : (bytes + 31) / 16 * 16; }

std::size_t place(const Rnn& r, std::int64_t wanted, Place& found) {
  const std::int64_t G = gates_of(mode_of(r));
  const std::size_t width = size_of(dtype_of(r.dtype));
  const bool biased = r.bias == kCudnnTwoBiases;
  std::size_t end = 0;
  const auto take = [&](std::int64_t n) {
    const std::size_t at = end;
    end += with_gap(static_cast<std::size_t>(n) * width);
    return at;
  };
  std::vector<Place> places(static_cast<std::size_t>(2 * G));
  // Matrices in our order and then biases, or the last gate first with its bias before it.
  for (std::int64_t i = 0; i < 2 * G; ++i) {
    const std::int64_t id = fake->joined ? i : 2 * G - 1 - i;
    Place& p = places[static_cast<std::size_t>(id)];
    p.rows = r.units, p.columns = id < G ? r.inputs : r.units;
    if (!fake->joined && biased) p.bias = take(p.rows);
    p.matrix = take(p.rows * p.columns);
  }
  for (Place& p : places)
    if (fake->joined && biased) p.bias = take(p.rows);
  if (wanted >= 0) found = places[static_cast<std::size_t>(wanted)];
  return end;
}
std::size_t weight_bytes(const Rnn& r) {
  Place none{};
  return place(r, -1, none);
}
std::size_t input_bytes(const Rnn& r, const Sequence& x) {
  const auto rows = static_cast<std::size_t>(std::accumulate(x.lengths.begin(), x.lengths.end(), 0));
  return rows * static_cast<std::size_t>(r.inputs) * size_of(dtype_of(r.dtype));
}
/// The sign, x, which backward is not given, and gradients on their way from one call to the other.
std::size_t reserve_bytes(const Rnn& r, const Sequence& x) {
  return kHead + input_bytes(r, x) + weight_bytes(r);
}

/// Parameters in our order; from the library's space, or into it.
struct Parameters {
  explicit Parameters(const Rnn& r) : rnn(r) {
    const std::size_t G = static_cast<std::size_t>(gates_of(mode_of(r)));
    const auto H = static_cast<std::size_t>(r.units), K = static_cast<std::size_t>(r.inputs);
    for (const std::size_t n : {G * H * K, G * H * H, G * H, G * H})
      parts.emplace_back(n * size_of(dtype_of(r.dtype)));
  }
  /// f(place in the space, place in our parameter, bytes) for each gate's.
  template <class F>
  void for_each(F f) {
    const std::int64_t G = gates_of(mode_of(rnn));
    const std::size_t width = size_of(dtype_of(rnn.dtype));
    for (std::int64_t id = 0; id < 2 * G; ++id) {
      Place p{};
      place(rnn, id, p);
      const std::size_t part = id < G ? 0 : 1;
      const auto gate = static_cast<std::size_t>(id % G);
      const std::size_t matrix = static_cast<std::size_t>(p.rows * p.columns) * width;
      const std::size_t bias = static_cast<std::size_t>(p.rows) * width;
      f(p.matrix, parts[part].data() + gate * matrix, matrix);
      if (rnn.bias == kCudnnTwoBiases) f(p.bias, parts[2 + part].data() + gate * bias, bias);
    }
  }
  void read(const void* space) {
    for_each([&](std::size_t at, char* ours, std::size_t bytes) {
      std::memcpy(ours, static_cast<const char*>(space) + at, bytes);
    });
  }
  void write(char* space) {
    for_each(
        [&](std::size_t at, const char* ours, std::size_t bytes) { std::memcpy(space + at, ours, bytes); });
  }

  const Rnn& rnn;
  std::vector<std::vector<char>> parts;  // w_ih, w_hh, b_ih, b_hh
};

/// Sizes and rows of a call; false where descriptors do not fit each other.
struct Shape3 {
  Shape3(const Rnn& r, const Sequence& x, const Sequence& y, const Tensor3& h) {
    const std::int64_t T = x.steps, B = x.batch;
    for (std::int64_t t = 0; t < T; ++t)
      first.push_back(first.back() + std::count_if(x.lengths.begin(), x.lengths.end(),
                                                   [&](int length) { return length > t; }));
    sizes = {mode_of(r), false, true, T, B, r.units, first.back()};
    const std::array<int, 3> states{1, x.batch, r.units}, strides{x.batch * r.units, r.units, 1};
    fits = x.features == r.inputs && y.features == r.units && x.lengths == y.lengths && y.steps == x.steps &&
           y.batch == x.batch && x.dtype == r.dtype && y.dtype == r.dtype && h.dtype == r.dtype &&
           h.sizes == states && h.strides == strides && x.layout == kCudnnPackedRows &&
           y.layout == kCudnnPackedRows && std::is_sorted(x.lengths.rbegin(), x.lengths.rend());
  }
  std::vector<std::int64_t> first{0};
  RnnSizes sizes{};
  bool fits;
};

template <class P>
P problem(const Rnn& r, const Shape3& shape, Parameters& w, const void* x, const void* hx, const void* cx) {
  P p{};
  p.dtype = dtype_of(r.dtype), p.sizes = shape.sizes, p.K = r.inputs;
  p.x = x, p.h0 = hx, p.c0 = cx, p.host_first_row = shape.first.data();
  p.w_ih = w.parts[0].data(), p.w_hh = w.parts[1].data();
  if (r.bias == kCudnnTwoBiases) p.b_ih = w.parts[2].data(), p.b_hh = w.parts[3].data();
  return p;
}

/// Notes what every call begins with; whether its sizes are right.
bool begin(const Rnn& r, const Sequence& x, const std::int32_t* lengths, std::size_t weights,
           std::size_t given_workspace, void* workspace) {
  FakeCudnnRnn& s = *fake;
  s.algorithm = r.algorithm, s.cell = r.cell, s.bias = r.bias, s.direction = r.direction, s.input = r.input;
  s.dtype = r.dtype, s.compute = r.compute, s.math = r.math, s.inputs = r.inputs, s.units = r.units;
  s.projection = r.projection, s.layers = r.layers, s.flags = r.flags;
  s.dropout = r.dropout ? r.dropout->probability : -1;
  s.lengths = x.lengths, s.layout = x.layout, s.device_lengths = lengths != nullptr;
  if (weights != weight_bytes(r) || given_workspace != s.workspace_bytes) return false;
  std::memset(workspace, 0xee, given_workspace);
  return true;
}

bool is_marked(const void* reserve, int mark) {
  const auto* const bytes = static_cast<const unsigned char*>(reserve);
  return std::all_of(bytes, bytes + kHead, [&](unsigned char b) { return b == mark; });
}

void set_descriptors(CudnnRecurrent& l) {
  l.error_string = [](CudnnStatus status) { return status == 5000 ? "the fake failed" : "the fake refused"; };
  l.version = [] { return fake->version; };
  l.create = [](CudnnHandle* h) { return make<int>("create", h); };
  l.destroy = [](CudnnHandle h) { return destroy<int>(h); };
  l.set_stream = [](CudnnHandle, void* stream) { return fake->stream = stream, called("set_stream"); };
  l.tensor_create = [](CudnnTensor* t) { return make<Tensor3>("tensor_create", t); };
  l.tensor_destroy = [](CudnnTensor t) { return destroy<Tensor3>(t); };
  l.tensor_set = [](CudnnTensor t, int dtype, int dims, const int* sizes, const int* strides) {
    if (dims != 3) return kBad;
    of(t).dtype = dtype;
    std::copy_n(sizes, 3, of(t).sizes.begin());
    std::copy_n(strides, 3, of(t).strides.begin());
    return called("tensor_set");
  };
  l.tensor_get = [](CudnnTensor t, int most, int* dtype, int* dims, int* sizes, int* strides) {
    *dtype = of(t).dtype, *dims = 3;
    std::copy_n(of(t).sizes.begin(), std::min(most, 3), sizes);
    std::copy_n(of(t).strides.begin(), std::min(most, 3), strides);
    return called("tensor_get");
  };
  l.dropout_create = [](CudnnDropout* d) { return make<Dropout>("dropout_create", d); };
  l.dropout_destroy = [](CudnnDropout d) { return destroy<Dropout>(d); };
  l.dropout_set = [](CudnnDropout d, CudnnHandle, float probability, void* states, std::size_t bytes,
                     unsigned long long) {
    if (states || bytes > 0) return kBad;
    reinterpret_cast<Dropout*>(d)->probability = probability;
    return called("dropout_set");
  };
  l.rnn_create = [](CudnnRnn* r) { return make<Rnn>("rnn_create", r); };
  l.rnn_destroy = [](CudnnRnn r) { return destroy<Rnn>(r); };
  l.rnn_set = [](CudnnRnn r, int algorithm, int cell, int bias, int direction, int input, int dtype,
                 int compute, int math, std::int32_t inputs, std::int32_t units, std::int32_t projection,
                 std::int32_t layers, CudnnDropout dropout, std::uint32_t flags) {
    of(r) = {algorithm,
             cell,
             bias,
             direction,
             input,
             dtype,
             compute,
             math,
             inputs,
             units,
             projection,
             layers,
             reinterpret_cast<const Dropout*>(dropout),
             flags};
    return called("rnn_set");
  };
  l.sequence_create = [](CudnnSequence* s) { return make<Sequence>("sequence_create", s); };
  l.sequence_destroy = [](CudnnSequence s) { return destroy<Sequence>(s); };
  l.sequence_set = [](CudnnSequence s, int dtype, int layout, int steps, int batch, int features,
                      const int* lengths, void* padding) {
    if (padding) return kBad;
    of(s) = {dtype, layout, steps, batch, features, {lengths, lengths + batch}};
    return called("sequence_set");
  };
}

void set_questions(CudnnRecurrent& l) {
  l.temp_sizes = [](CudnnHandle, CudnnRnn r, int mode, CudnnSequence x, std::size_t* workspace,
                    std::size_t* reserve) {
    *workspace = fake->workspace_bytes;
    *reserve = mode == kCudnnTraining ? reserve_bytes(of(r), of(x)) : 7;  // nobody reads it
    return called("temp_sizes");
  };
  l.weights_size = [](CudnnHandle, CudnnRnn r, std::size_t* bytes) {
    return *bytes = weight_bytes(of(r)), called("weights_size");
  };
  l.weight_place = [](CudnnHandle, CudnnRnn r, std::int32_t layer, std::size_t bytes, const void* weights,
                      std::int32_t id, CudnnTensor matrix, void** matrix_at, CudnnTensor bias,
                      void** bias_at) {
    if (layer != 0 || bytes != weight_bytes(of(r))) return kBad;
    Place p{};
    place(of(r), id, p);
    char* const base = static_cast<char*>(const_cast<void*>(weights));
    const int rows = static_cast<int>(p.rows), columns = static_cast<int>(p.columns) + fake->extra_weights;
    of(matrix) = {of(r).dtype, {1, rows, columns}, {rows * columns, columns, 1}};
    of(bias) = {of(r).dtype, {1, rows, 1}, {rows, 1, 1}};
    *matrix_at = base + p.matrix;
    *bias_at = of(r).bias == kCudnnTwoBiases ? base + p.bias : nullptr;
    return called("weight_place");
  };
}

void set_layers(CudnnRecurrent& l) {
  l.forward = [](CudnnHandle, CudnnRnn rnn, int mode, const std::int32_t* lengths, CudnnSequence xs,
                 const void* x, CudnnSequence ys, void* y, CudnnTensor h, const void* hx, void* hy,
                 CudnnTensor, const void* cx, void* cy, std::size_t weights_given, const void* weights,
                 std::size_t workspace_given, void* workspace, std::size_t reserve_given, void* reserve) {
    const Rnn& r = of(rnn);
    if (const CudnnStatus status = worked("forward")) return status;
    fake->mode = mode;
    const Shape3 shape(r, of(xs), of(ys), of(h));
    const std::size_t wanted = mode == kCudnnTraining ? reserve_bytes(r, of(xs)) : 0;
    if (!begin(r, of(xs), lengths, weights_given, workspace_given, workspace) || !shape.fits ||
        reserve_given != wanted || (reserve == nullptr) != (wanted == 0))
      return kBad;
    Parameters w(r);
    w.read(weights);
    auto p = problem<RnnLayerForwardProblem>(r, shape, w, x, hx, cx);
    p.y = y, p.hn = hy, p.cn = cy;
    rnn_layer_fwd_ref(p, {});
    if (!reserve) return kCudnnSuccess;
    std::memset(reserve, kAfterForward, wanted);
    std::memcpy(static_cast<char*>(reserve) + kHead, x, input_bytes(r, of(xs)));
    return kCudnnSuccess;
  };
  l.backward_data = [](CudnnHandle, CudnnRnn rnn, const std::int32_t* lengths, CudnnSequence ys,
                       const void* y, const void* dy, CudnnSequence xs, void* dx, CudnnTensor h,
                       const void* hx, const void* dhy, void* dhx, CudnnTensor, const void* cx,
                       const void* dcy, void* dcx, std::size_t weights_given, const void* weights,
                       std::size_t workspace_given, void* workspace, std::size_t reserve_given,
                       void* reserve) {
    const Rnn& r = of(rnn);
    if (const CudnnStatus status = worked("backward_data")) return status;
    const Shape3 shape(r, of(xs), of(ys), of(h));
    if (!begin(r, of(xs), lengths, weights_given, workspace_given, workspace) || !shape.fits ||
        reserve_given != reserve_bytes(r, of(xs)) || !is_marked(reserve, kAfterForward))
      return kBad;
    char* const kept_x = static_cast<char*>(reserve) + kHead;
    Parameters w(r), dw(r);
    w.read(weights);
    auto p = problem<RnnLayerBackwardProblem>(r, shape, w, kept_x, hx, cx);
    p.y = y, p.dy = dy, p.dhn = dhy, p.dcn = dcy;
    p.dx = dx, p.dh0 = dhx, p.dc0 = dcx;
    p.dw_ih = dw.parts[0].data(), p.dw_hh = dw.parts[1].data();
    p.db_ih = dw.parts[2].data(), p.db_hh = dw.parts[3].data();
    rnn_layer_bwd_ref(p, {});
    dw.write(kept_x + input_bytes(r, of(xs)));
    std::memset(reserve, kAfterData, kHead);
    return kCudnnSuccess;
  };
  l.backward_weights = [](CudnnHandle, CudnnRnn rnn, int add, const std::int32_t* lengths, CudnnSequence xs,
                          const void* x, CudnnTensor h, const void*, CudnnSequence ys, const void*,
                          std::size_t weights_given, void* dweights, std::size_t workspace_given,
                          void* workspace, std::size_t reserve_given, void* reserve) {
    const Rnn& r = of(rnn);
    if (const CudnnStatus status = worked("backward_weights")) return status;
    fake->add = add;
    const char* const kept_x = static_cast<const char*>(reserve) + kHead;
    const std::size_t x_bytes = input_bytes(r, of(xs));
    if (!begin(r, of(xs), lengths, weights_given, workspace_given, workspace) ||
        !Shape3(r, of(xs), of(ys), of(h)).fits || reserve_given != reserve_bytes(r, of(xs)) ||
        !is_marked(reserve, kAfterData) || std::memcmp(x, kept_x, x_bytes) != 0)
      return kBad;
    // Adds to what is there.
    Parameters sum(r);
    const DType dtype = dtype_of(r.dtype);
    sum.for_each([&](std::size_t at, const char*, std::size_t bytes) {
      const RefIn from(kept_x + x_bytes + at, dtype);
      const RefOut to(static_cast<char*>(dweights) + at, dtype);
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(bytes / size_of(dtype)); ++i)
        to.set(i, to[i] + from[i]);
    });
    return kCudnnSuccess;
  };
}

}  // namespace

detail::CudnnRecurrent fake_cudnn_rnn(FakeCudnnRnn& state) {
  state = {};
  fake = &state;
  CudnnRecurrent l{};
  set_descriptors(l);
  set_questions(l);
  set_layers(l);
  return l;
}

detail::CudnnMemory fake_cudnn_memory() {
  return {[](void* to, const void* from, std::size_t bytes, void* stream) {
            ++fake->calls["copy"];
            fake->order.emplace_back("copy");
            fake->stream = stream;
            std::memcpy(to, from, bytes);
          },
          [](void* to, std::size_t bytes, void* stream) {
            ++fake->calls["zero"];
            fake->order.emplace_back("zero");
            fake->stream = stream;
            std::memset(to, 0, bytes);
          }};
}

}  // namespace gpunn
