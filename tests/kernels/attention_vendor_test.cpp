// Attention through cuDNN's graphs against a library that stands in for it and carries them out on the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if GPUNN_HAS_CUDA

#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/attention/cudnn_attention_impl.h"
#include "gpunn/kernels/common/ref_access.h"
#include "tests/support/cudnn_graph_fake.h"

namespace gpunn {
namespace {

using detail::cudnn_attention_call;
using detail::CudnnAttention;
using detail::CudnnAttentionCall;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// How q, k, v, y and gradients lie in memory.
enum class Memory : std::uint8_t { joined, by_head, spread };
constexpr Memory kMemories[] = {Memory::joined, Memory::by_head, Memory::spread};

struct Setting {
  AttentionSizes sizes{2, 2, 2, 11, 13, 8, 16};
  bool causal = false, align_end = false;
  std::int64_t window = 0;
  bool lse = true;
};

/// Operands of both problems in host memory.
class Host {
 public:
  Host(const Setting& a, DType dtype, Memory memory) : dtype_(dtype), memory_(memory), s_(a.sizes) {
    f.dtype = dtype, f.sizes = s_, f.scale = 0.375;
    f.rule.causal = a.causal, f.rule.align_end = a.align_end, f.rule.window = a.window;
    f.q = filled(f.q_layout, s_.Hq, s_.Tq, s_.D), f.k = filled(f.k_layout, s_.Hkv, s_.Tk, s_.D);
    f.v = filled(f.v_layout, s_.Hkv, s_.Tk, s_.Dv), f.y = room(f.y_layout, s_.Hq, s_.Tq, s_.Dv);
    b.dtype = dtype, b.sizes = s_, b.scale = f.scale, b.rule = f.rule;
    b.q = f.q, b.k = f.k, b.v = f.v, b.y = f.y;
    b.q_layout = f.q_layout, b.k_layout = f.k_layout, b.v_layout = f.v_layout, b.y_layout = f.y_layout;
    b.dy = filled(b.dy_layout, s_.Hq, s_.Tq, s_.Dv), b.dq = room(b.dq_layout, s_.Hq, s_.Tq, s_.D);
    b.dk = room(b.dk_layout, s_.Hkv, s_.Tk, s_.D), b.dv = room(b.dv_layout, s_.Hkv, s_.Tk, s_.Dv);
    buffers_.push_back(
        std::make_unique<std::vector<float>>(static_cast<std::size_t>(s_.B * s_.Hq * s_.Tq), NAN));
    b.lse = buffers_.back()->data();
    f.lse = a.lse ? buffers_.back()->data() : nullptr;
  }

  /// All that is written, element by element.
  std::vector<double> results() const {
    std::vector<double> all;
    const auto add = [&](const void* data, const AttentionLayout& l, std::int64_t H, std::int64_t T,
                         std::int64_t D) {
      for_each(l, H, T, D, [&](std::int64_t at) { all.push_back(load_ref(data, dtype_, at)); });
    };
    add(f.y, f.y_layout, s_.Hq, s_.Tq, s_.Dv), add(b.dq, b.dq_layout, s_.Hq, s_.Tq, s_.D);
    add(b.dk, b.dk_layout, s_.Hkv, s_.Tk, s_.D), add(b.dv, b.dv_layout, s_.Hkv, s_.Tk, s_.Dv);
    for (std::int64_t i = 0; f.lse && i < s_.B * s_.Hq * s_.Tq; ++i)
      all.push_back(load_ref(f.lse, DType::f32, i));
    return all;
  }
  /// Everything in memory, what lies between the operands included.
  std::vector<std::vector<float>> memory() const {
    std::vector<std::vector<float>> all;
    for (const auto& buffer : buffers_) all.push_back(*buffer);
    return all;
  }
  /// Elements beside the outputs keep what they held.
  bool is_clean() const {
    for (const auto& [data, written] : outputs_) {
      const std::size_t n = written.size();
      for (std::size_t i = 0; i < n; ++i)
        if (!written[i] && !std::isnan(load_ref(data, dtype_, static_cast<std::int64_t>(i)))) return false;
    }
    return true;
  }

  AttentionProblem f{};
  AttentionBackwardProblem b{};

