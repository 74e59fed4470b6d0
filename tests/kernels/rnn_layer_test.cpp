// Whole layers by other entries than ours: parity, and rnn_sequence() with one of them asked for.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"
#include "tests/support/rnn_runs.h"

namespace gpunn {
namespace parity {
void add_rnn_layer_cases(Suite& suite);
}

namespace {

using ::testing::HasSubstr;
using testing::kRnnKinds;
using testing::rnn_run;
using testing::rnn_tensors;
using testing::RnnKind;
using ::testing::ThrowsMessage;

TEST(RnnLayerParity, Cpu) { parity::expect_parity_on_cpu(parity::add_rnn_layer_cases); }
#if GPUNN_HAS_CUDA && !GPUNN_EMULATED
TEST(RnnLayerParity, Cuda) { parity::expect_parity_on_cuda(parity::add_rnn_layer_cases); }
#endif

bool has_onednn() {
  RnnLayerForwardProblem p{};
  p.dtype = DType::f32;
  p.sizes = {RnnMode::lstm, false, true, 2, 2, 3, 4};
  p.K = 2;
  const auto* const entry = find_implementation(kRnnLayerForward, "onednn");
  return entry && !entry->accepts(p);
}

/// The entries of this machine that rnn_sequence() can be made to use.
std::vector<std::string> entries() {
  return has_onednn() ? std::vector<std::string>{"onednn", "ref"} : std::vector<std::string>{"ref"};
}

bool takes(const std::string& entry, const RnnKind& kind) {
  return entry != "onednn" || kind.mode != RnnMode::relu;
}

std::vector<double> values(const Tensor& t) {
  return t.defined() ? t.to(DType::f64).to_vector<double>() : std::vector<double>();
}

/// Everything that a layer computes: y, h, c and all gradients.
std::vector<std::vector<double>> all_of(const RnnKind& kind, const Inputs& in,
                                        const RnnSequenceOptions& options = {}) {
  const RnnOutput r = rnn_run(kind, in, options);
  Tensor loss = sum(r.h * 0.7) + sum(r.y * r.y);
  if (r.c.defined()) loss = loss + sum(r.c * r.c);
  std::vector<std::vector<double>> all{values(r.y), values(r.h), values(r.c)};
  for (const Tensor& g : autograd::grad(std::span(&loss, 1), in)) all.push_back(values(g));
  return all;
}

void expect_near(const std::vector<std::vector<double>>& got,
                 const std::vector<std::vector<double>>& expected, const std::string& what) {
  ASSERT_EQ(got.size(), expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_EQ(got[i].size(), expected[i].size()) << what << ", result " << i;
    double largest = 1e-3;
    for (const double v : expected[i]) largest = std::max(largest, std::abs(v));
    for (std::size_t j = 0; j < got[i].size(); ++j)
      ASSERT_NEAR(got[i][j], expected[i][j], 1e-5 * largest) << what << ", result " << i << "[" << j << "]";
  }
}

/// Inputs on the CPU of the Runtime in force, with the same values each time.
Inputs inputs(const RnnKind& kind, const Shape& x, std::int64_t B, std::int64_t H) {
  manual_seed(11);
  return rnn_tensors(kind.mode, x, B, H, Device::cpu());
}

TEST(RnnLayer, EveryEntryGivesWhatTheComposedLayerGives) {
  for (const RnnKind& kind : kRnnKinds)
    for (const bool reverse : {false, true}) {
      const RnnSequenceOptions options{.reverse = reverse};
      const auto run = [&] { return all_of(kind, inputs(kind, {4, 3, 6}, 3, 5), options); };
      const auto expected = run();
      for (const std::string& entry : entries()) {
        if (!takes(entry, kind)) continue;
        Runtime forced(RuntimeOptions{.threads = 2, .forced = "rnn_layer=" + entry});
        const RuntimeScope scope(forced);
        expect_near(run(), expected, std::string(kind.name) + ", " + entry + (reverse ? ", reverse" : ""));
      }
    }
}

TEST(RnnLayer, ReallyRunsWhatIsAskedFor) {
  // The kept gates are refused by entries that have none, and only by those.
  const RnnKind lstm = kRnnKinds[2];
  for (const std::string& entry : entries()) {
    Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
    const RuntimeScope scope(forced);
    const Inputs in = inputs(lstm, {2, 2, 3}, 2, 4);
    EXPECT_THAT([&] { rnn_run(lstm, in, {.keep_gates = true}); },
                ThrowsMessage<Unsupported>(HasSubstr(entry + " shows no gates")));
  }
  Runtime composed(RuntimeOptions{.threads = 1, .forced = "rnn_layer=composed"});
  const RuntimeScope scope(composed);
  EXPECT_TRUE(rnn_run(lstm, inputs(lstm, {2, 2, 3}, 2, 4), {.keep_gates = true}).gates.defined());
}

TEST(RnnLayer, ComposedIsAskedForByItsName) {
  const RnnKind gru = kRnnKinds[3];
  const auto run = [&] { return all_of(gru, inputs(gru, {3, 2, 4}, 2, 3)); };
  const auto expected = run();
  for (const char* const setting : {"rnn_layer=composed", "softmax=ref"}) {
    Runtime forced(RuntimeOptions{.threads = 1, .forced = setting});
    const RuntimeScope scope(forced);
    EXPECT_EQ(run(), expected) << setting;
  }
  Runtime unknown(RuntimeOptions{.threads = 1, .forced = "rnn_layer=nobody"});
  const RuntimeScope scope(unknown);
  EXPECT_THROW(run(), Unsupported);
}

TEST(RnnLayer, RefusesWithItsReason) {
  if (!has_onednn()) GTEST_SKIP() << "no oneDNN";
  Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=onednn"});
  const RuntimeScope scope(forced);
  const RnnKind lstm = kRnnKinds[2];
  const std::int64_t lengths[] = {3, 1};
  const Packing packing(lengths, Device::cpu());
  EXPECT_THAT([&] { rnn_run(lstm, inputs(lstm, {4, 3}, 2, 5), {.packed = &packing}); },
              ThrowsMessage<Unsupported>(HasSubstr("onednn takes sequences of one length")));
  const Inputs half = rnn_tensors(lstm.mode, {2, 2, 3}, 2, 4, Device::cpu(), DType::f16);
  EXPECT_THAT([&] { rnn_run(lstm, half); }, ThrowsMessage<Unsupported>(HasSubstr("onednn takes f32")));
  EXPECT_THAT([&] { rnn_run(lstm, inputs(lstm, {2, 2, 0}, 2, 4)); },
              ThrowsMessage<Unsupported>(HasSubstr("at least one feature")));
  EXPECT_THAT([&] { rnn_run(kRnnKinds[1], inputs(kRnnKinds[1], {2, 2, 3}, 2, 4)); },
              ThrowsMessage<Unsupported>(HasSubstr("onednn makes zeros of NaN in relu")));
  // Nothing to run: the states go through.
  EXPECT_EQ(rnn_run(lstm, inputs(lstm, {0, 2, 3}, 2, 4)).h.shape(), (Shape{2, 4}));
}

TEST(RnnLayer, OneGradientAtATime) {
  for (const std::string& entry : entries()) {
    Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
    const RuntimeScope scope(forced);
    for (const RnnKind& kind : kRnnKinds) {
      if (!takes(entry, kind)) continue;
      const Inputs in = inputs(kind, {3, 2, 4}, 2, 5);
      const auto all = all_of(kind, in);
      for (std::size_t i = 0; i < in.size(); ++i) {
        Inputs one = in;
        for (Tensor& t : one) t = t.detach();
        one[i].requires_grad_();
        const RnnOutput r = rnn_run(kind, one);
        Tensor loss = sum(r.h * 0.7) + sum(r.y * r.y);
        if (r.c.defined()) loss = loss + sum(r.c * r.c);
        const Tensor g = autograd::grad(std::span(&loss, 1), std::span(&one[i], 1))[0];
        EXPECT_EQ(values(g), all[3 + i]) << kind.name << ", " << entry << ", input " << i;
      }
    }
  }
}

TEST(RnnLayer, GradientsThatDidNotArriveAreZeros) {
  for (const std::string& entry : entries())
    for (const RnnKind& kind : kRnnKinds) {
      if (!takes(entry, kind)) continue;
      const auto run = [&] {
        const Inputs in = inputs(kind, {3, 2, 4}, 2, 5);
        const RnnOutput r = rnn_run(kind, in);
        std::vector<std::vector<double>> all;
        for (const Tensor* const t : {&r.y, &r.h, &r.c}) {
          if (!t->defined()) continue;
          const Tensor loss = sum(*t);
          for (const Tensor& g : autograd::grad(std::span(&loss, 1), in, {}, true)) all.push_back(values(g));
        }
        return all;
      };
      const auto expected = run();
      Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
      const RuntimeScope scope(forced);
      expect_near(run(), expected, std::string(kind.name) + ", " + entry);
    }
}

TEST(RnnLayer, BackwardTwiceAndSecondDerivatives) {
  for (const std::string& entry : entries())
    for (const RnnKind& kind : kRnnKinds) {
      if (!takes(entry, kind)) continue;
      const auto run = [&] {
        const Inputs in = inputs(kind, {2, 2, 3}, 2, 3);
        const RnnOutput r = rnn_run(kind, in);
        const Tensor loss = sum(r.y * r.y);
        std::vector<std::vector<double>> all;
        for (int i = 0; i < 2; ++i)
          for (const Tensor& g : autograd::grad(std::span(&loss, 1), std::span(in).first(5), {}, true))
            all.push_back(values(g));
        const auto first = autograd::grad(std::span(&loss, 1), std::span(in).first(1), {}, true, true);
        const Tensor again = sum(first[0] * first[0]);
        for (const Tensor& g : autograd::grad(std::span(&again, 1), std::span(in).first(3)))
          all.push_back(values(g));
        return all;
      };
      const auto expected = run();
      Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
      const RuntimeScope scope(forced);
      expect_near(run(), expected, std::string(kind.name) + ", " + entry);
    }
}

TEST(RnnLayer, WithoutGradientsNothingIsKept) {
  for (const std::string& entry : entries())
    for (const RnnKind& kind : kRnnKinds) {
      if (!takes(entry, kind)) continue;
      const auto run = [&] {
        const NoGrad off;
        const RnnOutput r = rnn_run(kind, inputs(kind, {3, 2, 4}, 2, 5));
        return std::vector<std::vector<double>>{values(r.y), values(r.h), values(r.c)};
      };
      const auto expected = run();
      Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
      const RuntimeScope scope(forced);
      expect_near(run(), expected, std::string(kind.name) + ", " + entry);
    }
}

TEST(RnnLayer, NanStaysOne) {
  for (const std::string& entry : entries()) {
    Runtime forced(RuntimeOptions{.threads = 1, .forced = "rnn_layer=" + entry});
    const RuntimeScope scope(forced);
    for (const RnnKind& kind : kRnnKinds) {
      if (!takes(entry, kind)) continue;
      const NoGrad off;
      const Inputs in = inputs(kind, {2, 2, 3}, 2, 20);
      in[0].narrow(0, 0, 1).narrow(1, 0, 1).fill_(NAN);
      const auto y = values(rnn_run(kind, in).y);
      for (std::size_t i = 0; i < y.size(); ++i)
        EXPECT_EQ(std::isnan(y[i]), i / 20 % 2 == 0) << kind.name << ", " << entry << ", " << i;
    }
  }
}

TEST(RnnLayer, ShadowExecutionComparesWithTheReference) {
  if (!has_onednn()) GTEST_SKIP() << "no oneDNN";
  RuntimeOptions options{.threads = 1, .forced = "rnn_layer=onednn"};
  options.shadow = true;
  Runtime forced(options);
  const RuntimeScope scope(forced);
  for (const RnnKind& kind : kRnnKinds) {
    if (!takes("onednn", kind)) continue;
    EXPECT_NO_THROW(all_of(kind, inputs(kind, {3, 2, 4}, 2, 5)));
  }
}

}  // namespace
}  // namespace gpunn
