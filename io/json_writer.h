#pragma once
// Writing JSON (RFC 8259) piece by piece: metrics lines, manifests, machine-readable output.
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// `text` as a JSON string, quotes included. Bytes that are not UTF-8 become U+FFFD, so the output is always
/// valid.
GPUNN_API std::string json_quote(std::string_view text);
/// The shortest text that reads back as the same number; "null" for NaN and infinities, which JSON does not
/// have.
GPUNN_API std::string json_number(double value);
GPUNN_API std::string json_number(float value);

/// Builds one JSON document in memory. Commas, colons and line breaks are put by the writer. Misuse (a value
/// without its key, an end without a begin, a second document) throws InvalidArgument.
///
///   JsonWriter json;
///   json.begin_object().field("epoch", 3).field("loss", 0.25).end_object();
///   log.append(json.take() + "\n");
class GPUNN_API JsonWriter {
 public:
  /// `indent` spaces a level; 0 writes one line without spaces.
  explicit JsonWriter(int indent = 0);

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  JsonWriter& key(std::string_view name);

  JsonWriter& value(std::string_view text) { return raw(json_quote(text)); }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(std::nullptr_t) { return raw("null"); }
  template <class T>
    requires std::is_arithmetic_v<T>
  JsonWriter& value(T number) {
    if constexpr (std::same_as<T, bool>) {
      return raw(number ? "true" : "false");
    } else if constexpr (std::is_floating_point_v<T>) {
      return raw(json_number(number));
    } else {
      return raw(std::to_string(number));
    }
  }
  template <class T>
  JsonWriter& value(const std::vector<T>& values) {
    begin_array();
    for (const T& v : values) value(v);
    return end_array();
  }
  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }
  /// Puts `json`, a complete JSON value, as it is.
  JsonWriter& raw(std::string_view json);

  /// The finished document; the writer is as new. Throws InvalidArgument when something is still open or
  /// nothing was written.
  std::string take();

 private:
  struct Level {
    bool is_object;
    bool empty;
  };
  void before_value();
  void begin(bool is_object);
  void end(bool is_object);
  void new_line();

  std::string text_;
  std::vector<Level> levels_;
  int indent_;
  bool has_key_ = false;
  bool done_ = false;
};

}  // namespace gpunn