 private:
  template <class F>
  void for_each(const AttentionLayout& l, std::int64_t H, std::int64_t T, std::int64_t D, F&& each) const {
    for (std::int64_t i = 0; i < s_.B; ++i)
      for (std::int64_t h = 0; h < H; ++h)
        for (std::int64_t t = 0; t < T; ++t)
          for (std::int64_t d = 0; d < D; ++d) each(i * l.batch + h * l.head + t * l.time + d);
  }
  /// NaN of the dtype everywhere.
  void* poisoned(AttentionLayout& l, std::int64_t H, std::int64_t T, std::int64_t D) {
    if (memory_ == Memory::joined) l = {T * H * D, D, H * D};
    if (memory_ == Memory::by_head) l = {H * T * D, T * D, D};
    if (memory_ == Memory::spread) l = {2 * T * H * D + 24, D + 8, 2 * H * D};
    extent_ = static_cast<std::size_t>((s_.B - 1) * l.batch + (H - 1) * l.head + (T - 1) * l.time + D + 8);
    buffers_.push_back(std::make_unique<std::vector<float>>(extent_, 0.0F));
    for (std::size_t i = 0; i < extent_; ++i)
      store_ref(buffers_.back()->data(), dtype_, static_cast<std::int64_t>(i), NAN);
    return buffers_.back()->data();
  }
  void* room(AttentionLayout& l, std::int64_t H, std::int64_t T, std::int64_t D) {
    void* const data = poisoned(l, H, T, D);
    std::vector<bool> written(extent_, false);
    for_each(l, H, T, D, [&](std::int64_t at) { written[static_cast<std::size_t>(at)] = true; });
    outputs_.emplace_back(data, std::move(written));
    return data;
  }
  void* filled(AttentionLayout& l, std::int64_t H, std::int64_t T, std::int64_t D) {
    void* const data = poisoned(l, H, T, D);
    for_each(l, H, T, D, [&](std::int64_t at) {
      seed_ = seed_ * 1664525U + 1013904223U;
      store_ref(data, dtype_, at, static_cast<double>(seed_ >> 8) / (1 << 23) - 1);
    });
    return data;
  }

  DType dtype_;
  Memory memory_;
  AttentionSizes s_;
  std::uint32_t seed_ = 7;
  std::size_t extent_ = 0;
  std::vector<std::unique_ptr<std::vector<float>>> buffers_;
  std::vector<std::pair<const void*, std::vector<bool>>> outputs_;
};

class CudnnGraphsTest : public ::testing::Test {
 protected:
  CudnnGraphsTest() : library_(fake_cudnn_graphs(fake_)) { afresh(); }
  ~CudnnGraphsTest() override {
    attention_.reset();
    EXPECT_EQ(fake_.live, 0) << "handles or descriptors left behind";
  }
  void afresh() { attention_ = std::make_unique<CudnnAttention>(library_); }
  void run(const CudnnAttentionCall& call) {
    const std::size_t bytes = attention_->workspace(call);
    memory_.assign(bytes + 64, 0x55);
    Exec e{};
    e.stream = &memory_;
    e.workspace = bytes > 0 ? memory_.data() : nullptr, e.workspace_bytes = bytes;
    attention_->run(call, e);
    for (std::size_t i = bytes; i < memory_.size(); ++i)
      ASSERT_EQ(memory_[i], 0x55) << "behind the workspace";
  }
  void run(Host& host) {
    run(cudnn_attention_call(host.f));
    if (host.f.lse) run(cudnn_attention_call(host.b));
  }
  static void run_reference(Host& host) {
    attention_fwd_ref(host.f, {});
    if (host.f.lse) attention_bwd_ref(host.b, {});
  }
  void expect_reference(const Setting& a, DType dtype, Memory memory, const std::string& what) {
    Host host(a, dtype, memory), plain(a, dtype, memory);
    run(host);
    run_reference(plain);
    const std::vector<double> got = host.results(), expected = plain.results();
    // Weights and products of halves are rounded on the way here, and not in the reference.
    const double tolerance = dtype == DType::f16 ? 4e-3 : 3e-2;
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(expected[i])) continue;  // gradients where there is no backward
      ASSERT_LE(std::abs(got[i] - expected[i]), tolerance) << what << ", element " << i;
    }
    EXPECT_TRUE(host.is_clean()) << what << ": wrote beside its outputs";
  }

