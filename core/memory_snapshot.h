#pragma once
// A device's memory at one moment, for people and programs that look for who holds it. io/memory_json.h
// writes it as JSON.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"

namespace gpunn {

/// A live block that was made while somebody recorded.
struct BlockRecord {
  std::uint64_t id = 0;   // older blocks have smaller ones
  std::size_t bytes = 0;  // as requested
  MemoryTag tag = MemoryTag::activations;
  std::string layer{};  // module path at the time, "" outside modules
  const char* op = "";  // outermost op, "" outside ops
  int stream = 0;       // in the order in which the device's streams appeared
  int thread = 0;
  double age_seconds = 0;
};

struct MemorySnapshot {
  std::string device{};
  MemoryStats stats{};
  std::vector<MemorySegment> segments{};     // empty on the CPU
  std::array<TagUsage, kMemoryTags> tags{};  // in the order of MemoryTag
  bool recorded = false;                     // are there records of blocks?
  std::vector<BlockRecord> blocks{};         // oldest first
};

/// The figures are read one after the other: they agree with each other when no allocation is under way.
GPUNN_API MemorySnapshot memory_snapshot(Device device);

/// Bytes of `blocks` by layer, most first.
struct LayerBytes {
  std::string layer{};
  std::size_t bytes = 0;
  std::size_t blocks = 0;
};
GPUNN_API std::vector<LayerBytes> bytes_by_layer(const std::vector<BlockRecord>& blocks);

}  // namespace gpunn
