#pragma once
// Reading JSON (RFC 8259) into a tree: settings, manifests, saved results.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// What bounds a document, so that a hostile one cannot take memory out of proportion to its size.
struct JsonLimits {
  int max_depth = 64;
  std::size_t max_values = 250'000;
  std::uint64_t max_bytes = std::uint64_t{64} << 20;
};

/// A value of a parsed document. It knows its place: every accessor throws DataError "<path>: expected … at
/// offset <n>, got …" when the value is of another kind. Members keep their order; duplicate keys are an
/// error.
class GPUNN_API JsonValue {
 public:
  using Array = std::vector<JsonValue>;
  using Object = std::vector<std::pair<std::string, JsonValue>>;

  /// Throws DataError for malformed text, duplicate keys, or a document past the limits. `path` is for
  /// messages.
  static JsonValue parse(std::string_view text, std::string_view path, const JsonLimits& limits = {});
  static JsonValue read(const std::string& path, const JsonLimits& limits = {});

  bool is_null() const noexcept { return value_.index() == 0; }
  bool as_bool() const;
  /// A number without fraction or exponent that fits.
  std::int64_t as_int() const;
  std::uint64_t as_uint() const;
  /// Any number.
  double as_number() const;
  const std::string& as_string() const;
  const Array& as_array() const;
  const Object& as_object() const;

  /// Member of an object; null when there is none.
  const JsonValue* find(std::string_view key) const;
  /// Member of an object that must be there.
  const JsonValue& at(std::string_view key) const;

  /// "object", "string", …
  const char* kind() const noexcept;
  /// Where the value ends in the file, in bytes.
  std::uint64_t offset() const noexcept { return offset_; }
  /// Throws DataError "<path>: <what> at offset <n>": for a reader that dislikes the value.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  friend class JsonBuilder;
  using Content =
      std::variant<std::nullptr_t, bool, std::int64_t, std::uint64_t, double, std::string, Array, Object>;
  JsonValue(Content content, std::uint64_t offset, std::shared_ptr<const std::string> path)
      : value_(std::move(content)), path_(std::move(path)), offset_(offset) {}
  [[noreturn]] void fail_kind(const char* expected) const;

  Content value_;
  std::shared_ptr<const std::string> path_;
  std::uint64_t offset_ = 0;
};

}  // namespace gpunn