  FakeCudnnGraphs fake_;
  detail::CudnnGraphs library_;
  std::unique_ptr<CudnnAttention> attention_;
  std::vector<unsigned char> memory_;
};

const Setting kSettings[] = {
    {},
    {.lse = false},
    {.causal = true},
    {.sizes = {1, 2, 2, 15, 10, 8, 8}, .causal = true},
    {.causal = true, .align_end = true},
    {.sizes = {2, 1, 1, 12, 12, 16, 8}, .causal = true, .align_end = true},
    {.causal = true, .window = 4},
    {.causal = true, .align_end = true, .window = 4},
    {.sizes = {1, 4, 2, 9, 10, 8, 8}, .causal = true},
    {.sizes = {2, 3, 1, 10, 9, 8, 16}},
};

TEST_F(CudnnGraphsTest, GiveTheReferencesResults) {
  for (const Setting& a : kSettings)
    for (const DType dtype : {DType::f16, DType::bf16})
      for (const Memory memory : kMemories)
        expect_reference(a, dtype, memory,
                         "setting " + std::to_string(&a - kSettings) + ", dtype " +
                             std::to_string(static_cast<int>(dtype)) + ", memory " +
                             std::to_string(static_cast<int>(memory)));
  EXPECT_EQ(fake_.stream, &memory_);
  EXPECT_EQ(fake_.complaint, "");
}

TEST_F(CudnnGraphsTest, DescribesTensors) {
  Host host({.sizes = {3, 4, 2, 10, 20, 8, 16}}, DType::bf16, Memory::spread);
  run(cudnn_attention_call(host.f));
  using Extents = std::array<std::int64_t, 4>;
  const auto strides = [](const AttentionLayout& l) { return Extents{l.batch, l.head, l.time, 1}; };
  const auto turned = [](const AttentionLayout& l) { return Extents{l.batch, l.head, 1, l.time}; };
  const auto expect = [&](std::int64_t id, int dtype, const Extents& sizes, const Extents& s) {
    const FakeCudnnGraphs::Tensor& t = fake_.tensors.at(id);
    EXPECT_EQ(t.dtype, dtype) << id;
    EXPECT_EQ(t.sizes, sizes) << id;
    EXPECT_EQ(t.strides, s) << id;
    EXPECT_EQ(t.alignment, 16) << id;
    EXPECT_FALSE(t.is_virtual || t.by_value) << id;
  };
  const int half = detail::kCudnnBFloat16, wide = detail::kCudnnFloat;
  expect(1, half, {3, 4, 10, 8}, strides(host.f.q_layout));
  expect(2, half, {3, 2, 8, 20}, turned(host.f.k_layout));
  expect(3, half, {3, 2, 20, 16}, strides(host.f.v_layout));
  expect(4, half, {3, 4, 10, 16}, strides(host.f.y_layout));
  expect(5, wide, {3, 4, 10, 1}, {40, 10, 1, 1});
  EXPECT_EQ(fake_.pack.at(1), host.f.q);
  EXPECT_EQ(fake_.pack.at(5), host.f.lse);
  EXPECT_TRUE(fake_.tensors.at(11).by_value) << "the scale";
  EXPECT_EQ(fake_.tensors.at(11).dtype, wide);
  int halves = 0;
  for (const auto& [id, t] : fake_.tensors) {
    if (!t.is_virtual) continue;
    EXPECT_GE(id, 100);
    halves += t.dtype == half;
  }
  EXPECT_EQ(halves, 1) << "the weights before they meet v, alone";

  run(cudnn_attention_call(host.b));
  expect(2, half, {3, 2, 8, 20}, turned(host.b.k_layout));
  expect(3, half, {3, 2, 16, 20}, turned(host.b.v_layout));
  expect(6, half, {3, 4, 10, 16}, strides(host.b.dy_layout));
  expect(7, half, {3, 4, 10, 8}, strides(host.b.dq_layout));
  expect(8, half, {3, 2, 20, 8}, strides(host.b.dk_layout));
  expect(9, half, {3, 2, 20, 16}, strides(host.b.dv_layout));
  expect(10, wide, {3, 4, 10, 1}, {40, 10, 1, 1});
  EXPECT_EQ(fake_.pack.at(10), memory_.data()) << "delta, in front of the library's workspace";
  EXPECT_EQ(fake_.workspace, memory_.data() + 512) << "480 bytes of delta, aligned";
}

