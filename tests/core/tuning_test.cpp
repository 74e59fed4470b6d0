#include "gpunn/core/tuning.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/op.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

/// y = x + n's entry, so that results tell which entry ran; with `accumulate` y += entry.
struct TagProblem {
  DType dtype = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  std::int64_t n = 0;
  bool accumulate = false;
};

std::vector<Operand> operands(TagProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in},
          {"y", &p.y, p.dtype, p.n, p.accumulate ? Role::inout : Role::out}};
}

std::atomic<int> runs_of_slow{0};

template <int Tag>
void run(const TagProblem& p, const Exec& exec) {
  if (Tag == 1) {  // the slow one
    runs_of_slow.fetch_add(1);
    const auto until = std::chrono::steady_clock::now() + std::chrono::microseconds(500);
    while (std::chrono::steady_clock::now() < until) continue;
  }
  if (exec.workspace_bytes > 0) static_cast<char*>(exec.workspace)[exec.workspace_bytes - 1] = 1;
  for (std::int64_t i = 0; i < p.n; ++i) {
    float& y = static_cast<float*>(p.y)[i];
    y = (p.accumulate ? y : static_cast<const float*>(p.x)[i]) + static_cast<float>(Tag);
  }
}

const char* two_at_most(const TagProblem& p) { return p.n <= 2 ? nullptr : "takes two elements at most"; }
std::size_t some_bytes(const TagProblem&) { return 100; }

constexpr Implementation<TagProblem> kEntries[] = {
    {"slow", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, run<1>},
    {"small", DeviceType::cpu, two_at_most, some_bytes, Determinism::bitwise, run<2>},
    {"loose", DeviceType::cpu, nullptr, nullptr, Determinism::varies, run<3>},
    {"far", DeviceType::cuda, nullptr, nullptr, Determinism::bitwise, run<4>},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, run<5>},
};
constexpr ImplementationList<TagProblem> kTag{"tag", "forward", kEntries};

void describe(const TagProblem& p, TuningKey& key) { key.add("n", p.n).add("accumulate", p.accumulate); }

constexpr char kTwo[] = "tag forward f32 n=2", kThree[] = "tag forward f32 n=3";

/// What is added to zeros: the number of the entry that ran.
float entry_that_runs(std::int64_t n) {
  const Tensor x = zeros({n}), y = zeros_like(x);
  TagProblem p{DType::f32, x.data(), y.data(), n};
  execute(Tuned(kTag, p, y.context(), describe).list(), p, {&x}, {&y});
  return y.to_vector<float>()[static_cast<std::size_t>(n) - 1];
}

class TuningTest : public ::testing::Test {
 protected:
  explicit TuningTest(const RuntimeOptions& options = {}) : runtime_(options), scope_(runtime_) {}
  ~TuningTest() override { remove_tuning(); }
  void install(const char* key, std::vector<TuningTime> order) {
    TuningTable table;
    table.set({key, std::move(order)});
    install_tuning(runtime_.cpu(), std::move(table), "digest");
  }

  Runtime runtime_;
  RuntimeScope scope_;
};

TEST(TuningKeyTest, NamesWhatWasAdded) {
  TuningKey key("matmul", "forward", DType::f16);
  alignas(16) const char bytes[32]{};
  key.add("M", 64).add("trans", 0).add("K", -1).add_alignment({bytes, nullptr});
  EXPECT_EQ(key.text(), "matmul forward f16 M=64 K=-1");
  EXPECT_EQ(key.add_alignment({bytes + 16, bytes + 4}).text(), "matmul forward f16 M=64 K=-1 unaligned=1");
}

TEST(TuningTableTest, RowsAreFoundByKeyAndReplaced) {
  TuningTable table;
  table.set({"b", {{"one", 1}}});
  table.set({"a", {{"two", 2}}});
  table.set({"b", {{"three", 3}}});
  ASSERT_EQ(table.size(), 2u);
  EXPECT_EQ(table.rows()[0]->key, "a");
  EXPECT_EQ(table.find("b")->order[0].implementation, "three");
  EXPECT_EQ(table.find("c"), nullptr);
}

TEST_F(TuningTest, StoredOrderIsFollowedForItsKeyAlone) {
  EXPECT_EQ(entry_that_runs(2), 1);
  install(kTwo, {{"small", 1e-6}, {"slow", 2e-6}});
  EXPECT_EQ(tuning_digest(), "digest");
  EXPECT_EQ(entry_that_runs(2), 2);
  EXPECT_EQ(entry_that_runs(1), 1);
  remove_tuning();
  EXPECT_EQ(tuning_digest(), "");
  EXPECT_EQ(entry_that_runs(2), 1);
}

