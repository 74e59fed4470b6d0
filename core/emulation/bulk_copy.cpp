// The copy engine: cp.async.bulk and cp.async.bulk.tensor (TMA) from global to shared memory.

#include <algorithm>
#include <cstring>

#include "gpunn/core/emulation/engine.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

constexpr std::uint32_t kChunk = 16;  // bytes that a swizzle moves as one

// A swizzle works on absolute shared addresses: the chunk's index is combined with that of its 128-byte row.
std::uint32_t swizzled(std::uint32_t address, Swizzle swizzle) {
  static constexpr std::uint32_t kRowBits[] = {0, 1, 3, 7};
  return address ^ ((address >> 7) & kRowBits[static_cast<std::uint32_t>(swizzle)]) << 4;
}

// One chunk of the box at `index`; what lies outside the tensor is zero.
void load_chunk(const BulkCopy& copy, const std::array<std::uint32_t, 5>& index, char* chunk) {
  const TensorMap& map = copy.map;
  std::memset(chunk, 0, kChunk);
  std::uint64_t address = map.base;
  for (std::uint32_t d = 1; d < map.rank; ++d) {
    const std::int64_t position = std::int64_t{copy.coordinates[d]} + index[d];
    if (position < 0 || static_cast<std::uint64_t>(position) >= map.size[d]) return;
    address += static_cast<std::uint64_t>(position) * map.stride[d];
  }
  for (std::uint32_t i = 0; i * map.element_bytes < kChunk; ++i) {
    const std::int64_t position = std::int64_t{copy.coordinates[0]} + index[0] + i;
    if (position < 0 || static_cast<std::uint64_t>(position) >= map.size[0]) continue;
    const char* element = reinterpret_cast<const char*>(address) + position * map.element_bytes;
    note_read(element, map.element_bytes);
    std::memcpy(chunk + i * map.element_bytes, element, map.element_bytes);
  }
}

void load_box(const BulkCopy& copy) {
  const TensorMap& map = copy.map;
  std::array<std::uint32_t, 5> box{1, 1, 1, 1, 1}, index{};
  for (std::uint32_t d = 0; d < map.rank; ++d) box[d] = map.box[d];
  const std::uint32_t start = shared_offset(copy.shared), step = kChunk / map.element_bytes;
  for (std::uint32_t offset = 0; offset < copy.bytes; offset += kChunk) {
    char chunk[kChunk];
    load_chunk(copy, index, chunk);
    char* to = context.arena + swizzled(start + offset, map.swizzle);
    note_write(to, kChunk);
    std::memcpy(to, chunk, kChunk);
    index[0] += step;
    for (std::uint32_t d = 0; d + 1 < 5 && index[d] >= box[d]; ++d) {
      index[d] = 0;
      ++index[d + 1];
    }
  }
}

void perform(const BulkCopy& copy) {
  const EngineScope engine(Engine::copy);
  edge_acquire(copy.barrier);
  if (copy.global != nullptr) {
    note_read(copy.global, copy.bytes);
    note_write(copy.shared, copy.bytes);
    std::memcpy(copy.shared, copy.global, copy.bytes);
  } else {
    load_box(copy);
  }
  edge_release(copy.barrier);
  edge_release(&context.worker->async_edge);
}

void submit(const BulkCopy& copy) {
  Worker& worker = *context.worker;
  if (context.fast) worker.leave_fast_path();
  edge_release(copy.barrier);
  if (worker.settings.async == Async::early) {
    perform(copy);
    complete_transactions(copy.barrier, copy.bytes);
    return;
  }
  const TsanQuiet quiet;
  worker.bulk_copies.push_back(copy);
}

}  // namespace

void Worker::progress_bulk_copies() {
  const std::size_t which = settings.async == Async::random ? random() % bulk_copies.size() : 0;
  BulkCopy copy;
  {
    const TsanQuiet quiet;
    copy = bulk_copies[which];
    bulk_copies.erase(bulk_copies.begin() + static_cast<std::ptrdiff_t>(which));
  }
  perform(copy);
  complete_transactions(copy.barrier, copy.bytes);
}

void bulk_copy_to_shared(void* shared, const void* global, std::uint32_t bytes, std::uint64_t* barrier) {
  if (shared_offset(shared) % kChunk != 0 || bytes % kChunk != 0 ||
      reinterpret_cast<std::uintptr_t>(global) % kChunk != 0)
    context.worker->fail("cp.async.bulk needs addresses and a size that are multiples of 16 bytes");
  submit({shared, global, bytes, barrier, {}, {}});
}

void tma_load(void* shared, const TensorMap& map, const int* coordinates, std::uint64_t* barrier) {
  Worker& worker = *context.worker;
  if (map.rank == 0 || map.rank > 5 || map.element_bytes == 0)
    worker.fail("TMA load through an invalid tensor map");
  std::uint32_t bytes = map.element_bytes;
  BulkCopy copy{shared, nullptr, 0, barrier, map, {}};
  for (std::uint32_t d = 0; d < map.rank; ++d) {
    bytes *= map.box[d];
    copy.coordinates[d] = coordinates[d];
  }
  copy.bytes = bytes;
  if (map.box[0] * map.element_bytes % kChunk != 0)
    worker.fail("TMA box whose rows are not a multiple of 16 bytes");
  // 256, 512 and 1024 bytes keep the descriptor's base offset zero.
  const std::uint32_t alignment = 128u << static_cast<std::uint32_t>(map.swizzle);
  if (shared_offset(shared) % alignment != 0) worker.fail("TMA destination is not aligned for its swizzle");
  submit(copy);
}

}  // namespace gpunn::emu
