#include "gpunn/kernels/rnn/packed.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "gpunn/core/op.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/movement/movement.h"

namespace gpunn {

using Numbers = std::vector<std::int64_t>;

struct Packing::Content {
  Numbers lengths, first_rows;
  Tensor first_rows_on_device, last_rows_on_device, previous_rows_on_device;
};

namespace {

Tensor on_device(const Numbers& values, const Device& device) {
  const TensorOptions host{.dtype = DType::i64, .device = Device(device.context().runtime().cpu())};
  return Tensor::from(values, {static_cast<std::int64_t>(values.size())}, host).to(device);
}

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

/// [T + 1] from lengths in falling order.
Numbers first_rows_of(std::span<const std::int64_t> lengths) {
  Numbers first(at(lengths[0] + 1), 0);
  std::int64_t batch = static_cast<std::int64_t>(lengths.size());
  for (std::int64_t t = 0; t < lengths[0]; ++t) {
    while (lengths[at(batch - 1)] <= t) --batch;
    first[at(t + 1)] = checked_add(first[at(t)], batch);
  }
  return first;
}

void check_lengths(std::span<const std::int64_t> lengths) {
  GPUNN_CHECK(!lengths.empty(), "expected at least one sequence, got none");
  for (std::size_t b = 0; b < lengths.size(); ++b)
    GPUNN_CHECK(lengths[b] >= 1, "expected lengths of at least 1, got ", lengths[b], " for sequence ", b);
}

void check_falling(std::span<const std::int64_t> lengths) {
  for (std::size_t b = 1; b < lengths.size(); ++b)
    GPUNN_CHECK(lengths[b] <= lengths[b - 1], "expected lengths in falling order, got ", lengths[b],
                " after ", lengths[b - 1], " at sequence ", b);
}

/// Where the rows of a padded tensor, taken one after the other, stand in the packed one.
struct RowMap {
  Tensor position;  // [rows]: of each packed row
  Tensor row;       // [positions]: at each position; the number of rows where there is padding
};

RowMap map_of(const Numbers& position, std::int64_t positions, const Device& device) {
  Numbers row(at(positions), static_cast<std::int64_t>(position.size()));
  for (std::size_t r = 0; r < position.size(); ++r) row[at(position[r])] = static_cast<std::int64_t>(r);
  return {on_device(position, device), on_device(row, device)};
}

/// A padded tensor: [extent, batch, ...] or [batch, extent, ...].
struct PaddedOrder {
  std::int64_t extent, batch;
  bool batch_first;
  std::int64_t position(std::int64_t t, std::int64_t b) const {
    return batch_first ? b * extent + t : t * batch + b;
  }
  std::int64_t positions() const { return checked_mul(extent, batch); }
  /// The shape of rows like those of `data` [rows, ...].
  Shape shape(const Tensor& data) const {
    Shape result = batch_first ? Shape{batch, extent} : Shape{extent, batch};
    for (int d = 1; d < data.dim(); ++d) result.push_back(data.shape()[d]);
    return result;
  }
};

/// Position of each packed row; `order[b]` is the caller's number of packed sequence b, and
/// `position(t, sequence)` where its step t stands.
template <class F>
Numbers packed_positions(const Packing& packing, const Numbers& order, F position) {
  Numbers positions;
  positions.reserve(at(packing.rows()));
  for (std::int64_t t = 0; t < packing.steps(); ++t)
    for (std::int64_t b = 0; b < packing.batch_size(t); ++b) positions.push_back(position(t, order[at(b)]));
  return positions;
}

RowMap padded_map(const Packing& packing, const Numbers& order, const PaddedOrder& padded,
                  const Device& device) {
  const auto position = [&](std::int64_t t, std::int64_t b) { return padded.position(t, b); };
  return map_of(packed_positions(packing, order, position), padded.positions(), device);
}

constexpr IndexOptions kKnownIndices{.check_indices = false};

Tensor spread_rows(const Tensor& data, const RowMap& map, double padding);

/// data [positions, F] to [rows, F].
Tensor gather_rows(const Tensor& data, const RowMap& map) {
  Tensor y;
  {
    const NoGrad off;  // its own rule is a gather, too
    y = index_select(data, 0, map.position, kKnownIndices);
  }
  if (autograd::wanted(data))
    autograd::record(y, "pack_padded_sequence", {&data},
                     [map](const Backward& b) -> Gradients { return {spread_rows(b.grad(), map, 0)}; });
  return y;
}

/// data [rows, F] to [positions, F].
Tensor spread_rows(const Tensor& data, const RowMap& map, double padding) {
  Tensor y;
  {
    const NoGrad off;
    const Tensor rest = full({1, data.size(1)}, padding, {.dtype = data.dtype(), .device = data.device()});
    y = index_select(cat({data, rest}), 0, map.row, kKnownIndices);
  }
  if (autograd::wanted(data))
    autograd::record(y, "pad_packed_sequence", {&data},
                     [map](const Backward& b) -> Gradients { return {gather_rows(b.grad(), map)}; });
  return y;
}

std::int64_t features_of(const Shape& shape, int from) {
  std::int64_t n = 1;
  for (int d = from; d < shape.rank(); ++d) n *= shape[d];
  return n;
}

/// [rows, ...] with the features of `like` from dimension `from` on.
Shape rows_shape(std::int64_t rows, const Shape& like, int from) {
  Shape result{rows};
  for (int d = from; d < like.rank(); ++d) result.push_back(like[d]);
  return result;
}

/// Sequences by falling length, equal ones in their order.
struct Sorted {
  Numbers order, lengths;
};
Sorted sorted(std::span<const std::int64_t> lengths, bool must_fall) {
  Sorted s{Numbers(lengths.size()), Numbers(lengths.begin(), lengths.end())};
  std::iota(s.order.begin(), s.order.end(), std::int64_t{0});
  if (must_fall) {
    check_falling(lengths);
    return s;
  }
  std::stable_sort(s.order.begin(), s.order.end(),
                   [&](std::int64_t a, std::int64_t b) { return lengths[at(a)] > lengths[at(b)]; });
  for (std::size_t b = 0; b < s.order.size(); ++b) s.lengths[b] = lengths[at(s.order[b])];
  return s;
}

/// A packing of `data`, with the way back when the order was changed.
PackedSequence packed(Tensor data, Packing packing, const Sorted& s, bool was_sorted, const Device& device) {
  if (was_sorted) return {std::move(data), std::move(packing), {}, {}};
  Numbers back(s.order.size());
  for (std::size_t b = 0; b < back.size(); ++b) back[at(s.order[b])] = static_cast<std::int64_t>(b);
  return {std::move(data), std::move(packing), on_device(s.order, device), on_device(back, device)};
}

/// Lengths of sequences [T_b, ...] that are alike but for T_b.
Numbers lengths_of(std::span<const Tensor> sequences) {
  GPUNN_CHECK(!sequences.empty(), "expected at least one sequence, got none");
  Numbers lengths;
  for (const Tensor& s : sequences) {
    GPUNN_CHECK(s.defined() && s.dim() >= 1, "expected sequences [T, ...], got ",
                s.defined() ? "a scalar" : "an undefined tensor");
    check_same(sequences[0], "the first sequence", s, "sequences");
    GPUNN_CHECK(rows_shape(0, s.shape(), 1) == rows_shape(0, sequences[0].shape(), 1),
                "expected sequences that differ in their lengths only, got ", sequences[0].shape(), " and ",
                s.shape());
    lengths.push_back(s.size(0));
  }
  check_lengths(lengths);
  return lengths;
}

}  // namespace

Packing::Packing(std::span<const std::int64_t> lengths, const Device& device) {
  check_lengths(lengths);
  check_falling(lengths);
  auto content = std::make_shared<Content>();
  content->lengths.assign(lengths.begin(), lengths.end());
  content->first_rows = first_rows_of(lengths);
  const Numbers& first = content->first_rows;
  Numbers last, previous;
  for (std::size_t b = 0; b < lengths.size(); ++b)
    last.push_back(first[at(lengths[b] - 1)] + static_cast<std::int64_t>(b));
  previous.reserve(at(first.back()) - lengths.size());
  for (std::size_t t = 1; t + 1 < first.size(); ++t)
    for (std::int64_t b = 0; b < first[t + 1] - first[t]; ++b) previous.push_back(first[t - 1] + b);
  content->first_rows_on_device = on_device(first, device);
  content->last_rows_on_device = on_device(last, device);
  content->previous_rows_on_device = on_device(previous, device);
  content_ = std::move(content);
}

std::int64_t Packing::steps() const noexcept { return content_->lengths[0]; }
std::int64_t Packing::batch() const noexcept { return static_cast<std::int64_t>(content_->lengths.size()); }
std::int64_t Packing::rows() const noexcept { return content_->first_rows.back(); }
std::span<const std::int64_t> Packing::first_rows() const noexcept { return content_->first_rows; }
std::span<const std::int64_t> Packing::lengths() const noexcept { return content_->lengths; }
const Tensor& Packing::first_rows_on_device() const noexcept { return content_->first_rows_on_device; }
const Tensor& Packing::last_rows_on_device() const noexcept { return content_->last_rows_on_device; }
const Tensor& Packing::previous_rows_on_device() const noexcept { return content_->previous_rows_on_device; }

std::int64_t Packing::batch_size(std::int64_t t) const {
  GPUNN_CHECK(t >= 0 && t < steps(), "expected a step in [0, ", steps(), "), got ", t);
  return content_->first_rows[at(t + 1)] - content_->first_rows[at(t)];
}

PackedSequence pack_padded_sequence(const Tensor& x, std::span<const std::int64_t> lengths, bool batch_first,
                                    bool enforce_sorted) {
  OpScope scope("pack_padded_sequence");
  GPUNN_CHECK(x.defined(), "expected x, got an undefined tensor");
  GPUNN_CHECK(x.dim() >= 2, "expected x [", batch_first ? "B, T" : "T, B", ", ...], got ", x.shape());
  const std::int64_t batch = x.size(batch_first ? 0 : 1), extent = x.size(batch_first ? 1 : 0);
  GPUNN_CHECK(static_cast<std::int64_t>(lengths.size()) == batch, "expected ", batch,
              " lengths, one a sequence, got ", lengths.size());
  check_lengths(lengths);
  for (std::size_t b = 0; b < lengths.size(); ++b)
    GPUNN_CHECK(lengths[b] <= extent, "expected lengths of at most ", extent, ", the steps of x, got ",
                lengths[b], " for sequence ", b);
  const Sorted s = sorted(lengths, enforce_sorted);
  Packing packing(s.lengths, x.device());
  const PaddedOrder padded{extent, batch, batch_first};
  Tensor data = gather_rows(x.reshape({padded.positions(), features_of(x.shape(), 2)}),
                            padded_map(packing, s.order, padded, x.device()))
                    .reshape(rows_shape(packing.rows(), x.shape(), 2));
  return packed(std::move(data), std::move(packing), s, enforce_sorted, x.device());
}

PaddedSequence pad_packed_sequence(const PackedSequence& sequence, bool batch_first, double padding_value,
                                   std::int64_t total_length) {
  OpScope scope("pad_packed_sequence");
  const Tensor& data = sequence.data;
  const Packing& packing = sequence.packing;
  GPUNN_CHECK(data.defined(), "expected data, got an undefined tensor");
  GPUNN_CHECK(data.dim() >= 1 && data.size(0) == packing.rows(), "expected data [", packing.rows(),
              ", ...], got ", data.shape());
  GPUNN_CHECK(total_length == 0 || total_length >= packing.steps(), "expected total_length of at least ",
              packing.steps(), ", the longest sequence, got ", total_length);
  const std::int64_t batch = packing.batch(), extent = total_length == 0 ? packing.steps() : total_length;
  Numbers order(at(batch));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  if (sequence.sorted_indices.defined()) {
    GPUNN_CHECK(sequence.sorted_indices.shape() == Shape{batch}, "expected sorted_indices [", batch,
                "], got ", sequence.sorted_indices.shape());
    order = sequence.sorted_indices.to_vector<std::int64_t>();
  }
  Numbers lengths(at(batch), 0);
  for (std::size_t b = 0; b < order.size(); ++b) {
    GPUNN_CHECK(order[b] >= 0 && order[b] < batch && lengths[at(order[b])] == 0,
                "expected sorted_indices with every number in [0, ", batch, ") once, got ", order[b]);
    lengths[at(order[b])] = packing.lengths()[b];
  }
  const PaddedOrder padded{extent, batch, batch_first};
  const RowMap map = padded_map(packing, order, padded, data.device());
  const Tensor flat = data.reshape({packing.rows(), features_of(data.shape(), 1)});
  return {spread_rows(flat, map, padding_value).reshape(padded.shape(data)), std::move(lengths)};
}

Tensor pad_sequence(std::span<const Tensor> sequences, bool batch_first, double padding_value) {
  OpScope scope("pad_sequence");
  const Numbers lengths = lengths_of(sequences);
  const PaddedOrder padded{*std::max_element(lengths.begin(), lengths.end()),
                           static_cast<std::int64_t>(lengths.size()), batch_first};
  const Tensor data = cat(sequences);
  Numbers position;
  for (std::int64_t b = 0; b < padded.batch; ++b)
    for (std::int64_t t = 0; t < lengths[at(b)]; ++t) position.push_back(padded.position(t, b));
  const Tensor flat = data.reshape({data.size(0), features_of(data.shape(), 1)});
  return spread_rows(flat, map_of(position, padded.positions(), data.device()), padding_value)
      .reshape(padded.shape(data));
}

PackedSequence pack_sequence(std::span<const Tensor> sequences, bool enforce_sorted) {
  OpScope scope("pack_sequence");
  const Numbers lengths = lengths_of(sequences);
  const Sorted s = sorted(lengths, enforce_sorted);
  const Tensor joined = cat(sequences);
  Numbers begin(lengths.size(), 0);
  for (std::size_t b = 1; b < begin.size(); ++b) begin[b] = begin[b - 1] + lengths[b - 1];
  Packing packing(s.lengths, joined.device());
  const auto position = [&](std::int64_t t, std::int64_t b) { return begin[at(b)] + t; };
  const RowMap map = map_of(packed_positions(packing, s.order, position), packing.rows(), joined.device());
  Tensor data = gather_rows(joined.reshape({packing.rows(), features_of(joined.shape(), 1)}), map)
                    .reshape(joined.shape());
  return packed(std::move(data), std::move(packing), s, enforce_sorted, joined.device());
}

}  // namespace gpunn
