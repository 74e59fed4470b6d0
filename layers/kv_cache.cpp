#include "gpunn/layers/kv_cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/attention/attention.h"
#include "gpunn/kernels/indexing/indexing.h"

namespace gpunn {

namespace {

constexpr std::int32_t kNoPage = -1;

std::int64_t pages_for(std::int64_t rows, std::int64_t page_size) {
  return (rows + page_size - 1) / page_size;
}

std::string shape_of(const Tensor& x) {
  return x.defined() ? to_string(x.shape()) : std::string("an undefined tensor");
}

/// Pages of all layers: page p of a layer is row p of its keys and of its values, so one table serves all. A
/// page that several sequences read is copied before one of them writes into it.
struct PageBook {
  std::int64_t width = 0;                        // of the table: pages a sequence may have
  std::vector<std::vector<std::int32_t>> pages;  // of each sequence, in order
  std::vector<std::int32_t> readers;             // of each page in the pool
  std::vector<std::int32_t> free;                // taken from the back: low numbers first
  Tensor table;                                  // i32 [B, width] on the device; undefined: to be written

  void release(std::int32_t page) {
    if (--readers[static_cast<std::size_t>(page)] == 0) free.push_back(page);
  }
  std::int32_t take() {
    const std::int32_t page = free.back();
    free.pop_back();
    readers[static_cast<std::size_t>(page)] = 1;
    return page;
  }
  bool is_shared(std::int32_t page) const { return readers[static_cast<std::size_t>(page)] > 1; }
};

}  // namespace

struct KvCache::State {
  explicit State(const KvCacheOptions& o);

  bool paged() const noexcept { return options.page_size > 0; }
  void check_layer(std::int64_t layer) const;
  Tensor room(std::int64_t first) const;
  void reserve(std::span<const std::int64_t> wanted);
  void grow(std::int64_t more);
  void own_last_page(std::size_t b);
  void drop_pages(std::size_t b, std::int64_t keep);
  Tensor upload(const std::vector<std::int64_t>& values) const;
  void write_table();
  void write(Tensor& room, const Tensor& x) const;
  void reorder_rooms(std::span<const std::int64_t> from);
  void reorder_pages(std::span<const std::int64_t> from);

  KvCacheOptions options;
  std::vector<Tensor> k, v;           // by layer: [B, capacity, Hkv, D], or [pages, page_size, Hkv, D]
  std::vector<std::int64_t> lengths;  // positions that are committed
  PageBook book;

  // Of the call that is open, from begin() to commit().
  std::int64_t T = 0;                // 0: none is open
  std::vector<std::int64_t> counts;  // new positions of each sequence
  std::vector<bool> appended;        // by layer
  Tensor starts, key_lengths;        // i64 [B]
  Tensor query_lengths;              // i64 [B]; undefined when every count is T
  bool rows_fit = true;              // those that do not count as well
};

KvCache::State::State(const KvCacheOptions& o) : options(o) {
  OpScope scope("kv_cache");
  GPUNN_CHECK(o.batch >= 1 && o.capacity >= 1 && o.layers >= 1 && o.kv_heads >= 1 && o.head_dim >= 1,
              "expected batch, capacity, layers, kv_heads and head_dim of at least 1, got ", o.batch, ", ",
              o.capacity, ", ", o.layers, ", ", o.kv_heads, " and ", o.head_dim);
  GPUNN_CHECK(o.page_size >= 0, "expected a page_size of at least 1, or 0 for rooms without pages, got ",
              o.page_size);
  GPUNN_CHECK(is_floating(o.dtype), "expected a floating dtype, got ", o.dtype);
  const auto layers = static_cast<std::size_t>(o.layers), batch = static_cast<std::size_t>(o.batch);
  lengths.assign(batch, 0);
  appended.assign(layers, false);
  const std::int64_t first = paged() ? 0 : o.batch;
  for (std::size_t l = 0; l < layers; ++l) {
    k.push_back(room(first));
    v.push_back(room(first));
  }
  if (!paged()) return;
  book.width = pages_for(o.capacity, o.page_size);
  book.pages.resize(batch);
}

Tensor KvCache::State::room(std::int64_t first) const {
  return empty({first, paged() ? options.page_size : options.capacity, options.kv_heads, options.head_dim},
               {.dtype = options.dtype, .device = options.device});
}

void KvCache::State::check_layer(std::int64_t layer) const {
  GPUNN_CHECK(layer >= 0 && layer < options.layers, "expected one of ", options.layers, " layers, got ",
              layer);
  GPUNN_CHECK(T > 0, "expected begin() before keys are written and read");
}

Tensor KvCache::State::upload(const std::vector<std::int64_t>& values) const {
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, {.device = options.device});
}

