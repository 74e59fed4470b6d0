#include "gpunn/kernels/optim/optim.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/optim/optim_impl.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_optim_cases(Suite& suite);
}

namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

TEST(OptimParity, Cpu) { parity::expect_parity_on_cpu(parity::add_optim_cases); }
#if GPUNN_HAS_CUDA
TEST(OptimParity, Cuda) { parity::expect_parity_on_cuda(parity::add_optim_cases); }
#endif

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

class OptimDevice : public testing::DeviceTest {
 protected:
  Tensor values(const StepValues& v) const {
    const Tensor t = make_step_values(device());
    write_step_values(v, t);
    return t;
  }
  TensorOptions here(DType dtype = DType::f32) const { return {.dtype = dtype, .device = device()}; }
  Tensor tensor(const std::vector<float>& v) const {
    return Tensor::from(v, {static_cast<std::int64_t>(v.size())}, here());
  }
};
GPUNN_ON_EVERY_DEVICE(OptimDevice);

TEST_P(OptimDevice, MoreTensorsThanATableHolds) {
  std::vector<UpdateTensor> tensors;
  for (int i = 0; i < 2 * kUpdateTensors + 7; ++i)
    tensors.push_back({full({i % 5 + 1}, i, here()), ones({i % 5 + 1}, here()), {}});
  tensors[3].grad = Tensor();  // no gradient: left alone
  tensors.push_back({zeros({0}, here()), zeros({0}, here()), {}});
  optimizer_step(tensors, {}, values({.rate = 0.5}));
  for (int i = 0; i < 2 * kUpdateTensors + 7; ++i)
    for (const float v : tensors[static_cast<std::size_t>(i)].param.to_vector<float>())
      EXPECT_EQ(v, static_cast<float>(i) - (i == 3 ? 0.0f : 0.5f)) << i;
}

TEST_P(OptimDevice, WritesInPlaceAndCountsAsAWrite) {
  const Tensor w = ones({4}, {.device = device(), .requires_grad = true});
  const Tensor loss = sum(w * w);
  const std::uint32_t version = w.storage().version();
  optimizer_step(std::vector<UpdateTensor>{{w, ones({4}, here()), {}}}, {}, values({.rate = 0.5}));
  EXPECT_NE(w.storage().version(), version);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(4, 0.5f));
  EXPECT_TRUE(w.is_leaf());
  // The graph above saved w: its backward must notice.
  EXPECT_THAT([&] { loss.backward(); }, ThrowsMessage<InvalidArgument>(HasSubstr("overwritten")));
}

TEST_P(OptimDevice, DoesNotReadTheBufferInTheFirstStep) {
  const Tensor w = zeros({9}, here()), buffer = full({9}, kNan, here());
  optimizer_step(std::vector<UpdateTensor>{{w, ones({9}, here()), {buffer}}},
                 {.beta1 = 0.9, .first_step = true}, values({.rate = 1}));
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(9, -1.0f));
  EXPECT_EQ(buffer.to_vector<float>(), std::vector<float>(9, 1.0f));
}

TEST_P(OptimDevice, ReadsWhatChangesFromTheDevice) {
  // The same call with rewritten values, as a replayed graph makes it.
  const Tensor w = zeros({3}, here()), numbers = values({.rate = 1});
  const std::vector<UpdateTensor> tensors{{w, ones({3}, here()), {}}};
  optimizer_step(tensors, {}, numbers);
  write_step_values({.rate = 0.25, .keep = 0.5}, numbers);
  optimizer_step(tensors, {}, numbers);
  EXPECT_EQ(w.to_vector<float>(), std::vector<float>(3, -0.75f));
}

TEST_P(OptimDevice, MastersKeepWhatHalfPrecisionLoses) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const Tensor w = ones({5}, here(dtype)), grad = full({5}, 1e-4, here(dtype)), master = ones({5}, here());
    const Tensor numbers = values({.rate = 1});
    for (int i = 0; i < 100; ++i)
      optimizer_step(std::vector<UpdateTensor>{{w, grad, {}, master}}, {}, numbers);
    EXPECT_NEAR(master.to_vector<float>()[4], 0.99, 1e-4);
    EXPECT_EQ(w.to_vector<float>(), master.to(dtype).to_vector<float>());
    EXPECT_NE(w.to_vector<float>()[0], 1);
  }
}

TEST_P(OptimDevice, NanStaysNan) {
  const UpdateSettings all[] = {{.rule = UpdateRule::adam, .beta1 = 0.9, .beta2 = 0.9, .amsgrad = true},
                                {.rule = UpdateRule::rmsprop, .beta2 = 0.9, .centered = true},
                                {.rule = UpdateRule::lion, .beta1 = 0.9, .beta2 = 0.9}};
  for (const UpdateSettings& s : all) {
    const Tensor w = ones({9}, here()), grad = full({9}, kNan, here());
    const auto state = [&] { return ones({9}, here()); };
    optimizer_step(std::vector<UpdateTensor>{{w, grad, {state(), state(), state()}}}, s, values({.rate = 1}));
    for (const float v : w.to_vector<float>()) EXPECT_TRUE(std::isnan(v)) << static_cast<int>(s.rule);
  }
}

