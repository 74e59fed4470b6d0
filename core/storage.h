#pragma once
// Storage: one block of memory, with what the scheduler and autograd need to know about its contents.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "gpunn/core/api.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/memory_tag.h"

namespace gpunn {

class DeviceContext;

/// Reference to an object that counts its own references (`retain`, `release`).
template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) noexcept {}
  /// Takes over one reference that the caller owns.
  static Ref adopt(T* p) noexcept {
    Ref r;
    r.p_ = p;
    return r;
  }
  /// Adds a reference.
  static Ref share(T* p) noexcept {
    if (p) p->retain();
    return adopt(p);
  }
  Ref(const Ref& o) noexcept : p_(o.p_) {
    if (p_) p_->retain();
  }
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) p_->release();
  }
  T* get() const noexcept { return p_; }
  T* operator->() const noexcept { return p_; }
  T& operator*() const noexcept { return *p_; }
  explicit operator bool() const noexcept { return p_ != nullptr; }
  bool operator==(const Ref& o) const noexcept { return p_ == o.p_; }

 private:
  T* p_ = nullptr;
};

/// Dependencies of one storage, kept by the Scheduler of its device (null until a stream touches it).
struct AccessHistory;

class GPUNN_API Storage {
 public:
  /// Where the bytes live: memory of the device, or host memory that its copies can reach (pinned).
  enum class Place : std::uint8_t { device, pinned_host };

  /// Fresh, uninitialised memory from the context's allocator, held for the calling thread's memory tag.
  /// Throws OutOfMemory.
  static Ref<Storage> allocate(DeviceContext& context, std::size_t bytes, Place place = Place::device);
  /// A part of `block`, padded to kSliceAlignment, with dependencies and versions of its own. Parts must not
  /// overlap, and nobody may use the block itself. Its memory goes back when the last part dies, for use
  /// after the work on all of them. Throws InvalidArgument for a range outside the block.
  static Ref<Storage> slice(const Ref<Storage>& block, std::size_t offset, std::size_t bytes);
  static constexpr std::size_t kSliceAlignment = 256;

  void* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }
  DeviceContext& context() const noexcept { return *context_; }
  Place place() const noexcept { return place_; }
  /// The stream it was allocated on and is returned on.
  RawStream stream() const noexcept { return stream_; }
  /// The storage whose memory this is a part of, or itself: what the allocator knows.
  const Storage& owner() const noexcept { return block_ ? *block_ : *this; }
  /// Counts writes; a saved tensor whose storage moved on is an error in backward.
  std::uint32_t version() const noexcept { return version_.load(std::memory_order_relaxed); }
  void bump_version() noexcept { version_.fetch_add(1, std::memory_order_relaxed); }

  /// What the memory is held for; of a slice, what its block is.
  MemoryTag tag() const noexcept { return owner().tag_.load(std::memory_order_relaxed); }
  /// From now on it is held for `tag`.
  void retag(MemoryTag tag) noexcept;

  /// Is there only one reference?
  bool exclusive() const noexcept { return references_.load(std::memory_order_acquire) == 1; }
  void retain() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }
  void release() noexcept {
    if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy();
  }

  AccessHistory* history = nullptr;  // owned by the scheduler, guarded by its lock

 private:
  Storage(DeviceContext& context, void* data, std::size_t bytes, RawStream stream, Place place,
          MemoryTag tag) noexcept
      : data_(data), bytes_(bytes), context_(&context), stream_(stream), place_(place), tag_(tag) {}
  ~Storage() = default;
  void destroy() noexcept;

  void* data_;
  std::size_t bytes_;
  DeviceContext* context_;
  RawStream stream_;
  Ref<Storage> block_;  // of a slice
  std::atomic<std::uint32_t> references_{1};
  std::atomic<std::uint32_t> version_{0};
  Place place_;
  std::atomic<MemoryTag> tag_;
};

}  // namespace gpunn