// ---- pages

/// `more` pages behind those of the pool, at least as many again as there are, so that copying them costs a
/// fixed share of writing them.
void KvCache::State::grow(std::int64_t more) {
  const auto had = static_cast<std::int64_t>(book.readers.size());
  const std::int64_t most = std::max(options.batch * book.width, had + more);
  const std::int64_t size = std::clamp(2 * had, had + more, most);
  std::vector<Tensor> larger;
  for (const std::vector<Tensor>* side : {&k, &v})
    for (const Tensor& old : *side) {
      larger.push_back(room(size));
      if (had > 0) larger.back().narrow(0, 0, had).copy_(old);
    }
  std::copy_n(larger.begin(), k.size(), k.begin());
  std::copy_n(larger.begin() + static_cast<std::ptrdiff_t>(k.size()), v.size(), v.begin());
  book.readers.resize(static_cast<std::size_t>(size), 0);
  std::vector<std::int32_t> free;
  for (std::int64_t page = size - 1; page >= had; --page) free.push_back(static_cast<std::int32_t>(page));
  free.insert(free.end(), book.free.begin(), book.free.end());
  book.free = std::move(free);
}

void KvCache::State::drop_pages(std::size_t b, std::int64_t keep) {
  std::vector<std::int32_t>& own = book.pages[b];
  while (static_cast<std::int64_t>(own.size()) > keep) {
    book.release(own.back());
    own.pop_back();
    book.table = {};
  }
}

/// The page that sequence b goes on in belongs to it alone afterwards.
void KvCache::State::own_last_page(std::size_t b) {
  std::int32_t& page = book.pages[b].back();
  if (!book.is_shared(page)) return;
  const std::int32_t copy = book.take();
  for (const std::vector<Tensor>* side : {&k, &v})
    for (const Tensor& pool : *side) pool.select(0, copy).copy_(pool.select(0, page));
  book.release(page);
  page = copy;
  book.table = {};
}

/// Pages for `wanted` new positions of each sequence.
void KvCache::State::reserve(std::span<const std::int64_t> wanted) {
  const std::int64_t size = options.page_size;
  std::int64_t needed = 0;
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    // What truncate() forgot, or a call that was given up had taken, is not needed any more.
    drop_pages(b, pages_for(lengths[b], size));
    if (wanted[b] == 0) continue;
    const auto own = static_cast<std::int64_t>(book.pages[b].size());
    needed += pages_for(lengths[b] + wanted[b], size) - own;
    if (lengths[b] % size != 0 && book.is_shared(book.pages[b].back())) ++needed;
  }
  const auto there = static_cast<std::int64_t>(book.free.size());
  if (needed > there || book.readers.empty()) grow(std::max<std::int64_t>(needed - there, 1));
  for (std::size_t b = 0; b < lengths.size(); ++b) {
    if (wanted[b] == 0) continue;
    if (lengths[b] % size != 0) own_last_page(b);
    const std::int64_t total = pages_for(lengths[b] + wanted[b], size);
    while (static_cast<std::int64_t>(book.pages[b].size()) < total) {
      book.pages[b].push_back(book.take());
      book.table = {};
    }
  }
}

void KvCache::State::write_table() {
  if (book.table.defined()) return;
  std::vector<std::int32_t> rows;
  for (const std::vector<std::int32_t>& own : book.pages) {
    rows.insert(rows.end(), own.begin(), own.end());
    rows.resize(rows.size() + static_cast<std::size_t>(book.width) - own.size(), kNoPage);
  }
  book.table = Tensor::from(rows, {static_cast<std::int64_t>(book.pages.size()), book.width},
                            {.device = options.device});
}