// The library matches these lists; another operation, or another place of one, leaves it without an engine.
TEST_F(CudnnGraphsTest, OperationsAreTheLibrarysPatterns) {
  const auto operations = [&](const Setting& a, bool backward) {
    Host host(a, DType::f16, Memory::joined);
    run(cudnn_attention_call(host.f));
    if (backward) run(cudnn_attention_call(host.b));
    return fake_.operations;
  };
  EXPECT_THAT(operations({}, false),
              ElementsAre("matmul", "mul", "max", "sub", "exp", "sum", "log", "add", "div", "matmul"));
  EXPECT_THAT(operations({.lse = false}, false),
              ElementsAre("matmul", "mul", "max", "sub", "exp", "sum", "log", "add", "div", "matmul"));
  EXPECT_THAT(operations({.causal = true}, false),
              ElementsAre("matmul", "mul", "index", "index", "equal", "select", "max", "sub", "exp", "sum",
                          "log", "add", "div", "matmul"));
  EXPECT_THAT(
      operations({.causal = true, .align_end = true, .window = 4}, false),
      ElementsAre("matmul", "mul", "index", "index", "add", "sub", "equal", "select", "index", "index", "add",
                  "greater", "select", "max", "sub", "exp", "sum", "log", "add", "div", "matmul"));
  EXPECT_THAT(operations({.sizes = {1, 4, 2, 9, 9, 8, 8}, .causal = true}, true),
              ElementsAre("mul", "sum", "mul", "matmul", "mul", "sub", "index", "index", "equal", "select",
                          "exp", "transpose", "matmul", "sum", "matmul", "sub", "mul", "mul", "transpose",
                          "matmul", "sum", "transpose", "matmul"));
}

TEST_F(CudnnGraphsTest, TakesTheFirstEngineThatPromisesEqualBits) {
  using Engine = FakeCudnnGraphs::Engine;
  const Engine varying{.notes = {0, detail::kCudnnNondeterministic}},
      large{.workspace = std::int64_t{3} << 30}, unknown{.status = 3000}, good{.notes = {0, 3}};
  Host host({}, DType::f16, Memory::joined);
  const CudnnAttentionCall call = cudnn_attention_call(host.f);
  fake_.best = {varying, large, unknown, good, {}};
  ASSERT_EQ(attention_->workspace(call), 96U) << "as it must be for what follows to have room";
  run(call);
  EXPECT_EQ(fake_.engine, 3);
  afresh();
  fake_.best = {varying, unknown}, fake_.fallback = {large, good};
  ASSERT_EQ(attention_->workspace(call), 96U);
  run(call);
  EXPECT_EQ(fake_.engine, 101);
  afresh();
  fake_.best = {varying}, fake_.fallback = {};
  EXPECT_STREQ(attention_->refusal(call),
               "knows no deterministic engine for it that is content with the workspace");
  EXPECT_EQ(attention_->workspace(call), 0U);
  EXPECT_THAT([&] { run(call); },
              ThrowsMessage<Unsupported>(HasSubstr("cuDNN knows no deterministic engine")));
  for (const int kind : {int{detail::kCudnnGraphKind}, int{detail::kCudnnHeuristicsKind}}) {
    afresh();
    fake_.best = {good};
    fake_.fail["finalize " + std::to_string(kind)] = kind == detail::kCudnnGraphKind ? 3000 : 9;
    EXPECT_THAT(attention_->refusal(call), HasSubstr("knows no deterministic engine")) << kind;
    fake_.fail.clear();
  }
}

