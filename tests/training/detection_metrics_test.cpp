// Boxes, suppression and mean average precision: cases by hand, and a second, plain computation of random
// ones.
#include "gpunn/training/detection_metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/core/random.h"

namespace gpunn {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

TEST(BoxIou, ByHand) {
  const Box a{0, 0, 4, 4};
  EXPECT_DOUBLE_EQ(box_iou(a, a), 1);
  EXPECT_DOUBLE_EQ(box_iou(a, {2, 0, 6, 4}), 8.0 / 24);
  EXPECT_DOUBLE_EQ(box_iou(a, {1, 1, 3, 3}), 4.0 / 16);
  EXPECT_DOUBLE_EQ(box_iou(a, {3, 3, 5, 6}), 1.0 / 21);
  EXPECT_DOUBLE_EQ(box_iou(a, {4, 0, 8, 4}), 0);  // they touch
  EXPECT_DOUBLE_EQ(box_iou(a, {9, 9, 10, 10}), 0);
  EXPECT_DOUBLE_EQ(box_iou(a, {2, 2, 2, 2}), 0);
  EXPECT_DOUBLE_EQ(box_iou({2, 2, 2, 2}, {2, 2, 2, 2}), 0);  // empty ones
  EXPECT_DOUBLE_EQ(box_iou({-4, -4, 0, 0}, {-2, -4, 0, 0}), 0.5);
}

TEST(BoxIou, WrongBoxesAreRefused) {
  const Box good{0, 0, 1, 1};
  for (const Box& bad :
       {Box{1, 0, 0, 1}, Box{0, 1, 1, 0}, Box{kNan, 0, 1, 1}, Box{0, kNan, 1, 1}, Box{0, 0, kNan, 1},
        Box{0, 0, 1, kNan}, Box{0, 0, kInfinity, 1}, Box{-kInfinity, 0, 1, 1}}) {
    EXPECT_THROW(box_iou(good, bad), InvalidArgument);
    EXPECT_THROW(box_iou(bad, good), InvalidArgument);
    EXPECT_THROW(clipped(bad, 1, 1), InvalidArgument);
  }
  EXPECT_THROW(check_box(LabelledBox{good, -1}), InvalidArgument);
  EXPECT_THROW(check_box(Detection{good, 0, kNan}), InvalidArgument);
  EXPECT_NO_THROW(check_box(Detection{good, 0, kInfinity}));
}

TEST(BoxClipping, ToThePicture) {
  const auto expect = [](const Box& box, const Box& wanted) {
    const Box got = clipped(box, 10, 8);
    EXPECT_EQ(got.left, wanted.left);
    EXPECT_EQ(got.top, wanted.top);
    EXPECT_EQ(got.right, wanted.right);
    EXPECT_EQ(got.bottom, wanted.bottom);
  };
  expect({1, 2, 3, 4}, {1, 2, 3, 4});
  expect({-5, -5, 50, 50}, {0, 0, 10, 8});
  expect({-5, 2, -1, 3}, {0, 2, 0, 3});  // outside: no area
  expect({12, 9, 13, 10}, {10, 8, 10, 8});
  EXPECT_EQ(box_area(clipped({12, 9, 13, 10}, 10, 8)), 0);
  EXPECT_THROW(clipped({0, 0, 1, 1}, -1, 8), InvalidArgument);
  EXPECT_THROW(clipped({0, 0, 1, 1}, 1, kNan), InvalidArgument);
}

std::vector<Detection> random_detections(std::size_t count, std::int64_t classes, PhiloxStream& random) {
  std::vector<Detection> out;
  for (std::size_t i = 0; i < count; ++i) {
    const auto x = static_cast<double>(random.below(12)), y = static_cast<double>(random.below(12));
    const auto w = static_cast<double>(random.below(9)), h = static_cast<double>(1 + random.below(8));
    out.push_back({{x, y, x + w, y + h},
                   static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(classes))),
                   static_cast<double>(random.below(16)) / 16});  // equal scores occur
  }
  return out;
}

