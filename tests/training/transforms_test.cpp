// Transforms of pictures: what each does, in what share of pictures, and that the key alone decides.
#include "gpunn/training/transforms.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <set>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/training/data_loader.h"

namespace gpunn {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

/// Every value once, so that each can be found again.
FloatImage counted(std::int64_t channels, std::int64_t height, std::int64_t width) {
  FloatImage image{channels, height, width,
                   std::vector<float>(static_cast<std::size_t>(channels * height * width))};
  for (std::size_t i = 0; i < image.values.size(); ++i) image.values[i] = static_cast<float>(i + 1);
  return image;
}

FloatImage applied(const Transform& transform, FloatImage image, const SampleKey& key) {
  PhiloxStream random = stream_of(key);
  transform.apply(image, random);
  return image;
}

TEST(TransformKey, EveryPartMatters) {
  const auto first = [](const SampleKey& key) { return stream_of(key).bits(); };
  EXPECT_EQ(first({1, 2, 3}), first({1, 2, 3}));
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed = 0; seed < 10; ++seed)
    for (std::int64_t epoch = 0; epoch < 10; ++epoch)
      for (std::int64_t sample = 0; sample < 10; ++sample) seen.insert(first({seed, epoch, sample}));
  EXPECT_EQ(seen.size(), 1000u);  // 1.2e-4 for a collision by chance; the seeds are fixed
}

TEST(TransformFlip, MirrorsHalfOfThePictures) {
  int horizontal = 0, vertical = 0;
  for (int i = 0; i < 1000; ++i) {
    const FloatImage h = applied(RandomHorizontalFlip(), counted(2, 1, 3), {7, 0, i});
    const bool flipped = h.values == std::vector<float>{3, 2, 1, 6, 5, 4};
    EXPECT_TRUE(flipped || h.values == counted(2, 1, 3).values);
    horizontal += flipped ? 1 : 0;
    const FloatImage v = applied(RandomVerticalFlip(0.25), counted(2, 3, 1), {7, 0, i});
    const bool turned = v.values == std::vector<float>{3, 2, 1, 6, 5, 4};
    EXPECT_TRUE(turned || v.values == counted(2, 3, 1).values);
    vertical += turned ? 1 : 0;
  }
  EXPECT_NEAR(horizontal, 500, 63);  // four deviations
  EXPECT_NEAR(vertical, 250, 55);
  EXPECT_EQ(applied(RandomHorizontalFlip(0), counted(1, 2, 2), {}).values, counted(1, 2, 2).values);
  EXPECT_EQ(applied(RandomVerticalFlip(1), counted(1, 2, 2), {}).values, (std::vector<float>{3, 4, 1, 2}));
  EXPECT_THROW(RandomHorizontalFlip(1.5), InvalidArgument);
  EXPECT_THROW(RandomVerticalFlip{kNan}, InvalidArgument);
}

TEST(TransformCrop, EveryPlaceOccursAndHoldsTheWindow) {
  const FloatImage image = counted(3, 4, 5);
  const RandomCrop crop({3, 4}, 1, -1);  // windows 3 x 4 of the padded 6 x 7: 4 x 4 places
  std::map<std::pair<int, int>, int> places;
  for (int i = 0; i < 1600; ++i) {
    const FloatImage out = applied(crop, image, {3, 1, i});
    ASSERT_EQ(out.height, 3);
    ASSERT_EQ(out.width, 4);
    int found = 0;
    for (int top = -1; top <= 2; ++top) {
      for (int left = -1; left <= 2; ++left) {
        bool same = true;
        for (int c = 0; c < 3; ++c)
          for (int y = 0; y < 3; ++y)
            for (int x = 0; x < 4; ++x) {
              const int fy = y + top, fx = x + left;
              const bool inside = fy >= 0 && fy < 4 && fx >= 0 && fx < 5;
              same = same && out.channel(c)[y * 4 + x] == (inside ? image.channel(c)[fy * 5 + fx] : -1);
            }
        if (same) ++places[{top, left}], ++found;
      }
    }
    EXPECT_EQ(found, 1);
  }
  EXPECT_EQ(places.size(), 16u);
  for (const auto& [place, count] : places)
    EXPECT_NEAR(count, 100, 40) << place.first << ", " << place.second;
  EXPECT_EQ(applied(RandomCrop(Size2d(4, 5)), image, {}).values, image.values);
  EXPECT_THROW(applied(RandomCrop(5), image, {}), InvalidArgument);
  EXPECT_EQ(applied(RandomCrop(2, 9), counted(1, 1, 1), {}).values.size(), 4u);
  EXPECT_THROW(RandomCrop(Size2d(0, 3)), InvalidArgument);
  EXPECT_THROW(RandomCrop(3, -1), InvalidArgument);
}

