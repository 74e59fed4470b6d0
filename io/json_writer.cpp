#include "gpunn/io/json_writer.h"

#include <charconv>
#include <cmath>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/utf8.h"

namespace gpunn {
namespace {

template <class T>
std::string shortest(T value) {
  if (!std::isfinite(value)) return "null";
  if (value == 0 && std::signbit(value)) return "-0.0";  // readers take "-0" for the integer
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value).ptr;
  return {buffer, end};
}

void append_escaped(std::string& out, unsigned char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    default:
      break;
  }
  if (c >= 0x20 && c != 0x7f) {
    out += static_cast<char>(c);
    return;
  }
  constexpr char kDigits[] = "0123456789abcdef";
  out += "\\u00";
  out += kDigits[c >> 4];
  out += kDigits[c & 15];
}

}  // namespace

std::string json_number(double value) { return shortest(value); }
std::string json_number(float value) { return shortest(value); }

std::string json_quote(std::string_view text) {
  std::string out;
  out.reserve(text.size() + 2);
  out += '"';
  while (!text.empty()) {
    // Invalid bytes are replaced one at a time, so that what follows them is kept.
    const std::size_t length = detail::utf8_length(text);
    if (length == 0) {
      out += "\xef\xbf\xbd";
    } else if (length == 1) {
      append_escaped(out, static_cast<unsigned char>(text[0]));
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
  return out;
}

JsonWriter::JsonWriter(int indent) : indent_(indent) {
  GPUNN_CHECK(indent >= 0 && indent <= 16, "JsonWriter: expected an indent of 0 to 16, got ", indent);
}

void JsonWriter::new_line() {
  if (indent_ > 0) text_.append(1, '\n').append(levels_.size() * static_cast<std::size_t>(indent_), ' ');
}

void JsonWriter::before_value() {
  GPUNN_CHECK(!done_, "JsonWriter: expected take() after a complete document, got another value");
  if (levels_.empty()) return;
  Level& level = levels_.back();
  GPUNN_CHECK(level.is_object == has_key_, "JsonWriter: expected a key before each value of an object");
  if (has_key_) {  // comma and line break stand before the key
    has_key_ = false;
    return;
  }
  if (!level.empty) text_ += ',';
  level.empty = false;
  new_line();
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  before_value();
  text_ += json;
  done_ = levels_.empty();
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  GPUNN_CHECK(!levels_.empty() && levels_.back().is_object && !has_key_, "JsonWriter: expected key '", name,
              "' inside an object, after a whole member");
  if (!levels_.back().empty) text_ += ',';
  levels_.back().empty = false;
  new_line();
  text_ += json_quote(name);
  text_ += indent_ > 0 ? ": " : ":";
  has_key_ = true;
  return *this;
}

void JsonWriter::begin(bool is_object) {
  before_value();
  text_ += is_object ? '{' : '[';
  levels_.push_back({is_object, true});
}

void JsonWriter::end(bool is_object) {
  GPUNN_CHECK(!levels_.empty() && levels_.back().is_object == is_object && !has_key_,
              "JsonWriter: expected an open ", is_object ? "object" : "array", " with whole members to end");
  const bool was_empty = levels_.back().empty;
  levels_.pop_back();
  if (!was_empty) new_line();
  text_ += is_object ? '}' : ']';
  done_ = levels_.empty();
}

JsonWriter& JsonWriter::begin_object() {
  begin(true);
  return *this;
}
JsonWriter& JsonWriter::end_object() {
  end(true);
  return *this;
}
JsonWriter& JsonWriter::begin_array() {
  begin(false);
  return *this;
}
JsonWriter& JsonWriter::end_array() {
  end(false);
  return *this;
}

std::string JsonWriter::take() {
  GPUNN_CHECK(done_, "JsonWriter: expected a complete document, got ", levels_.size(), " open levels");
  done_ = false;
  return std::exchange(text_, {});
}

}  // namespace gpunn
