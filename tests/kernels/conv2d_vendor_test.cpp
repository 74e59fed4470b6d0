// Convolutions through cuDNN against a library that stands in for it and computes on the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if GPUNN_HAS_CUDA

#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/conv2d/cudnn_convolution_impl.h"
#include "tests/support/cudnn_fake.h"

namespace gpunn {
namespace {

using detail::CudnnAlgorithm;
using detail::CudnnCall;
using Kind = CudnnCall::Kind;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr Kind kKinds[] = {Kind::forward, Kind::dx, Kind::dw};

Conv2dSizes plain_sizes(bool last = false) {
  return {2, 4, 5, 6, 6, 3, 2, 5, 7, 1, 1, 1, 1, 1, 1, 1, last};  // P = 5, Q = 7
}
/// Groups, strides, dilation and other padding.
Conv2dSizes special_sizes(bool last) {
  return {3, 6, 9, 8, 4, 2, 3, 5, 2, 2, 3, 2, 1, 3, 2, 2, last};  // P = (9 + 4 - 3 - 1) / 2 + 1
}

/// Operands of a call in host memory: small whole numbers, whose sums are exact in every dtype.
struct Host {
  Host(Kind kind, DType dtype, const Conv2dSizes& sizes, bool with_bias, bool relu) {
    const auto fill = [&](std::vector<float>& v, std::int64_t n, int step) {
      v.resize(static_cast<std::size_t>(n));
      for (std::size_t i = 0; i < v.size(); ++i)
        put(v, dtype, i, static_cast<float>(static_cast<int>(i) * step % 5 - 2));
    };
    fill(x, sizes.x_elements(), 3), fill(w, sizes.w_elements(), 2), fill(y, sizes.y_elements(), 7);
    fill(b, kind == Kind::dx ? sizes.C : sizes.K, 1);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    auto& out = kind == Kind::forward ? y : kind == Kind::dx ? x : w;
    std::fill(out.begin(), out.end(), nan);  // as halves, too
    call = {kind, dtype, sizes, x.data(), w.data(), y.data(), with_bias ? b.data() : nullptr, relu, false};
  }
  static void put(std::vector<float>& v, DType dtype, std::size_t i, float value) {
    if (dtype == DType::f16)
      reinterpret_cast<Half*>(v.data())[i] = Half(value);
    else if (dtype == DType::bf16)
      reinterpret_cast<BFloat16*>(v.data())[i] = BFloat16(value);
    else
      v[i] = value;
  }
  const std::vector<float>& result() const {
    return call.kind == Kind::forward ? y : call.kind == Kind::dx ? x : w;
  }
  /// What the reference makes of the same operands, in the same bytes.
  std::vector<float> expected() const {
    std::vector<float> out = result();
    const Conv2dSizes& s = call.sizes;
    const bool has_bias = call.bias != nullptr;
    if (call.kind == Kind::forward)
      conv2d_ref({call.dtype, call.x, call.w, call.bias, out.data(), s, has_bias, call.relu, false}, {});
    else if (call.kind == Kind::dx)
      conv2d_dx_ref({call.dtype, call.y, call.w, call.bias, out.data(), s, has_bias, false}, {});
    else
      conv2d_dw_ref({call.dtype, call.x, call.y, out.data(), s, false}, {});
    return out;
  }
  std::vector<float> x, w, y, b;
  CudnnCall call;
};

bool same_bits(const std::vector<float>& a, const std::vector<float>& b, std::size_t bytes) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), bytes) == 0;
}

class CudnnConvolution : public ::testing::Test {
 protected:
  CudnnConvolution() : library_(fake_cudnn(fake_)), convolutions_(new detail::CudnnConvolutions(library_)) {}
  ~CudnnConvolution() override {
    convolutions_.reset();
    EXPECT_EQ(fake_.live, 0) << "handles or descriptors left behind";
  }
  void run(const CudnnCall& call) {
    memory_.assign(convolutions_->workspace(call), 0x55);
    Exec exec{};
    exec.stream = &memory_;
    exec.workspace = memory_.data(), exec.workspace_bytes = memory_.size();
    convolutions_->run(call, exec);
  }
  FakeCudnn fake_;
  detail::Cudnn library_;
  std::unique_ptr<detail::CudnnConvolutions> convolutions_;
  std::vector<unsigned char> memory_;
};

