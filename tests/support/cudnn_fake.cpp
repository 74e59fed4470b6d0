#include "tests/support/cudnn_fake.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "gpunn/core/float16.h"

namespace gpunn {
namespace {

using namespace detail;

struct Tensor4 {
  int dtype;
  std::array<int, 4> sizes, strides;
};
struct Filter4 {
  int dtype, format;
  std::array<int, 4> sizes;
};
struct Window {
  std::array<int, 2> pad, stride, dilation;
  int mode, compute, groups = 1, math = kCudnnDefaultMath;
};
struct Activation {
  int mode, nan;
};

FakeCudnn* fake = nullptr;

CudnnStatus called(const char* name) {
  ++fake->calls[name];
  const auto found = fake->fail.find(name);
  return found == fake->fail.end() ? kCudnnSuccess : found->second;
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
Tensor4& of(CudnnTensor t) { return *reinterpret_cast<Tensor4*>(t); }
Filter4& of(CudnnFilter f) { return *reinterpret_cast<Filter4*>(f); }
Window& of(CudnnWindow w) { return *reinterpret_cast<Window*>(w); }
Activation& of(CudnnActivation a) { return *reinterpret_cast<Activation*>(a); }

double load(const void* p, int dtype, std::int64_t i) {
  if (dtype == kCudnnHalf) return static_cast<double>(static_cast<float>(static_cast<const Half*>(p)[i]));
  if (dtype == kCudnnBFloat16)
    return static_cast<double>(static_cast<float>(static_cast<const BFloat16*>(p)[i]));
  return static_cast<double>(static_cast<const float*>(p)[i]);
}
void store(void* p, int dtype, std::int64_t i, double v) {
  const auto f = static_cast<float>(v);
  if (dtype == kCudnnHalf) {
    static_cast<Half*>(p)[i] = Half(f);
  } else if (dtype == kCudnnBFloat16) {
    static_cast<BFloat16*>(p)[i] = BFloat16(f);
  } else {
    static_cast<float*>(p)[i] = f;
  }
}

std::int64_t place(const Tensor4& t, std::array<int, 4> i) {
  std::int64_t at = 0;
  for (std::size_t d = 0; d < 4; ++d)
    at += static_cast<std::int64_t>(t.sizes[d] == 1 ? 0 : i[d]) * t.strides[d];
  return at;
}
/// A filter as the tensor [K, C, R, S] that it is.
Tensor4 as_tensor(const Filter4& f) {
  const auto [k, c, r, s] = f.sizes;
  return {f.dtype, f.sizes,
          f.format == kCudnnNhwc ? std::array<int, 4>{c * r * s, 1, s * c, c}
                                 : std::array<int, 4>{c * r * s, r * s, s, 1}};
}

template <class F>
void for_each(const std::array<int, 4>& sizes, F f) {
  for (int a = 0; a < sizes[0]; ++a)
    for (int b = 0; b < sizes[1]; ++b)
      for (int c = 0; c < sizes[2]; ++c)
        for (int d = 0; d < sizes[3]; ++d) f(std::array<int, 4>{a, b, c, d});
}

/// f(place in x, place in w, place in y) for every product of the convolution.
template <class F>
void for_products(const Tensor4& x, const Tensor4& w, const Window& z, const Tensor4& y, F f) {
  const int group_filters = w.sizes[0] / z.groups;
  for_each(y.sizes, [&](std::array<int, 4> at) {
    for_each({1, w.sizes[1], w.sizes[2], w.sizes[3]}, [&](std::array<int, 4> tap) {
      const int h = at[2] * z.stride[0] - z.pad[0] + tap[2] * z.dilation[0];
      const int v = at[3] * z.stride[1] - z.pad[1] + tap[3] * z.dilation[1];
      if (h < 0 || h >= x.sizes[2] || v < 0 || v >= x.sizes[3]) return;
      const int channel = at[1] / group_filters * w.sizes[1] + tap[1];
      f(place(x, {at[0], channel, h, v}), place(w, {at[1], tap[1], tap[2], tap[3]}), place(y, at));
    });
  });
}

/// What a convolution starts with: notes, and the workspace scribbled over.
CudnnStatus begin(const char* name, const Tensor4& x, const Filter4& w, const Window& z, int algorithm,
                  void* workspace, std::size_t bytes, float beta) {
  if (const CudnnStatus status = called(name)) return status;
  FakeCudnn& s = *fake;
  s.algorithm = algorithm, s.math = z.math, s.compute = z.compute, s.mode = z.mode, s.groups = z.groups;
  s.dtype = x.dtype, s.filter_format = w.format, s.beta = beta;
  s.x_strides.assign(x.strides.begin(), x.strides.end());
  s.pad.assign(z.pad.begin(), z.pad.end());
  s.stride.assign(z.stride.begin(), z.stride.end());
  s.dilation.assign(z.dilation.begin(), z.dilation.end());
  s.workspace = workspace, s.given_bytes = bytes;
  if (bytes < s.workspace_bytes) return 2000;
  std::memset(workspace, 0xee, s.workspace_bytes);
  return kCudnnSuccess;
}

float value(Cudnn::Scalar scalar) { return *static_cast<const float*>(scalar); }

/// to = alpha * sums + beta * to.
void finish(const Tensor4& t, void* to, const std::vector<double>& sums, float alpha, float beta) {
  for_each(t.sizes, [&](std::array<int, 4> i) {
    const std::int64_t at = place(t, i);
    const double old = beta == 0 ? 0 : beta * load(to, t.dtype, at);
    store(to, t.dtype, at, alpha * sums[static_cast<std::size_t>(at)] + old);
  });
}

std::size_t elements(const Tensor4& t) {
  std::size_t n = 1;
  for (const int size : t.sizes) n *= static_cast<std::size_t>(size);
  return n;
}

CudnnStatus answer(const char* name, const std::vector<CudnnAlgorithm>& answers, int most, int* count,
                   CudnnAlgorithm* out) {
  if (const CudnnStatus status = called(name)) return status;
  *count = 0;
  for (const CudnnAlgorithm& a : answers)
    if (*count < most) out[(*count)++] = a;
  return kCudnnSuccess;
}

std::vector<double> forward_sums(const Tensor4& x, const void* px, const Filter4& f, const void* pw,
                                 const Window& z, const Tensor4& y) {
  std::vector<double> sums(elements(y));
  const Tensor4 w = as_tensor(f);
  for_products(x, w, z, y, [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
    sums[static_cast<std::size_t>(iy)] += load(px, x.dtype, ix) * load(pw, w.dtype, iw);
  });
  return sums;
}

void set_descriptors(Cudnn& l) {
  l.error_string = [](CudnnStatus status) { return status == 5000 ? "the fake failed" : "the fake refused"; };
  l.create = [](CudnnHandle* h) { return make<int>("create", h); };
  l.destroy = [](CudnnHandle h) { return destroy<int>(h); };
  l.set_stream = [](CudnnHandle, void* stream) { return fake->stream = stream, called("set_stream"); };
  l.tensor_create = [](CudnnTensor* t) { return make<Tensor4>("tensor_create", t); };
  l.tensor_destroy = [](CudnnTensor t) { return destroy<Tensor4>(t); };
  l.tensor_set = [](CudnnTensor t, int dtype, int dims, const int* sizes, const int* strides) {
    if (dims != 4) return 2000;
    of(t).dtype = dtype;
    for (std::size_t i = 0; i < 4; ++i) of(t).sizes[i] = sizes[i], of(t).strides[i] = strides[i];
    return called("tensor_set");
  };
  l.filter_create = [](CudnnFilter* f) { return make<Filter4>("filter_create", f); };
  l.filter_destroy = [](CudnnFilter f) { return destroy<Filter4>(f); };
  l.filter_set = [](CudnnFilter f, int dtype, int format, int dims, const int* sizes) {
    if (dims != 4) return 2000;
    of(f).dtype = dtype, of(f).format = format;
    for (std::size_t i = 0; i < 4; ++i) of(f).sizes[i] = sizes[i];
    return called("filter_set");
  };
  l.window_create = [](CudnnWindow* w) { return make<Window>("window_create", w); };
  l.window_destroy = [](CudnnWindow w) { return destroy<Window>(w); };
  l.window_set = [](CudnnWindow w, int dims, const int* pad, const int* stride, const int* dilation, int mode,
                    int compute) {
    if (dims != 2) return 2000;
    for (std::size_t i = 0; i < 2; ++i)
      of(w).pad[i] = pad[i], of(w).stride[i] = stride[i], of(w).dilation[i] = dilation[i];
    of(w).mode = mode, of(w).compute = compute;
    return called("window_set");
  };
  l.window_set_groups = [](CudnnWindow w, int groups) {
    return of(w).groups = groups, called("window_set_groups");
  };
  l.window_set_math = [](CudnnWindow w, int math) { return of(w).math = math, called("window_set_math"); };
  l.activation_create = [](CudnnActivation* a) { return make<Activation>("activation_create", a); };
  l.activation_destroy = [](CudnnActivation a) { return destroy<Activation>(a); };
  l.activation_set = [](CudnnActivation a, int mode, int nan, double) {
    of(a) = {mode, nan};
    fake->activation = mode, fake->nan = nan;
    return called("activation_set");
  };
}

void set_questions(Cudnn& l) {
  l.forward_algorithms = [](CudnnHandle, CudnnTensor, CudnnFilter, CudnnWindow, CudnnTensor, int most,
                            int* count, CudnnAlgorithm* out) {
    return answer("forward_algorithms", fake->forward, most, count, out);
  };
  l.data_algorithms = [](CudnnHandle, CudnnFilter, CudnnTensor, CudnnWindow, CudnnTensor, int most,
                         int* count, CudnnAlgorithm* out) {
    return answer("data_algorithms", fake->data, most, count, out);
  };
  l.filter_algorithms = [](CudnnHandle, CudnnTensor, CudnnTensor, CudnnWindow, CudnnFilter, int most,
                           int* count, CudnnAlgorithm* out) {
    return answer("filter_algorithms", fake->filter, most, count, out);
  };
  l.forward_workspace = [](CudnnHandle, CudnnTensor, CudnnFilter, CudnnWindow, CudnnTensor, int,
                           std::size_t* bytes) {
    return *bytes = fake->workspace_bytes, called("forward_workspace");
  };
  l.data_workspace = [](CudnnHandle, CudnnFilter, CudnnTensor, CudnnWindow, CudnnTensor, int,
                        std::size_t* bytes) {
    return *bytes = fake->workspace_bytes, called("data_workspace");
  };
  l.filter_workspace = [](CudnnHandle, CudnnTensor, CudnnTensor, CudnnWindow, CudnnFilter, int,
                          std::size_t* bytes) {
    return *bytes = fake->workspace_bytes, called("filter_workspace");
  };
}

void set_convolutions(Cudnn& l) {
  l.forward = [](CudnnHandle, Cudnn::Scalar alpha, CudnnTensor x, const void* px, CudnnFilter w,
                 const void* pw, CudnnWindow z, int algorithm, void* workspace, std::size_t bytes,
                 Cudnn::Scalar beta, CudnnTensor y, void* py) {
    if (const auto status = begin("forward", of(x), of(w), of(z), algorithm, workspace, bytes, value(beta)))
      return status;
    finish(of(y), py, forward_sums(of(x), px, of(w), pw, of(z), of(y)), value(alpha), value(beta));
    return kCudnnSuccess;
  };
  l.forward_bias_activation = [](CudnnHandle, Cudnn::Scalar alpha, CudnnTensor x, const void* px,
                                 CudnnFilter w, const void* pw, CudnnWindow z, int algorithm, void* workspace,
                                 std::size_t bytes, Cudnn::Scalar alpha2, CudnnTensor, const void*,
                                 CudnnTensor b, const void* pb, CudnnActivation a, CudnnTensor y, void* py) {
    if (const auto status =
            begin("forward_bias_activation", of(x), of(w), of(z), algorithm, workspace, bytes, value(alpha2)))
      return status;
    if (of(a).mode == kCudnnIdentity && algorithm != kCudnnForwardPrecomputed) return 3000;
    auto sums = forward_sums(of(x), px, of(w), pw, of(z), of(y));
    for_each(of(y).sizes, [&](std::array<int, 4> i) {
      double& sum = sums[static_cast<std::size_t>(place(of(y), i))];
      sum += load(pb, of(b).dtype, place(of(b), i));
      if (of(a).mode == kCudnnRelu && sum < 0) sum = 0;
    });
    finish(of(y), py, sums, value(alpha), 0);
    return kCudnnSuccess;
  };
  l.backward_data = [](CudnnHandle, Cudnn::Scalar alpha, CudnnFilter w, const void* pw, CudnnTensor dy,
                       const void* pdy, CudnnWindow z, int algorithm, void* workspace, std::size_t bytes,
                       Cudnn::Scalar beta, CudnnTensor dx, void* pdx) {
    if (const auto status =
            begin("backward_data", of(dx), of(w), of(z), algorithm, workspace, bytes, value(beta)))
      return status;
    std::vector<double> sums(elements(of(dx)));
    const Tensor4 filter = as_tensor(of(w));
    for_products(of(dx), filter, of(z), of(dy), [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
      sums[static_cast<std::size_t>(ix)] += load(pw, filter.dtype, iw) * load(pdy, of(dy).dtype, iy);
    });
    finish(of(dx), pdx, sums, value(alpha), value(beta));
    return kCudnnSuccess;
  };
  l.backward_filter = [](CudnnHandle, Cudnn::Scalar alpha, CudnnTensor x, const void* px, CudnnTensor dy,
                         const void* pdy, CudnnWindow z, int algorithm, void* workspace, std::size_t bytes,
                         Cudnn::Scalar beta, CudnnFilter dw, void* pdw) {
    if (const auto status =
            begin("backward_filter", of(x), of(dw), of(z), algorithm, workspace, bytes, value(beta)))
      return status;
    const Tensor4 filter = as_tensor(of(dw));
    std::vector<double> sums(elements(filter));
    for_products(of(x), filter, of(z), of(dy), [&](std::int64_t ix, std::int64_t iw, std::int64_t iy) {
      sums[static_cast<std::size_t>(iw)] += load(px, of(x).dtype, ix) * load(pdy, of(dy).dtype, iy);
    });
    finish(filter, pdw, sums, value(alpha), value(beta));
    return kCudnnSuccess;
  };
}

void set_passes(Cudnn& l) {
  l.add = [](CudnnHandle, Cudnn::Scalar alpha, CudnnTensor a, const void* pa, Cudnn::Scalar beta,
             CudnnTensor c, void* pc) {
    if (const auto status = called("add")) return status;
    std::vector<double> sums(elements(of(c)));
    for_each(of(c).sizes, [&](std::array<int, 4> i) {
      sums[static_cast<std::size_t>(place(of(c), i))] = load(pa, of(a).dtype, place(of(a), i));
    });
    finish(of(c), pc, sums, value(alpha), value(beta));
    return kCudnnSuccess;
  };
  l.activate = [](CudnnHandle, CudnnActivation a, Cudnn::Scalar, CudnnTensor x, const void* px, Cudnn::Scalar,
                  CudnnTensor y, void* py) {
    if (const auto status = called("activate")) return status;
    if (of(a).mode != kCudnnRelu) return 3000;
    for_each(of(y).sizes, [&](std::array<int, 4> i) {
      const double v = load(px, of(x).dtype, place(of(x), i));
      store(py, of(y).dtype, place(of(y), i), v < 0 ? 0 : v);
    });
    return kCudnnSuccess;
  };
  l.transform = [](CudnnHandle, Cudnn::Scalar, CudnnTensor x, const void* px, Cudnn::Scalar, CudnnTensor y,
                   void* py) {
    if (const auto status = called("transform")) return status;
    for_each(of(y).sizes, [&](std::array<int, 4> i) {
      store(py, of(y).dtype, place(of(y), i), load(px, of(x).dtype, place(of(x), i)));
    });
    return kCudnnSuccess;
  };
}

}  // namespace

detail::Cudnn fake_cudnn(FakeCudnn& state) {
  state = {};
  state.forward = {{kCudnnForwardPrecomputed, 0, 1, 64, 1, kCudnnDefaultMath, {}}};
  state.data = {{1, 0, 1, 64, 1, kCudnnDefaultMath, {}}};
  state.filter = {{1, 0, 1, 64, 1, kCudnnDefaultMath, {}}};
  fake = &state;
  Cudnn l{};
  set_descriptors(l);
  set_questions(l);
  set_convolutions(l);
  set_passes(l);
  return l;
}

}  // namespace gpunn
