#include "gpunn/io/json_value.h"

#include <limits>
#include <optional>
#include <unordered_set>

#include "gpunn/io/detail/data_fail.h"
#include "gpunn/io/detail/json_events.h"
#include "gpunn/io/file.h"

namespace gpunn {

/// Builds the tree from events; open containers stand on a stack.
class JsonBuilder final : public detail::JsonHandler {
 public:
  JsonBuilder(std::string_view path, const JsonLimits& limits)
      : path_(std::make_shared<const std::string>(path)), limits_(limits) {}

  JsonValue take() {
    if (!root_) detail::fail_data(*path_, "not valid JSON at offset 0: no value");
    return std::move(*root_);
  }

  void null() override { add(nullptr); }
  void boolean(bool value) override { add(value); }
  void integer(std::int64_t value) override { add(value); }
  void large_integer(std::uint64_t value) override { add(value); }
  void number(double value) override { add(value); }
  void string(std::string& value) override { add(std::move(value)); }
  void begin_object() override { open_.push_back({make(JsonValue::Object{}), {}, {}}); }
  void begin_array() override { open_.push_back({make(JsonValue::Array{}), {}, {}}); }
  void end_object() override { close(); }
  void end_array() override { close(); }
  void key(std::string& name) override {
    Level& level = open_.back();
    if (!level.keys.insert(name).second) {
      detail::fail_data(*path_, "duplicate key ", detail::in_quotes(name), " at offset ", position());
    }
    level.key = std::move(name);
  }

 private:
  struct Level {
    JsonValue value;
    std::string key;  // of the next member
    std::unordered_set<std::string>
        keys;  // of the open object: its members alone would make the search quadratic
  };

  JsonValue make(JsonValue::Content content) {
    if (++count_ > limits_.max_values) {
      // A value takes some fifty times the bytes of its shortest text.
      detail::fail_data(*path_, "expected at most ", limits_.max_values, " JSON values, got more at offset ",
                        position());
    }
    return {std::move(content), position(), path_};
  }

  void add(JsonValue::Content content) { place(make(std::move(content))); }

  void place(JsonValue value) {
    if (open_.empty()) {
      root_ = std::move(value);
    } else if (auto* object = std::get_if<JsonValue::Object>(&open_.back().value.value_)) {
      object->emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      std::get<JsonValue::Array>(open_.back().value.value_).push_back(std::move(value));
    }
  }

  void close() {
    JsonValue value = std::move(open_.back().value);
    open_.pop_back();
    place(std::move(value));
  }

  std::shared_ptr<const std::string> path_;
  JsonLimits limits_;
  std::optional<JsonValue> root_;
  std::vector<Level> open_;
  std::size_t count_ = 0;
};

JsonValue JsonValue::parse(std::string_view text, std::string_view path, const JsonLimits& limits) {
  JsonBuilder builder(path, limits);
  detail::parse_json(text, path, 0, limits.max_depth, builder);
  return builder.take();
}

JsonValue JsonValue::read(const std::string& path, const JsonLimits& limits) {
  return parse(read_text_file(path, limits.max_bytes), path, limits);
}

const char* JsonValue::kind() const noexcept {
  constexpr const char* kKinds[] = {"null",     "a boolean", "an integer", "an integer",
                                    "a number", "a string",  "an array",   "an object"};
  return kKinds[value_.index()];
}

void JsonValue::fail(std::string_view what) const { detail::fail_data(*path_, what, " at offset ", offset_); }

void JsonValue::fail_kind(const char* expected) const {
  detail::fail_data(*path_, "expected ", expected, " at offset ", offset_, ", got ", kind());
}

bool JsonValue::as_bool() const {
  if (const auto* value = std::get_if<bool>(&value_)) return *value;
  fail_kind("true or false");
}

std::int64_t JsonValue::as_int() const {
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return *value;
  fail_kind("an integer of 64 bits with sign");
}

std::uint64_t JsonValue::as_uint() const {
  // Numbers that fit a signed integer are stored as one.
  if (const auto* value = std::get_if<std::uint64_t>(&value_)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&value_); value && *value >= 0) {
    return static_cast<std::uint64_t>(*value);
  }
  fail_kind("an integer of 64 bits without sign");
}

double JsonValue::as_number() const {
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<std::uint64_t>(&value_)) return static_cast<double>(*value);
  fail_kind("a number");
}

const std::string& JsonValue::as_string() const {
  if (const auto* value = std::get_if<std::string>(&value_)) return *value;
  fail_kind("a string");
}

const JsonValue::Array& JsonValue::as_array() const {
  if (const auto* value = std::get_if<Array>(&value_)) return *value;
  fail_kind("an array");
}

const JsonValue::Object& JsonValue::as_object() const {
  if (const auto* value = std::get_if<Object>(&value_)) return *value;
  fail_kind("an object");
}

const JsonValue* JsonValue::find(std::string_view key) const {
  for (const auto& [name, value] : as_object()) {
    if (name == key) return &value;
  }
  return nullptr;
}

const JsonValue& JsonValue::at(std::string_view key) const {
  if (const JsonValue* value = find(key)) return *value;
  detail::fail_data(*path_, "expected a member ", detail::in_quotes(key),
                    " in the object that ends at offset ", offset_);
}

}  // namespace gpunn
