// Copies between devices, and reading on the host.
#include "gpunn/core/copies.h"

#include <cstring>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/make_impl.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/op.h"
#include "gpunn/core/scheduler.h"
#include "gpunn/core/stream.h"

namespace gpunn {
namespace {

bool is_pinned(const Tensor& t) { return t.storage().place() == Storage::Place::pinned_host; }

/// Host memory that copies of `context` can reach, for use on its current stream.
Tensor pinned_like(const Tensor& t, DeviceContext& context) {
  return Tensor(detail::make_impl(Storage::allocate(context, t.nbytes(), Storage::Place::pinned_host),
                                  t.shape(), contiguous_strides(t.shape()), 0, t.dtype(),
                                  Layout::contiguous));
}

/// Between a contiguous pinned tensor and a contiguous tensor of `context`, on its current stream.
void transfer(DeviceContext& context, const Tensor& source, const Tensor& destination, CopyKind kind) {
  if (source.nbytes() == 0) return;
  Storage* const reads[] = {&source.storage()};
  Storage* const writes[] = {&destination.storage()};
  const RawStream stream = context.current_stream();
  Issue issue(context.scheduler(), stream, reads, writes);
  if (!issue.skipped()) context.api().copy(destination.data(), source.data(), source.nbytes(), kind, stream);
  issue.commit();
  destination.storage().bump_version();
  if (context.runtime().options().synchronous) context.api().synchronize_stream(stream);
}

// What is pinned already goes in on the copy-in stream, beside the compute stream. Other memory is staged on
// the current stream: so are weights and constants, whose memory then belongs to the stream that uses them.
Tensor to_device(const Tensor& host, DeviceContext& context) {
  const bool pinned = is_pinned(host) && &host.storage().context() == &context;
  const StreamScope scope(context, pinned ? context.copy_in_stream() : context.current_stream());
  const Tensor source = pinned ? host : host.pin_memory(Device(context));
  Tensor y = empty_on(context, source.shape(), source.dtype());
  transfer(context, source, y, CopyKind::host_to_device);
  return y;
}

Tensor to_host(const Tensor& source) {
  DeviceContext& context = source.context();
  const Tensor staged = pinned_like(source, context);
  transfer(context, source, staged, CopyKind::device_to_host);
  context.scheduler().wait_readable(staged.storage());
  Tensor y = empty_on(context.runtime().cpu(), staged.shape(), staged.dtype());
  if (y.nbytes() > 0) std::memcpy(y.data(), staged.data(), y.nbytes());
  return y;
}

Tensor to_pinned(const Tensor& source) {
  DeviceContext& context = source.context();
  const StreamScope scope(context, context.copy_out_stream());
  Tensor y = pinned_like(source, context);
  transfer(context, source, y, CopyKind::device_to_host);
  return y;
}

/// May copy_async() copy from `a` to `b`?
bool direct(const Tensor& a, const Tensor& b) {
  return is_pinned(a) != is_pinned(b) && &a.storage().context() == &b.storage().context() &&
         a.is_contiguous() && b.is_contiguous() && a.dtype() == b.dtype();
}

void copy_directly(const Tensor& destination, const Tensor& source) {
  DeviceContext& context = destination.storage().context();
  const bool in = is_pinned(source);
  const StreamScope scope(context, in ? context.copy_in_stream() : context.copy_out_stream());
  transfer(context, source, destination, in ? CopyKind::host_to_device : CopyKind::device_to_host);
}

}  // namespace

void copy_async(const Tensor& destination, const Tensor& source) {
  OpScope scope("copy_async");
  autograd::check_in_place(destination, "copy_async");
  GPUNN_CHECK(source.shape() == destination.shape(), "expected a source of shape ", destination.shape(),
              ", got ", source.shape());
  GPUNN_CHECK(
      direct(source, destination),
      "expected contiguous tensors of one dtype, one on a CUDA device and one in host memory pinned for "
      "it, got ",
      source.dtype(), " on ", source.device(), " and ", destination.dtype(), " on ", destination.device());
  copy_directly(destination, source);
}

Tensor Tensor::to(Device target, bool non_blocking) const {
  const Device here = device();
  if (here == target) return *this;
  OpScope scope("to");
  Tensor y;
  {
    NoGrad guard;
    const Tensor source = contiguous();
    if (here.is_cpu()) {
      y = to_device(source, target.context());
      if (!non_blocking && is_pinned(source))
        source.storage().context().scheduler().wait_writable(
            source.storage());  // it may be overwritten at once
    } else if (!target.is_cpu()) {
      y = to_device(to_host(source), target.context());
    } else {
      y = non_blocking ? to_pinned(source) : to_host(source);
    }
  }
  if (autograd::wanted(*this))
    autograd::record(y, "to", {this}, [here](const Backward& b) -> Gradients { return {b.grad().to(here)}; });
  return y;
}

Tensor Tensor::pin_memory(Device target) const {
  OpScope scope("pin_memory");
  GPUNN_CHECK(device().is_cpu(), "expected a host tensor, got one on ", device());
  GPUNN_CHECK(target.is_cuda(), "expected a CUDA device to pin for, got ", target);
  NoGrad guard;
  Tensor y = pinned_like(*this, target.context());
  detail::raw_copy(*this, y);
  return y;
}

void Tensor::copy_(const Tensor& source) const {
  OpScope scope("copy_");
  autograd::check_in_place(*this, "copy_");
  GPUNN_CHECK(source.shape() == shape(), "expected a source of shape ", shape(), ", got ", source.shape());
  NoGrad guard;
  if (!direct(source, *this)) return detail::raw_copy(source.to(device()), *this);
  copy_directly(*this, source);
  // The caller may overwrite the source, or read what he has an address of, at once.
  Scheduler& scheduler = storage().context().scheduler();
  if (is_pinned(source)) return scheduler.wait_writable(source.storage());
  scheduler.wait_readable(storage());
}

// ---------------------------------------------------------------- reading on the host

void* Tensor::host_data(DType wanted) const {
  GPUNN_CHECK(dtype() == wanted, "expected a tensor of ", wanted, ", got ", dtype(),
              "; convert it with .to()");
  GPUNN_CHECK(device().is_cpu(), "expected a host tensor, got one on ", device(),
              "; copy it with .to(Device::cpu())");
  Storage& s = storage();
  if (is_pinned(*this)) s.context().scheduler().wait_writable(s);
  return data();
}

void Tensor::copy_to_host(void* destination, DType wanted) const {
  if (numel() == 0) return;
  NoGrad guard;
  const Tensor t = to(wanted).to(Device::cpu()).contiguous();
  if (is_pinned(t)) t.storage().context().scheduler().wait_readable(t.storage());
  std::memcpy(destination, t.data(), t.nbytes());
}

double Tensor::item() const {
  GPUNN_CHECK(numel() == 1, "expected a tensor with one element, got shape ", shape());
  double value;
  copy_to_host(&value, DType::f64);
  return value;
}

}  // namespace gpunn
