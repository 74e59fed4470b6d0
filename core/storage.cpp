#include "gpunn/core/storage.h"

#include "gpunn/core/memory.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"

namespace gpunn {
namespace {

MemoryResource& resource_of(DeviceContext& context, Storage::Place place) {
  return place == Storage::Place::device ? context.memory() : context.pinned();
}

}  // namespace

Ref<Storage> Storage::allocate(DeviceContext& context, std::size_t bytes, Place place) {
  const RawStream stream = context.is_cpu() ? context.compute_stream() : context.current_stream();
  MemoryResource& resource = resource_of(context, place);
  void* const data = resource.allocate(bytes, stream);
  try {
    return Ref<Storage>::adopt(new Storage(context, data, bytes, stream, place));
  } catch (...) {
    resource.deallocate(data, bytes, stream);
    throw;
  }
}

void Storage::destroy() noexcept {
  if (data_) {
    MemoryResource& resource = resource_of(*context_, place_);
    if (history) context_->scheduler().forget(*this, resource);
    resource.deallocate(data_, bytes_, stream_);
  } else if (history) {
    context_->scheduler().forget(*this, context_->memory());
  }
  delete this;
}

}  // namespace gpunn
