#include "gpunn/core/implementation.h"

#include <gtest/gtest.h>

#include "gpunn/core/op.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

/// y = 2x over f32, with entries that can be told apart by an offset they add.
struct DoubleProblem {
  DType dtype = DType::f32;
  const void* x = nullptr;
  void* y = nullptr;
  std::int64_t n = 0;
};

std::vector<Operand> operands(DoubleProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in}, {"y", &p.y, p.dtype, p.n, Role::out}};
}

template <int Offset>
void run(const DoubleProblem& p, const Exec&) {
  for (std::int64_t i = 0; i < p.n; ++i)
    static_cast<float*>(p.y)[i] = 2 * static_cast<const float*>(p.x)[i] + static_cast<float>(Offset);
}

const char* small_only(const DoubleProblem& p) { return p.n <= 2 ? nullptr : "takes two elements at most"; }
const char* never(const DoubleProblem&) { return "is broken"; }

constexpr Implementation<DoubleProblem> kEntries[] = {
    {"small", DeviceType::cpu, small_only, nullptr, Determinism::bitwise, run<0>},
    {"loose", DeviceType::cpu, nullptr, nullptr, Determinism::varies, run<10>},
    {"wrong", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, run<1>},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, run<0>},
};
constexpr ImplementationList<DoubleProblem> kDouble{"double", "forward", kEntries};

std::vector<float> doubled(RuntimeOptions options, std::initializer_list<float> values,
                           const ImplementationList<DoubleProblem>& list = kDouble) {
  Runtime runtime(options);
  const RuntimeScope scope(runtime);
  const Tensor x = Tensor::from(values), y = zeros_like(x);
  DoubleProblem p{DType::f32, x.data(), y.data(), x.numel()};
  execute(list, p, {&x}, {&y});
  return y.to_vector<float>();
}

TEST(Implementation, FirstAcceptingDeterministicEntryRuns) {
  EXPECT_EQ(doubled({}, {1, 2}), (std::vector<float>{2, 4}));
  EXPECT_EQ(doubled({}, {1, 2, 3}), (std::vector<float>{3, 5, 7}));
}

TEST(Implementation, NondeterministicEntriesNeedToBeAllowed) {
  EXPECT_EQ(doubled({.deterministic = false}, {1, 2, 3}), (std::vector<float>{12, 14, 16}));
}

TEST(Implementation, AnEntryCanBeForced) {
  EXPECT_EQ(doubled({.forced = "matmul=cpu,double=ref"}, {1, 2, 3}), (std::vector<float>{2, 4, 6}));
  EXPECT_EQ(doubled({.forced = "double=loose"}, {1}), (std::vector<float>{12}));
  EXPECT_EQ(doubled({.forced = "matmul=cpu"}, {1}), (std::vector<float>{2}));
  EXPECT_THROW(doubled({.forced = "double"}, {1}), InvalidArgument);
}

TEST(Implementation, RefusalNamesEveryReason) {
  try {
    doubled({.forced = "double=small"}, {1, 2, 3});
    FAIL();
  } catch (const Unsupported& e) {
    EXPECT_NE(std::string(e.what()).find("small takes two elements at most"), std::string::npos) << e.what();
  }
  static constexpr Implementation<DoubleProblem> broken[] = {
      {"ref", DeviceType::cpu, never, nullptr, Determinism::bitwise, run<0>}};
  EXPECT_THROW(doubled({}, {1}, {"double", "forward", broken}), Unsupported);
}

TEST(Implementation, ShadowExecutionFindsADifference) {
  EXPECT_EQ(doubled({.shadow = true}, {1, 2}), (std::vector<float>{2, 4}));
  try {
    doubled({.shadow = true}, {1, 2, 3});
    FAIL();
  } catch (const Error& e) {
    EXPECT_NE(
        std::string(e.what()).find("double=wrong differs from the reference at y[0]: expected 2, got 3"),
        std::string::npos)
        << e.what();
  }
}

TEST(Implementation, WritesBumpVersions) {
  const Tensor x = Tensor::from({1, 2}), y = zeros_like(x);
  const auto before = y.storage().version(), read = x.storage().version();
  DoubleProblem p{DType::f32, x.data(), y.data(), 2};
  execute(kDouble, p, {&x}, {&y});
  EXPECT_EQ(y.storage().version(), before + 1);
  EXPECT_EQ(x.storage().version(), read);
}

class ForcedReferenceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(ForcedReferenceTest);

TEST_P(ForcedReferenceTest, ServesADeviceOnlyWhenForced) {
  Runtime runtime({.forced = "double=ref"});
  const RuntimeScope scope(runtime);
  const Tensor x = Tensor::from({1, 2, 3}).to(device()), y = zeros_like(x);
  DoubleProblem p{DType::f32, x.data(), y.data(), 3};
  execute(kDouble, p, {&x}, {&y});
  EXPECT_EQ(y.to_vector<float>(), (std::vector<float>{2, 4, 6}));
  if (device().is_cpu()) return;
  Runtime plain{RuntimeOptions{}};
  const RuntimeScope inner(plain);
  const Tensor a = Tensor::from({1, 2, 3}).to(device()), b = zeros_like(a);
  DoubleProblem q{DType::f32, a.data(), b.data(), 3};
  EXPECT_THROW(execute(kDouble, q, {&a}, {&b}), Unsupported);
}

}  // namespace
}  // namespace gpunn
