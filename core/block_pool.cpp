#include "gpunn/core/detail/block_pool.h"

#include <algorithm>
#include <bit>
#include <memory>

namespace gpunn::detail {

// Free lists run through the blocks themselves: returning memory needs no memory.
void FreeList::insert(Block* block) noexcept {
  const std::size_t c = size_class_of(block->bytes);
  block->list_previous = nullptr;
  block->list_next = heads_[c];
  if (heads_[c]) heads_[c]->list_previous = block;
  heads_[c] = block;
  present_[c / 64] |= std::uint64_t{1} << (c % 64);
}

void FreeList::erase(Block* block) noexcept {
  const std::size_t c = size_class_of(block->bytes);
  if (block->list_next) block->list_next->list_previous = block->list_previous;
  if (block->list_previous) {
    block->list_previous->list_next = block->list_next;
  } else {
    heads_[c] = block->list_next;
    if (!heads_[c]) present_[c / 64] &= ~(std::uint64_t{1} << (c % 64));
  }
}

std::size_t FreeList::next_class(std::size_t from) const noexcept {
  for (std::size_t word = from / 64; word < kWords; ++word) {
    std::uint64_t bits = present_[word];
    if (word == from / 64) bits &= ~std::uint64_t{0} << (from % 64);
    if (bits) return word * 64 + static_cast<std::size_t>(std::countr_zero(bits));
  }
  return kSizeClasses;
}

Block* FreeList::fit(std::size_t bytes) const noexcept {
  // Blocks of the request's own class may be too small; any block of a higher one fits.
  for (std::size_t c = next_class(size_class_of(bytes)); c < kSizeClasses; c = next_class(c + 1)) {
    Block* best = nullptr;
    for (Block* b = heads_[c]; b; b = b->list_next) {
      if (b->bytes < bytes) continue;
      if (!best || b->bytes < best->bytes || (b->bytes == best->bytes && b->pointer < best->pointer))
        best = b;
    }
    if (best) return best;
  }
  return nullptr;
}

Block* FreeList::largest() const noexcept {
  for (std::size_t c = kSizeClasses; c-- > 0;) {
    Block* best = heads_[c];
    for (Block* b = best; b; b = b->list_next)
      if (b->bytes > best->bytes) best = b;
    if (best) return best;
  }
  return nullptr;
}

Block* FreeList::any() const noexcept {
  const std::size_t c = next_class(0);
  return c < kSizeClasses ? heads_[c] : nullptr;
}

BlockPool::~BlockPool() {
  for (const auto& [first, bytes] : segments_)
    for (Block* b = first; b;) delete std::exchange(b, b->next);
}

void BlockPool::add_segment(void* pointer, std::size_t bytes) {
  auto block = std::make_unique<Block>(Block{static_cast<char*>(pointer), bytes});
  FreeList& list = list_of(nullptr);
  segments_.emplace(block.get(), bytes);
  segment_bytes_ += bytes;
  block->free = true;
  list.insert(block.release());
}

Block* BlockPool::cut(Block* block, std::size_t bytes) {
  if (block->bytes > bytes) {
    auto* const rest =
        new Block{block->pointer + bytes, block->bytes - bytes, block->stream, true, block, block->next};
    list_of(block->stream).erase(block);
    if (rest->next) rest->next->previous = rest;
    block->next = rest;
    block->bytes = bytes;
    list_of(rest->stream).insert(rest);
  } else {
    list_of(block->stream).erase(block);
  }
  block->free = false;
  return block;
}

Block* BlockPool::take(std::size_t bytes, RawStream stream) {
  // Of equal fits the own block: what is anybody's stays for streams that have nothing.
  Block* best = list_of(nullptr).fit(bytes);
  Block* const own = list_of(stream).fit(bytes);
  if (own && (!best || own->bytes <= best->bytes)) best = own;
  return best ? cut(best, bytes) : nullptr;
}

Block* BlockPool::find_foreign(std::size_t bytes, RawStream stream) const noexcept {
  Block* best = nullptr;
  for (const auto& [owner, list] : free_) {
    if (owner == stream || owner == nullptr) continue;
    Block* const candidate = list.fit(bytes);
    if (!candidate) continue;
    if (!best || candidate->bytes < best->bytes ||
        (candidate->bytes == best->bytes && candidate->pointer < best->pointer))
      best = candidate;
  }
  return best;
}

void BlockPool::release_to_all(Block* block) noexcept {
  list_of(block->stream).erase(block);
  give(block, nullptr);
}

// `block` is in no list: its size changes.
void BlockPool::absorb_next(Block* block) noexcept {
  Block* const next = block->next;
  block->bytes += next->bytes;
  block->next = next->next;
  if (block->next) block->next->previous = block;
  delete next;
}

void BlockPool::give(Block* block, RawStream stream) noexcept {
  // A neighbour that is anybody's may join a stream's block, but not the other way round.
  const auto joins = [&](const Block* b) {
    return b && b->free && (b->stream == stream || b->stream == nullptr);
  };
  if (joins(block->next)) {
    list_of(block->next->stream).erase(block->next);
    absorb_next(block);
  }
  if (joins(block->previous)) {
    block = block->previous;
    list_of(block->stream).erase(block);
    absorb_next(block);
  }
  block->free = true;
  block->stream = stream;
  list_of(stream).insert(block);
}

void BlockPool::all_done() noexcept {
  // Merging may take blocks out of a list that is being emptied, so each turn asks for any that is left.
  for (auto& [owner, list] : free_) {
    if (owner == nullptr) continue;
    while (Block* block = list.any()) release_to_all(block);
  }
}

std::vector<BlockPool::Segment> BlockPool::take_free_segments() {
  std::vector<Segment> taken;
  for (auto it = segments_.begin(); it != segments_.end();) {
    Block* const block = it->first;
    if (!block->free || block->bytes != it->second || block->stream != nullptr) {
      ++it;
      continue;
    }
    taken.emplace_back(block->pointer, block->bytes);
    list_of(nullptr).erase(block);
    segment_bytes_ -= block->bytes;
    delete block;
    it = segments_.erase(it);
  }
  return taken;
}

std::size_t BlockPool::largest_free() const noexcept {
  std::size_t bytes = 0;
  for (const auto& [owner, list] : free_)
    if (const Block* block = list.largest()) bytes = std::max(bytes, block->bytes);
  return bytes;
}

std::vector<BlockPool::Segment> BlockPool::segments() const {
  std::vector<Segment> out;
  for (const auto& [first, bytes] : segments_) out.emplace_back(first->pointer, bytes);
  return out;
}

bool BlockPool::consistent() const {
  std::size_t total = 0;
  for (const auto& [first, bytes] : segments_) {
    total += bytes;
    const char* at = first->pointer;
    for (const Block* b = first; b; b = b->next) {
      if (b->pointer != at || b->bytes == 0 || (b->next && b->next->previous != b)) return false;
      const bool both_free = b->free && b->next && b->next->free;
      if (both_free && b->stream == b->next->stream) return false;
      at += b->bytes;
    }
    if (at != first->pointer + bytes) return false;
  }
  return total == segment_bytes_;
}

}  // namespace gpunn::detail
