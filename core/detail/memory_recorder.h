#pragma once
// What is known of each live block while somebody records: size, tag, layer, op.
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "gpunn/core/detail/trace_file.h"
#include "gpunn/core/memory_snapshot.h"
#include "gpunn/core/memory_usage.h"

namespace gpunn::detail {

/// Of one device; lives as long as its MemoryUsage, whoever records. Thread-safe. A block that no memory is
/// left to note is missing from the records, nothing worse.
class MemoryRecorder {
 public:
  explicit MemoryRecorder(MemoryUsage& usage) noexcept : usage_(usage) {}

  /// Recording goes on until each start() has met its stop(). `file` may be null.
  void start(const std::string& device, std::shared_ptr<TraceFile> file);
  void stop(const std::shared_ptr<TraceFile>& file) noexcept;

  void allocated(const void* pointer, std::size_t bytes, MemoryTag tag, RawStream stream) noexcept;
  void freed(const void* pointer) noexcept;
  void retagged(const void* pointer, MemoryTag tag) noexcept;

  /// Oldest first.
  std::vector<BlockRecord> blocks() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Block {
    BlockRecord record;
    Clock::time_point made;
  };
  int number_of(RawStream stream);
  void write(const char* event, const BlockRecord& block);

  MemoryUsage& usage_;
  mutable std::mutex mutex_;
  std::unordered_map<const void*, Block> blocks_;
  std::vector<RawStream> streams_;
  std::vector<std::shared_ptr<TraceFile>> files_;  // one for each start() that named it
  std::string device_, line_;
  int users_ = 0;
};

}  // namespace gpunn::detail
