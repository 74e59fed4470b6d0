#include "gpunn/io/detail/safetensors_header.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "gpunn/io/detail/data_fail.h"
#include "gpunn/io/detail/json_events.h"

namespace gpunn::detail {
namespace {

struct FormatType {
  std::string_view name;
  int bits;
  std::optional<DType> dtype;
};

// All types of the format, so that sizes of tensors nobody asks for are checked too.
constexpr std::array kTypes = {FormatType{"F32", 32, DType::f32}, FormatType{"F64", 64, DType::f64},
                               FormatType{"F16", 16, DType::f16}, FormatType{"BF16", 16, DType::bf16},
                               FormatType{"I32", 32, DType::i32}, FormatType{"I64", 64, DType::i64},
                               FormatType{"U8", 8, DType::u8},    FormatType{"BOOL", 8, DType::boolean},
                               FormatType{"I8", 8, {}},           FormatType{"I16", 16, {}},
                               FormatType{"U16", 16, {}},         FormatType{"U32", 32, {}},
                               FormatType{"U64", 64, {}},         FormatType{"F8_E4M3", 8, {}},
                               FormatType{"F8_E5M2", 8, {}},      FormatType{"F8_E8M0", 8, {}},
                               FormatType{"F4", 4, {}},           FormatType{"F6_E2M3", 6, {}},
                               FormatType{"F6_E3M2", 6, {}},      FormatType{"C64", 64, {}}};

const FormatType* find_type(std::string_view name) noexcept {
  const auto found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const FormatType& t) { return t.name == name; });
  return found == kTypes.end() ? nullptr : &*found;
}

/// Accepts exactly the format's structure; anything else fails on sight.
class HeaderHandler final : public JsonHandler {
 public:
  explicit HeaderHandler(std::string_view path) : path_(path) {}

  SafetensorsHeader take() { return std::move(header_); }

  void null() override { fail_value("null"); }
  void boolean(bool) override { fail_value("a boolean"); }
  void large_integer(std::uint64_t value) override { fail_value(std::to_string(value)); }
  void number(double) override { fail_value("a number with fraction or exponent"); }

  void integer(std::int64_t value) override {
    if (place_ != Place::shape && place_ != Place::offsets) fail_value("a number");
    if (value < 0) fail_value(std::to_string(value));
    if (place_ == Place::shape) {
      if (info().shape.size() == kSafetensorsMaxRank) fail("expected at most 32 extents, got more");
      info().shape.push_back(value);
    } else {
      if (offsets_ == 2) fail("expected two data_offsets, got more");
      (offsets_ == 0 ? info().begin : info().end) = static_cast<std::uint64_t>(value);
      ++offsets_;
    }
  }

  void string(std::string& value) override {
    if (place_ == Place::metadata_value) {
      header_.metadata.back().second = std::move(value);
      place_ = Place::metadata;
    } else if (place_ == Place::dtype) {
      if (value.size() > kMaxTypeName) fail("expected a dtype, got " + in_quotes(value));
      info().dtype = std::move(value);
      place_ = Place::tensor;
    } else {
      fail_value("a string");
    }
  }

  void begin_object() override {
    switch (place_) {
      case Place::start:
        place_ = Place::top;
        break;
      case Place::metadata_start:
        place_ = Place::metadata;
        break;
      case Place::tensor_start:
        place_ = Place::tensor;
        break;
      default:
        fail_value("an object");
    }
  }

  void end_object() override {
    if (place_ == Place::tensor) finish_tensor();
    if (place_ == Place::metadata) finish_metadata();
    place_ = place_ == Place::top ? Place::end : Place::top;
  }

  void begin_array() override {
    if (place_ == Place::shape_start) {
      place_ = Place::shape;
    } else if (place_ == Place::offsets_start) {
      place_ = Place::offsets;
    } else {
      fail_value("an array");
    }
  }

  void end_array() override {
    if (place_ == Place::offsets && offsets_ != 2)
      fail("expected two data_offsets, got " + std::to_string(offsets_));
    place_ = Place::tensor;
  }