TEST_F(CudnnConvolution, GivesTheReferencesResults) {
  for (const bool last : {false, true})
    for (const Conv2dSizes& sizes : {plain_sizes(last), special_sizes(last)})
      for (const Kind kind : kKinds)
        for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
          for (int ends = 0; ends < (kind == Kind::forward ? 4 : kind == Kind::dx ? 2 : 1); ++ends) {
            Host host(kind, dtype, sizes, ends % 2 == 1, ends >= 2);
            run(host.call);
            const std::size_t bytes = host.result().size() * size_of(dtype);
            EXPECT_TRUE(same_bits(host.result(), host.expected(), bytes))
                << "kind " << static_cast<int>(kind) << ", dtype " << static_cast<int>(dtype) << ", ends "
                << ends << (last ? ", last" : "") << ", groups " << sizes.groups;
          }
  EXPECT_EQ(fake_.stream, &memory_);
}

TEST_F(CudnnConvolution, DescribesTheProblem) {
  Host host(Kind::forward, DType::bf16, special_sizes(true), false, false);
  run(host.call);
  EXPECT_THAT(fake_.pad, ElementsAre(2, 1));
  EXPECT_THAT(fake_.stride, ElementsAre(2, 3));
  EXPECT_THAT(fake_.dilation, ElementsAre(3, 2));
  EXPECT_THAT(fake_.x_strides, ElementsAre(6 * 9 * 8, 1, 8 * 6, 6));
  EXPECT_EQ(fake_.groups, 2);
  EXPECT_EQ(fake_.mode, detail::kCudnnCrossCorrelation);
  EXPECT_EQ(fake_.dtype, detail::kCudnnBFloat16);
  EXPECT_EQ(fake_.compute, detail::kCudnnFloat) << "halves accumulate in f32";
  EXPECT_EQ(fake_.filter_format, detail::kCudnnNhwc);
}

TEST_F(CudnnConvolution, AKindOfProblemIsAskedAboutOnce) {
  Host host(Kind::dx, DType::f32, plain_sizes(), false, false);
  run(host.call);
  EXPECT_TRUE(convolutions_->accepts(host.call));
  run(host.call);
  EXPECT_EQ(fake_.calls["data_algorithms"], 1);
  EXPECT_EQ(fake_.calls["backward_data"], 2);
  Host biased(Kind::dx, DType::f32, plain_sizes(), true, false);
  run(biased.call);
  host.call.sizes.N = 1;
  run(host.call);
  host.call.tf32 = true;
  run(host.call);
  EXPECT_EQ(fake_.calls["data_algorithms"], 4);
}

TEST_F(CudnnConvolution, OnlyDeterministicAndExactAlgorithmsOfModestNeedAreTaken) {
  const int fft[] = {detail::kCudnnForwardFft, detail::kCudnnDataFft, detail::kCudnnFilterFft};
  const int tiles[] = {detail::kCudnnForwardFftTiling, detail::kCudnnDataFftTiling,
                       detail::kCudnnFilterFftTiling};
  const int winograd[] = {detail::kCudnnForwardWinogradNonfused, detail::kCudnnDataWinogradNonfused,
                          detail::kCudnnFilterWinogradNonfused};
  std::vector<CudnnAlgorithm>* const answers[] = {&fake_.forward, &fake_.data, &fake_.filter};
  for (const Kind kind : kKinds) {
    const auto k = static_cast<std::size_t>(kind);
    const std::size_t huge = std::size_t{1} << 40;
    *answers[k] = {{0, 3000, 1, 64, 1, 0, {}},
                   {0, 0, 1, 64, 0, 0, {}},
                   {0, 0, 1, huge, 1, 0, {}},
                   {fft[k], 0, 1, 64, 1, 0, {}},
                   {tiles[k], 0, 1, 64, 1, 0, {}},
                   {winograd[k], 0, 1, 64, 1, 0, {}},
                   {0, 0, 1, 64, 1, detail::kCudnnTensorOpMath, {}},
                   {0, 0, 1, 64, 1, detail::kCudnnConversionMath, {}},
                   {1, 0, 1, 64, 1, 0, {}}};
    Host host(kind, DType::f32, plain_sizes(), false, false);
    run(host.call);
    EXPECT_EQ(fake_.algorithm, 1) << "kind " << k;
    answers[k]->pop_back();
    host.call.sizes.N = 1;
    EXPECT_FALSE(convolutions_->accepts(host.call)) << "kind " << k;
    EXPECT_THROW(run(host.call), Unsupported);
  }
}

