#include "gpunn/training/label_confusion.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"
#include "tests/support/devices.h"

namespace gpunn {
namespace {

Tensor labels(std::vector<std::int64_t> values, Device device = Device::cpu()) {
  const auto n = static_cast<std::int64_t>(values.size());
  return Tensor::from(values, {n}, {.device = device});
}

TEST(LabelConfusionTest, ByHand) {
  LabelConfusion m(4);
  m.add(labels({0, 1, 1, 2}), labels({0, 0, 1, 1}));
  m.add(labels({1}), labels({1}));
  EXPECT_EQ(m.counts(), (std::vector<std::int64_t>{1, 1, 0, 0, 0, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0}));
  EXPECT_EQ(m.total(), 5);
  EXPECT_DOUBLE_EQ(m.accuracy(), 0.6);
  const std::vector<double> iou = m.iou();
  EXPECT_DOUBLE_EQ(iou[0], 0.5);
  EXPECT_DOUBLE_EQ(iou[1], 0.5);    // 2 of 4
  EXPECT_DOUBLE_EQ(iou[2], 0);      // predicted once, never there
  EXPECT_TRUE(std::isnan(iou[3]));  // neither
  EXPECT_DOUBLE_EQ(m.mean_iou(), 1.0 / 3);
  m.reset();
  EXPECT_EQ(m.total(), 0);
  EXPECT_TRUE(std::isnan(m.accuracy()));
  EXPECT_TRUE(std::isnan(m.mean_iou()));
}

TEST(LabelConfusionTest, IgnoredLabelsAndShapes) {
  LabelConfusion m(2, 255);
  m.add(labels({0, 7, 1, -3}).reshape({1, 2, 2}), labels({0, 255, 0, 255}).reshape({1, 2, 2}));
  EXPECT_EQ(m.counts(), (std::vector<std::int64_t>{1, 1, 0, 0}));
  m.add(labels({}), labels({}));
  EXPECT_EQ(m.total(), 2);
}

TEST(LabelConfusionTest, WrongInputAddsNothing) {
  LabelConfusion m(3);
  EXPECT_THROW(m.add(labels({0, 3}), labels({0, 0})), InvalidArgument);
  EXPECT_THROW(m.add(labels({0, 0}), labels({0, -1})), InvalidArgument);
  EXPECT_THROW(m.add(labels({0, 0}), labels({0})), InvalidArgument);
  EXPECT_THROW(m.add(labels({0, 0}).to(DType::i32), labels({0, 0})), InvalidArgument);
  EXPECT_THROW(m.add({}, labels({0})), InvalidArgument);
  EXPECT_EQ(m.total(), 0);
  EXPECT_THROW(LabelConfusion(0), InvalidArgument);
  EXPECT_THROW(LabelConfusion(4097), InvalidArgument);
}

// Intersection over union as sets of places, on any device, in any number of batches.
TEST(LabelConfusionTest, EqualsSetsOfPlaces) {
  for (const std::string& name : testing::device_names()) {
    const Device device = Device::parse(name);
    PhiloxStream random(3, 0);
    std::vector<std::int64_t> ours, wanted;
    LabelConfusion m(5);
    for (int batch = 0; batch < 3; ++batch) {
      std::vector<std::int64_t> a, b;
      for (int i = 0; i < 50; ++i) {
        b.push_back(static_cast<std::int64_t>(random.below(5)));
        a.push_back(random.below(2) == 0 ? b.back() : static_cast<std::int64_t>(random.below(5)));
      }
      m.add(labels(a, device), labels(b, device));
      ours.insert(ours.end(), a.begin(), a.end());
      wanted.insert(wanted.end(), b.begin(), b.end());
    }
    double sum = 0;
    for (std::int64_t c = 0; c < 5; ++c) {
      int both = 0, either = 0;
      for (std::size_t i = 0; i < ours.size(); ++i) {
        both += ours[i] == c && wanted[i] == c ? 1 : 0;
        either += ours[i] == c || wanted[i] == c ? 1 : 0;
      }
      EXPECT_DOUBLE_EQ(m.iou()[static_cast<std::size_t>(c)], static_cast<double>(both) / either);
      sum += static_cast<double>(both) / either / 5;
    }
    EXPECT_NEAR(m.mean_iou(), sum, 1e-12);
  }
}

}  // namespace
}  // namespace gpunn
