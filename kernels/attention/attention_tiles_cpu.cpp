// Tiles of the CPU's attention: who sees what, and products by the micro-kernels of the matrix product.
#include <limits>

#include "gpunn/kernels/attention/attention_cpu_impl.h"

namespace gpunn::detail {

AttentionHead attention_head(const AttentionShape& shape, std::int64_t index) {
  const std::int64_t b = index / shape.sizes.Hkv;
  return {b, index % shape.sizes.Hkv, attention_lengths(shape.rule, shape.sizes, b)};
}

AttentionTileRows attention_tile_rows(const AttentionShape& shape, const AttentionHead& head,
                                      std::int64_t row, std::int64_t most) {
  const std::int64_t Tq = shape.sizes.Tq;
  std::int64_t h = row / Tq, i = row % Tq;
  AttentionTileRows rows;
  rows.count = Tq >= most ? std::min(most, Tq - i) : most;
  const bool all_alike = !shape.rule.causal && shape.rule.window == 0;
  for (std::int64_t t = 0; t < rows.count; ++t) {
    rows.head[t] = head.kv * shape.group() + h;
    rows.query[t] = i;
    KeyRange keys{0, i < head.n.queries ? head.n.keys : 0};
    if (!all_alike && keys.end > 0) keys = attention_keys(shape.rule, head.n, i);
    rows.keys[t] = keys;
    if (keys.begin < keys.end) {
      const bool first = rows.all.begin == rows.all.end;
      rows.all.begin = first ? keys.begin : std::min(rows.all.begin, keys.begin);
      rows.all.end = first ? keys.end : std::max(rows.all.end, keys.end);
    }
    if (++i == Tq) i = 0, ++h;
  }
  return rows;
}

AttentionSeen attention_seen(const AttentionTileRows& rows, std::int64_t first_key, std::int64_t keys) {
  const auto clip = [&](const KeyRange& range) {
    const AttentionColumns c{std::max<std::int64_t>(range.begin - first_key, 0),
                             std::min(range.end - first_key, keys)};
    return c.begin < c.end ? c : AttentionColumns{};
  };
  AttentionSeen seen;
  seen.all = clip(rows.all);
  for (std::int64_t t = 0; t < rows.count; ++t) {
    seen.rows[t] = clip(rows.keys[t]);
    seen.alike &= seen.rows[t].begin == seen.all.begin && seen.rows[t].end == seen.all.end;
  }
  return seen;
}

bool attention_gather(const AttentionShape& shape, const AttentionHead& head, const AttentionTileRows& rows,
                      const void* from, const AttentionLayout& layout, std::int64_t cols, float* to,
                      std::int64_t ld) {
  bool finite = true;
  for (std::int64_t t = 0; t < rows.count;) {
    std::int64_t run = 1;  // of rows of one head
    while (t + run < rows.count && rows.head[t + run] == rows.head[t]) ++run;
    const std::int64_t there = std::clamp<std::int64_t>(head.n.queries - rows.query[t], 0, run);
    if (there > 0) {
      const float* const first =
          static_cast<const float*>(from) +
          attention_row(layout, shape.rule.q_first, head.b, rows.head[t], rows.query[t]);
      finite &= attention_kernels().copy(first, layout.time, there, cols, to + t * ld, ld);
    }
    std::fill(to + (t + there) * ld, to + (t + run) * ld, 0.0f);
    t += run;
  }
  return finite;
}

const float* attention_in_place(const AttentionShape& shape, const AttentionHead& head,
                                const AttentionTileRows& rows, const void* from,
                                const AttentionLayout& layout) {
  const std::int64_t last = rows.count - 1;
  if (rows.head[0] != rows.head[last] || !rows.present(head, last)) return nullptr;
  return static_cast<const float*>(from) +
         attention_row(layout, shape.rule.q_first, head.b, rows.head[0], rows.query[0]);
}

void attention_extras(const AttentionShape& shape, const AttentionHead& head, const AttentionTileRows& rows,
                      const AttentionSeen& seen, std::int64_t first_key, const AttentionTileExtras& room,
                      AttentionTile& tile) {
  const AttentionMask& mask = shape.mask;
  tile.scale = shape.scale;
  tile.transformed = room.bias || !(shape.scale > 0);
  if (room.bias) {
    const bool one_head = rows.head[0] == rows.head[rows.count - 1];
    const bool same = !shape.rule.alibi && mask.query == 0 && (mask.head == 0 || one_head);
    tile.bias = room.bias;
    tile.bias_ld = same ? 0 : tile.ld;
    for (std::int64_t t = 0; t < (same ? 1 : rows.count); ++t) {
      AttentionBias bias{};
      bias.mask = &mask;
      bias.mask_at = head.b * mask.batch + rows.head[t] * mask.head + rows.query[t] * mask.query;
      bias.slope = shape.rule.alibi ? shape.rule.alibi[rows.head[t]] : 0.0f;
      bias.position = attention_position(shape.rule, head.n, rows.query[t]);
      bias.key = first_key;
      attention_kernels().bias(bias, same ? seen.all : seen.rows[t], room.bias + t * tile.ld);
    }
  }
  if (!room.factors) return;
  tile.factors = room.factors;
  for (std::int64_t t = 0; t < rows.count; ++t) {
    const std::uint64_t first = attention_number(shape.sizes, head.b, rows.head[t], rows.query[t], first_key);
    attention_kernels().factors(shape.dropout, static_cast<std::int64_t>(first), seen.rows[t],
                                room.factors + t * tile.ld);
  }
}

namespace {

// Numbers that are not finite beside weights that are 0: no micro-kernel.
void product_of_seen(const AttentionProduct& p) {
  for (std::int64_t r = 0; r < p.rows; ++r) {
    float* const c = p.c + r * p.c_ld;
    if (!p.accumulate) std::fill(c, c + p.width, 0.0f);
    for (std::int64_t k = 0; k < p.K; ++k) {
      const float a = p.turned ? p.a[k * p.a_ld + r] : p.a[r * p.a_ld + k];
      if (a == 0) continue;
      for (std::int64_t n = 0; n < p.width; ++n) c[n] += a * p.b[k * p.b_ld + n];
    }
  }
}

}  // namespace

void attention_product(const AttentionProduct& p) {
  if (p.skip_zeros) return product_of_seen(p);
  const GemmKernels& kernels = gemm_kernels();
  GemmTile tile{};
  tile.row_stride = p.a_ld;
  tile.column_stride = p.b_ld;
  tile.ldc = tile.start_ld = p.c_ld;
  tile.K = p.K;
  for (std::int64_t n = 0; n < p.width;) {
    const std::int64_t vectors = std::min<std::int64_t>(kernels.max_vectors, (p.width - n) / kernels.lanes);
    const std::int64_t height = kernels.max_rows[vectors];
    tile.columns = p.b + n;
    for (std::int64_t r = 0; r < p.rows; r += height) {
      tile.rows = p.a + (p.turned ? r : r * p.a_ld);
      tile.c = p.c + r * p.c_ld + n;
      tile.start = p.accumulate ? tile.c : nullptr;
      kernels.tile[p.turned][vectors][std::min(height, p.rows - r)](tile);
    }
    n += vectors * kernels.lanes;
  }
}

void attention_scores(const float* rows, std::int64_t row_ld, std::int64_t count,
                      const AttentionPanels& panels, AttentionColumns columns, float* scores,
                      std::int64_t ld) {
  const std::int64_t panel = panels.panel(), lanes = gemm_kernels().lanes;
  for (std::int64_t at = columns.begin / lanes * lanes; at < columns.end;) {
    const std::int64_t inside = at % panel;
    const std::int64_t width = std::min(panel - inside, attention_ceil(columns.end - at, lanes) * lanes);
    attention_product({count, panels.D, rows, row_ld, false,
                       panels.data + at / panel * panel * panels.D + inside, panel, width, scores + at, ld,
                       false, false});
    at += width;
  }
}

void attention_turn(const float* from, std::int64_t from_ld, std::int64_t at, std::int64_t count,
                    const AttentionPanels& panels) {
  const std::int64_t panel = panels.panel();
  for (std::int64_t done = 0; done < count;) {
    const std::int64_t inside = (at + done) % panel, rows = std::min(panel - inside, count - done);
    gemm_kernels().transpose(from + done * from_ld, from_ld, rows, panels.D,
                             panels.data + (at + done) / panel * panel * panels.D + inside, panel, rows);
    done += rows;
  }
}

}  // namespace gpunn::detail