TEST(TransformRotate, QuarterTurnsAreExact) {
  FloatImage image = counted(1, 3, 3);
  rotate(image, 90);  // counter-clockwise: the right column comes up
  const std::vector<float> wanted = {3, 6, 9, 2, 5, 8, 1, 4, 7};
  for (std::size_t i = 0; i < 9; ++i) EXPECT_NEAR(image.values[i], wanted[i], 1e-5) << i;
  FloatImage half = counted(2, 3, 5);
  rotate(half, 180);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_NEAR(half.values[i], static_cast<float>(15 - i), 1e-4);
  FloatImage none = counted(2, 3, 5);
  rotate(none, 0);
  EXPECT_EQ(none.values, counted(2, 3, 5).values);
}

TEST(TransformRotate, BilinearOfAPlaneIsThePlane) {
  // A plane is reproduced wherever all four neighbours are inside; far corners take the fill.
  FloatImage image{1, 21, 21, std::vector<float>(441)};
  for (int y = 0; y < 21; ++y)
    for (int x = 0; x < 21; ++x)
      image.values[static_cast<std::size_t>(y * 21 + x)] = static_cast<float>(2 * x - 3 * y);
  rotate(image, 30, 1000);
  const double angle = std::numbers::pi / 6;
  for (int y = 5; y < 16; ++y) {
    for (int x = 5; x < 16; ++x) {
      const double dx = x - 10, dy = y - 10;
      const double fx = 10 + std::cos(angle) * dx - std::sin(angle) * dy,
                   fy = 10 + std::sin(angle) * dx + std::cos(angle) * dy;
      EXPECT_NEAR(image.values[static_cast<std::size_t>(y * 21 + x)], 2 * fx - 3 * fy, 1e-4);
    }
  }
  EXPECT_EQ(image.values[0], 1000);
  EXPECT_THROW(rotate(image, kNan), InvalidArgument);
}

TEST(TransformRotate, AnglesFillTheRange) {
  // The turned unit vector at the right edge tells the angle.
  int left = 0, right = 0;
  for (int i = 0; i < 400; ++i) {
    FloatImage image{1, 3, 3, {0, 1, 0, 0, 0, 0, 0, 0, 0}};
    image = applied(RandomRotation(40), image, {1, 0, i});
    left += image.values[0] > 1e-3F ? 1 : 0;
    right += image.values[2] > 1e-3F ? 1 : 0;
    EXPECT_LT(image.values[3] + image.values[5], 0.2F);  // nothing beyond 40 degrees
  }
  EXPECT_NEAR(left, 200, 40);
  EXPECT_NEAR(right, 200, 40);
  EXPECT_THROW(RandomRotation(-1), InvalidArgument);
  EXPECT_THROW(RandomRotation(181), InvalidArgument);
}

