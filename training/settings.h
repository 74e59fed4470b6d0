#pragma once
// Settings: one struct with one table of fields, from which flags, help, the configuration file and records
// derive.
//
//   struct MySettings : gpunn::Settings {
//     std::int64_t batch_size = 64;
//     std::vector<gpunn::Field> fields() override { return {{"batch_size", &batch_size, "rows a step", 1}}; }
//   };
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

class JsonValue;
class JsonWriter;

/// One setting. The pointer is into the struct that listed it.
struct Field {
  std::string name;  // "batch_size": key in JSON; as a flag "--batch-size"
  std::variant<bool*, std::int64_t*, std::uint64_t*, double*, std::string*> value;
  std::string help;
  double min = -std::numeric_limits<double>::infinity();  // smallest number allowed
  double max = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices{};  // texts allowed; empty: any
  std::string metavar{};               // what the help calls the value; empty: by type
};

class GPUNN_API Settings {
 public:
  virtual ~Settings();
  virtual std::vector<Field> fields() = 0;

 protected:
  Settings() = default;
  Settings(const Settings&) = default;
  Settings& operator=(const Settings&) = default;
};

/// "--batch-size".
GPUNN_API std::string flag_of(const Field& field);
/// Sets a field from text. Throws InvalidArgument "--batch-size: expected an integer of at least 1, got '0'".
GPUNN_API void set_field(const Field& field, std::string_view text);
/// The value as set_field() reads it.
GPUNN_API std::string field_text(const Field& field);
/// What a value looks like: "N", "X", "TEXT", "a|b"; empty for a switch.
GPUNN_API std::string field_metavar(const Field& field);

/// Writes the fields as one JSON object.
GPUNN_API void write_settings(JsonWriter& json, Settings& settings);
/// Sets fields from a JSON object; absent ones keep their value. Throws DataError "<path>: …" for malformed
/// JSON, an unknown or repeated key (with the nearest known one) and values of another type or out of range.
GPUNN_API void read_settings(Settings& settings, const JsonValue& json);

/// The candidate nearest to a mistyped word, or "" when none is near (edit distance at most a third of the
/// length, at least 2 allowed; neighbours swapped count as one).
GPUNN_API std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace gpunn
