#pragma once
// Runs recipes in tests: each in a folder of its own that is removed afterwards.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/models/recipes/recipe.h"
#include "tests/support/devices.h"

namespace gpunn::testing {

class RecipeTest : public DeviceTest {
 protected:
  RecipeTest() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~RecipeTest() override { std::filesystem::remove_all(path_); }

  // Settings of a recipe with `json` applied.
  std::unique_ptr<RunSettings> settings(const char* recipe, std::string_view json,
                                        const char* folder = "run") {
    std::unique_ptr<RunSettings> s = find_recipe(recipe).settings();
    read_settings(*s, JsonValue::parse(json, "test"));
    s->run_dir = path_ + "/" + folder;
    return s;
  }
  RecipeResult run(const char* recipe, std::string_view json, const RecipeHooks& hooks = {},
                   const char* folder = "run") {
    const std::unique_ptr<RunSettings> s = settings(recipe, json, folder);
    return run_recipe(find_recipe(recipe), *s, device(), hooks);
  }
  static double metric(const RecipeResult& result, const std::string& name) {
    for (const auto& [key, value] : result.metrics)
      if (key == name) return value;
    ADD_FAILURE() << "no " << name;
    return -1;
  }
  // The report is there and shows what it should.
  static void expect_report(const RecipeResult& result, std::initializer_list<const char*> parts) {
    const std::string page = read_text_file(result.report);
    for (const char* part : parts) EXPECT_NE(page.find(part), std::string::npos) << part;
  }
  // The folder of data sets that write_data() writes to, as a setting.
  std::string data() const { return R"("data": ")" + path_ + "/data\""; }
  // `file` is "folder/name".
  void write_data(const std::string& file, const std::string& text) {
    create_directories(path_ + "/data/" + file.substr(0, file.find('/')));
    write_file_atomic(path_ + "/data/" + file, text);
  }
  std::string path_;
};

// A part ("train", "t10k") of a data set of MNIST's form in `folder`: `count` pictures of 28 x 28, their
// labels and pixels from label(row) and pixel(row, place).
inline void write_pictures(const std::string& folder, const std::string& part, int count,
                           const std::function<int(int)>& label,
                           const std::function<std::uint8_t(int, int)>& pixel) {
  constexpr std::uint8_t kSide = 28;
  create_directories(folder);
  const auto head = [&](std::uint8_t rank) {
    return Bytes{
        0, 0, 8, rank, 0, 0, static_cast<std::uint8_t>(count >> 8), static_cast<std::uint8_t>(count)};
  };
  Bytes images = head(3), labels = head(1);
  images.insert(images.end(), {0, 0, 0, kSide, 0, 0, 0, kSide});
  for (int row = 0; row < count; ++row) {
    labels.push_back(static_cast<std::uint8_t>(label(row)));
    for (int p = 0; p < kSide * kSide; ++p) images.push_back(pixel(row, p));
  }
  write_file_atomic(folder + "/" + part + "-images-idx3-ubyte", images);
  write_file_atomic(folder + "/" + part + "-labels-idx1-ubyte", labels);
}

// The full length is for the CPU of a build without sanitizers; elsewhere a few steps show that everything
// runs.
inline bool full_length(const Device& device) {
#if defined(GPUNN_ASAN) || defined(GPUNN_TSAN)
  (void)device;
  return false;
#else
  return device.is_cpu();
#endif
}

}  // namespace gpunn::testing