TEST_F(TuningTest, WhatCannotRunIsPassedOver) {
  install(kThree, {{"gone", 1e-6}, {"far", 1e-6}, {"small", 1e-6}, {"loose", 1e-6}, {"slow", 1e-6}});
  EXPECT_EQ(entry_that_runs(3), 1);
  install(kThree, {{"ref", 1e-6}, {"small", 1e-6}});
  EXPECT_EQ(entry_that_runs(3), 1);
}

TEST_F(TuningTest, AnotherDeviceIsNotConcerned) {
  install(kTwo, {{"small", 1e-6}});
  Runtime other{RuntimeOptions{}};
  const RuntimeScope scope(other);
  EXPECT_EQ(entry_that_runs(2), 1);
}

class LooseTuningTest : public TuningTest {
 protected:
  LooseTuningTest() : TuningTest({.deterministic = false}) {}
};
TEST_F(LooseTuningTest, NondeterministicEntriesMayBeStored) {
  install(kThree, {{"loose", 1e-6}});
  EXPECT_EQ(entry_that_runs(3), 3);
}

class ForcedTuningTest : public TuningTest {
 protected:
  ForcedTuningTest() : TuningTest({.forced = "tag=ref"}) {}
};
TEST_F(ForcedTuningTest, WhatIsForcedWins) {
  install(kTwo, {{"small", 1e-6}});
  EXPECT_EQ(entry_that_runs(2), 5);
}

class ShadowTuningTest : public TuningTest {
 protected:
  ShadowTuningTest() : TuningTest({.shadow = true}) {}
};
TEST_F(ShadowTuningTest, TheStoredChoiceIsCompared) {
  install(kTwo, {{"small", 1e-6}});
  try {
    entry_that_runs(2);
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("tag=small differs from the reference"), std::string::npos)
        << e.what();
  }
}

TEST_F(TuningTest, RecorderTimesEveryPeerOnce) {
  runs_of_slow = 0;
  TuningTable table;
  {
    TuningRecorder recorder(runtime_.cpu(), 1e-3);
    EXPECT_EQ(entry_that_runs(2), 1);  // as without tuning
    const int runs = runs_of_slow;
    EXPECT_GE(runs, 2 + 5 + 1);  // first, once, five turns, and the run itself
    EXPECT_EQ(entry_that_runs(2), 1);
    EXPECT_EQ(runs_of_slow, runs + 1);
    EXPECT_EQ(entry_that_runs(3), 1);  // has no peers
    EXPECT_EQ(recorder.problems(), 2u);
    table = recorder.table();
  }
  ASSERT_EQ(table.size(), 1u);
  const TuningRow* row = table.find(kTwo);
  ASSERT_NE(row, nullptr);
  ASSERT_EQ(row->order.size(), 2u);
  EXPECT_EQ(row->order[0].implementation, "small");
  EXPECT_EQ(row->order[1].implementation, "slow");
  EXPECT_GE(row->order[1].seconds, 500e-6);
  EXPECT_LT(row->order[0].seconds, row->order[1].seconds);
  install_tuning(runtime_.cpu(), table, "digest");
  EXPECT_EQ(entry_that_runs(2), 2);
}

TEST_F(TuningTest, RecorderLeavesWhatIsReadAndWrittenAsItWas) {
  const TuningRecorder recorder(runtime_.cpu(), 1e-3);
  const Tensor x = Tensor::from({1, 2}), y = Tensor::from({10, 20});
  TagProblem p{DType::f32, x.data(), y.data(), 2, true};
  execute(Tuned(kTag, p, y.context(), describe).list(), p, {&x}, {&y});
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{11, 21}));
  TagProblem in_place{DType::f32, y.data(), y.data(), 2};
  execute(Tuned(kTag, in_place, y.context(), describe).list(), in_place, {&y}, {&y});
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{12, 22}));
  EXPECT_EQ(recorder.table().size(), 2u);
}

TEST_F(TuningTest, RecorderGivesBackTheTableBefore) {
  install(kTwo, {{"small", 1e-6}});
  {
    const TuningRecorder recorder(runtime_.cpu(), 1e-3);
  }
  EXPECT_EQ(entry_that_runs(2), 2);
}

TEST(TuningRace, TablesComeAndGoWhileOpsRun) {
  Runtime runtime{RuntimeOptions{}};
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t)
    threads.emplace_back([&] {
      const RuntimeScope scope(runtime);
      while (!done.load()) {
        const float entry = entry_that_runs(2);
        if (entry != 1 && entry != 2) wrong.fetch_add(1);
      }
    });
  for (int i = 0; i < 200; ++i) {
    TuningTable table;
    table.set({kTwo, {{"small", 1e-6}}});
    install_tuning(runtime.cpu(), std::move(table), std::to_string(i));
    std::this_thread::yield();
    if (i % 2) remove_tuning();
  }
  done = true;
  for (auto& thread : threads) thread.join();
  remove_tuning();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace gpunn
