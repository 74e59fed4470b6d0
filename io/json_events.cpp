#include "gpunn/io/detail/json_events.h"

#include <cmath>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>

#include "gpunn/io/detail/data_fail.h"

namespace gpunn::detail {
namespace {

using Json = nlohmann::json;

/// An input iterator that leaves its position where the handler can see it.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(std::string_view::const_iterator at, std::size_t* count) noexcept
      : at_(at), count_(count) {}
  reference operator*() const noexcept { return *at_; }
  CountingIterator& operator++() noexcept {
    ++at_;
    ++*count_;
    return *this;
  }
  CountingIterator operator++(int) noexcept {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  bool operator==(const CountingIterator& other) const noexcept { return at_ == other.at_; }

 private:
  std::string_view::const_iterator at_;
  std::size_t* count_;
};

/// nlohmann's SAX interface in front of ours: bounds the depth and words the errors.
class Sax {
 public:
  Sax(std::string_view path, std::uint64_t origin, int max_depth, JsonHandler& handler)
      : path_(path), origin_(origin), max_depth_(max_depth), handler_(handler) {}

  bool null() { return handler_.null(), true; }
  bool boolean(bool value) { return handler_.boolean(value), true; }
  bool number_integer(std::int64_t value) { return handler_.integer(value), true; }
  bool number_unsigned(std::uint64_t value) {
    if (value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
      handler_.integer(static_cast<std::int64_t>(value));
    } else {
      handler_.large_integer(value);
    }
    return true;
  }
  bool number_float(double value, const std::string&) { return handler_.number(value), true; }
  bool string(std::string& value) { return handler_.string(value), true; }
  bool binary(Json::binary_t&) { return false; }  // exists in binary formats only
  bool start_object(std::size_t) { return enter(), handler_.begin_object(), true; }
  bool key(std::string& name) { return handler_.key(name), true; }
  bool end_object() { return --depth_, handler_.end_object(), true; }
  bool start_array(std::size_t) { return enter(), handler_.begin_array(), true; }
  bool end_array() { return --depth_, handler_.end_array(), true; }

  bool parse_error(std::size_t position, const std::string& token, const Json::exception& error) {
    // The library's text is "[id] parse error at <place>: <reason>"; the place is given here, as an offset.
    const std::string_view text = error.what();
    const std::size_t colon = text.find(": ");
    fail_data(path_, "not valid JSON at offset ", origin_ + position, ", near ", in_quotes(token), ": ",
              colon == std::string_view::npos ? text : text.substr(colon + 2));
  }

 private:
  void enter() {
    if (++depth_ > max_depth_) {
      fail_data(path_, "expected JSON nested at most ", max_depth_, " deep, got more at offset ",
                origin_ + handler_.position());
    }
  }

  std::string_view path_;
  std::uint64_t origin_;
  int max_depth_, depth_ = 0;
  JsonHandler& handler_;
};

/// The library collects a token several times while it reads it; bounds keep that small beside the text
/// itself.
void check_tokens(std::string_view text, std::string_view path, std::uint64_t origin) {
  constexpr std::size_t kMaxString = std::size_t{4} << 20, kMaxNumber = 1024;
  std::size_t digits = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"') {
      const std::size_t begin = i++;
      while (i < text.size() && text[i] != '"') i += text[i] == '\\' ? 2 : 1;
      if (i - begin > kMaxString) {
        fail_data(path, "expected JSON strings of at most ", kMaxString, " bytes, got more at offset ",
                  origin + begin);
      }
    }
    digits = (c >= '0' && c <= '9') || c == '.' ? digits + 1 : 0;
    if (digits > kMaxNumber) {
      fail_data(path, "expected numbers of at most ", kMaxNumber, " digits, got more at offset ", origin + i);
    }
  }
}

}  // namespace

JsonHandler::~JsonHandler() = default;

void parse_json(std::string_view text, std::string_view path, std::uint64_t origin, int max_depth,
                JsonHandler& handler) {
  // The library takes a zero byte for the end of the text and would not look at what follows.
  if (const std::size_t zero = text.find('\0'); zero != std::string_view::npos) {
    fail_data(path, "not valid JSON at offset ", origin + zero, ": zero byte");
  }
  check_tokens(text, path, origin);
  handler.position_ = 0;
  Sax sax(path, origin, max_depth, handler);
  Json::sax_parse(CountingIterator(text.begin(), &handler.position_),
                  CountingIterator(text.end(), &handler.position_), &sax);
}

}  // namespace gpunn::detail