  void key(std::string& name) override {
    if (place_ == Place::top) {
      top_key(name);
    } else if (place_ == Place::metadata) {
      if (header_.metadata.size() == kSafetensorsMaxMetadata)
        fail("expected at most 65536 metadata keys, got more");
      header_.metadata.emplace_back(std::move(name), std::string());
      place_ = Place::metadata_value;
    } else {
      tensor_key(name);
    }
  }

 private:
  static constexpr std::size_t kMaxTypeName = 32;
  // Where in the structure the next event is; "_start": before the container opens.
  enum class Place : std::uint8_t {
    start,
    top,
    end,
    metadata_start,
    metadata,
    metadata_value,
    tensor_start,
    tensor,
    dtype,
    shape_start,
    shape,
    offsets_start,
    offsets
  };

  SafetensorsInfo& info() { return header_.tensors.back().second; }

  [[noreturn]] void fail(const std::string& what) const {
    const bool in_tensor = place_ >= Place::tensor_start && !header_.tensors.empty();
    const std::string tensor =
        in_tensor ? concat("tensor ", in_quotes(header_.tensors.back().first), ": ") : "";
    fail_data(path_, tensor, what, " at offset ", kSafetensorsLengthBytes + position());
  }

  [[noreturn]] void fail_value(const std::string& got) const {
    const char* expected = "a tensor entry";
    switch (place_) {
      case Place::start:
        expected = "an object";
        break;
      case Place::metadata_start:
        expected = "__metadata__ to be an object";
        break;
      case Place::metadata_value:
        expected = "__metadata__ values to be strings";
        break;
      case Place::tensor_start:
        expected = "an object for the tensor";
        break;
      case Place::dtype:
        expected = "dtype to be a string";
        break;
      case Place::shape_start:
        expected = "shape to be an array";
        break;
      case Place::offsets_start:
        expected = "data_offsets to be an array";
        break;
      case Place::shape:
        expected = "extents to be integers from 0 to 2^63-1";
        break;
      case Place::offsets:
        expected = "offsets to be integers from 0 to 2^63-1";
        break;
      default:
        break;
    }
    fail(concat("expected ", expected, ", got ", got));
  }

  void top_key(std::string& name) {
    if (name == kSafetensorsMetadata) {
      if (std::exchange(has_metadata_, true)) fail("duplicate key '__metadata__'");
      place_ = Place::metadata_start;
      return;
    }
    if (name.size() > kSafetensorsMaxName)
      fail("expected names of at most 4096 bytes, got " + in_quotes(name));
    if (header_.tensors.size() == kSafetensorsMaxTensors) fail("expected at most 131072 tensors, got more");
    if (header_.index.contains(name)) fail("duplicate key " + in_quotes(name));
    header_.tensors.emplace_back(std::move(name), SafetensorsInfo{});
    header_.index.emplace(header_.tensors.back().first, header_.tensors.size() - 1);
    seen_ = {};
    offsets_ = 0;
    place_ = Place::tensor_start;
  }

  void tensor_key(const std::string& name) {
    constexpr std::array<std::string_view, 3> kKeys = {"dtype", "shape", "data_offsets"};
    constexpr std::array kPlaces = {Place::dtype, Place::shape_start, Place::offsets_start};
    const auto found = static_cast<std::size_t>(std::find(kKeys.begin(), kKeys.end(), name) - kKeys.begin());
    if (found == kKeys.size()) fail("expected dtype, shape or data_offsets, got key " + in_quotes(name));
    if (std::exchange(seen_[found], true)) fail("duplicate key " + in_quotes(name));
    place_ = kPlaces[found];
  }

