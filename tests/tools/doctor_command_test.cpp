// gpunn doctor from outside: it answers whatever state the machine is in, and names what is wrong.
#include <gtest/gtest.h>

#include <filesystem>
#include <sstream>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "tests/tools/child.h"

namespace gpunn::testing {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

Outcome doctor(std::vector<std::pair<std::string, std::string>> environment,
               std::vector<std::string> words = {"doctor", "--json"}) {
  return run(words, {.environment = std::move(environment)});
}

// The finding of that level whose text or cure contains `part`.
bool has(const JsonValue& json, const std::string& level, const std::string& part) {
  for (const JsonValue& check : json.at("checks").as_array())
    if (check.at("level").as_string() == level &&
        (contains(check.at("text").as_string(), part) || contains(check.at("cure").as_string(), part)))
      return true;
  return false;
}

TEST(DoctorCommandTest, ThisMachineWorks) {
  const Outcome o = run({"doctor"});
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  for (const char* part :
       {"ok       CPU", "ok       self test", ": works", "oneDNN", "memory", "run folder", "build"})
    EXPECT_TRUE(contains(o.out, part)) << part << "\n" << o.out;
  EXPECT_FALSE(contains(o.out, "\x1b[")) << "no colour in a pipe";
  std::istringstream lines(o.out);
  for (std::string line; std::getline(lines, line);)
    EXPECT_TRUE(line.size() <= 80 || line.find_last_of(' ') < 80) << line;
  EXPECT_TRUE(contains(run({"doctor", "--color", "always"}).out, "\x1b[32m"));
  if (!std::filesystem::exists("/proc/driver/nvidia")) {
    EXPECT_TRUE(contains(o.out, "NVIDIA driver")) << o.out;
  }
}

TEST(DoctorCommandTest, VariablesThatNothingReads) {
  const Outcome o = doctor({{"GPUNN_DETERMINSTIC", "0"}, {"GPUNN_SYNC", "1"}, {"GPUNN_QWERTZUIOP", "1"}});
  EXPECT_EQ(o.code, 0) << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_TRUE(json.at("works").as_bool());
  EXPECT_TRUE(has(json, "warning", "did you mean GPUNN_DETERMINISTIC?")) << o.out;
  EXPECT_TRUE(has(json, "warning", "unset GPUNN_QWERTZUIOP"));
  EXPECT_TRUE(has(json, "ok", "GPUNN_SYNC=1 (waits"));
  EXPECT_EQ(doctor({{"GPUNN_IMPL", "softmax=ref,matmul=cpu"}}).code, 0);
}

TEST(DoctorCommandTest, BadValuesAreProblems) {
  for (const auto& [name, value, part] :
       {std::tuple{"GPUNN_NUM_THREADS", "many", "expected a number"},
        {"GPUNN_DETERMINISTIC", "maybe", "expected 0 or 1"},
        {"GPUNN_AUTOTUNE", "/nowhere/autotune.json", "is not there"},
        {"GPUNN_IMPL", "softmax", "expected OP=NAME, got \"softmax\""},
        {"GPUNN_IMPL", "softmux=ref", "did you mean softmax?"},
        {"GPUNN_IMPL", "matmul=cpu,softmax=cpo", "has no implementation cpo"},
        {"GPUNN_MEMORY_DEBUG", "2", "expected 0 or 1"}}) {
    const Outcome o = doctor({{name, value}});
    EXPECT_EQ(o.code, 1) << name << o.out << o.err;
    const JsonValue json = JsonValue::parse(o.out, "stdout");
    EXPECT_FALSE(json.at("works").as_bool());
    EXPECT_TRUE(has(json, "problem", part)) << o.out;
  }
}

class DoctorLibraryTest : public ::testing::Test {
 protected:
  DoctorLibraryTest() { std::filesystem::create_directories(folder_ / "lib"); }
  Outcome with_libraries() const { return doctor({{"LD_LIBRARY_PATH", folder_ / "lib"}}); }
  static constexpr const char* kNames[] = {"libdnnl.so.2", "libcublasLt.so.13", "libcudnn.so.9",
                                           "libnccl.so.2", "libcuda.so.1"};
  Folder folder_;
};

TEST_F(DoctorLibraryTest, FilesThatAreNoLibraries) {
  for (const char* name : kNames)
    write_file_atomic(folder_ / (std::string("lib/") + name), std::string_view("no ELF"));
  const Outcome o = with_libraries();
  EXPECT_EQ(o.code, 0) << o.out << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_TRUE(has(json, "warning", "libdnnl.so.2"));
  EXPECT_TRUE(has(json, "warning", "LD_LIBRARY_PATH"));
  EXPECT_FALSE(contains(json.at("verdict").as_string(), "no NVIDIA driver found"))
      << "there is one, a broken one";
}

TEST_F(DoctorLibraryTest, LibrariesThatCrash) {
  for (const char* name : kNames)
    std::filesystem::copy_file(GPUNN_CRASHING_LIBRARY, folder_ / (std::string("lib/") + name));
  const Outcome o = with_libraries();
  EXPECT_EQ(o.code, 1) << "products ask for oneDNN\n" << o.out << o.err;
  const JsonValue json = JsonValue::parse(o.out, "stdout");
  EXPECT_TRUE(has(json, "warning", "libdnnl.so.2 crashes")) << o.out;
  EXPECT_TRUE(has(json, "warning", "libnccl.so.2 crashes"));
  EXPECT_TRUE(has(json, "problem", "it crashes (signal 6)"));
}

TEST_F(DoctorLibraryTest, AFolderThatCannotBeWritten) {
  write_file_atomic(folder_ / "lib/runs", std::string_view("a file where the folder should be"));
  const Outcome o = run({"doctor", "--json"}, {.folder = folder_ / "lib"});
  EXPECT_EQ(o.code, 1);
  EXPECT_TRUE(has(JsonValue::parse(o.out, "stdout"), "problem", "--run-dir")) << o.out;
}

}  // namespace
}  // namespace gpunn::testing
