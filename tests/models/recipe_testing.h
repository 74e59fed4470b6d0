#pragma once
// Runs recipes in tests: each in a folder of its own that is removed afterwards.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

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
  std::string path_;
};

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
