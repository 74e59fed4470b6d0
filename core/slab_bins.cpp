#include "gpunn/core/detail/slab_bins.h"

#include <algorithm>

#include "gpunn/core/detail/bytes.h"

namespace gpunn::detail {

std::size_t SlabBins::piece_bytes(std::size_t request) noexcept {
  return round_up(size_of_class(size_class_of(request)), kPieceAlignment);
}

std::size_t SlabBins::slab_bytes(std::size_t piece) noexcept {
  // At least eight pieces, so that a slab's overhead in events and look-ups is shared.
  return std::max<std::size_t>(64 * 1024, round_up(8 * piece, 64 * 1024)) / piece * piece;
}

void SlabBins::list(Slab& slab) noexcept {
  Bin& bin = bins_.find({slab.piece_bytes, slab.stream})->second;
  bin.splice(bin.end(), slab.node);
  slab.place = std::prev(bin.end());
  slab.listed = true;
}

void SlabBins::unlist(Slab& slab) noexcept {
  if (!slab.listed) return;
  slab.node.splice(slab.node.end(), bins_.find({slab.piece_bytes, slab.stream})->second, slab.place);
  slab.listed = false;
}

std::pair<Slab*, void*> SlabBins::take_from(Slab& slab) noexcept {
  const std::uint32_t index = slab.free.back();
  slab.free.pop_back();
  if (slab.free.empty()) unlist(slab);
  return {&slab, slab.block->pointer + index * slab.piece_bytes};
}

std::pair<Slab*, void*> SlabBins::take(std::size_t piece, RawStream stream) noexcept {
  const auto found = bins_.find({piece, stream});
  if (found == bins_.end() || found->second.empty()) return {nullptr, nullptr};
  return take_from(*found->second.back());
}

void SlabBins::add(Block* block, std::size_t piece, RawStream stream) {
  auto slab = std::make_unique<Slab>();
  slab->block = block;
  slab->stream = stream;
  slab->piece_bytes = piece;
  slab->pieces = static_cast<std::uint32_t>(block->bytes / piece);
  slab->free.reserve(slab->pieces);
  // Highest index first, so that pieces are handed out by rising address.
  for (std::uint32_t i = slab->pieces; i-- > 0;) slab->free.push_back(i);
  slab->node.push_back(slab.get());
  bins_.try_emplace({piece, stream});
  Slab& added = *slabs_.emplace(block, std::move(slab)).first->second;
  list(added);
}

Block* SlabBins::give(Slab* slab, void* pointer, std::uint64_t since) noexcept {
  slab->since = std::max(slab->since, since);
  const auto offset = static_cast<std::size_t>(static_cast<char*>(pointer) - slab->block->pointer);
  slab->free.push_back(static_cast<std::uint32_t>(offset / slab->piece_bytes));
  if (!slab->listed) list(*slab);
  if (slab->free.size() != slab->pieces) return nullptr;
  // One empty slab stays, so that a program going up and down by one piece does not make and break slabs.
  if (bins_.find({slab->piece_bytes, slab->stream})->second.size() < 2) return nullptr;
  Block* const block = slab->block;
  unlist(*slab);
  slabs_.erase(block);
  return block;
}

}  // namespace gpunn::detail
