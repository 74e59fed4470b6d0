// No op without reference, gradient (or the reason why not), parity cases and documentation.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/kernels/op_table.h"
#include "tests/support/all_cases.h"

namespace gpunn {
namespace {

namespace fs = std::filesystem;

fs::path source_dir() {
  const char* dir = std::getenv("GPUNN_SOURCE_DIR");
  return dir ? fs::path(dir) : fs::path(__FILE__).parent_path().parent_path().parent_path();
}

std::string text_of(const fs::path& path) {
  std::ifstream file(path);
  EXPECT_TRUE(file) << "cannot read " << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The texts of an op's public headers, its inner ones, or its tests, one after another.
std::string texts_of(const fs::path& folder, const std::string& pattern) {
  const std::regex expression(pattern);
  std::set<fs::path> paths;
  for (const auto& entry : fs::directory_iterator(folder))
    if (std::regex_match(entry.path().filename().string(), expression)) paths.insert(entry.path());
  EXPECT_FALSE(paths.empty()) << folder << " has no " << pattern;
  std::string text;
  for (const fs::path& path : paths) text += text_of(path);
  return text;
}
std::string public_headers(const std::string& op) {
  return texts_of(source_dir() / "kernels" / op, R"((?!.*_impl\.h)(?!.*-inl\.h).*\.h)");
}
std::string tests_of(const std::string& op) {
  return texts_of(source_dir() / "tests" / "kernels", op + R"((_\w+)?_test\.cpp)");
}

bool has_word(const std::string& text, const std::string& word) {
  return std::regex_search(text, std::regex("\\b" + word + "\\b"));
}

/// All matches of the pattern's first group.
std::set<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex expression(pattern);
  std::set<std::string> found;
  for (std::sregex_iterator i(text.begin(), text.end(), expression), end; i != end; ++i)
    found.insert((*i)[1]);
  return found;
}

std::set<std::string> op_folders() {
  std::set<std::string> folders;
  for (const auto& entry : fs::directory_iterator(source_dir() / "kernels"))
    if (fs::exists(entry.path() / (entry.path().filename().string() + "_impl.h")))
      folders.insert(entry.path().filename().string());
  return folders;
}

TEST(Coverage, EveryListEndsWithTheReference) {
  for (const OpInfo& op : op_table()) {
    EXPECT_NE(op.lists.empty(), op.composed.empty()) << op.name << " needs lists, or how it is composed";
    for (const ListInfo& list : op.lists) {
      ASSERT_FALSE(list.entries.empty()) << list.op;
      EXPECT_EQ(list.entries.back().name, "ref") << list.op << " " << list.direction;
      EXPECT_EQ(list.entries.back().device, DeviceType::cpu) << list.op << " " << list.direction;
    }
  }
}

TEST(Coverage, EveryPublicOpIsInTheTable) {
  std::map<std::string, std::set<std::string>> named;
  for (const OpInfo& op : op_table()) named[op.folder].insert(op.name);
  for (const std::string& folder : op_folders()) {
    for (
        const std::string& op : matches(
            public_headers(folder),
            R"(GPUNN_API (?:Tensor|std::vector<Tensor>|\w+Result|VarMean|void) (\w+)\((?:const Tensor|std::span))"))
      EXPECT_TRUE(named[folder].count(op))
          << folder << " declares " << op << ", which kernels/op_table.cpp lacks";
  }
}

TEST(Coverage, EveryImplementationListIsInTheTable) {
  const std::string table = text_of(source_dir() / "kernels" / "op_table.cpp");
  for (const std::string& folder : op_folders()) {
    const std::string header = texts_of(source_dir() / "kernels" / folder, R"(.*_impl\.h)");
    const auto lists = matches(header, R"(extern const ImplementationList<\w+> (\w+))");
    EXPECT_FALSE(lists.empty()) << folder;
    for (const std::string& list : lists) EXPECT_TRUE(has_word(table, list)) << folder << ": " << list;
  }
}

TEST(Coverage, EveryListHasParityCases) {
  constexpr int kLeast = 20;  // shapes x dtypes, for what users call
  std::map<std::pair<std::string, std::string>, std::size_t> cases;
  const parity::Suite suite = parity::all_cases();
  for (const parity::Case& c : suite.cases())
    cases[{c.op, c.direction}] += c.options.dtypes.empty() ? 3 : c.options.dtypes.size();
  for (const OpInfo& op : op_table()) {
    for (const ListInfo& list : op.lists) {
      const std::size_t n = cases[{list.op, list.direction}];
      const bool main = list.direction == "forward" || list.direction == "backward";
      EXPECT_GE(n, main ? kLeast : 1) << list.op << " " << list.direction;
    }
  }
}

TEST(Coverage, EveryParityCaseBelongsToAnOp) {
  std::set<std::pair<std::string, std::string>> lists;
  for (const OpInfo& op : op_table())
    for (const ListInfo& list : op.lists) lists.insert({list.op, list.direction});
  const parity::Suite suite = parity::all_cases();
  for (const parity::Case& c : suite.cases())
    EXPECT_TRUE(lists.count({c.op, c.direction})) << c.op << " " << c.name;
}

TEST(Coverage, EveryGradientIsChecked) {
  for (const OpInfo& op : op_table()) {
    if (op.folder == "core") continue;
    const std::string tests = tests_of(op.folder);
    EXPECT_TRUE(has_word(tests, op.name)) << op.name << " does not occur in its test";
    if (op.no_gradient.empty())
      EXPECT_TRUE(has_word(tests, "gradcheck")) << op.folder << "'s tests check no gradient";
    else
      EXPECT_GT(op.no_gradient.size(), 10u) << op.name << ": say why there is no gradient";
    if (op.no_second.empty())
      EXPECT_TRUE(has_word(tests, "gradgradcheck")) << op.folder << "'s tests check no second derivative";
    else
      EXPECT_GT(op.no_second.size(), 10u) << op.name << ": say why there is no second derivative";
  }
}

TEST(Coverage, EveryOpIsDocumented) {
  for (const OpInfo& op : op_table()) {
    if (op.folder == "core") continue;
    const std::string header = text_of(source_dir() / "kernels" / op.folder / (op.folder + ".h"));
    EXPECT_EQ(header.rfind("#pragma once\n//", 0), 0u)
        << op.folder << ".h does not begin with its documentation";
    std::string comments;
    for (const std::string& line : matches(header, R"(//+([^\n]*))")) comments += line + "\n";
    std::transform(comments.begin(), comments.end(), comments.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    std::vector<std::string> subjects{"dtypes|f32", "bitwise", "errors|throws"};
    if (op.no_gradient.empty()) subjects.push_back("backward");
    for (const std::string& subject : subjects)
      EXPECT_TRUE(has_word(comments, "(?:" + subject + ")"))
          << op.folder << ".h says nothing about " << subject;
  }
}

}  // namespace
}  // namespace gpunn
