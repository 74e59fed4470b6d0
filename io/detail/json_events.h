#pragma once
// Reading JSON as a stream of events, so that a reader can refuse what it does not want before memory is
// spent on it.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace gpunn::detail {

/// Receives a document's parts in order. What it throws ends the parse.
class JsonHandler {
 public:
  virtual ~JsonHandler();
  virtual void null() = 0;
  virtual void boolean(bool value) = 0;
  /// An integer that fits 64 bits, with its sign.
  virtual void integer(std::int64_t value) = 0;
  /// An integer above the largest std::int64_t.
  virtual void large_integer(std::uint64_t value) = 0;
  virtual void number(double value) = 0;
  virtual void string(std::string& value) = 0;
  virtual void begin_object() = 0;
  virtual void key(std::string& name) = 0;
  virtual void end_object() = 0;
  virtual void begin_array() = 0;
  virtual void end_array() = 0;

  /// Bytes of the document read when the current event was raised.
  std::size_t position() const noexcept { return position_; }

 private:
  friend void parse_json(std::string_view, std::string_view, std::uint64_t, int, JsonHandler&);
  std::size_t position_ = 0;
};

/// Parses one JSON document (RFC 8259) in UTF-8, with white space around it and nothing else. Throws
/// DataError "<path>: … at offset <n>" for malformed text or nesting deeper than `max_depth`. `origin`: the
/// text's offset in its file. Duplicate keys are the handler's business.
void parse_json(std::string_view text, std::string_view path, std::uint64_t origin, int max_depth,
                JsonHandler& handler);

}  // namespace gpunn::detail
