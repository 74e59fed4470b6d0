#include "gpunn/core/detail/block_pool.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "gpunn/core/detail/bytes.h"

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

bool FreeList::empty() const noexcept { return next_class(0) == kSizeClasses; }

BlockPool::~BlockPool() {
  const auto drop = [](Block* first) {
    for (Block* b = first; b;) delete std::exchange(b, b->next);
  };
  for (const auto& [first, bytes] : segments_) drop(first);
  drop(range_);
  while (spare_) delete std::exchange(spare_, spare_->list_next);
}

FreeList& BlockPool::list_of(RawStream stream) { return stream ? free_[stream] : anyones_; }

void BlockPool::reserve_nodes(std::size_t count) {
  for (; spares_ < count; ++spares_) {
    auto* const node = new Block;
    node->list_next = spare_;
    spare_ = node;
  }
}

// reserve_nodes() came before.
Block* BlockPool::take_node() noexcept {
  Block* const node = spare_;
  spare_ = node->list_next;
  --spares_;
  *node = {};
  return node;
}

void BlockPool::give_node(Block* block) noexcept {
  block->list_next = spare_;
  spare_ = block;
  ++spares_;
}

void BlockPool::add_segment(void* pointer, std::size_t bytes) {
  reserve_nodes(1);
  segments_.emplace(spare_, bytes);
  Block* const block = take_node();
  block->pointer = static_cast<char*>(pointer);
  block->bytes = bytes;
  held_bytes_ += bytes;
  block->free = true;
  anyones_.insert(block);
}

// Cuts a block that is in no list: the rest, which gets the same state, follows it.
Block* BlockPool::split(Block* block, std::size_t bytes) noexcept {
  Block* const rest = take_node();
  *rest = *block;
  rest->pointer += bytes;
  rest->bytes -= bytes;
  rest->previous = block;
  if (rest->next) rest->next->previous = rest;
  block->next = rest;
  block->bytes = bytes;
  return rest;
}

Block* BlockPool::cut(Block* block, std::size_t bytes) {
  reserve_nodes(1);
  FreeList& list = list_of(block->stream);
  list.erase(block);
  if (block->bytes > bytes) list.insert(split(block, bytes));
  block->free = false;
  return block;
}

Block* BlockPool::take(std::size_t bytes, RawStream stream) {
  // Of equal fits the own block: what is anybody's stays for streams that have nothing.
  Block* best = anyones_.fit(bytes);
  if (stream) {
    Block* const own = list_of(stream).fit(bytes);
    if (own && (!best || own->bytes <= best->bytes)) best = own;
  }
  return best ? cut(best, bytes) : nullptr;
}

Block* BlockPool::find_foreign(std::size_t bytes, RawStream stream) const noexcept {
  Block* best = nullptr;
  for (const auto& [owner, list] : free_) {
    if (owner == stream) continue;
    Block* const candidate = list.fit(bytes);
    if (!candidate) continue;
    if (!best || candidate->bytes < best->bytes ||
        (candidate->bytes == best->bytes && candidate->pointer < best->pointer))
      best = candidate;
  }
  return best;
}

// `block` is in no list: its size changes.
void BlockPool::absorb_next(Block* block) noexcept {
  Block* const next = block->next;
  block->bytes += next->bytes;
  block->since = std::max(block->since, next->since);
  block->next = next->next;
  if (block->next) block->next->previous = block;
  give_node(next);
}

void BlockPool::give(Block* block, RawStream stream, std::uint64_t since) noexcept {
  // A neighbour that is anybody's may join a stream's block, but not the other way round.
  const auto joins = [&](const Block* b) {
    return b && b->free && b->mapped && (b->stream == stream || b->stream == nullptr);
  };
  block->since = since;
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

bool BlockPool::release_to_all(RawStream stream, std::uint64_t since) {
  const auto found = free_.find(stream);
  if (found == free_.end()) return false;
  std::vector<Block*> done;
  found->second.for_each([&](Block* b) {
    if (b->since <= since) done.push_back(b);
  });
  // Merging takes blocks out of anybody's list only, hence none of these but the one that is given.
  for (Block* block : done) {
    found->second.erase(block);
    give(block, nullptr);
  }
  return !done.empty();
}

std::vector<RawStream> BlockPool::owners() const {
  std::vector<RawStream> out;
  for (const auto& [stream, list] : free_)
    if (!list.empty()) out.push_back(stream);
  return out;
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
    anyones_.erase(block);
    held_bytes_ -= block->bytes;
    give_node(block);
    it = segments_.erase(it);
  }
  return taken;
}

