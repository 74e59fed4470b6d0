// The parity harness must reject every kind of broken implementation, and say which kind it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/common/ref_access.h"
#include "tests/selftest/mirror_impl.h"
#include "tests/support/parity.h"

namespace gpunn::selftest {

std::vector<Operand> operands(MirrorProblem& p) {
  return {{"x", const_cast<void**>(&p.x), p.dtype, p.n, Role::in}, {"y", &p.y, p.dtype, p.n, Role::out}};
}

void mirror_ref(const MirrorProblem& p, const Exec&) {
  const RefIn x(p.x, p.dtype);
  const RefOut y(p.y, p.dtype);
  for (std::int64_t i = 0; i < p.n; ++i) {
    const std::int64_t begin = i / kGroup * kGroup;
    y.set(i, 2 * x[begin + kGroup - 1 - (i - begin)]);
  }
}

template <Sabotage kSabotage>
void mirror_cpu(const MirrorProblem& p, const Exec& exec) {
  if (kSabotage == Sabotage::throws) throw Unsupported("the kernel gave up");
  if (kSabotage == Sabotage::unwritten) return;
  mirror_ref(p, exec);
  const RefOut y(p.y, p.dtype), x(const_cast<void*>(p.x), p.dtype);
  const auto change = [&](std::int64_t begin, auto f) {
    for (std::int64_t i = begin; i < p.n; ++i) y.set(i, f(y[i]));
  };
  if (kSabotage == Sabotage::nan) y.set(p.n / 2, std::numeric_limits<double>::quiet_NaN());
  if (kSabotage == Sabotage::tail) change(p.n - p.n / 100, [](double v) { return 1.01 * v; });
  if (kSabotage == Sabotage::zero) change(0, [](double) { return 0.0; });
  if (kSabotage == Sabotage::coarse)
    change(0,
           [](double v) { return static_cast<double>(static_cast<float>(BFloat16(static_cast<float>(v)))); });
  if (kSabotage == Sabotage::bounds) y.set(p.n, 1);
  if (kSabotage == Sabotage::underrun) y.set(-1, 1);
  if (kSabotage == Sabotage::workspace) static_cast<char*>(exec.workspace)[exec.workspace_bytes] = 1;
  if (kSabotage == Sabotage::input) x.set(5, 1);
  // In bounds, but another result with more threads: what the harness varies on the CPU.
  if (kSabotage == Sabotage::last_bit || (kSabotage == Sabotage::unrepeatable && exec.pool->threads() == 3))
    change(0, [](double v) { return static_cast<double>(std::nextafter(static_cast<float>(v), 1e9f)); });
}

namespace {

using parity::FailureKind;
using ::testing::HasSubstr;

// Doubling is exact, so the honest one is portable.
template <Sabotage kSabotage>
constexpr Determinism kLevel =
    kSabotage == Sabotage::none || kSabotage == Sabotage::last_bit ? Determinism::portable
                                                                   : Determinism::bitwise;

template <Sabotage kSabotage>
const Implementation<MirrorProblem> kEntries[] = {
#if GPUNN_HAS_CUDA
    {"broken", DeviceType::cuda,
     [](const MirrorProblem&) -> const char* { return kSabotage == Sabotage::refuses ? "refuses" : nullptr; },
     nullptr, kLevel<kSabotage>,
     [](const MirrorProblem& p, const Exec& exec) {
       const bool elsewhere = exec.stream != exec.device->compute_stream();
       if (kSabotage != Sabotage::stream) return mirror_cuda(p, exec, kSabotage);
       mirror_cuda(p, exec, elsewhere ? Sabotage::coarse : Sabotage::none);
     }},
#endif
    {"broken", DeviceType::cpu,
     [](const MirrorProblem&) -> const char* { return kSabotage == Sabotage::refuses ? "refuses" : nullptr; },
     [](const MirrorProblem&) -> std::size_t { return 100; }, kLevel<kSabotage>, mirror_cpu<kSabotage>},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, mirror_ref},
};

template <Sabotage kSabotage>
const ImplementationList<MirrorProblem> kList{"mirror", "forward", kEntries<kSabotage>};

template <Sabotage kSabotage>
parity::Report judge(Device device, parity::CaseOptions options = {}) {
  parity::Suite suite;
  options.small = true;
  suite.add(
      kList<kSabotage>, "640",
      [] {
        MirrorProblem p{};
        p.n = 640;
        return p;
      },
      options);
  // Guards are left readable and writable: here the harness itself is to find what was written into them.
  return parity::run(suite,
                     {.device = device, .implementation = "broken", .orders = 16, .poison_guards = false});
}

/// One failure at least, all of that kind, and each names what and where.
void expect_rejected(const parity::Report& report, FailureKind kind, const std::string& operand) {
  ASSERT_FALSE(report.ok()) << "a broken implementation passed";
  for (const parity::Failure& f : report.failures) {
    EXPECT_STREQ(name_of(f.kind), name_of(kind)) << f.message;
    EXPECT_EQ(f.operand, operand);
    EXPECT_THAT(f.message, HasSubstr("mirror forward, broken"));
    if (kind != FailureKind::never_run) {
      EXPECT_THAT(f.message, HasSubstr("case 640"));
    }
  }
  int failed = 0;
  for (const parity::Row& row : report.rows) failed += row.failed;
  EXPECT_EQ(failed > 0, kind != FailureKind::never_run);
}

std::vector<Device> devices() {
  std::vector<Device> all{Device::cpu()};
  if (cuda_device_count() > 0) all.push_back(Device::cuda(0));
  return all;
}

template <Sabotage kSabotage>
void expect_rejected_everywhere(FailureKind kind, const std::string& operand) {
  for (const Device& device : devices()) {
    SCOPED_TRACE(to_string(device));
    expect_rejected(judge<kSabotage>(device), kind, operand);
  }
}

TEST(ParitySelftest, TheHonestOneAndAnAliasPass) {
  for (const Device& device : devices()) {
    const parity::Report report = judge<Sabotage::none>(device);
    for (const parity::Failure& f : report.failures) ADD_FAILURE() << f.message;
    ASSERT_EQ(report.rows.size(), 3u);
    for (const parity::Row& row : report.rows) EXPECT_EQ(row.cases, 1);
  }
}

TEST(ParitySelftest, Nan) { expect_rejected_everywhere<Sabotage::nan>(FailureKind::value, "y"); }
TEST(ParitySelftest, OnePercentOfTheTail) {
  expect_rejected_everywhere<Sabotage::tail>(FailureKind::value, "y");
}
TEST(ParitySelftest, Unwritten) { expect_rejected_everywhere<Sabotage::unwritten>(FailureKind::value, "y"); }
TEST(ParitySelftest, WrittenAfterTheEnd) {
  expect_rejected_everywhere<Sabotage::bounds>(FailureKind::guard, "y");
}
TEST(ParitySelftest, WrittenBeforeTheBegin) {
  expect_rejected_everywhere<Sabotage::underrun>(FailureKind::guard, "y");
}
TEST(ParitySelftest, InputOverwritten) {
  expect_rejected_everywhere<Sabotage::input>(FailureKind::input_changed, "x");
}
TEST(ParitySelftest, NeverRun) { expect_rejected_everywhere<Sabotage::refuses>(FailureKind::never_run, ""); }

TEST(ParitySelftest, TooCoarseForFloat) {
  for (const Device& device : devices()) {
    const parity::Report report = judge<Sabotage::coarse>(device);
    expect_rejected(report, FailureKind::value, "y");
    // bf16 itself is right.
    for (const parity::Row& row : report.rows)
      EXPECT_EQ(row.failed, row.dtype != DType::bf16) << name_of(row.dtype);
  }
}

TEST(ParitySelftest, AllZero) {
  for (const Device& device : devices()) {
    const parity::Report report = judge<Sabotage::zero>(device);
    ASSERT_FALSE(report.ok());
    EXPECT_EQ(report.failures[0].kind, FailureKind::zeros);
    // Zeros are reported even where the truth itself is zero.
    parity::CaseOptions zeros;
    zeros.fills = {{"x", fill::constant(0)}};
    expect_rejected(judge<Sabotage::none>(device, zeros), FailureKind::zeros, "y");
    zeros.zeros_ok = {"y"};
    EXPECT_TRUE(judge<Sabotage::none>(device, zeros).ok());
  }
}

TEST(ParitySelftest, WorkspaceOverrun) {
  expect_rejected(judge<Sabotage::workspace>(Device::cpu()), FailureKind::guard, "workspace");
}

TEST(ParitySelftest, ResultDependsOnTheNumberOfThreads) {
  parity::CaseOptions options;
  options.dtypes = {DType::f32};
  expect_rejected(judge<Sabotage::unrepeatable>(Device::cpu(), options), FailureKind::not_repeatable, "y");
}

TEST(ParitySelftest, WronglyCalledPortable) {
  parity::CaseOptions options;
  options.dtypes = {DType::f32};
  const parity::Report report = judge<Sabotage::last_bit>(Device::cpu(), options);
  expect_rejected(report, FailureKind::not_portable, "y");
  EXPECT_THAT(report.failures.at(0).message, HasSubstr("declared portable"));
  EXPECT_EQ(report.rows.at(0).determinism, Determinism::portable);
}

TEST(ParitySelftest, AnyNanIsPortable) {
  parity::CaseOptions options;
  options.fills = {{"x", [](std::int64_t i, PhiloxStream&) {
                      const double nan = std::numeric_limits<double>::quiet_NaN();
                      return i % 7 == 0 ? (i % 2 == 0 ? nan : -nan) : static_cast<double>(i);
                    }}};
  for (const Device& device : devices()) EXPECT_TRUE(judge<Sabotage::none>(device, options).ok());
}

#if GPUNN_HAS_CUDA
TEST(ParitySelftest, ResultDependsOnTheStream) {
  if (cuda_device_count() == 0) GTEST_SKIP() << "no CUDA device";
  parity::CaseOptions options;
  options.dtypes = {DType::f32};
  const parity::Report report = judge<Sabotage::stream>(Device::cuda(0), options);
  expect_rejected(report, FailureKind::not_repeatable, "y");
  EXPECT_THAT(report.failures.at(0).message, HasSubstr("on streams of their own"));
}
#endif

TEST(ParitySelftest, ExceptionIsAFailureNotAnEnd) {
  const parity::Report report = judge<Sabotage::throws>(Device::cpu());
  expect_rejected(report, FailureKind::error, "");
  EXPECT_THAT(report.failures[0].message, HasSubstr("the kernel gave up"));
}

#if GPUNN_EMULATED
TEST(ParitySelftest, DroppedBarrier) {
  expect_rejected(judge<Sabotage::barrier>(Device::cuda(0)), FailureKind::value, "y");
}

TEST(ParitySelftest, DroppedBarrierThatOnlyOtherThreadOrdersShow) {
  const parity::Report report = judge<Sabotage::order>(Device::cuda(0));
  expect_rejected(report, FailureKind::not_repeatable, "y");
  EXPECT_THAT(report.failures[0].message, HasSubstr("under thread order"));
}
#endif

TEST(ParitySelftest, MistypedOperandNameIsAnError) {
  parity::CaseOptions options;
  options.fills = {{"X", fill::constant(1)}};
  EXPECT_THROW(judge<Sabotage::none>(Device::cpu(), options), InvalidArgument);
}

TEST(ParitySelftest, SeedsGiveOtherInputsAndRowsNameTheWorstError) {
  parity::Suite suite;
  suite.add(kList<Sabotage::coarse>, "64", [] {
    MirrorProblem p{};
    p.n = 64;
    return p;
  });
  const auto got = [&](std::uint64_t seed) {
    const parity::Report r = parity::run(
        suite, {.device = Device::cpu(), .implementation = "broken", .dtypes = {DType::f32}, .seed = seed});
    EXPECT_EQ(r.rows.size(), 1u);
    EXPECT_GT(r.rows[0].worst_error, r.rows[0].bound);
    EXPECT_GT(r.rows[0].bound, 0);
    return r.failures.at(0).got;
  };
  EXPECT_EQ(got(1), got(1));
  EXPECT_NE(got(1), got(2));
}

}  // namespace
}  // namespace gpunn::selftest
