#pragma once
// A memory snapshot as JSON.
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/memory_snapshot.h"

namespace gpunn {

class JsonWriter;

/// One JSON object:
/// {"device","live_bytes","peak_live_bytes","reserved_bytes","peak_reserved_bytes","allocations",
///  "deallocations","device_allocations",
///  "segments":[{"address","bytes","pages","blocks":[{"bytes","free"},...]},...],  by address; [] on the CPU
///  "tags":{"weights":{"live_bytes","peak_bytes","limit_bytes","blocks"},...},  limit_bytes null: none
///  "recorded",
///  "blocks":[{"id","bytes","tag","layer","op","stream","thread","age_seconds"},...]}  oldest first
GPUNN_API void write_snapshot(JsonWriter& json, const MemorySnapshot& snapshot);
/// The same as text, indented.
GPUNN_API std::string snapshot_json(const MemorySnapshot& snapshot);

}  // namespace gpunn