  void finish_metadata() {
    // Views of the keys, sorted: a set would hold each key a second time.
    std::vector<std::string_view> keys;
    for (const auto& [key, value] : header_.metadata) keys.push_back(key);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) fail("duplicate key " + in_quotes(*twice) + " in __metadata__, which ends");
  }

  void finish_tensor() {
    if (!seen_[0] || !seen_[1] || !seen_[2])
      fail("expected dtype, shape and data_offsets, got not all of them");
    const SafetensorsInfo& tensor = info();
    if (tensor.end < tensor.begin)
      fail(concat("expected data_offsets in order, got ", tensor.begin, ", ", tensor.end));
    const FormatType* type = find_type(tensor.dtype);
    if (!type) return;  // a type of the future: its size is unknown, load() will say so
    std::uint64_t bits = static_cast<std::uint64_t>(type->bits);
    bool empty = false, fits = true;
    for (const std::int64_t extent : tensor.shape) {
      // As for tensors: a zero extent does not excuse the others.
      fits = fits && !__builtin_mul_overflow(
                         bits, static_cast<std::uint64_t>(std::max<std::int64_t>(extent, 1)), &bits);
      empty = empty || extent == 0;
    }
    if (!fits || bits > std::uint64_t{std::numeric_limits<std::int64_t>::max()}) {
      fail("expected a shape whose bits fit 63 bits");
    }
    if (empty) bits = 0;
    if (bits % 8 != 0) fail(concat("expected whole bytes, got ", bits, " bits"));
    if (bits / 8 != tensor.end - tensor.begin) {
      fail(concat("shape and dtype ", tensor.dtype, " need ", bits / 8, " bytes, data_offsets give ",
                  tensor.end - tensor.begin));
    }
  }

  std::string_view path_;
  SafetensorsHeader header_;
  Place place_ = Place::start;
  std::array<bool, 3> seen_{};  // dtype, shape, data_offsets of the current tensor
  int offsets_ = 0;
  bool has_metadata_ = false;
};

/// The tensors must tile the buffer: sorted by offset, each begins where the one before ended.
void check_tiling(const SafetensorsHeader& header, std::string_view path, std::uint64_t buffer_bytes) {
  std::vector<std::size_t> order(header.tensors.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto offsets = [&](std::size_t i) {
    const SafetensorsInfo& info = header.tensors[i].second;
    return std::pair(info.begin, info.end);
  };
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return offsets(a) < offsets(b); });
  std::uint64_t reached = 0;
  for (const std::size_t i : order) {
    const auto [begin, end] = offsets(i);
    if (begin != reached) {
      fail_data(path, "tensor ", in_quotes(header.tensors[i].first), ": expected data at buffer offset ",
                reached, ", got ", begin,
                begin < reached ? " (overlaps the tensor before)" : " (leaves a hole)");
    }
    if (end > buffer_bytes) {
      fail_data(path, "tensor ", in_quotes(header.tensors[i].first), ": data ends at buffer offset ", end,
                ", the buffer at ", buffer_bytes);
    }
    reached = end;
  }
  if (reached != buffer_bytes) {
    fail_data(path, "expected the file to end at buffer offset ", reached,
              ", where the last tensor does, got ", buffer_bytes);
  }
}

}  // namespace

SafetensorsHeader parse_safetensors_header(std::string_view json, std::string_view path,
                                           std::uint64_t buffer_bytes) {
  if (!json.starts_with('{')) {
    fail_data(path, "expected the header to start with '{' at offset ", kSafetensorsLengthBytes, ", got ",
              json.empty() ? "nothing" : in_quotes(json.substr(0, 1)));
  }
  HeaderHandler handler(path);
  constexpr int kMaxDepth = 3;  // header, tensor, shape
  parse_json(json, path, kSafetensorsLengthBytes, kMaxDepth, handler);
  SafetensorsHeader header = handler.take();
  check_tiling(header, path, buffer_bytes);
  return header;
}

std::optional<DType> dtype_of_safetensors(std::string_view name) noexcept {
  const FormatType* type = find_type(name);
  return type ? type->dtype : std::nullopt;
}

const char* safetensors_name_of(DType dtype) noexcept {
  const auto found =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const FormatType& t) { return t.dtype == dtype; });
  return found->name.data();  // each of our types is in the table
}

}  // namespace gpunn::detail
