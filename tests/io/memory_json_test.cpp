#include "gpunn/io/memory_json.h"

#include <gtest/gtest.h>

#include "gpunn/core/error.h"
#include "gpunn/core/memory_trace.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/storage.h"
#include "gpunn/io/json_value.h"

namespace gpunn {
namespace {

TEST(MemoryJson, HasTotalsTagsAndBlocks) {
  Runtime runtime(RuntimeOptions{.threads = 1});
  const Device cpu(runtime.cpu());
  const MemoryTrace trace(cpu);
  runtime.cpu().usage().set_limit(MemoryTag::optimizer, 5000);
  const LayerScope layer("a \"layer\"");
  const OpScope op("softmax");
  const MemoryTagScope tag(MemoryTag::weights);
  const Ref<Storage> a = Storage::allocate(runtime.cpu(), 100), b = Storage::allocate(runtime.cpu(), 23);
  Storage::allocate(runtime.cpu(), 1000);

  const JsonValue json = JsonValue::parse(snapshot_json(memory_snapshot(cpu)), "snapshot");
  EXPECT_EQ(json.at("device").as_string(), "cpu");
  EXPECT_EQ(json.at("live_bytes").as_int(), 123);
  EXPECT_EQ(json.at("peak_live_bytes").as_int(), 1123);
  EXPECT_EQ(json.at("allocations").as_int(), 3);
  EXPECT_TRUE(json.at("recorded").as_bool());
  const JsonValue& weights = json.at("tags").at("weights");
  EXPECT_EQ(weights.at("live_bytes").as_int(), 123);
  EXPECT_EQ(weights.at("peak_bytes").as_int(), 1123);
  EXPECT_EQ(weights.at("blocks").as_int(), 2);
  EXPECT_TRUE(weights.at("limit_bytes").is_null());
  EXPECT_EQ(json.at("tags").at("optimizer").at("limit_bytes").as_int(), 5000);
  ASSERT_EQ(json.at("blocks").as_array().size(), 2u);
  const JsonValue& block = json.at("blocks").as_array()[1];
  EXPECT_EQ(block.at("bytes").as_int(), 23);
  EXPECT_EQ(block.at("tag").as_string(), "weights");
  EXPECT_EQ(block.at("layer").as_string(), "a \"layer\"");
  EXPECT_EQ(block.at("op").as_string(), "softmax");
}

TEST(MemoryJson, HasSegments) {
  MemorySnapshot snapshot;
  snapshot.segments = {{4096, 3072, true, {{1024, true}, {2048, false}}},
                       {65536, 512, false, {{512, false}}}};
  const JsonValue json = JsonValue::parse(snapshot_json(snapshot), "snapshot");
  ASSERT_EQ(json.at("segments").as_array().size(), 2u);
  const JsonValue& first = json.at("segments").as_array()[0];
  EXPECT_EQ(first.at("address").as_int(), 4096);
  EXPECT_EQ(first.at("bytes").as_int(), 3072);
  EXPECT_TRUE(first.at("pages").as_bool());
  EXPECT_TRUE(first.at("blocks").as_array()[0].at("free").as_bool());
  EXPECT_EQ(first.at("blocks").as_array()[1].at("bytes").as_int(), 2048);
}

}  // namespace
}  // namespace gpunn