TEST(TransformJitter, OneSettingAtATime) {
  const FloatImage image{3, 1, 2, {0.35F, 0.55F, 0.45F, 0.5F, 0.4F, 0.42F}};
  const auto grey = [&](const FloatImage& i, int x) {
    return 0.299 * static_cast<double>(i.channel(0)[x]) + 0.587 * static_cast<double>(i.channel(1)[x]) +
           0.114 * static_cast<double>(i.channel(2)[x]);
  };
  std::set<float> different;
  for (int i = 0; i < 50; ++i) {
    const FloatImage bright = applied(ColorJitter(0.5), image, {2, 0, i});
    const float factor = bright.values[0] / 0.35F;
    EXPECT_GE(factor, 0.4999F);
    EXPECT_LE(factor, 1.5001F);
    different.insert(factor);
    for (std::size_t k = 0; k < 6; ++k) EXPECT_NEAR(bright.values[k], image.values[k] * factor, 1e-6);

    // Contrast keeps the mean of the grey picture and scales differences; saturation keeps each pixel's grey.
    const FloatImage contrast = applied(ColorJitter(0, 0.5), image, {2, 0, i});
    EXPECT_NEAR(grey(contrast, 0) + grey(contrast, 1), grey(image, 0) + grey(image, 1), 1e-6);
    const float spread = (contrast.values[1] - contrast.values[0]) / 0.2F;
    EXPECT_TRUE(spread >= 0.4999F && spread <= 1.5001F) << spread;
    EXPECT_NEAR(contrast.values[3] - contrast.values[4], spread * 0.1F, 1e-6);
    const FloatImage saturated = applied(ColorJitter(0, 0, 0.5), image, {2, 0, i});
    EXPECT_NEAR(grey(saturated, 0), grey(image, 0), 1e-6);
    EXPECT_NE(saturated.values, image.values);
  }
  EXPECT_GT(different.size(), 45u);
}

TEST(TransformJitter, StaysInRangeAndOrderVaries) {
  // From the same factors, two orders give two results: all three settings must not commute.
  const FloatImage image{3, 1, 2, {0.9F, 0.1F, 0.5F, 0.2F, 0.05F, 1.0F}};
  for (int i = 0; i < 100; ++i)
    for (const float v : applied(ColorJitter(2, 2, 2), image, {5, 0, i}).values)
      EXPECT_TRUE(v >= 0 && v <= 1) << v;
  EXPECT_EQ(applied(ColorJitter(0, 0, 0), image, {}).values, image.values);
  const FloatImage single{1, 1, 2, {0.25F, 0.75F}};
  EXPECT_EQ(applied(ColorJitter(0, 0, 1), single, {}).values, single.values);
  EXPECT_THROW(applied(ColorJitter(1), counted(2, 1, 1), {}), InvalidArgument);
  EXPECT_THROW(ColorJitter(-0.1), InvalidArgument);
  EXPECT_THROW(ColorJitter(0, kNan), InvalidArgument);
}

/// The rectangle of changed pixels; every channel must agree. Empty: bottom 0.
struct Rectangle {
  int top = 99, left = 99, bottom = 0, right = 0, count = 0;
};
Rectangle changed(const FloatImage& image, float value) {
  Rectangle r;
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      const bool here = image.channel(0)[y * image.width + x] == value;
      for (int c = 1; c < image.channels; ++c)
        EXPECT_EQ(image.channel(c)[y * image.width + x] == value, here);
      if (!here) continue;
      r = {std::min(r.top, y), std::min(r.left, x), std::max(r.bottom, y + 1), std::max(r.right, x + 1),
           r.count + 1};
    }
  }
  EXPECT_EQ(r.count, r.bottom == 0 ? 0 : (r.bottom - r.top) * (r.right - r.left));
  return r;
}

