#include "gpunn/training/transforms.h"

#include "gpunn/core/error.h"
#include "gpunn/core/philox.h"

namespace gpunn {

namespace {
// Philox subsequences apart from those of weights, shuffles and generators.
constexpr std::uint64_t kKeyStream = std::uint64_t{0x4155} << 48;
constexpr std::uint64_t kDrawStream = std::uint64_t{0x4156} << 48;
}  // namespace

PhiloxStream stream_of(const SampleKey& key) {
  // A block of the key stream for each sample, a subsequence for each epoch; its bits seed the picture's own.
  const Philox4 bits = philox_at(key.seed, static_cast<std::uint64_t>(key.sample),
                                 kKeyStream + static_cast<std::uint64_t>(key.epoch));
  return {std::uint64_t{bits.v[1]} << 32 | bits.v[0], kDrawStream};
}

Transform::~Transform() = default;

Compose::Compose(std::vector<TransformPtr> transforms) : transforms_(std::move(transforms)) {
  for (const TransformPtr& t : transforms_)
    GPUNN_CHECK(t != nullptr, "Compose: expected transforms, got null");
}

void Compose::apply(FloatImage& image, PhiloxStream& random) const {
  for (const TransformPtr& t : transforms_) {
    const std::uint64_t low = random.bits(), high = random.bits();
    PhiloxStream own(high << 32 | low, kDrawStream);
    t->apply(image, own);
  }
}

}  // namespace gpunn
