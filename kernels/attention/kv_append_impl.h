#pragma once
// Problem and entry points of writing behind what a cache of keys or values holds.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// cache row (b, starts[b] + t) = x[b, t] for rows inside the cache; others are left out. Elements are moved,
/// never computed with; any dtype.
struct KvAppendProblem {
  DType dtype;
  const void* x;               // [B, T, H, D] by strides; overlaps nothing
  void* cache;                 // [B, capacity, H, D] or [pool, page_size, H, D] by strides
  const std::int64_t* starts;  // [B]
  const std::int32_t* pages;  // [B, table_width]: row r of b is r % page_size of page pages[b][r / page_size]
  std::int64_t B, T, H, D;    // at least 1
  std::int64_t capacity;      // rows of a sequence: table_width page_size with pages
  std::int64_t page_size, table_width, pool;         // with pages, else 0
  std::int64_t x_batch, x_time, x_head;              // strides in elements; that of D is 1
  std::int64_t cache_batch, cache_time, cache_head;  // cache_batch: of a sequence, or of a page
  std::int64_t x_elements, cache_elements;           // extents, strides included
};

/// Element of the cache where row t of head h of sequence b begins, or -1: nowhere.
GPUNN_HD std::int64_t kv_append_place(const KvAppendProblem& p, std::int64_t b, std::int64_t t,
                                      std::int64_t h) {
  const std::int64_t start = p.starts[b];
  if (start < 0 || start >= p.capacity - t) return -1;
  const std::int64_t row = start + t;
  if (!p.pages) return b * p.cache_batch + row * p.cache_time + h * p.cache_head;
  const std::int64_t page = p.pages[b * p.table_width + row / p.page_size];
  if (page < 0 || page >= p.pool) return -1;
  return page * p.cache_batch + row % p.page_size * p.cache_time + h * p.cache_head;
}

std::vector<Operand> operands(KvAppendProblem& p);
Cost cost(const KvAppendProblem& p);

extern const ImplementationList<KvAppendProblem> kKvAppend;  // "kv_append", "forward"

// Host memory.
void kv_append_ref(const KvAppendProblem& p, const Exec& exec);
// Device memory.
void kv_append_cuda(const KvAppendProblem& p, const Exec& exec);

}  // namespace gpunn
