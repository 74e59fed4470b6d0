#include "gpunn/training/tuning_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/core/build_info.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tensor.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/sha256.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

class TuningFileTest : public ::testing::Test {
 protected:
  ~TuningFileTest() override {
    remove_tuning();
    std::filesystem::remove(path_);
  }
  void write(const std::string& text) const { write_file_atomic(path_, text); }
  /// Reading `text` must throw DataError that names the file and says `part`.
  void expect_refused(const std::string& text, const std::string& part) const {
    write(text);
    try {
      read_tuning(path_, Device::cpu(), 2);
      ADD_FAILURE() << "taken: " << text;
    } catch (const DataError& e) {
      EXPECT_NE(std::string(e.what()).find(path_), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    }
  }
  static std::string with_rows(const std::string& rows) {
    return std::string(R"({"gpunn":")") + build_info().version + R"(","device":)" +
           json_quote(Device::cpu().context().api().info().name) + R"(,"threads":2,"rows":)" + rows + "}";
  }
  static std::string json_quote(const std::string& text) { return "\"" + text + "\""; }

  std::string path_ = ::testing::TempDir() + "gpunn-tuning-" +
                      ::testing::UnitTest::GetInstance()->current_test_info()->name() + ".json";
};

TuningTable two_rows() {
  TuningTable table;
  table.set({"matmul forward f32 M=2", {{"onednn", 1.5e-6}, {"cpu", 2e-6}}});
  table.set({"sort forward i64 length=9", {{"cub", 0}}});
  return table;
}

TEST_F(TuningFileTest, ReadsBackWhatWasWritten) {
  write(to_json(two_rows(), Device::cpu(), 2));
  const TuningTable table = read_tuning(path_, Device::cpu(), 2);
  ASSERT_EQ(table.size(), 2u);
  const TuningRow* row = table.find("matmul forward f32 M=2");
  ASSERT_NE(row, nullptr);
  ASSERT_EQ(row->order.size(), 2u);
  EXPECT_EQ(row->order[0].implementation, "onednn");
  EXPECT_EQ(row->order[0].seconds, 1.5e-6);
  EXPECT_EQ(row->order[1].implementation, "cpu");
  const JsonValue json = JsonValue::read(path_);
  EXPECT_EQ(json.at("rows").as_array()[1].at("op").as_string(), "sort");
  EXPECT_EQ(json.at("rows").as_array()[1].at("direction").as_string(), "forward");
}

TEST_F(TuningFileTest, IsInUseUnderItsDigest) {
  write(to_json(two_rows(), Device::cpu(), 2));
  use_tuning(path_, Device::cpu(), 2);
  EXPECT_EQ(tuning_digest(), sha256_of_file(path_));
}

TEST_F(TuningFileTest, ForeignFilesAreRefusedNamingBoth) {
  const std::string good = to_json(two_rows(), Device::cpu(), 2);
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    text.replace(text.find(from), from.size(), to);
    return text;
  };
  const std::string version = build_info().version, name = Device::cpu().context().api().info().name;
  expect_refused(with(version, "9.9.9"), "gpunn '9.9.9', here it is '" + version + "'");
  expect_refused(with(name, "abacus"), "device 'abacus', here it is '" + name + "'");
  expect_refused(with("\"threads\": 2", "\"threads\": 3"), "threads '3', here it is '2'");
}

TEST_F(TuningFileTest, MalformedFilesAreRefused) {
  write(with_rows("[]"));
  EXPECT_EQ(read_tuning(path_, Device::cpu(), 2).size(), 0u);
  expect_refused("", "");
  expect_refused("[]", "object");
  expect_refused(R"({"gpunn":3})", "string");
  expect_refused(with_rows("{}"), "array");
  const std::string entry = R"({"implementation":"cpu","seconds":1})";
  const auto row = [](const std::string& key, const std::string& order) {
    return R"({"key":")" + key + R"(","order":)" + order + "}";
  };
  expect_refused(with_rows("[" + row("", "[" + entry + "]") + "]"), "empty");
  expect_refused(with_rows("[" + row("k", "[]") + "]"), "at least one implementation");
  expect_refused(with_rows("[" + row("k", "[" + entry + "," + entry + "]") + "]"), "once");
  expect_refused(with_rows("[" + row("k", R"([{"implementation":"cpu","seconds":-1}])") + "]"), "seconds");
  expect_refused(with_rows("[" + row("k", R"([{"implementation":"","seconds":1}])") + "]"), "name");
  expect_refused(with_rows("[" + row("k", R"([{"implementation":"cpu"}])") + "]"), "seconds");
  const std::string once = row("k", "[" + entry + "]");
  expect_refused(with_rows("[" + once + "," + once + "]"), "each key once");
  EXPECT_THROW(read_tuning(path_ + ".none", Device::cpu(), 2), DataError);
}

class TuningMatmulTest : public testing::DeviceTest {
 protected:
  TuningMatmulTest() { set_allow_tf32(true); }
  ~TuningMatmulTest() override {
    set_allow_tf32(false);
    remove_tuning();
  }
};
GPUNN_ON_EVERY_DEVICE(TuningMatmulTest);

// With TF32 two kernels of ours take f32 on a GPU; on the CPU there may be oneDNN beside ours.
TEST_P(TuningMatmulTest, EveryStoredImplementationRunsWhenItComesFirst) {
  const Tensor a = randn({24, 40}).to(device()), b = randn({40, 16}).to(device());
  const auto a_values = a.to_vector<float>(), b_values = b.to_vector<float>();
  const std::vector<float> plain = matmul(a, b).to_vector<float>();
  TuningTable table;
  {
    const TuningRecorder recorder(device().context(), 1e-4);
    EXPECT_EQ(matmul(a, b).to_vector<float>(), plain);
    EXPECT_EQ(recorder.problems(), 1u);
    table = recorder.table();
  }
  if (device().is_cuda()) {
    ASSERT_EQ(table.size(), 1u);
    EXPECT_GE(table.rows()[0]->order.size(), 2u);
  }
  for (const TuningRow* row : table.rows())
    for (const TuningTime& time : row->order) {
      EXPECT_GT(time.seconds, 0);
      TuningTable first;
      first.set({row->key, {time}});
      install_tuning(device().context(), std::move(first), "test");
      const std::vector<float> tuned = matmul(a, b).to_vector<float>();
      RuntimeOptions options;
      options.forced = "matmul=" + time.implementation;
      Runtime forced(options);
      const RuntimeScope scope(forced);
      const auto here = [&](const std::vector<float>& values, const Shape& shape) {
        const Tensor t = Tensor::from(values, shape);
        return device().is_cpu() ? t : t.to(device());
      };
      EXPECT_EQ(tuned, matmul(here(a_values, a.shape()), here(b_values, b.shape())).to_vector<float>())
          << time.implementation;
    }
}

}  // namespace
}  // namespace gpunn