/// x [B, T, Hkv, D] behind the committed rows.
void KvCache::State::write(Tensor& room, const Tensor& x) const {
  const auto append = [&](Tensor& to, const Tensor& rows, const Tensor& from, const Tensor& table) {
    if (paged())
      kv_append_paged_(to, rows, from, table, false);
    else
      kv_append_(to, rows, from, false);
  };
  // A GPU leaves out rows that do not fit; the CPU looks at every start and refuses them.
  if (rows_fit || !options.device.is_cpu()) return append(room, x, starts, book.table);
  for (std::int64_t b = 0; b < options.batch; ++b) {
    const std::int64_t count = counts[static_cast<std::size_t>(b)];
    if (count == 0) continue;
    Tensor own = paged() ? room : room.narrow(0, b, 1);
    append(own, x.narrow(0, b, 1).narrow(1, 0, count), starts.narrow(0, b, 1),
           paged() ? book.table.narrow(0, b, 1) : Tensor());
  }
}

// ---- other orders of sequences

void KvCache::State::reorder_rooms(std::span<const std::int64_t> from) {
  const auto batch = static_cast<std::int64_t>(from.size());
  const std::int64_t used = *std::max_element(lengths.begin(), lengths.end());
  const Tensor index = upload({from.begin(), from.end()});
  std::vector<Tensor> rooms;
  for (const std::vector<Tensor>* side : {&k, &v})
    for (const Tensor& old : *side) {
      rooms.push_back(batch == options.batch ? old : room(batch));
      if (used == 0) continue;
      const Tensor rows = index_select(old.narrow(1, 0, used), 0, index, {.check_indices = false});
      rooms.back().narrow(1, 0, used).copy_(rows);
    }
  std::copy_n(rooms.begin(), k.size(), k.begin());
  std::copy_n(rooms.begin() + static_cast<std::ptrdiff_t>(k.size()), v.size(), v.begin());
}

void KvCache::State::reorder_pages(std::span<const std::int64_t> from) {
  std::vector<std::vector<std::int32_t>> pages;
  for (const std::int64_t b : from) {
    pages.push_back(book.pages[static_cast<std::size_t>(b)]);
    for (const std::int32_t page : pages.back()) ++book.readers[static_cast<std::size_t>(page)];
  }
  for (const std::vector<std::int32_t>& own : book.pages)
    for (const std::int32_t page : own) book.release(page);
  book.pages = std::move(pages);
  book.table = {};
}

// ---- public

KvCache::KvCache(const KvCacheOptions& options) : state_(std::make_unique<State>(options)) {}
KvCache::~KvCache() = default;
KvCache::KvCache(KvCache&&) noexcept = default;
KvCache& KvCache::operator=(KvCache&&) noexcept = default;

void KvCache::begin(std::int64_t T, std::span<const std::int64_t> valid) {
  OpScope scope("kv_cache");
  State& s = *state_;
  GPUNN_CHECK(T >= 1, "expected at least one new position, got ", T);
  GPUNN_CHECK(valid.empty() || valid.size() == s.lengths.size(), "expected counts of ", s.lengths.size(),
              " sequences, got ", valid.size());
  std::vector<std::int64_t> counts(s.lengths.size(), T), ends(s.lengths);
  bool all = true, fits = true;
  for (std::size_t b = 0; b < counts.size(); ++b) {
    if (!valid.empty()) counts[b] = valid[b];
    GPUNN_CHECK(counts[b] >= 0 && counts[b] <= T, "expected from 0 to ", T, " new positions of sequence ", b,
                ", got ", counts[b]);
    GPUNN_CHECK(counts[b] <= s.options.capacity - s.lengths[b], "expected at most ", s.options.capacity,
                " positions of sequence ", b, ", got ", counts[b], " new ones behind ", s.lengths[b]);
    ends[b] += counts[b];
    all = all && counts[b] == T;
    fits = fits && T <= s.options.capacity - s.lengths[b];
  }
  const NoGrad off;
  s.T = 0;
  if (s.paged()) {
    s.reserve(counts);
    s.write_table();
  }
  s.starts = s.upload(s.lengths);
  s.key_lengths = s.upload(ends);
  s.query_lengths = all ? Tensor() : s.upload(counts);
  s.appended.assign(s.appended.size(), false);
  s.counts = std::move(counts);
  s.rows_fit = all || (fits && !s.paged());
  s.T = T;
}

void KvCache::append(std::int64_t layer, const Tensor& k, const Tensor& v) {
  OpScope scope("kv_cache");
  State& s = *state_;
  s.check_layer(layer);
  const Shape want{static_cast<std::int64_t>(s.lengths.size()), s.T, s.options.kv_heads, s.options.head_dim};
  GPUNN_CHECK(k.defined() && v.defined() && k.shape() == want && v.shape() == want,
              "expected keys and values ", to_string(want), ", got ", shape_of(k), " and ", shape_of(v));
  const NoGrad off;
  const auto l = static_cast<std::size_t>(layer);
  s.write(s.k[l], k.detach());
  s.write(s.v[l], v.detach());
  s.appended[l] = true;
}