void BlockPool::set_range(void* base, std::size_t bytes, std::size_t page_bytes) {
  reserve_nodes(1);
  range_ = take_node();
  range_->pointer = static_cast<char*>(base);
  range_->bytes = range_bytes_ = bytes;
  range_->free = range_->paged = true;
  range_->mapped = false;
  page_bytes_ = page_bytes;
  unmapped_.insert(range_);
}

std::optional<BlockPool::Growth> BlockPool::plan_growth(std::size_t bytes, RawStream stream) const noexcept {
  std::optional<Growth> best;
  const auto bytes_of = [&](const Block* b) {
    return b && b->free && b->mapped && (b->stream == stream || b->stream == nullptr) ? b->bytes : 0;
  };
  // `beside`: free bytes at the end from which pages are mapped; the other end counts once all are.
  const auto consider = [&](Block* hole, std::size_t beside, bool downwards) {
    const std::size_t needed = std::min(round_up(bytes - std::min(beside, bytes), page_bytes_), hole->bytes);
    char* const at = downwards ? hole->pointer + (hole->bytes - needed) : hole->pointer;
    if (needed > 0 &&
        (!best || needed < best->bytes || (needed == best->bytes && hole->bytes < best->block->bytes)))
      best = Growth{hole, at, needed};
  };
  unmapped_.for_each([&](Block* hole) {
    const std::size_t before = bytes_of(hole->previous), after = bytes_of(hole->next);
    if (before + hole->bytes + after < bytes) return;
    consider(hole, before, false);
    consider(hole, after, true);
  });
  return best;
}

void BlockPool::map(const Growth& growth, RawStream stream) noexcept {
  Block* block = growth.block;
  unmapped_.erase(block);
  const auto before = static_cast<std::size_t>(growth.at - block->pointer);
  if (before > 0) {
    Block* const rest = split(block, before);
    unmapped_.insert(block);
    block = rest;
  }
  if (block->bytes > growth.bytes) unmapped_.insert(split(block, growth.bytes));
  block->mapped = true;
  held_bytes_ += growth.bytes;
  // Fresh memory is anybody's, unless it completes a block of the stream that asked.
  const auto owned = [&](const Block* b) {
    return b && b->free && b->mapped && stream && b->stream == stream;
  };
  const bool joins = owned(block->previous) || owned(block->next);
  give(block, joins ? stream : nullptr);
}

// `block` is free, in no list and made of whole pages.
void BlockPool::unmap(Block* block) noexcept {
  held_bytes_ -= block->bytes;
  block->mapped = false;
  block->stream = nullptr;
  const auto joins = [](const Block* b) { return b && b->free && !b->mapped; };
  if (joins(block->next)) {
    unmapped_.erase(block->next);
    absorb_next(block);
  }
  if (joins(block->previous)) {
    block = block->previous;
    unmapped_.erase(block);
    absorb_next(block);
  }
  unmapped_.insert(block);
}

// Offsets in the range; the end is below the start when the block covers no page.
std::pair<std::size_t, std::size_t> BlockPool::whole_pages(const Block& block) const noexcept {
  const auto offset_of = [&](const char* p) { return static_cast<std::size_t>(p - range_->pointer); };
  return {round_up(offset_of(block.pointer), page_bytes_),
          offset_of(block.pointer + block.bytes) / page_bytes_ * page_bytes_};
}