TEST_F(CudnnGraphsTest, AnEngineWithoutWorkspace) {
  fake_.best = {{.workspace = 0}};
  Host host({}, DType::f16, Memory::joined);
  EXPECT_EQ(attention_->workspace(cudnn_attention_call(host.f)), 0U);
  run(host);
  EXPECT_EQ(attention_->workspace(cudnn_attention_call(host.b)), 256U) << "delta's 176 bytes, aligned";
}

TEST_F(CudnnGraphsTest, AProblemIsPlannedOnce) {
  const std::string plans = "finalize 5";
  Host host({}, DType::f16, Memory::joined);
  run(host), run(host);
  EXPECT_EQ(fake_.calls[plans], 2) << "forward and backward";
  const std::vector<double> before = host.results();
  host.f.scale = host.b.scale = 0.75;  // a number that the pack brings
  run(host);
  EXPECT_EQ(fake_.calls[plans], 2);
  EXPECT_NE(host.results(), before);
  int expected = 2;
  for (const Setting& a : kSettings) {
    if (&a == kSettings) continue;
    Host other(a, DType::f16, Memory::joined);
    run(other);
    expected += a.lse ? 2 : 1;
    EXPECT_EQ(fake_.calls[plans], expected) << &a - kSettings;
  }
  Host apart({}, DType::f16, Memory::by_head), bf16({}, DType::bf16, Memory::joined);
  run(apart), run(bf16);
  EXPECT_EQ(fake_.calls[plans], expected + 4) << "strides and dtype are a plan's";
  // A window and a shift are numbers of the pack, too.
  Host window({.causal = true, .window = 3}, DType::f16, Memory::joined);
  run(window);
  EXPECT_EQ(fake_.calls[plans], expected + 4);
}

TEST_F(CudnnGraphsTest, PlansAreBounded) {
  Setting a{.sizes = {1, 1, 1, 9, 9, 8, 8}};
  Host first(a, DType::f16, Memory::joined);
  EXPECT_EQ(attention_->refusal(cudnn_attention_call(first.f)), nullptr);
  fake_.fail["descriptor_create"] = 5000;  // what cannot be planned counts, too
  const auto refusal = [&] {
    ++a.sizes.Tk;
    return std::string(attention_->refusal(cudnn_attention_call(Host(a, DType::f16, Memory::joined).f)));
  };
  for (std::size_t i = 1; i < CudnnAttention::kMostPlans; ++i)
    ASSERT_THAT(refusal(), HasSubstr("failed")) << i;
  fake_.fail.clear();
  EXPECT_EQ(refusal(), "keeps 512 plans at most");
  EXPECT_EQ(attention_->refusal(cudnn_attention_call(first.f)), nullptr);
}

TEST_F(CudnnGraphsTest, AFailureToPlanIsAReasonThatIsKept) {
  using namespace detail;
  const auto with = [](const char* name, int number) {
    return std::string(name) + " " + std::to_string(number);
  };
  const std::pair<std::string, std::string> failures[] = {
      {with("descriptor_create", kCudnnTensorKind), "cudnnBackendCreateDescriptor"},
      {with("descriptor_create", kCudnnPlanKind), "cudnnBackendCreateDescriptor"},
      {with("descriptor_create", kCudnnEngineKind), "cudnnBackendCreateDescriptor"},
      {with("set", kCudnnTensorStrides), "cudnnBackendSetAttribute"},
      {with("set", kCudnnGraphHandle), "cudnnBackendSetAttribute"},
      {with("set", kCudnnPlanConfig), "cudnnBackendSetAttribute"},
      {with("finalize", kCudnnTensorKind), "cudnnBackendFinalize of a tensor"},
      {with("finalize", kCudnnMatmulKind), "cudnnBackendFinalize of a product"},
      {with("finalize", kCudnnMatmulOperation), "cudnnBackendFinalize of a product's operation"},
      {with("finalize", kCudnnPointwiseKind), "cudnnBackendFinalize of a function"},
      {with("finalize", kCudnnPointwiseOperation), "cudnnBackendFinalize of a function's operation"},
      {with("finalize", kCudnnReductionKind), "cudnnBackendFinalize of a reduction"},
      {with("finalize", kCudnnReductionOperation), "cudnnBackendFinalize of a reduction's operation"},
      {with("finalize", kCudnnReshapeOperation), "cudnnBackendFinalize of a transposition"},
      {with("finalize", kCudnnGraphKind), "cudnnBackendFinalize of the graph"},
      {with("finalize", kCudnnHeuristicsKind), "cudnnBackendFinalize of the heuristics"},
      {with("finalize", kCudnnPlanKind), "cudnnBackendFinalize of a plan"},
      {with("get", kCudnnHeuristicsResults), "cudnnBackendGetAttribute of the engines"},
      {with("get", kCudnnConfigEngine), "cudnnBackendGetAttribute of an engine"},
      {with("get", kCudnnEngineNotes), "cudnnBackendGetAttribute of an engine's notes"},
      {with("get", kCudnnPlanWorkspace), "cudnnBackendGetAttribute of the workspace"},
  };
  Host host({}, DType::f16, Memory::joined);
  const CudnnAttentionCall call = cudnn_attention_call(host.b);
  for (const auto& [function, name] : failures) {
    afresh();
    fake_.fail[function] = 5000;
    const char* const why = attention_->refusal(call);
    ASSERT_NE(why, nullptr) << function;
    EXPECT_THAT(why, AllOf(HasSubstr("failed to plan it: "), HasSubstr(name + " failed: the fake failed"),
                           HasSubstr("cuDNN status 5000")));
    fake_.fail.clear();
    const int before = fake_.calls["descriptor_create"];
    EXPECT_EQ(attention_->refusal(call), why) << function;
    EXPECT_EQ(fake_.calls["descriptor_create"], before) << "not tried again";
    EXPECT_THROW(run(call), Unsupported);
    afresh();
    EXPECT_EQ(attention_->refusal(call), nullptr);
  }
}

