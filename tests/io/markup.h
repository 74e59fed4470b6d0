#pragma once
// A check that drawings and pages are well-formed: tags nest, attributes are quoted, text is escaped.
#include <gtest/gtest.h>

#include <cctype>
#include <string>
#include <string_view>
#include <vector>

namespace gpunn::testing {

inline std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string_view::npos; at = text.find(part, at + part.size()))
    ++count;
  return count;
}

/// Fails unless every tag is closed in order, every attribute quoted, and every & starts a known escape.
/// `is_void` tags of HTML (img, meta, input, !DOCTYPE) need no end.
inline void expect_well_formed(std::string_view text) {
  std::vector<std::string> open;
  for (std::size_t at = 0; at < text.size();) {
    if (text[at] == '&') {
      const std::string_view rest = text.substr(at);
      bool known = false;
      for (const char* escape : {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"})
        known = known || rest.starts_with(escape);
      ASSERT_TRUE(known) << rest.substr(0, 40);
    }
    if (text[at] != '<') {
      ++at;
      continue;
    }
    const bool closes = text.substr(at).starts_with("</");
    std::size_t end = at + (closes ? 2 : 1);
    std::string name;
    while (end < text.size() && (std::isalnum(static_cast<unsigned char>(text[end])) || text[end] == '!'))
      name += text[end++];
    ASSERT_FALSE(name.empty()) << text.substr(at, 60);
    bool quoted = false;
    while (end < text.size() && (quoted || text[end] != '>')) {
      if (text[end] == '"') quoted = !quoted;
      ASSERT_FALSE(text[end] == '<') << text.substr(at, 60);
      if (text[end] == '=' && !quoted) {
        ASSERT_EQ(text[end + 1], '"') << text.substr(at, 60);
      }
      ++end;
    }
    ASSERT_LT(end, text.size()) << text.substr(at, 60);
    const bool empty =
        text[end - 1] == '/' || name == "img" || name == "meta" || name == "input" || name == "!DOCTYPE";
    if (closes) {
      ASSERT_FALSE(open.empty()) << name;
      ASSERT_EQ(open.back(), name) << text.substr(at > 80 ? at - 80 : 0, 120);
      open.pop_back();
    } else if (!empty) {
      open.push_back(name);
    }
    at = end + 1;
  }
  ASSERT_TRUE(open.empty()) << open.back();
}

}  // namespace gpunn::testing
