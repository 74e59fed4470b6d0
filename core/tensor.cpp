#include "gpunn/core/tensor.h"

#include <algorithm>
#include <cstring>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/make_impl.h"
#include "gpunn/core/op.h"
#include "gpunn/core/primitives_impl.h"
#include "gpunn/core/scheduler.h"

namespace gpunn {

TensorImpl::TensorImpl() = default;

namespace detail {

Ref<TensorImpl> make_impl(Ref<Storage> storage, const Shape& shape, const Strides& strides,
                          std::int64_t offset, DType dtype, Layout layout) {
  auto impl = Ref<TensorImpl>::adopt(new TensorImpl);
  impl->storage = std::move(storage);
  impl->shape = shape;
  impl->strides = strides;
  impl->offset = offset;
  impl->dtype = dtype;
  impl->layout = layout;
  return impl;
}

void raw_copy(const Tensor& source, const Tensor& destination) {
  if (source.numel() == 0) return;
  CopyProblem p = copy_problem(source, destination);
  execute(kCopy, p, {&source}, {&destination});
}

}  // namespace detail

void Tensor::undefined() { detail::throw_invalid("expected a tensor, got an undefined one"); }

DeviceContext& Tensor::host_context(const Storage& pinned) { return pinned.context().runtime().cpu(); }

// ---------------------------------------------------------------- factories

Tensor empty_on(DeviceContext& context, const Shape& shape, DType dtype) {
  const std::size_t bytes = checked_bytes(shape, dtype);
  return Tensor(detail::make_impl(Storage::allocate(context, bytes), shape, contiguous_strides(shape), 0,
                                  dtype, Layout::contiguous));
}

Tensor empty_on(DeviceContext& context, const Shape& shape, DType dtype, Layout layout) {
  if (layout == Layout::contiguous) return empty_on(context, shape, dtype);
  const std::size_t bytes = checked_bytes(shape, dtype);
  return Tensor(detail::make_impl(Storage::allocate(context, bytes), shape, channels_last_strides(shape), 0,
                                  dtype, layout));
}

Tensor empty(const Shape& shape, TensorOptions options) {
  Tensor t = empty_on((options.device ? *options.device : default_device()).context(), shape, options.dtype);
  if (options.requires_grad) t.requires_grad_();
  return t;
}

Tensor full(const Shape& shape, double value, TensorOptions options) {
  const bool grad = std::exchange(options.requires_grad, false);
  Tensor t = empty(shape, options);
  t.fill_(value);
  if (grad) t.requires_grad_();
  return t;
}

Tensor zeros(const Shape& shape, TensorOptions options) { return full(shape, 0, options); }
Tensor ones(const Shape& shape, TensorOptions options) { return full(shape, 1, options); }

Tensor empty_like(const Tensor& like) { return empty_on(like.context(), like.shape(), like.dtype()); }

Tensor zeros_like(const Tensor& like) {
  Tensor t = empty_like(like);
  t.zero_();
  return t;
}

Tensor ones_like(const Tensor& like) {
  Tensor t = empty_like(like);
  t.fill_(1);
  return t;
}

Tensor Tensor::from_host(const void* values, std::int64_t count, DType dtype, const Shape& shape,
                         const TensorOptions& options) {
  GPUNN_CHECK(shape.numel() == count, "expected ", shape.numel(), " values for shape ", shape, ", got ",
              count);
  Tensor host = empty_on(Device::cpu().context(), shape, dtype);
  if (count > 0) std::memcpy(host.data(), values, host.nbytes());
  Tensor t = host.to(options.device ? *options.device : default_device());
  if (options.requires_grad) t.requires_grad_();
  return t;
}

Tensor Tensor::from(std::initializer_list<float> values) {
  return from(std::span<const float>(values.begin(), values.size()),
              {static_cast<std::int64_t>(values.size())});
}

Tensor Tensor::from(std::initializer_list<std::initializer_list<float>> rows) {
  std::vector<float> values;
  const std::size_t columns = rows.size() ? rows.begin()->size() : 0;
  for (const auto& row : rows) {
    GPUNN_CHECK(row.size() == columns, "expected rows of ", columns, " values, got one of ", row.size());
    values.insert(values.end(), row.begin(), row.end());
  }
  return from(values, {static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(columns)});
}

namespace {

/// f32 values on the CPU, `draw(bits)` of four numbers per Philox block, then moved to where they are wanted.
template <class Draw>
Tensor random(const Shape& shape, TensorOptions options, Draw draw) {
  const bool grad = std::exchange(options.requires_grad, false);
  Runtime& runtime = Runtime::current();
  Tensor host = empty_on(runtime.cpu(), shape, DType::f32);
  const std::int64_t n = host.numel(), blocks = (n + 3) / 4;
  const std::uint64_t first = runtime.generator().reserve(static_cast<std::uint64_t>(blocks));
  const std::uint64_t seed = runtime.generator().seed();
  float* y = static_cast<float*>(host.data());
  parallel_for(runtime.pool(), blocks, 1 << 12, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t b = begin; b < end; ++b) {
      float four[4];
      draw(philox_at(seed, first + static_cast<std::uint64_t>(b)), four);
      std::memcpy(y + b * 4, four,
                  static_cast<std::size_t>(std::min<std::int64_t>(4, n - b * 4)) * sizeof(float));
    }
  });
  Tensor t = host.to(options.dtype).to(options.device ? *options.device : default_device());
  if (grad) t.requires_grad_();
  return t;
}

}  // namespace

