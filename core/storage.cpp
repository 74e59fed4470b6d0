#include "gpunn/core/storage.h"

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/poison.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"

namespace gpunn {
namespace {

MemoryResource& resource_of(DeviceContext& context, Storage::Place place) {
  return place == Storage::Place::device ? context.memory() : context.pinned();
}

// Pinned memory of a GPU is host memory: it has statistics of its own.
bool counted(DeviceContext& context, Storage::Place place) {
  return place == Storage::Place::device || context.is_cpu();
}

void* take(DeviceContext& context, std::size_t bytes, RawStream stream, Storage::Place place, MemoryTag tag) {
  return counted(context, place) ? detail::take_memory(context, bytes, stream, tag)
                                 : context.pinned().allocate(bytes, stream);
}

void give(DeviceContext& context, void* data, std::size_t bytes, RawStream stream, Storage::Place place,
          MemoryTag tag) noexcept {
  if (counted(context, place))
    detail::give_memory(context, data, bytes, stream, tag);
  else
    context.pinned().deallocate(data, bytes, stream);
}

// Between one slice and the next nothing may be touched, where the sanitizer can see it. Not on an emulated
// device: work of the memory's last owner may still be under way there when a slice is made.
std::pair<char*, std::size_t> gap_after(const Storage& slice) {
  const bool visible = slice.context().is_cpu();
  const std::size_t end = detail::round_up(slice.bytes(), Storage::kSliceAlignment);
  return {static_cast<char*>(slice.data()) + slice.bytes(), visible ? end - slice.bytes() : 0};
}

}  // namespace

Ref<Storage> Storage::allocate(DeviceContext& context, std::size_t bytes, Place place) {
  const RawStream stream = context.is_cpu() ? context.compute_stream() : context.current_stream();
  const MemoryTag tag = current_memory_tag();
  void* const data = take(context, bytes, stream, place, tag);
  try {
    return Ref<Storage>::adopt(new Storage(context, data, bytes, stream, place, tag));
  } catch (...) {
    give(context, data, bytes, stream, place, tag);
    throw;
  }
}

Ref<Storage> Storage::slice(const Ref<Storage>& block, std::size_t offset, std::size_t bytes) {
  const std::size_t whole = block->bytes_;
  GPUNN_CHECK(offset <= whole && bytes <= whole && detail::round_up(bytes, kSliceAlignment) <= whole - offset,
              "expected a slice with its padding within ", whole, " bytes, got ", bytes, " from ", offset);
  auto* const s = new Storage(*block->context_, static_cast<char*>(block->data_) + offset, bytes,
                              block->stream_, block->place_, block->tag());
  s->block_ = block;
  const auto [gap, gap_bytes] = gap_after(*s);
  detail::poison(gap, gap_bytes);
  return Ref<Storage>::adopt(s);
}

void Storage::retag(MemoryTag tag) noexcept {
  Storage& held = block_ ? *block_ : *this;
  const MemoryTag before = held.tag_.exchange(tag, std::memory_order_relaxed);
  if (counted(*context_, place_)) detail::change_tag(*context_, held.data_, held.bytes_, before, tag);
}

void Storage::destroy() noexcept {
  if (block_) {
    if (history) context_->scheduler().forget(*this, resource_of(*context_, place_));
    const auto [gap, bytes] = gap_after(*this);
    detail::unpoison(gap, bytes);
  } else if (data_) {
    if (history) context_->scheduler().forget(*this, resource_of(*context_, place_));
    give(*context_, data_, bytes_, stream_, place_, tag());
  } else if (history) {
    context_->scheduler().forget(*this, context_->memory());
  }
  delete this;
}

}  // namespace gpunn