TEST_F(CudnnConvolution, ALibraryThatKnowsNoAnswerIsNoFailure) {
  fake_.fail["forward_algorithms"] = 3002;
  const Host host(Kind::forward, DType::f16, plain_sizes(), false, false);
  EXPECT_FALSE(convolutions_->accepts(host.call));
  fake_.fail["data_algorithms"] = 9;  // version 8's word for it
  const Host dx(Kind::dx, DType::f16, plain_sizes(), false, false);
  EXPECT_FALSE(convolutions_->accepts(dx.call));
}

TEST_F(CudnnConvolution, Tf32OnlyWhenAllowed) {
  Host host(Kind::forward, DType::f32, plain_sizes(), false, false);
  run(host.call);
  EXPECT_EQ(fake_.math, detail::kCudnnFmaMath);
  fake_.forward.front().math = detail::kCudnnTensorOpMath;
  host.call.tf32 = true;
  run(host.call);
  EXPECT_EQ(fake_.math, detail::kCudnnTensorOpMath);
  Host half(Kind::forward, DType::f16, plain_sizes(), false, false);
  run(half.call);
  EXPECT_EQ(fake_.math, detail::kCudnnTensorOpMath);
}

TEST_F(CudnnConvolution, BiasAndReluAreFusedWhereTheyCanBe) {
  fake_.forward.insert(fake_.forward.begin(), {0, 0, 1, 64, 1, detail::kCudnnDefaultMath, {}});
  Host both(Kind::forward, DType::f32, plain_sizes(), true, true);
  run(both.call);
  EXPECT_EQ(fake_.algorithm, 0) << "any algorithm fuses both";
  EXPECT_EQ(fake_.activation, detail::kCudnnRelu);
  EXPECT_EQ(fake_.nan, detail::kCudnnPropagateNan);
  Host biased(Kind::forward, DType::f32, plain_sizes(), true, false);
  run(biased.call);
  EXPECT_EQ(fake_.algorithm, detail::kCudnnForwardPrecomputed) << "the only one that fuses a bias alone";
  EXPECT_EQ(fake_.activation, detail::kCudnnIdentity);
  EXPECT_EQ(fake_.calls["forward_bias_activation"], 2);
  EXPECT_EQ(fake_.calls["forward"], 0);
  Host relu(Kind::forward, DType::f32, plain_sizes(), false, true);
  run(relu.call);
  EXPECT_EQ(fake_.calls["forward"], 1);
  EXPECT_EQ(fake_.calls["activate"], 1);
  EXPECT_EQ(fake_.calls["add"], 0);
}

TEST_F(CudnnConvolution, WithoutFusionTheBiasIsThereFirst) {
  fake_.forward.front().algorithm = 0;
  Host biased(Kind::forward, DType::f16, plain_sizes(true), true, false);
  run(biased.call);
  EXPECT_EQ(fake_.calls["forward_bias_activation"], 0);
  EXPECT_EQ(fake_.calls["add"], 1);
  EXPECT_EQ(fake_.beta, 1);
  EXPECT_TRUE(same_bits(biased.result(), biased.expected(), biased.y.size() * 2));
  // Both, and the library refuses when it is run: once.
  fake_.fail["forward_bias_activation"] = 3000;
  for (int i = 0; i < 2; ++i) {
    Host both(Kind::forward, DType::f32, plain_sizes(true), true, true);
    run(both.call);
    EXPECT_TRUE(same_bits(both.result(), both.expected(), both.y.size() * 4));
  }
  EXPECT_EQ(fake_.calls["forward_bias_activation"], 1);
  EXPECT_EQ(fake_.calls["activate"], 2);
}