TEST_F(CudnnGraphsTest, AFailureToRunIsAnErrorWithTheLibrarysText) {
  using namespace detail;
  Host host({}, DType::f16, Memory::joined), plain({}, DType::f16, Memory::joined);
  run(plain);
  const std::pair<std::string, std::string> failures[] = {
      {"set_stream", "cudnnSetStream"},
      {"descriptor_create", "cudnnBackendCreateDescriptor"},
      {"set " + std::to_string(kCudnnPackIds), "cudnnBackendSetAttribute"},
      {"set " + std::to_string(kCudnnPackPointers), "cudnnBackendSetAttribute"},
      {"set " + std::to_string(kCudnnPackWorkspace), "cudnnBackendSetAttribute"},
      {"finalize", "cudnnBackendFinalize of the operands"},
      {"execute", "cudnnBackendExecute"},
  };
  for (const auto& [function, name] : failures) {
    fake_.fail[function] = 5000;
    EXPECT_THAT([&] { run(host); },
                ThrowsMessage<CudaError>(
                    AllOf(HasSubstr(name + " failed: the fake failed"), HasSubstr("cuDNN status 5000"))))
        << function;
    fake_.fail.clear();
    run(host);
    EXPECT_EQ(host.results(), plain.results()) << function;
  }
  fake_.fail["create"] = 1001;
  EXPECT_THROW((CudnnAttention{library_}), CudaError);
}

// The handle and the plans belong to one thread at a time, so TSan has something to say without the lock.
TEST(CudnnGraphsRaceTest, ThreadsShareADevice) {
  FakeCudnnGraphs fake;
  const detail::CudnnGraphs library = fake_cudnn_graphs(fake);
  {
    CudnnAttention attention(library);
    const auto work = [&](std::int64_t keys) {
      Host host({.sizes = {1, 1, 1, 9, keys, 8, 8}}, DType::f16, Memory::joined);
      for (int i = 0; i < 3; ++i) {
        const CudnnAttentionCall call = cudnn_attention_call(host.f);
        std::vector<unsigned char> memory(attention.workspace(call));
        Exec e{};
        e.stream = &memory, e.workspace = memory.data(), e.workspace_bytes = memory.size();
        attention.run(call, e);
      }
    };
    std::thread other(work, 9);
    work(10);
    other.join();
    EXPECT_EQ(fake.calls["execute"], 6);
    EXPECT_EQ(fake.calls["finalize 5"], 2);
  }
  EXPECT_EQ(fake.live, 0);
}

}  // namespace
}  // namespace gpunn

#endif
