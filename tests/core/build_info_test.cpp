#include "gpunn/core/build_info.h"

#include <gtest/gtest.h>

#include <string>

#include "gpunn/version.h"

namespace {

TEST(BuildInfo, LibraryAndHeadersAreOfOneVersion) {
  const std::string expected = std::to_string(GPUNN_VERSION_MAJOR) + "." +
                               std::to_string(GPUNN_VERSION_MINOR) + "." +
                               std::to_string(GPUNN_VERSION_PATCH);
  EXPECT_EQ(gpunn::version(), expected);
  EXPECT_EQ(gpunn::build_info().version, expected);
}

TEST(BuildInfo, ModeAgreesWithTheDefinitionsOfTheBuild) {
  const std::string mode = gpunn::build_info().mode;
  EXPECT_EQ(GPUNN_HAS_CUDA == 1, mode == "cuda" || mode == "emulated");
  EXPECT_EQ(GPUNN_EMULATED == 1, mode == "emulated");
}

TEST(BuildInfo, NothingIsNull) {
  const gpunn::BuildInfo& info = gpunn::build_info();
  for (const char* text : {info.version, info.commit, info.compiler, info.cuda_compiler, info.mode,
                           info.build_type, info.sanitizer, info.flags}) {
    ASSERT_NE(text, nullptr);
  }
  EXPECT_STRNE(info.commit, "");
  EXPECT_STRNE(info.compiler, "");
}

}  // namespace
