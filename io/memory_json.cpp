#include "gpunn/io/memory_json.h"

#include "gpunn/io/json_writer.h"

namespace gpunn {

namespace {

void write_stats(JsonWriter& json, const MemoryStats& s) {
  json.field("live_bytes", s.live_bytes).field("peak_live_bytes", s.peak_live_bytes);
  json.field("reserved_bytes", s.reserved_bytes).field("peak_reserved_bytes", s.peak_reserved_bytes);
  json.field("allocations", s.allocations).field("deallocations", s.deallocations);
  json.field("device_allocations", s.device_allocations);
}

void write_tag(JsonWriter& json, const TagUsage& use) {
  json.begin_object().field("live_bytes", use.live_bytes).field("peak_bytes", use.peak_bytes);
  if (use.limit_bytes > 0)
    json.field("limit_bytes", use.limit_bytes);
  else
    json.field("limit_bytes", nullptr);
  json.field("blocks", use.blocks).end_object();
}

void write_segment(JsonWriter& json, const MemorySegment& s) {
  json.begin_object().field("address", static_cast<std::uint64_t>(s.address)).field("bytes", s.bytes);
  json.field("pages", s.pages).key("blocks").begin_array();
  for (const MemorySegment::Block& b : s.blocks)
    json.begin_object().field("bytes", b.bytes).field("free", b.free).end_object();
  json.end_array().end_object();
}

void write_block(JsonWriter& json, const BlockRecord& b) {
  json.begin_object().field("id", b.id).field("bytes", b.bytes).field("tag", name_of(b.tag));
  json.field("layer", b.layer).field("op", b.op).field("stream", b.stream).field("thread", b.thread);
  json.field("age_seconds", b.age_seconds).end_object();
}

}  // namespace

void write_snapshot(JsonWriter& json, const MemorySnapshot& snapshot) {
  json.begin_object().field("device", snapshot.device);
  write_stats(json, snapshot.stats);
  json.key("segments").begin_array();
  for (const MemorySegment& segment : snapshot.segments) write_segment(json, segment);
  json.end_array().key("tags").begin_object();
  for (int i = 0; i < kMemoryTags; ++i) {
    json.key(name_of(static_cast<MemoryTag>(i)));
    write_tag(json, snapshot.tags[static_cast<std::size_t>(i)]);
  }
  json.end_object().field("recorded", snapshot.recorded);
  json.key("blocks").begin_array();
  for (const BlockRecord& block : snapshot.blocks) write_block(json, block);
  json.end_array().end_object();
}

std::string snapshot_json(const MemorySnapshot& snapshot) {
  JsonWriter json(2);
  write_snapshot(json, snapshot);
  return json.take();
}

}  // namespace gpunn