Tensor KvCache::attend(std::int64_t layer, const Tensor& q, std::int64_t window, const Tensor& alibi_slopes,
                       double scale) const {
  OpScope scope("kv_cache");
  const State& s = *state_;
  s.check_layer(layer);
  const auto l = static_cast<std::size_t>(layer);
  GPUNN_CHECK(s.appended[l], "expected append() of layer ", layer, " before attend()");
  GPUNN_CHECK(q.defined() && q.dim() == 4 && q.size(0) == s.options.batch && q.size(2) == s.T,
              "expected queries [", s.options.batch, ", heads, ", s.T, ", ", s.options.head_dim, "], got ",
              shape_of(q));
  const NoGrad off;
  AttentionOptions how;
  how.causal = true;
  how.align = AttentionAlign::end;
  how.window = window;
  how.alibi_slopes = alibi_slopes;
  if (scale != 0) how.scale = scale;
  how.key_lengths = s.key_lengths;
  how.query_lengths = s.query_lengths;
  how.check_lengths = false;
  if (s.paged()) return attention_paged(q, s.k[l], s.v[l], s.book.table, how);
  std::int64_t used = 0;
  for (std::size_t b = 0; b < s.lengths.size(); ++b) used = std::max(used, s.lengths[b] + s.counts[b]);
  used = std::max<std::int64_t>(used, 1);
  const auto keys = [&](const Tensor& room) { return room.narrow(1, 0, used).transpose(1, 2); };
  return scaled_dot_product_attention(q, keys(s.k[l]), keys(s.v[l]), how);
}

void KvCache::commit() {
  OpScope scope("kv_cache");
  State& s = *state_;
  GPUNN_CHECK(s.T > 0, "expected begin() before commit()");
  for (std::size_t l = 0; l < s.appended.size(); ++l)
    GPUNN_CHECK(s.appended[l], "expected append() of every layer before commit(), layer ", l, " has none");
  for (std::size_t b = 0; b < s.lengths.size(); ++b) s.lengths[b] += s.counts[b];
  s.T = 0;
  s.starts = {};
}

std::span<const std::int64_t> KvCache::lengths() const noexcept { return state_->lengths; }
const Tensor& KvCache::starts() const noexcept { return state_->starts; }

void KvCache::truncate(std::int64_t sequence, std::int64_t length) {
  OpScope scope("kv_cache");
  State& s = *state_;
  GPUNN_CHECK(sequence >= 0 && sequence < s.options.batch, "expected one of ", s.options.batch,
              " sequences, got ", sequence);
  const auto b = static_cast<std::size_t>(sequence);
  GPUNN_CHECK(length >= 0 && length <= s.lengths[b], "expected a length from 0 to ", s.lengths[b],
              " of sequence ", sequence, ", got ", length);
  s.T = 0;
  s.starts = {};
  s.lengths[b] = length;
}

void KvCache::reorder(std::span<const std::int64_t> from) {
  OpScope scope("kv_cache");
  State& s = *state_;
  GPUNN_CHECK(!from.empty(), "expected at least one sequence");
  std::vector<std::int64_t> lengths;
  for (const std::int64_t b : from) {
    GPUNN_CHECK(b >= 0 && b < s.options.batch, "expected sequences below ", s.options.batch, ", got ", b);
    lengths.push_back(s.lengths[static_cast<std::size_t>(b)]);
  }
  const NoGrad off;
  s.T = 0;
  s.starts = {};
  bool same = from.size() == s.lengths.size();
  for (std::size_t b = 0; same && b < from.size(); ++b) same = from[b] == static_cast<std::int64_t>(b);
  if (same) return;
  if (s.paged())
    s.reorder_pages(from);
  else
    s.reorder_rooms(from);
  s.lengths = std::move(lengths);
  s.options.batch = static_cast<std::int64_t>(from.size());
}

const KvCacheOptions& KvCache::options() const noexcept { return state_->options; }

std::int64_t KvCache::bytes() const noexcept {
  std::size_t sum = 0;
  for (const std::vector<Tensor>* side : {&state_->k, &state_->v})
    for (const Tensor& room : *side) sum += room.nbytes();
  return static_cast<std::int64_t>(sum);
}

}  // namespace gpunn