TEST(Suppression, ByHand) {
  // 1 is best and overlaps 0 by 8/24 and 2 by 1; 3 is of another class.
  const std::vector<Detection> d = {
      {{0, 0, 4, 4}, 0, 0.5}, {{2, 0, 6, 4}, 0, 0.9}, {{2, 0, 6, 4}, 0, 0.9}, {{2, 0, 6, 4}, 1, 0.1}};
  using Places = std::vector<std::size_t>;
  EXPECT_EQ(suppress_repeated(d, 0.5), (Places{1, 0, 3}));
  EXPECT_EQ(suppress_repeated(d, 0.3), (Places{1, 3}));
  EXPECT_EQ(suppress_repeated(d, 8.0 / 24), (Places{1, 0, 3}));  // more than, not at least
  EXPECT_EQ(suppress_repeated(d, 1), (Places{1, 2, 0, 3}));
  EXPECT_EQ(suppress_repeated(d, 0.5, true), (Places{1, 0}));
  EXPECT_EQ(suppress_repeated({}, 0.5), Places{});
  EXPECT_THROW(suppress_repeated(d, 1.1), InvalidArgument);
  EXPECT_THROW(suppress_repeated(d, kNan), InvalidArgument);
  const std::vector<Detection> bad = {{{0, 0, 1, 1}, 0, kNan}};
  EXPECT_THROW(suppress_repeated(bad, 0.5), InvalidArgument);
}

// A suppressed box suppresses nothing itself.
TEST(Suppression, ChainsEndAtTheKept) {
  std::vector<Detection> d;
  for (int i = 0; i < 5; ++i) d.push_back({{2.0 * i, 0, 2.0 * i + 4, 4}, 0, 1.0 - 0.1 * i});
  EXPECT_EQ(suppress_repeated(d, 0.2), (std::vector<std::size_t>{0, 2, 4}));
}

TEST(Suppression, KeepsWhatTheDefinitionKeeps) {
  // Kept are those, and only those, that no better kept one of their class overlaps: solved by repeated
  // search.
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    PhiloxStream random(seed, 1);
    const std::vector<Detection> d = random_detections(20, 3, random);
    std::set<std::size_t> open, kept;
    for (std::size_t i = 0; i < d.size(); ++i) open.insert(i);
    while (!open.empty()) {
      std::size_t best = *open.begin();
      for (const std::size_t i : open)
        if (d[i].score > d[best].score) best = i;
      kept.insert(best);
      std::erase_if(open, [&](std::size_t i) {
        return i == best || (d[i].label == d[best].label && box_iou(d[i].box, d[best].box) > 0.4);
      });
    }
    const std::vector<std::size_t> got = suppress_repeated(d, 0.4);
    EXPECT_EQ(std::set<std::size_t>(got.begin(), got.end()), kept) << seed;
    EXPECT_TRUE(std::is_sorted(got.begin(), got.end(),
                               [&](std::size_t a, std::size_t b) { return d[a].score > d[b].score; }));
  }
}

// ---------------------------------------------------------------- mean average precision

constexpr Box kA{0, 0, 10, 10}, kB{20, 20, 30, 30}, kC{40, 40, 50, 50}, kFar{80, 80, 90, 90};

MeanAp of(const MeanApOptions& options, const std::vector<Detection>& detections,
          const std::vector<LabelledBox>& truth) {
  MeanAveragePrecision metric(options);
  metric.add(detections, truth);
  return metric.result();
}

TEST(MeanAp, ByHand) {
  // Right, wrong, right of three: precisions 1, 1/2, 2/3 at recalls 1/3, 1/3, 2/3.
  const std::vector<LabelledBox> truth = {{kA, 0}, {kB, 0}, {kC, 0}};
  const std::vector<Detection> d = {{kA, 0, 0.9}, {kFar, 0, 0.8}, {kB, 0, 0.7}};
  EXPECT_NEAR(of({}, d, truth).mean, (1 + 2.0 / 3) / 3, 1e-12);
  // Recalls 0 to .33 see 1 (34 of them), .34 to .66 see 2/3 (33), the others 0.
  EXPECT_NEAR(of({.rule = ApRule::coco}, d, truth).mean, (34 + 33 * 2.0 / 3) / 101, 1e-12);
  const std::vector<Detection> all = {{kA, 0, 0.9}, {kB, 0, 0.8}, {kC, 0, 0.7}};
  for (const ApRule rule : {ApRule::voc, ApRule::coco})
    EXPECT_NEAR(of({.rule = rule}, all, truth).mean, 1, 1e-12);
}

TEST(MeanAp, WrongOnesAfterTheLastRightOneCostNothing) {
  const std::vector<Detection> d = {{kA, 0, 0.9}, {kFar, 0, 0.8}, {kC, 0, 0.1}};
  EXPECT_NEAR(of({}, d, {{kA, 0}}).mean, 1, 1e-12);
  const std::vector<Detection> first = {{kFar, 0, 0.95}, {kA, 0, 0.9}};
  EXPECT_NEAR(of({}, first, {{kA, 0}}).mean, 0.5, 1e-12);
}

