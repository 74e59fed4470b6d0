#include <algorithm>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"

namespace gpunn {

MemoryResource::~MemoryResource() = default;
void MemoryResource::check() {}
std::vector<MemorySegment> MemoryResource::segments() const { return {}; }

namespace {

class DirectResource final : public MemoryResource {
 public:
  DirectResource(DeviceApi& api, bool host) : api_(api), host_(host) {}

  ~DirectResource() override {
    for (const auto& [pointer, block] : blocks_) give(pointer, block.bytes);
  }

  void* allocate(std::size_t bytes, RawStream) override {
    if (bytes == 0) return nullptr;
    std::lock_guard lock(mutex_);
    void* pointer = host_ ? api_.allocate_host(bytes) : api_.allocate(bytes);
    try {
      blocks_[pointer].bytes = bytes;
    } catch (...) {
      give(pointer, bytes);
      throw;
    }
    ++stats_.allocations;
    ++stats_.device_allocations;
    stats_.live_bytes = stats_.reserved_bytes += bytes;
    reach_peaks();
    return pointer;
  }

  void deallocate(void* pointer, std::size_t bytes, RawStream stream) noexcept override {
    if (!pointer) return;
    std::lock_guard lock(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end()) return;
    wait(stream);
    for (RawStream user : found->second.users) wait(user);
    blocks_.erase(found);
    give(pointer, bytes);
    ++stats_.deallocations;
    stats_.live_bytes = stats_.reserved_bytes -= bytes;
  }

  void record_use(void* pointer, RawStream stream) override {
    std::lock_guard lock(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end()) return;
    auto& users = found->second.users;
    if (std::find(users.begin(), users.end(), stream) == users.end()) users.push_back(stream);
  }

  std::size_t trim() override { return 0; }

  MemoryStats stats() const override {
    std::lock_guard lock(mutex_);
    return stats_;
  }

  void reset_peaks() override {
    std::lock_guard lock(mutex_);
    stats_.peak_live_bytes = stats_.live_bytes;
    stats_.peak_reserved_bytes = stats_.reserved_bytes;
  }

 private:
  struct Block {
    std::size_t bytes = 0;
    std::vector<RawStream> users;  // besides the stream it is returned on
  };

  void give(void* pointer, std::size_t bytes) noexcept {
    if (host_) {
      api_.deallocate_host(pointer, bytes);
    } else {
      api_.deallocate(pointer, bytes);
    }
  }
  void wait(RawStream stream) noexcept {
    try {
      api_.synchronize_stream(stream);
    } catch (...) {
      // The device failed: nothing runs there any more, and its owner hears of it at the next call.
    }
  }
  void reach_peaks() noexcept {
    stats_.peak_live_bytes = std::max(stats_.peak_live_bytes, stats_.live_bytes);
    stats_.peak_reserved_bytes = std::max(stats_.peak_reserved_bytes, stats_.reserved_bytes);
  }

  DeviceApi& api_;
  const bool host_;
  mutable std::mutex mutex_;
  std::unordered_map<void*, Block> blocks_;
  MemoryStats stats_;
};

}  // namespace

std::unique_ptr<MemoryResource> make_direct_resource(DeviceApi& api, bool host) {
  return std::make_unique<DirectResource>(api, host);
}

}  // namespace gpunn
