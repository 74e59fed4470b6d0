// Recurrent layers through cuDNN against a library that stands in for it and computes on the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#if GPUNN_HAS_CUDA

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/rnn/cudnn_recurrence_impl.h"
#include "tests/support/cudnn_rnn_fake.h"

namespace gpunn {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr RnnMode kModes[] = {RnnMode::tanh, RnnMode::relu, RnnMode::lstm, RnnMode::gru};

struct LayerOptions {
  bool packed = false, bias = true, states = true, incoming = true, weights = true;
};

/// A layer's operands in host memory, forward and backward.
class Host {
 public:
  Host(RnnMode mode, DType dtype, LayerOptions o = {}) : dtype_(dtype) {
    f.dtype = dtype;
    f.K = 3;
    f.sizes = {mode, false, true, 3, 2, 4, o.packed ? 5 : 6};
    if (o.packed) f.host_first_row = first_row_;
    f.keep = true;
    const std::int64_t rows = f.sizes.rows, G = f.sizes.G();
    f.x = filled(rows * 3), f.w_ih = filled(G * 4 * 3), f.w_hh = filled(G * 4 * 4);
    if (o.bias) f.b_ih = filled(G * 4), f.b_hh = filled(G * 4);
    if (o.states) f.h0 = filled(8);
    if (o.states && mode == RnnMode::lstm) f.c0 = filled(8);
    f.y = room(rows * 4), f.hn = room(8);
    if (mode == RnnMode::lstm) f.cn = room(8);
    b.dtype = dtype, b.K = f.K, b.sizes = f.sizes, b.host_first_row = f.host_first_row;
    b.x = f.x, b.w_ih = f.w_ih, b.w_hh = f.w_hh, b.b_ih = f.b_ih, b.b_hh = f.b_hh, b.h0 = f.h0, b.c0 = f.c0;
    b.y = f.y, b.dy = filled(rows * 4);
    if (o.incoming) b.dhn = filled(8);
    if (o.incoming && mode == RnnMode::lstm) b.dcn = filled(8);
    b.dx = room(rows * 3), b.dh0 = room(8);
    if (mode == RnnMode::lstm) b.dc0 = room(8);
    if (!o.weights) return;
    b.dw_ih = room(G * 4 * 3), b.dw_hh = room(G * 4 * 4);
    if (o.bias) b.db_ih = room(G * 4), b.db_hh = room(G * 4);
  }

  /// Everything that is written, as numbers.
  std::vector<double> results() {
    std::vector<double> all;
    for (const auto& list : {operands(f), operands(b)})
      for (const Operand& o : list)
        for (std::int64_t i = 0; o.role == Role::out && i < o.elements; ++i)
          all.push_back(load_ref(*o.pointer, dtype_, i));
    return all;
  }

  RnnLayerForwardProblem f{};
  RnnLayerBackwardProblem b{};

 private:
  void* room(std::int64_t n) {
    buffers_.push_back(std::make_unique<std::vector<float>>(static_cast<std::size_t>(n), NAN));
    return buffers_.back()->data();
  }
  void* filled(std::int64_t n) {
    void* const data = room(n);
    for (std::int64_t i = 0; i < n; ++i) store_ref(data, dtype_, i, next_ = -next_ * 0.875 + 0.125);
    return data;
  }

  static constexpr std::int64_t first_row_[] = {0, 2, 4, 5};
  DType dtype_;
  double next_ = 0.9;
  std::vector<std::unique_ptr<std::vector<float>>> buffers_;
};

class CudnnLayers : public ::testing::Test {
 protected:
  CudnnLayers()
      : library_(fake_cudnn_rnn(fake_)),
        layers_(new detail::CudnnRecurrence(library_, fake_cudnn_memory())) {}
  ~CudnnLayers() override {
    layers_.reset();
    EXPECT_EQ(fake_.live, 0) << "handles or descriptors left behind";
  }
  Exec exec(std::size_t bytes) {
    memory_.assign(bytes, 0x55);
    Exec e{};
    e.stream = &memory_;
    e.workspace = memory_.data(), e.workspace_bytes = bytes;
    return e;
  }
  void forward(RnnLayerForwardProblem& p) {
    kept_.assign(p.keep ? layers_->kept(detail::cudnn_layer(p)) : 0, 0x77);
    p.kept = p.keep ? kept_.data() : nullptr;
    layers_->forward(p, exec(layers_->forward_workspace(detail::cudnn_layer(p), p.keep)));
  }
  void backward(RnnLayerBackwardProblem& p) {
    p.kept = kept_.data();
    layers_->backward(p, exec(layers_->backward_workspace(detail::cudnn_layer(p))));
  }
  void run(Host& host) {
    forward(host.f);
    backward(host.b);
  }
  static std::vector<double> expected(Host& host) {
    rnn_layer_fwd_ref(host.f, {});
    rnn_layer_bwd_ref(host.b, {});
    return host.results();
  }