TEST(MeanAp, DuplicatesAreWrong) {
  const std::vector<Detection> d = {{kA, 0, 0.9}, {kA, 0, 0.8}, {kB, 0, 0.7}};
  EXPECT_NEAR(of({}, d, {{kA, 0}, {kB, 0}}).mean, (1 + 2.0 / 3) / 2, 1e-12);
}

TEST(MeanAp, TheRulesMatchDifferently) {
  // Two truths overlap; both detections are nearest to the first. COCO's second one takes the other truth.
  const std::vector<LabelledBox> truth = {{{0, 0, 10, 10}, 0}, {{0, 0, 10, 16}, 0}};
  const std::vector<Detection> d = {{{0, 0, 10, 10}, 0, 0.9}, {{0, 0, 10, 11}, 0, 0.8}};
  EXPECT_NEAR(of({.rule = ApRule::voc}, d, truth).mean, 0.5, 1e-12);
  EXPECT_NEAR(of({.rule = ApRule::coco}, d, truth).mean, 1, 1e-12);
}

TEST(MeanAp, ThresholdsAndClasses) {
  // Overlap 0.8 with class 0's truth: right up to 0.8; class 1 exact.
  const std::vector<LabelledBox> truth = {{kA, 0}, {kB, 1}};
  const std::vector<Detection> d = {{{0, 0, 10, 8}, 0, 0.9}, {kB, 1, 0.9}, {kC, 7, 0.9}};
  const MeanAp coco = of(coco_options(), d, truth);
  ASSERT_EQ(coco.by_threshold.size(), 10u);
  EXPECT_EQ(coco.by_class.size(), 2u);  // none of class 7 is there
  EXPECT_NEAR(coco.mean, (7.0 / 10 + 1) / 2, 1e-12);
  EXPECT_EQ(coco.by_class.at(0), (std::vector<double>{1, 1, 1, 1, 1, 1, 1, 0, 0, 0}));
  EXPECT_NEAR(coco.by_threshold[6], 1, 1e-12);
  EXPECT_NEAR(coco.by_threshold[7], 0.5, 1e-12);
  // A class found as another one is not found.
  EXPECT_NEAR(of({}, {{kA, 1, 1}}, {{kA, 0}}).mean, 0, 1e-12);
}

TEST(MeanAp, PicturesDoNotMix) {
  MeanAveragePrecision metric;
  const Detection right{kA, 0, 0.5}, wrong{kB, 0, 0.9};
  const LabelledBox a{kA, 0}, b{kB, 0};
  metric.add({&right, 1}, {&a, 1});
  metric.add({&wrong, 1}, {&a, 1});  // b is in the third picture only
  metric.add({}, {&b, 1});
  EXPECT_EQ(metric.pictures(), 3);
  EXPECT_NEAR(metric.result().mean, 0.5 / 3, 1e-12);
  metric.reset();
  EXPECT_EQ(metric.pictures(), 0);
  EXPECT_TRUE(std::isnan(metric.result().mean));
}

TEST(MeanAp, Degenerate) {
  for (const ApRule rule : {ApRule::voc, ApRule::coco}) {
    EXPECT_TRUE(std::isnan(of({.rule = rule}, {}, {}).mean));
    EXPECT_TRUE(std::isnan(of({.rule = rule}, {{kA, 0, 1}}, {}).mean));  // detections without any truth
    EXPECT_EQ(of({.rule = rule}, {}, {{kA, 0}}).mean, 0);
    EXPECT_EQ(of({.rule = rule}, {{{5, 5, 5, 5}, 0, 1}}, {{{5, 5, 5, 5}, 0}}).mean,
              0);  // no area, no overlap
  }
  // A box beyond the edge counts as it is, and clipped it fits better.
  const Box over{-10, 0, 10, 10};
  EXPECT_EQ(of({.thresholds = {0.75}}, {{over, 0, 1}}, {{kA, 0}}).mean, 0);
  EXPECT_EQ(of({.thresholds = {0.75}}, {{clipped(over, 100, 100), 0, 1}}, {{kA, 0}}).mean, 1);
}

TEST(MeanAp, OnlyTheBestCountWhenThereAreMany) {
  std::vector<Detection> d(150, Detection{kFar, 0, 0.9});
  d.push_back({kA, 0, 0.1});
  EXPECT_EQ(of({}, d, {{kA, 0}}).mean, 0);  // number 151
  EXPECT_NEAR(of({.max_detections = 0}, d, {{kA, 0}}).mean, 1.0 / 151, 1e-12);
}