TEST(Optim, RejectsBadArguments) {
  const Tensor w = zeros({2, 3}), g = zeros({2, 3}), numbers = make_step_values(Device::cpu());
  write_step_values({.rate = 1}, numbers);
  const auto refuses = [&](const UpdateTensor& t, const UpdateSettings& s, const char* what) {
    EXPECT_THAT([&] { optimizer_step(std::vector<UpdateTensor>{t}, s, numbers); },
                ThrowsMessage<InvalidArgument>(HasSubstr(what)));
  };
  refuses({w, zeros({3, 2}), {}}, {}, "[optimizer_step] expected grad of shape");
  refuses({w, zeros({3, 2}).t(), {}}, {}, "contiguous grad");
  refuses({w.t(), g.t(), {}}, {}, "contiguous param");
  refuses({w, g.to(DType::f16), {}}, {}, ".to()");
  refuses({w, g, {}}, {.beta1 = 0.9}, "momentum_buffer");
  refuses({w, g, {zeros({6})}}, {.beta1 = 0.9}, "momentum_buffer of shape");
  refuses({w, g, {w, w}}, {.rule = UpdateRule::adam, .amsgrad = true}, "max_exp_avg_sq");
  refuses({w, g, {}, w}, {}, "f16 or bf16");
  refuses({w.to(DType::f16), g.to(DType::f16), {}, g.to(DType::f16)}, {}, "master of f32");
  refuses({Tensor(), g, {}}, {}, "undefined");
  refuses({w, g, {}}, {.weight_decay = -1}, "weight_decay");
  refuses({w, g, {}}, {.l1_decay = kNan}, "l1_decay");
  refuses({w, g, {}}, {.eps = -1}, "eps");
  refuses({w, g, {}}, {.beta1 = -1}, "momentum");
  refuses({w, g, {}}, {.dampening = kNan}, "dampening");
  refuses({w, g, {}}, {.rule = UpdateRule::lion, .beta1 = 1}, "beta1");
  refuses({w, g, {}}, {.rule = UpdateRule::adam, .beta2 = kNan}, "beta2");
  refuses({w, g, {}}, {.nesterov = true}, "nesterov");
  refuses({w, g, {}}, {.rule = UpdateRule::adam, .first_step = true}, "first_step");
  refuses({zeros({2}, {.dtype = DType::i64}), g, {}}, {}, "floating param");
  EXPECT_THAT([&] { optimizer_step(std::vector<UpdateTensor>{{w, g, {}}}, {}, zeros({4})); },
              ThrowsMessage<InvalidArgument>(HasSubstr("make_step_values")));
  EXPECT_THROW(write_step_values({}, zeros({4})), InvalidArgument);
  optimizer_step({}, {}, numbers);  // nothing to do
}

TEST(Optim, NamesOfStatesArePyTorchs) {
  EXPECT_EQ(state_name({.beta1 = 0}, 0), nullptr);
  EXPECT_STREQ(state_name({.beta1 = 0.9}, 0), "momentum_buffer");
  EXPECT_STREQ(state_name({.rule = UpdateRule::rmsprop, .centered = true}, 2), "grad_avg");
  EXPECT_EQ(state_name({.rule = UpdateRule::rmsprop, .centered = true}, 1), nullptr);
  EXPECT_EQ(state_name({.rule = UpdateRule::adam}, 2), nullptr);
  EXPECT_EQ(state_name({.rule = UpdateRule::adam}, 3), nullptr);
}

// ---- norms and clipping

TEST_P(OptimDevice, TotalNormIsOverAllElements) {
  const std::vector<Tensor> tensors{tensor({3, -4}), tensor({0}), zeros({0, 2}, here()), tensor({12})};
  EXPECT_FLOAT_EQ(static_cast<float>(total_norm(tensors).item()), 13);
  EXPECT_FLOAT_EQ(static_cast<float>(total_norm(tensors, 1).item()), 19);
  EXPECT_FLOAT_EQ(static_cast<float>(total_norm(tensors, kInfinity).item()), 12);
  EXPECT_NEAR(total_norm(tensors, 3).item(), std::cbrt(27 + 64 + 1728), 1e-4);
  EXPECT_EQ(total_norm(tensors).device(), device());
  EXPECT_EQ(total_norm({}).item(), 0);
  EXPECT_EQ(total_norm(std::vector<Tensor>{zeros({0}, here())}).item(), 0);
  const std::vector<Tensor> mixed{tensor({3}).to(DType::f16), tensor({-4}), tensor({12}).to(DType::bf16)};
  EXPECT_FLOAT_EQ(static_cast<float>(total_norm(mixed).item()), 13);
  for (const double order : {1.0, 2.0, 2.5, kInfinity})
    EXPECT_TRUE(
        std::isnan(total_norm(std::vector<Tensor>{tensor({1, static_cast<float>(kNan), 2})}, order).item()))
        << order;
}