TEST(TransformErasing, RectanglesOfTheAreaAsked) {
  int erased = 0;
  std::set<std::pair<int, int>> corners;
  for (int i = 0; i < 400; ++i) {
    const Rectangle r =
        changed(applied(RandomErasing(0.5, {0.1, 0.2}, {0.5, 2}, -1), counted(3, 20, 20), {4, 0, i}), -1);
    if (r.count == 0) continue;
    ++erased;
    corners.insert({r.top, r.left});
    EXPECT_GE(r.count, 30);  // 40 to 80, each side rounded
    EXPECT_LE(r.count, 92);
    const double ratio = static_cast<double>(r.bottom - r.top) / (r.right - r.left);
    EXPECT_TRUE(ratio > 0.4 && ratio < 2.5) << ratio;
  }
  EXPECT_NEAR(erased, 200, 40);
  EXPECT_GT(corners.size(), 80u);
  // Nothing fits: the picture stays.
  EXPECT_EQ(applied(RandomErasing(1, {1, 1}), counted(1, 4, 4), {}).values, counted(1, 4, 4).values);
  EXPECT_THROW(RandomErasing(2), InvalidArgument);
  EXPECT_THROW(RandomErasing(1, {0, 0.1}), InvalidArgument);
  EXPECT_THROW(RandomErasing(1, {0.3, 0.1}), InvalidArgument);
  EXPECT_THROW(RandomErasing(1, {0.1, 0.2}, {0, 1}), InvalidArgument);
}

TEST(TransformCutout, SquaresAreCutOffAtTheEdge) {
  std::map<int, int> sizes;
  for (int i = 0; i < 500; ++i) {
    const Rectangle r = changed(applied(Cutout(4, -1), counted(2, 10, 10), {6, 0, i}), -1);
    ++sizes[r.count];
    EXPECT_GE(r.count, 4);  // the middle is inside: 2 x 2 remain in a corner
    EXPECT_LE(r.count, 16);
  }
  EXPECT_NEAR(sizes[16], 500 * 0.49, 60);  // 7 of 10 places in each direction
  EXPECT_EQ(changed(applied(Cutout(100, -1), counted(1, 3, 3), {}), -1).count, 9);
  EXPECT_THROW(Cutout(0), InvalidArgument);
}

TEST(TransformNormalize, ByChannel) {
  const FloatImage out = applied(Normalize({1, 2}, {2, 4}), FloatImage{2, 1, 2, {1, 3, 6, -2}}, {});
  EXPECT_EQ(out.values, (std::vector<float>{0, 1, 1, -1}));
  EXPECT_THROW(applied(Normalize({1, 2}, {2, 4}), counted(3, 1, 1), {}), InvalidArgument);
  EXPECT_THROW(Normalize({1}, {0}), InvalidArgument);
  EXPECT_THROW(Normalize({1}, {1, 2}), InvalidArgument);
  EXPECT_THROW(Normalize({}, {}), InvalidArgument);
}

TEST(TransformCompose, OneDoesNotShiftTheOthers) {
  const auto crop = std::make_shared<RandomCrop>(2, 2);
  const auto never = std::make_shared<RandomHorizontalFlip>(0);  // draws one number
  const auto jitter = std::make_shared<ColorJitter>(0);          // draws five numbers, changes nothing
  for (int i = 0; i < 50; ++i) {
    const FloatImage image = counted(1, 4, 4);
    EXPECT_EQ(applied(Compose({never, crop}), image, {1, 1, i}).values,
              applied(Compose({jitter, crop}), image, {1, 1, i}).values);
  }
  const FloatImage small{1, 1, 1, {0.5F}};
  EXPECT_EQ(applied(Compose({}), small, {}).values, small.values);
  EXPECT_THROW(Compose({crop, nullptr}), InvalidArgument);
}

// ---------------------------------------------------------------- data sets

std::shared_ptr<const Dataset> pictures(std::int64_t n) {
  std::vector<float> x;
  std::vector<std::int64_t> y;
  for (std::int64_t i = 0; i < n; ++i) {
    for (int k = 0; k < 2 * 6 * 6; ++k) x.push_back(static_cast<float>(100 * i + k));
    y.push_back(i);
  }
  return std::make_shared<TensorDataset>(Tensor::from(x, {n, 2, 6, 6}, {.device = Device::cpu()}),
                                         Tensor::from(y, {n}, {.device = Device::cpu()}));
}