TEST(MeanAp, WrongInputAddsNothing) {
  MeanAveragePrecision metric;
  const std::vector<Detection> bad = {{kA, 0, 1}, {kA, 0, kNan}}, good = {{kA, 0, 1}};
  const std::vector<LabelledBox> truth = {{kA, 0}}, turned = {{kA, 0}, {{1, 0, 0, 1}, 0}},
                                 negative = {{kA, -1}};
  EXPECT_THROW(metric.add(bad, truth), InvalidArgument);
  EXPECT_THROW(metric.add(good, turned), InvalidArgument);
  EXPECT_THROW(metric.add(good, negative), InvalidArgument);
  EXPECT_EQ(metric.pictures(), 0);
  EXPECT_TRUE(std::isnan(metric.result().mean));
  EXPECT_THROW(MeanAveragePrecision({.thresholds = {}}), InvalidArgument);
  EXPECT_THROW(MeanAveragePrecision({.thresholds = {0}}), InvalidArgument);
  EXPECT_THROW(MeanAveragePrecision({.thresholds = {kNan}}), InvalidArgument);
}

/// The definition, without sorting or running sums: for each recall level the best precision over all cuts of
/// the score that reach it. Scores must differ.
double plain_ap(const std::vector<std::vector<Detection>>& d,
                const std::vector<std::vector<LabelledBox>>& truth, std::int64_t label, double threshold,
                ApRule rule) {
  struct Hit {
    double score;
    bool right;
  };
  std::vector<Hit> hits;
  std::int64_t count = 0;
  for (std::size_t p = 0; p < d.size(); ++p) {
    std::set<std::size_t> taken, done;
    for (const LabelledBox& t : truth[p]) count += t.label == label ? 1 : 0;
    for (;;) {
      std::size_t best = ~std::size_t{0};
      for (std::size_t i = 0; i < d[p].size(); ++i)
        if (d[p][i].label == label && !done.count(i) &&
            (best == ~std::size_t{0} || d[p][i].score > d[p][best].score))
          best = i;
      if (best == ~std::size_t{0}) break;
      done.insert(best);
      double most = -1;
      std::size_t at = 0;
      for (std::size_t k = 0; k < truth[p].size(); ++k) {
        const bool passed_over = rule == ApRule::coco && taken.count(k);
        if (truth[p][k].label != label || passed_over) continue;
        if (box_iou(truth[p][k].box, d[p][best].box) > most) {
          most = box_iou(truth[p][k].box, d[p][best].box);
          at = k;
        }
      }
      hits.push_back({d[p][best].score, most >= threshold && taken.insert(at).second});
    }
  }
  const auto best_precision = [&](auto reaches) {
    double best = 0;
    for (const Hit& cut : hits) {
      double right = 0, all = 0;
      for (const Hit& h : hits) {
        if (h.score < cut.score) continue;
        ++all;
        right += h.right ? 1 : 0;
      }
      if (reaches(right)) best = std::max(best, right / all);
    }
    return best;
  };
  double sum = 0;
  const auto n = static_cast<double>(count);
  if (rule == ApRule::voc) {
    for (std::int64_t k = 1; k <= count; ++k)
      sum += best_precision([&](double right) { return right >= static_cast<double>(k); });
    return sum / n;
  }
  for (int percent = 0; percent <= 100; ++percent)
    sum += best_precision([&](double right) { return right * 100 >= percent * n; });
  return sum / 101;
}

TEST(MeanAp, EqualsThePlainDefinition) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    PhiloxStream random(seed, 2);
    std::vector<std::vector<Detection>> d(4);
    std::vector<std::vector<LabelledBox>> truth(4);
    double score = 1;
    for (std::size_t p = 0; p < 4; ++p) {
      d[p] = random_detections(random.below(9), 2, random);
      for (Detection& one : d[p]) one.score = score *= 0.99 - 1e-3 * static_cast<double>(random.below(10));
      for (std::size_t i = d[p].size(); i > 1; --i) std::swap(d[p][i - 1], d[p][random.below(i)]);
      for (const Detection& one : random_detections(random.below(6), 2, random))
        truth[p].push_back({one.box, one.label});
      if (!d[p].empty()) truth[p].push_back({d[p][0].box, d[p][0].label});  // some are met
    }
    for (const ApRule rule : {ApRule::voc, ApRule::coco}) {
      MeanAveragePrecision metric({.thresholds = {0.3, 0.6}, .rule = rule});
      for (std::size_t p = 0; p < 4; ++p) metric.add(d[p], truth[p]);
      for (const auto& [label, ap] : metric.result().by_class) {
        EXPECT_NEAR(ap[0], plain_ap(d, truth, label, 0.3, rule), 1e-12) << seed;
        EXPECT_NEAR(ap[1], plain_ap(d, truth, label, 0.6, rule), 1e-12) << seed;
      }
    }
  }
}

}  // namespace
}  // namespace gpunn