Tensor rand(const Shape& shape, TensorOptions options) {
  return random(shape, options, [](const Philox4& r, float* y) {
    for (int i = 0; i < 4; ++i) y[i] = philox_uniform(r.v[i]);
  });
}

Tensor randn(const Shape& shape, TensorOptions options) {
  return random(shape, options, [](const Philox4& r, float* y) {
    for (int i = 0; i < 4; i += 2) philox_normal(r.v[i], r.v[i + 1], y[i], y[i + 1]);
  });
}

// ---------------------------------------------------------------- copies on one device

Tensor Tensor::to(DType target) const {
  if (dtype() == target) return *this;
  OpScope scope("to");
  Tensor y = empty_on(context(), shape(), target);
  detail::raw_copy(*this, y);
  if (is_floating(dtype()) && is_floating(target) && autograd::wanted(*this))
    autograd::record(y, "to", {this},
                     [from = dtype()](const Backward& b) -> Gradients { return {b.grad().to(from)}; });
  return y;
}

Tensor Tensor::clone() const {
  OpScope scope("clone");
  Tensor y = empty_on(context(), shape(), dtype());
  detail::raw_copy(*this, y);
  if (autograd::wanted(*this))
    autograd::record(y, "clone", {this}, [](const Backward& b) -> Gradients { return {b.grad()}; });
  return y;
}

Tensor Tensor::contiguous(Layout wanted) const {
  if (layout() == wanted && wanted != Layout::strided) return *this;
  if (wanted == Layout::contiguous) return clone();
  OpScope scope("contiguous");
  GPUNN_CHECK(wanted == Layout::channels_last, "expected a layout without gaps, got strided");
  GPUNN_CHECK(dim() == 4, "expected a tensor [N, C, H, W] for channels-last, got ", shape());
  Tensor y = empty_on(context(), shape(), dtype(), wanted);
  detail::raw_copy(*this, y);
  if (autograd::wanted(*this))
    autograd::record(y, "contiguous", {this}, [](const Backward& b) -> Gradients { return {b.grad()}; });
  return y;
}

void Tensor::fill_(double value) const {
  OpScope scope("fill_");
  autograd::check_in_place(*this, "fill_");
  if (numel() == 0) return;
  FillProblem p = detail::fill_problem(*this, value);
  if (!detail::covers_storage(*this)) return execute(kFill, p, {this}, {this});
  Overwrite whole(storage());
  Storage* const writes[] = {&storage()};
  execute(kFill, p, context(), {}, writes);
  whole.done();
}

namespace detail {

Tensor raw_add(const Tensor& a, const Tensor& b) {
  GPUNN_CHECK(a.shape() == b.shape() && a.dtype() == b.dtype(), "expected gradients alike, got ", a.shape(),
              " of ", a.dtype(), " and ", b.shape(), " of ", b.dtype());
  NoGrad guard;
  const bool last = a.layout() == Layout::channels_last && b.layout() == Layout::channels_last;
  const Layout layout = last ? Layout::channels_last : Layout::contiguous;
  const Tensor left = a.contiguous(layout), right = b.contiguous(layout);
  Tensor y = empty_on(left.context(), left.shape(), left.dtype(), layout);
  if (y.numel() == 0) return y;
  AddProblem p{a.dtype(), left.data(), right.data(), y.data(), y.numel()};
  execute(kAdd, p, {&left, &right}, {&y});
  return y;
}

void raw_add_(const Tensor& a, const Tensor& b) {
  GPUNN_CHECK(a.is_contiguous() && a.shape() == b.shape() && a.dtype() == b.dtype(),
              "expected gradients alike");
  if (a.numel() == 0) return;
  NoGrad guard;
  const Tensor right = b.contiguous();
  AddProblem p{a.dtype(), a.data(), right.data(), a.data(), a.numel()};
  execute(kAdd, p, {&a, &right}, {&a});
}

}  // namespace detail

std::string to_string(const Tensor& t) {
  if (!t.defined()) return "Tensor(undefined)";
  std::string out = detail::concat("Tensor(", t.shape(), ", ", t.dtype(), ", ", t.device());
  constexpr std::int64_t kShown = 64;
  const auto values = t.numel() <= kShown ? t.to_vector<double>() : std::vector<double>();
  for (std::size_t i = 0; i < values.size(); ++i) out += (i ? ", " : ": ") + detail::concat(values[i]);
  return out + (t.numel() > kShown ? ": …)" : ")");
}

}  // namespace gpunn