TEST_F(CudnnConvolution, FiltersAreCopiedWhereTheOrdersDiffer) {
  Host first(Kind::forward, DType::f32, plain_sizes(), false, false);
  run(first.call);
  EXPECT_EQ(fake_.calls["transform"], 0);
  EXPECT_EQ(memory_.size(), 64u);
  EXPECT_EQ(fake_.workspace, memory_.data());
  Host last(Kind::forward, DType::f32, plain_sizes(true), false, false);
  run(last.call);
  EXPECT_EQ(fake_.calls["transform"], 1);
  EXPECT_EQ(memory_.size(), 768u + 64u) << "144 floats, rounded up to 256 bytes, and the algorithm's";
  EXPECT_EQ(fake_.workspace, memory_.data() + 768);
  EXPECT_EQ(fake_.given_bytes, 64u);
  Conv2dSizes depthwise = plain_sizes(true);
  depthwise.K = depthwise.groups = depthwise.C;
  Host one(Kind::dw, DType::f32, depthwise, false, false);
  run(one.call);
  EXPECT_EQ(fake_.calls["transform"], 1) << "one channel is in both orders";
}

TEST_F(CudnnConvolution, FailuresBecomeErrorsWithTheLibrarysText) {
  struct Failure {
    const char *function, *name;
    Kind kind;
    bool last = true, bias = false, relu = false;
  };
  const Failure failures[] = {
      {"tensor_set", "cudnnSetTensorNdDescriptor", Kind::forward},
      {"filter_set", "cudnnSetFilterNdDescriptor", Kind::dx},
      {"window_set", "cudnnSetConvolutionNdDescriptor", Kind::dw},
      {"window_set_groups", "cudnnSetConvolutionGroupCount", Kind::dw},
      {"window_set_math", "cudnnSetConvolutionMathType", Kind::dw},
      {"activation_set", "cudnnSetActivationDescriptor", Kind::forward, true, true, true},
      {"filter_algorithms", "cudnnGetConvolution", Kind::dw},
      {"data_workspace", "cudnnGetConvolution", Kind::dx},
      {"set_stream", "cudnnSetStream", Kind::dx},
      {"transform", "cudnnTransformTensor", Kind::forward},
      {"forward", "cudnnConvolutionForward", Kind::forward},
      {"forward_bias_activation", "cudnnConvolutionBiasActivationForward", Kind::forward, true, true, true},
      {"activate", "cudnnActivationForward", Kind::forward, true, false, true},
      {"add", "cudnnAddTensor", Kind::dx, true, true},
      {"backward_data", "cudnnConvolutionBackwardData", Kind::dx},
      {"backward_filter", "cudnnConvolutionBackwardFilter", Kind::dw},
  };
  std::int64_t images = 1;
  for (const Failure& f : failures) {
    Conv2dSizes sizes = plain_sizes(f.last);
    sizes.N = images++;  // a problem that is not known yet
    Host host(f.kind, DType::f32, sizes, f.bias, f.relu);
    fake_.fail[f.function] = 5000;
    EXPECT_THAT([&] { run(host.call); },
                ThrowsMessage<CudaError>(AllOf(HasSubstr(f.name), HasSubstr("failed: the fake failed"),
                                               HasSubstr("cuDNN status 5000"))))
        << f.function;
    fake_.fail.clear();
    run(host.call);  // nothing half made is kept
    EXPECT_TRUE(same_bits(host.result(), host.expected(), host.result().size() * 4)) << f.function;
  }
  fake_.fail["create"] = 1001;
  EXPECT_THROW(detail::CudnnConvolutions{library_}, CudaError);
}

TEST(CudnnReason, SaysWhatItCannotTake) {
  alignas(16) static float memory[1024];
  CudnnCall call{Kind::forward, DType::f32, plain_sizes(), memory, memory, memory, memory, false, false};
  EXPECT_EQ(detail::cudnn_call_reason(call), nullptr);
  call.dtype = DType::f64;
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes f32, f16 and bf16");
  call.dtype = DType::f32;
  call.bias = memory + 1;
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes tensors aligned to 16 bytes");
  call.bias = nullptr, call.y = memory + 2;
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes tensors aligned to 16 bytes");
  call.y = memory, call.sizes.Q = 6;  // the last column is left out
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes as many zeros below and right as above and left");
  call.sizes = plain_sizes();
  call.sizes.P = 6;
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes as many zeros below and right as above and left");
  call.sizes = plain_sizes();
  call.sizes.N = std::int64_t{1} << 26;
  EXPECT_STREQ(detail::cudnn_call_reason(call), "takes tensors of fewer than 2^31 elements");
}

}  // namespace
}  // namespace gpunn

#endif