std::vector<BlockPool::Segment> BlockPool::take_free_pages(std::size_t bytes, const Block* spared) {
  std::vector<Segment> taken;
  if (!range_) return taken;
  std::vector<std::pair<Block*, Segment>> found;
  std::size_t total = 0;
  anyones_.for_each([&](Block* b) {
    if (total >= bytes || !b->paged || (spared && (b == spared->previous || b == spared->next))) return;
    const auto [first, end] = whole_pages(*b);
    if (first >= end) return;
    const std::size_t part = std::min(end - first, round_up(bytes - total, page_bytes_));
    found.emplace_back(b, Segment(range_->pointer + (end - part), part));
    total += part;
  });
  reserve_nodes(2 * found.size());
  taken.reserve(found.size());
  for (auto& [block, pages] : found) {
    anyones_.erase(block);
    const auto before = static_cast<std::size_t>(static_cast<char*>(pages.first) - block->pointer);
    if (before > 0) {
      Block* const rest = split(block, before);
      anyones_.insert(block);
      block = rest;
    }
    if (block->bytes > pages.second) anyones_.insert(split(block, pages.second));
    unmap(block);
    taken.push_back(pages);
  }
  return taken;
}

BlockPool::BusyPages BlockPool::busy_pages() const noexcept {
  BusyPages busy;
  std::size_t most = 0;
  for (const auto& [stream, list] : free_) {
    std::size_t own = 0;
    list.for_each([&](const Block* b) {
      if (!b->paged) return;
      const auto [first, end] = whole_pages(*b);
      if (first < end) own += end - first;
    });
    busy.total += own;
    if (own > most) most = own, busy.most = stream;
  }
  return busy;
}

std::size_t BlockPool::largest_free() const noexcept {
  const Block* largest = anyones_.largest();
  std::size_t bytes = largest ? largest->bytes : 0;
  for (const auto& [owner, list] : free_)
    if (const Block* block = list.largest()) bytes = std::max(bytes, block->bytes);
  return bytes;
}

std::vector<BlockPool::Segment> BlockPool::segments() const {
  std::vector<Segment> out;
  for (const auto& [first, bytes] : segments_) out.emplace_back(first->pointer, bytes);
  return out;
}

std::vector<BlockPool::Segment> BlockPool::mapped_runs() const {
  std::vector<Segment> out;
  bool open = false;
  for (const Block* b = range_; b; b = b->next) {
    if (b->mapped && open) {
      out.back().second += b->bytes;
    } else if (b->mapped) {
      out.emplace_back(b->pointer, b->bytes);
    }
    open = b->mapped;
  }
  return out;
}

std::vector<MemorySegment> BlockPool::describe() const {
  std::vector<MemorySegment> out;
  const auto add = [&](const Block* first) {
    bool open = false;
    for (const Block* b = first; b; b = b->next) {
      if (b->mapped && !open) out.push_back({reinterpret_cast<std::uintptr_t>(b->pointer), 0, b->paged, {}});
      if (b->mapped) {
        out.back().bytes += b->bytes;
        out.back().blocks.push_back({b->bytes, b->free});
      }
      open = b->mapped;
    }
  };
  for (const auto& [first, bytes] : segments_) add(first);
  add(range_);
  std::sort(out.begin(), out.end(),
            [](const MemorySegment& a, const MemorySegment& b) { return a.address < b.address; });
  return out;
}

bool BlockPool::consistent(const Block* first, std::size_t bytes, std::size_t& held) const {
  const char* at = first->pointer;
  for (const Block* b = first; b; b = b->next) {
    if (b->pointer != at || b->bytes == 0 || (b->next && b->next->previous != b)) return false;
    const bool both_free = b->free && b->next && b->next->free && b->mapped == b->next->mapped;
    if (both_free && b->stream == b->next->stream) return false;
    const auto offset = static_cast<std::size_t>(at - first->pointer);
    if (!b->mapped && (!b->free || offset % page_bytes_ != 0 || b->bytes % page_bytes_ != 0)) return false;
    if (b->mapped) held += b->bytes;
    at += b->bytes;
  }
  return at == first->pointer + bytes;
}

bool BlockPool::consistent() const {
  std::size_t held = 0;
  for (const auto& [first, bytes] : segments_)
    if (!consistent(first, bytes, held)) return false;
  return (!range_ || consistent(range_, range_bytes_, held)) && held == held_bytes_;
}

}  // namespace gpunn::detail