TransformPtr usual() {
  return std::make_shared<Compose>(std::vector<TransformPtr>{std::make_shared<RandomCrop>(4, 1),
                                                             std::make_shared<RandomHorizontalFlip>(),
                                                             std::make_shared<RandomRotation>(20)});
}

/// Inputs by target, over one pass.
std::map<std::int64_t, std::vector<float>> rows_of(DataLoader::Epoch epoch) {
  std::map<std::int64_t, std::vector<float>> out;
  for (Batch& batch : epoch) {
    const std::vector<float> x = batch.inputs.to_vector<float>();
    const std::vector<std::int64_t> y = batch.targets.to_vector<std::int64_t>();
    const std::size_t row = x.size() / y.size();
    for (std::size_t i = 0; i < y.size(); ++i)
      out[y[i]].assign(x.begin() + static_cast<std::ptrdiff_t>(i * row),
                       x.begin() + static_cast<std::ptrdiff_t>((i + 1) * row));
  }
  return out;
}

TEST(AugmentedDatasetTest, KeyedBySeedEpochAndSampleAlone) {
  const auto data = std::make_shared<AugmentedDataset>(pictures(50), usual(), 9);
  const auto pass = [&](std::int64_t epoch, int workers, std::int64_t batch, bool shuffle) {
    return rows_of(
        DataLoader(data, {.batch_size = batch, .shuffle = shuffle, .workers = workers}).epoch(epoch));
  };
  const auto wanted = pass(2, 0, 8, true);
  ASSERT_EQ(wanted.size(), 50u);
  EXPECT_EQ(wanted.at(3).size(), 32u);
  EXPECT_EQ(pass(2, 3, 8, true), wanted);
  EXPECT_EQ(pass(2, 2, 7, false), wanted);  // neither batches nor order matter
  const auto other = pass(3, 0, 8, true);
  int same = 0;
  for (const auto& [sample, x] : wanted) same += other.at(sample) == x ? 1 : 0;
  EXPECT_LT(same, 5);
  const auto reseeded = std::make_shared<AugmentedDataset>(pictures(50), usual(), 10);
  EXPECT_NE(rows_of(DataLoader(reseeded, {.batch_size = 8}).epoch(2)), wanted);
}

TEST(AugmentedDatasetTest, AResumedPassIsTheSame) {
  const auto data = std::make_shared<AugmentedDataset>(pictures(20), usual(), 9);
  const DataLoader loader(data, {.batch_size = 4, .shuffle = true, .workers = 2, .seed = 3});
  const auto whole = rows_of(loader.epoch(1));
  const auto rest = rows_of(loader.epoch(1, 3));
  EXPECT_EQ(rest.size(), 8u);
  for (const auto& [sample, x] : rest) EXPECT_EQ(x, whole.at(sample));
}

TEST(AugmentedDatasetTest, BadInputs) {
  EXPECT_THROW(AugmentedDataset(nullptr, usual()), InvalidArgument);
  EXPECT_THROW(AugmentedDataset(pictures(2), nullptr), InvalidArgument);
  const auto flat = std::make_shared<TensorDataset>(zeros({2, 3}, {.device = Device::cpu()}),
                                                    zeros({2}, {.device = Device::cpu()}));
  const std::int64_t first[] = {0}, outside[] = {2}, both[] = {0, 1};
  EXPECT_THROW(AugmentedDataset(flat, usual()).get(first), InvalidArgument);
  EXPECT_THROW(AugmentedDataset(pictures(2), usual()).get(outside), InvalidArgument);
  EXPECT_EQ(AugmentedDataset(pictures(2), usual()).get({}).size(), 0);

  struct Grow final : Transform {
    void apply(FloatImage& image, PhiloxStream&) const override {
      if (image.values[0] >= 100) return;
      image = {1, 1, 1, {0}};
    }
  };
  EXPECT_THROW(AugmentedDataset(pictures(2), std::make_shared<Grow>()).get(both), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