  FakeCudnnRnn fake_;
  detail::CudnnRecurrent library_;
  std::unique_ptr<detail::CudnnRecurrence> layers_;
  std::vector<unsigned char> memory_, kept_;
};

TEST_F(CudnnLayers, GiveTheReferencesResults) {
  const LayerOptions all[] = {{},
                              {.packed = true},
                              {.bias = false},
                              {.states = false, .incoming = false},
                              {.packed = true, .bias = false, .states = false, .weights = false}};
  for (const bool joined : {false, true}) {
    layers_.reset();
    fake_.joined = joined;
    layers_ = std::make_unique<detail::CudnnRecurrence>(library_, fake_cudnn_memory());
    for (const RnnMode mode : kModes)
      for (const DType dtype : {DType::f32, DType::f16, DType::bf16})
        for (const LayerOptions& o : all) {
          Host host(mode, dtype, o), plain(mode, dtype, o);
          run(host);
          EXPECT_EQ(host.results(), expected(plain))
              << "mode " << static_cast<int>(mode) << ", dtype " << static_cast<int>(dtype) << ", options "
              << (&o - all) << (joined ? ", joined" : "");
        }
  }
  EXPECT_EQ(fake_.stream, &memory_);
}

TEST_F(CudnnLayers, DescribesTheLayer) {
  Host host(RnnMode::gru, DType::bf16, {.packed = true});
  run(host);
  EXPECT_EQ(fake_.algorithm, detail::kCudnnRnnStandard);
  EXPECT_EQ(fake_.cell, detail::kCudnnCellGru);
  EXPECT_EQ(fake_.bias, detail::kCudnnTwoBiases);
  EXPECT_EQ(fake_.direction, detail::kCudnnOneDirection);
  EXPECT_EQ(fake_.input, detail::kCudnnLinearInput);
  EXPECT_EQ(fake_.dtype, detail::kCudnnBFloat16);
  EXPECT_EQ(fake_.compute, detail::kCudnnFloat) << "halves accumulate in f32";
  EXPECT_EQ(fake_.math, detail::kCudnnTensorOpMath);
  EXPECT_EQ(fake_.inputs, 3);
  EXPECT_EQ(fake_.units, 4);
  EXPECT_EQ(fake_.projection, 4) << "none";
  EXPECT_EQ(fake_.layers, 1);
  EXPECT_EQ(fake_.dropout, 0);
  EXPECT_EQ(fake_.flags, detail::kCudnnNoPaddedRows);
  EXPECT_THAT(fake_.lengths, ElementsAre(3, 2));
  EXPECT_FALSE(fake_.device_lengths);
  EXPECT_EQ(fake_.mode, detail::kCudnnTraining);
  EXPECT_EQ(fake_.add, detail::kCudnnAddGradients);
  constexpr int cells[] = {detail::kCudnnCellTanh, detail::kCudnnCellRelu, detail::kCudnnCellLstm,
                           detail::kCudnnCellGru};
  for (std::size_t i = 0; i < 4; ++i) {
    Host other(kModes[i], DType::f32, {.bias = false});
    run(other);
    EXPECT_EQ(fake_.cell, cells[i]);
    EXPECT_EQ(fake_.bias, detail::kCudnnNoBias);
    EXPECT_THAT(fake_.lengths, ElementsAre(3, 3));
  }
}

TEST_F(CudnnLayers, Tf32OnlyWhenAllowed) {
  Host host(RnnMode::lstm, DType::f32);
  run(host);
  EXPECT_EQ(fake_.math, detail::kCudnnFmaMath);
  host.f.tf32 = host.b.tf32 = true;
  run(host);
  EXPECT_EQ(fake_.math, detail::kCudnnDefaultMath);
}

TEST_F(CudnnLayers, PredictionKeepsNothing) {
  Host host(RnnMode::lstm, DType::f32), plain(RnnMode::lstm, DType::f32);
  host.f.keep = false;
  forward(host.f);
  EXPECT_EQ(fake_.mode, detail::kCudnnInference);
  rnn_layer_fwd_ref(plain.f, {});
  EXPECT_EQ(std::memcmp(host.f.y, plain.f.y, 24 * sizeof(float)), 0);
}

TEST_F(CudnnLayers, BackwardLeavesWhatWasKept) {
  Host host(RnnMode::lstm, DType::f32);
  run(host);
  const auto first = host.results();
  const std::vector<unsigned char> kept = kept_;
  backward(host.b);
  EXPECT_EQ(kept_, kept);
  EXPECT_EQ(host.results(), first) << "gradients do not add up from call to call";
}

TEST_F(CudnnLayers, WorksInThisOrder) {
  fake_.joined = true;
  Host host(RnnMode::lstm, DType::f32);
  run(host);
  // Parameters that lie as ours do take four copies each way.
  EXPECT_THAT(fake_.order, ElementsAre("zero", "copy", "copy", "copy", "copy", "forward", "zero", "copy",
                                       "copy", "copy", "copy", "copy", "backward_data", "zero",
                                       "backward_weights", "copy", "copy", "copy", "copy"));
  fake_.order.clear();
  Host inputs(RnnMode::tanh, DType::f32, {.bias = false, .weights = false});
  run(inputs);
  EXPECT_THAT(fake_.order, ElementsAre("zero", "copy", "copy", "forward", "zero", "copy", "copy", "copy",
                                       "backward_data"));
}

TEST_F(CudnnLayers, SpaceIsAskedForBySizes) {
  Host host(RnnMode::gru, DType::f16);
  const detail::CudnnLayer layer = detail::cudnn_layer(host.f);
  EXPECT_TRUE(layers_->accepts(layer));
  fake_.workspace_bytes = 1000;
  const std::size_t small = layers_->forward_workspace(layer, true), kept = layers_->kept(layer);
  EXPECT_EQ(layers_->forward_workspace(layer, false), small);
  EXPECT_EQ((small - 1000) % 256, 0u) << "the weights', aligned";
  const std::size_t weights = small - 1000;
  EXPECT_EQ(layers_->backward_workspace(layer), 2 * weights + (kept + 255) / 256 * 256 + 1000);
  run(host);  // the fake refuses other sizes than these
}

TEST_F(CudnnLayers, ALayerIsDescribedOnce) {
  Host host(RnnMode::lstm, DType::f32);
  run(host);
  run(host);
  EXPECT_EQ(fake_.calls["rnn_set"], 1);
  EXPECT_EQ(fake_.calls["weight_place"], 8);
  Host packed(RnnMode::lstm, DType::f32, {.packed = true});
  run(packed);
  EXPECT_EQ(fake_.calls["rnn_set"], 1) << "other sequences, the same layer";
  for (const DType dtype : {DType::f16, DType::bf16}) {
    Host other(RnnMode::lstm, dtype);
    run(other);
  }
  EXPECT_EQ(fake_.calls["rnn_set"], 3);
}

TEST_F(CudnnLayers, ALibraryThatKnowsNoSuchLayerIsNoFailure) {
  const Host lstm(RnnMode::lstm, DType::f32), gru(RnnMode::gru, DType::f32);
  fake_.fail["rnn_set"] = 3000;
  EXPECT_FALSE(layers_->accepts(detail::cudnn_layer(lstm.f)));
  EXPECT_THROW(layers_->forward(lstm.f, exec(4096)), Unsupported);
  EXPECT_THROW(layers_->backward(lstm.b, exec(4096)), Unsupported);
  fake_.fail.clear();
  fake_.fail["temp_sizes"] = 9;  // version 8's word for it
  EXPECT_FALSE(layers_->accepts(detail::cudnn_layer(gru.f)));
}

TEST_F(CudnnLayers, WeightsOfOtherSizesAreAnError) {
  fake_.extra_weights = 1;
  Host host(RnnMode::lstm, DType::f32);
  EXPECT_THAT([&] { forward(host.f); }, ThrowsMessage<Error>(HasSubstr("expected cuDNN to hold 12 weights")));
}

TEST_F(CudnnLayers, FailuresBecomeErrorsWithTheLibrarysText) {
  struct Failure {
    const char *function, *name;
  };
  const Failure failures[] = {
      {"tensor_create", "cudnnCreateTensorDescriptor"},
      {"tensor_set", "cudnnSetTensorNdDescriptor"},
      {"tensor_get", "cudnnGetTensorNdDescriptor"},
      {"dropout_create", "cudnnCreateDropoutDescriptor"},
      {"dropout_set", "cudnnSetDropoutDescriptor"},
      {"rnn_create", "cudnnCreateRNNDescriptor"},
      {"rnn_set", "cudnnSetRNNDescriptor_v8"},
      {"sequence_create", "cudnnCreateRNNDataDescriptor"},
      {"sequence_set", "cudnnSetRNNDataDescriptor"},
      {"temp_sizes", "cudnnGetRNNTempSpaceSizes"},
      {"weights_size", "cudnnGetRNNWeightSpaceSize"},
      {"weight_place", "cudnnGetRNNWeightParams"},
      {"set_stream", "cudnnSetStream"},
      {"forward", "cudnnRNNForward"},
      {"backward_data", "cudnnRNNBackwardData_v8"},
      {"backward_weights", "cudnnRNNBackwardWeights_v8"},
  };
  for (const Failure& f : failures) {
    layers_ = std::make_unique<detail::CudnnRecurrence>(library_, fake_cudnn_memory());
    Host host(RnnMode::lstm, DType::f32), plain(RnnMode::lstm, DType::f32);
    fake_.fail[f.function] = 5000;
    EXPECT_THAT([&] { run(host); },
                ThrowsMessage<CudaError>(AllOf(HasSubstr(std::string(f.name) + " failed: the fake failed"),
                                               HasSubstr("cuDNN status 5000"))))
        << f.function;
    fake_.fail.clear();
    run(host);  // nothing half made is kept
    EXPECT_EQ(host.results(), expected(plain)) << f.function;
  }
  fake_.fail["create"] = 1001;
  EXPECT_THROW((detail::CudnnRecurrence{library_, fake_cudnn_memory()}), CudaError);
}

TEST(CudnnLayerReason, SaysWhatItCannotTake) {
  detail::CudnnLayer layer{DType::f32, {RnnMode::gru, false, true, 3, 2, 4, 6}, 3, nullptr, true, false};
  EXPECT_EQ(detail::cudnn_layer_reason(layer), nullptr);
  const auto why = [&](auto change) {
    detail::CudnnLayer other = layer;
    change(other);
    return std::string(detail::cudnn_layer_reason(other));
  };
  using Layer = detail::CudnnLayer;
  EXPECT_EQ(why([](Layer& l) { l.dtype = DType::f64; }), "takes f32, f16 and bf16");
  EXPECT_EQ(why([](Layer& l) { l.sizes.reverse = true; }), "runs from the first step to the last");
  EXPECT_EQ(why([](Layer& l) { l.sizes.reset_after = false; }), "resets after the product");
  EXPECT_EQ(why([](Layer& l) { l.K = 0; }), "takes inputs of at least one feature");
  const std::string large = "takes tensors of fewer than 2^31 elements";
  EXPECT_EQ(why([](Layer& l) { l.sizes.rows = std::int64_t{1} << 28; }), large);
  EXPECT_EQ(why([](Layer& l) { l.sizes.B = std::int64_t{1} << 30; }), large);
  EXPECT_EQ(why([](Layer& l) { l.K = std::int64_t{1} << 28; }), large);
}

}  // namespace
}  // namespace gpunn

#endif