TEST_P(OptimDevice, ManyTensorsHaveOneNorm) {
  const std::vector<Tensor> many(3 * kClipTensors + 5, ones({7}, here()));
  EXPECT_NEAR(total_norm(many).item(), std::sqrt(7.0 * static_cast<double>(many.size())), 1e-4);
}

TEST_P(OptimDevice, ClipNormScalesWhatIsTooLong) {
  const Tensor a = tensor({3, -4}), b = zeros({3, 2}, here()).t();  // strided: rows of a transposed matrix
  b.fill_(12 / std::sqrt(6.0));
  EXPECT_NEAR(clip_norm_(std::vector<Tensor>{a, b}, 1.3).item(), 13, 1e-5);
  EXPECT_NEAR(a.to_vector<float>()[1], -0.4, 1e-6);
  EXPECT_NEAR(b.to_vector<float>()[5], 1.2 / std::sqrt(6.0), 1e-6);
  EXPECT_NEAR(clip_norm_(std::vector<Tensor>{a, b}, 5).item(), 1.3, 1e-5);  // short enough: as it was
  EXPECT_NEAR(a.to_vector<float>()[0], 0.3, 1e-6);
  EXPECT_EQ(clip_norm_({}, 1).item(), 0);
}

TEST_P(OptimDevice, NonfiniteNorms) {
  const Tensor a = tensor({3, static_cast<float>(kInfinity)});
  EXPECT_THAT(
      [&] { clip_norm_(std::vector<Tensor>{a}, 1, 2, true); },
      ThrowsMessage<InvalidArgument>(HasSubstr("[clip_norm_] expected gradients with a finite norm")));
  EXPECT_EQ(a.to_vector<float>()[0], 3) << "unchanged by the refusal";
  EXPECT_EQ(clip_norm_(std::vector<Tensor>{a}, 1).item(), kInfinity);
  EXPECT_EQ(a.to_vector<float>()[0], 0) << "PyTorch's: 3 * (1 / inf)";
}

TEST_P(OptimDevice, ClipValueClamps) {
  const Tensor a = tensor({3, -4, 0.5f, static_cast<float>(kNan)}), b = tensor({-9}).to(DType::f16);
  clip_value_(std::vector<Tensor>{a, b, zeros({0}, here())}, 2);
  const std::vector<float> got = a.to_vector<float>();
  EXPECT_THAT(std::vector<float>(got.begin(), got.begin() + 3), ElementsAre(2, -2, 0.5f));
  EXPECT_TRUE(std::isnan(got[3]));
  EXPECT_THAT(b.to_vector<float>(), ElementsAre(-2));
  clip_value_({}, 1);
}

TEST(Clip, DoublesStayDouble) {
  const Tensor a = full({3}, 2.0 / 3, {.dtype = DType::f64});
  EXPECT_EQ(total_norm(std::vector<Tensor>{a}).dtype(), DType::f64);
  EXPECT_NEAR(total_norm(std::vector<Tensor>{a}).item(), 2 / std::sqrt(3.0), 1e-15);
}

TEST(Clip, RejectsBadArguments) {
  const std::vector<Tensor> good{ones({2})};
  EXPECT_THROW(total_norm(good, 0), InvalidArgument);
  EXPECT_THROW(total_norm(good, -kInfinity), InvalidArgument);
  EXPECT_THROW(total_norm(good, kNan), InvalidArgument);
  EXPECT_THAT([&] { clip_norm_(good, -1); }, ThrowsMessage<InvalidArgument>(HasSubstr("max_norm")));
  EXPECT_THROW(clip_norm_(good, kNan), InvalidArgument);
  EXPECT_THAT([&] { clip_value_(good, -1); }, ThrowsMessage<InvalidArgument>(HasSubstr("clip_value")));
  EXPECT_THROW(clip_value_(good, kNan), InvalidArgument);
  EXPECT_THROW(total_norm(std::vector<Tensor>{Tensor()}), InvalidArgument);
  EXPECT_THROW(total_norm(std::vector<Tensor>{ones({2}, {.dtype = DType::i64})}), InvalidArgument);
  EXPECT_THAT([&] { total_norm(std::vector<Tensor>{ones({2}), ones({2}, {.dtype = DType::f64})}); },
              ThrowsMessage<InvalidArgument>(HasSubstr("f64")));
}

}  // namespace
}  // namespace gpunn
