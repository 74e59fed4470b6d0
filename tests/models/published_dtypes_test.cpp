// The small models of published_models.py in halves and doubles, and copies of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "tests/models/published_testing.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"
#include "tests/support/hashed_values.h"

namespace gpunn {
namespace {

using testing::golden_path;
using testing::published_ids;
using testing::published_lists;

/// Largest difference, of the largest wanted number; NaN stays NaN.
double difference(const Tensor& got, const std::vector<double>& want) {
  const std::vector<double> values = got.detach().contiguous().to_vector<double>();
  EXPECT_EQ(values.size(), want.size());
  if (values.size() != want.size()) return std::nan("");
  double worst = 0, scale = 0;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const double d = std::abs(values[i] - want[i]);
    if (!(d <= worst)) worst = d;
    scale = std::max(scale, std::abs(want[i]));
  }
  return worst / scale;
}

struct Small {
  Gpt2 gpt2{testing::small_gpt2()};
  Llama llama{testing::small_llama()};
  T5 t5{testing::small_t5()};
  Bert bert{testing::small_bert()};
  Vit vit{testing::small_vit()};

  Small() {
    load_gpt2_weights(golden_path("gpt2.safetensors"), gpt2);
    load_llama_weights(golden_path("llama.safetensors"), llama);
    load_t5_weights(golden_path("t5.safetensors"), t5);
    testing::fill_state(bert);
    testing::fill_state(vit);
  }
  std::vector<Module*> all() { return {&gpt2, &llama, &t5, &bert, &vit}; }

  /// Each against its stored logits.
  void expect(double tolerance, Device device, DType dtype, const std::string& what) {
    const NoGrad no_grad;
    const auto near = [&](const char* name, const Tensor& got, const char* part = "logits") {
      EXPECT_EQ(got.dtype(), dtype) << name;
      EXPECT_LE(difference(got, published_lists().at(name).at(part)), tolerance) << what << ", " << name;
    };
    const auto ids = [&](const char* name, const char* part, const Shape& shape) {
      return published_ids(name, part, shape, device);
    };
    near("gpt2", gpt2(ids("gpt2", "tokens", {2, 7})));
    near("llama", llama(ids("llama", "tokens", {2, 9})));
    near("t5",
         t5.forward(ids("t5", "source", {2, 23}), ids("t5", "target", {2, 8}), ids("t5", "lengths", {2})));
    const Tensor segments = ids("bert", "segments", {3, 11}).narrow(0, 0, 1).contiguous(),
                 tokens = ids("bert", "tokens", {3, 11}).narrow(0, 0, 1).contiguous();
    // The first row has no padding; its pair is the first of the stored ones.
    const Tensor next = bert.next_logits(bert.encode(tokens, segments));
    const std::vector<double>& stored = published_lists().at("bert").at("next logits");
    EXPECT_LE(difference(next, {stored[0], stored[1]}), tolerance) << what;
    near("vit", vit(testing::hashed({3, 2, 12, 12}, 120).to(device).to(dtype)));
  }
};

class PublishedDtypesTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(PublishedDtypesTest);

// Rounded weights and a dozen roundings in a row, of 2^-9 (bf16) and 2^-12 (f16) each: measured up to 0.052
// in bf16, an eighth of that in f16. The slow device does one of them.
TEST_P(PublishedDtypesTest, Halves) {
  for (const auto& [dtype, tolerance] : {std::pair(DType::bf16, 0.08), std::pair(DType::f16, 0.01)}) {
    if (dtype == DType::bf16 && !device().is_cpu()) continue;
    Small models;
    for (Module* m : models.all()) {
      m->to(device());
      m->to(dtype);
    }
    models.expect(tolerance, device(), dtype, dtype == DType::bf16 ? "bf16" : "f16");
    const NoGrad no_grad;
    for (CausalLm* model : {static_cast<CausalLm*>(&models.gpt2), static_cast<CausalLm*>(&models.llama)}) {
      const Tensor few =
          Tensor::from(std::vector<std::int64_t>{1, 9, 4, 4, 0, 10, 7, 3, 3, 8, 1, 2, 5, 6}, {2, 7})
              .to(device());
      KvCache cache = [&] {
        KvCacheOptions options = model->cache_options();
        EXPECT_EQ(options.dtype, dtype);
        options.batch = 2;
        return KvCache(options);
      }();
      (*model)(few.narrow(1, 0, 4).contiguous(), cache);
      const Tensor last = (*model)(few.narrow(1, 4, 3).contiguous(), cache);
      EXPECT_LE(difference(last, (*model)(few).narrow(1, 4, 3).contiguous().to_vector<double>()), tolerance);
    }
    T5Cache cache =
        models.t5.begin(models.t5.encode(published_ids("t5", "source", {2, 23}, device())), {}, 8);
    EXPECT_EQ(models.t5.decode(published_ids("t5", "target", {2, 8}, device()), cache).dtype(), dtype);
  }
}

TEST(PublishedDtypes, Doubles) {
  Small models;
  for (Module* m : models.all()) m->to(DType::f64);
  models.expect(4e-6, Device::cpu(), DType::f64, "f64");
}

// A copy computes the same and has weights of its own.
TEST(PublishedCopies, StandAlone) {
  Small models;
  models.llama(published_ids("llama", "tokens", {2, 9}, Device::cpu()));  // makes its table of rotations
  Small copies(models);
  for (Module* m : models.all()) {
    const NoGrad no_grad;
    for (const Tensor& p : m->parameters()) p.fill_(0);
  }
  copies.expect(1e-5, Device::cpu(), DType::f32, "copy");
  const auto llama = models.llama.copy_module();
  EXPECT_EQ(llama->state_dict().size(), copies.llama.state_dict().size());
  const auto t5 = copies.t5.copy_module();
  StateDict own = copies.t5.state_dict(), other = t5->state_dict();
  ASSERT_EQ(own.size(), other.size());
  for (std::size_t i = 0; i < own.size(); ++i) {
    EXPECT_EQ(own[i].first, other[i].first);
    EXPECT_EQ(own[i].second.to_vector<float>(), other[i].second.to_vector<float>());
    EXPECT_NE(own[i].second.data(), other[i].second.data());
  }
}

}  // namespace
}  // namespace gpunn
