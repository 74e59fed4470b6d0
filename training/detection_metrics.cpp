#include "gpunn/training/detection_metrics.h"

#include <algorithm>
#include <limits>

#include "gpunn/core/error.h"

namespace gpunn {

MeanApOptions coco_options() {
  MeanApOptions options{.thresholds = {}, .rule = ApRule::coco};
  for (int percent = 50; percent < 100; percent += 5) options.thresholds.push_back(percent / 100.0);
  return options;
}

MeanAveragePrecision::MeanAveragePrecision(MeanApOptions options) : options_(std::move(options)) {
  GPUNN_CHECK(!options_.thresholds.empty(), "expected an overlap threshold, got none");
  for (const double t : options_.thresholds)
    GPUNN_CHECK(t > 0 && t <= 1, "expected overlap thresholds in (0, 1], got ", t);
}

void MeanAveragePrecision::reset() {
  classes_.clear();
  pictures_ = 0;
}

void MeanAveragePrecision::add(std::span<const Detection> detections, std::span<const LabelledBox> truth) {
  for (const Detection& d : detections) check_box(d);
  for (const LabelledBox& t : truth) check_box(t);
  std::map<std::int64_t, std::pair<std::vector<Detection>, std::vector<Box>>> here;
  for (const Detection& d : detections) here[d.label].first.push_back(d);
  for (const LabelledBox& t : truth) here[t.label].second.push_back(t.box);
  for (auto& [label, both] : here) add_class(classes_[label], std::move(both.first), both.second);
  ++pictures_;
}

namespace {

constexpr std::size_t kNone = ~std::size_t{0};

/// The truth of largest overlap, the first of equals, and that overlap; `taken` ones are passed over unless
/// null.
std::pair<std::size_t, double> nearest(const Box& box, const std::vector<Box>& truth,
                                       const std::vector<bool>* taken) {
  std::size_t best = kNone;
  double most = -1;
  for (std::size_t k = 0; k < truth.size(); ++k) {
    if (taken && (*taken)[k]) continue;
    const double overlap = box_iou(box, truth[k]);
    if (overlap > most) {
      best = k;
      most = overlap;
    }
  }
  return {best, most};
}

}  // namespace

void MeanAveragePrecision::add_class(ClassRecord& record, std::vector<Detection> detections,
                                     const std::vector<Box>& truth) const {
  record.truth += static_cast<std::int64_t>(truth.size());
  std::stable_sort(detections.begin(), detections.end(),
                   [](const Detection& a, const Detection& b) { return a.score > b.score; });
  if (options_.max_detections > 0 && detections.size() > options_.max_detections)
    detections.resize(options_.max_detections);
  const std::size_t first = record.detections.size();
  for (const Detection& d : detections) record.detections.push_back({d.score, {}});
  for (const double threshold : options_.thresholds) {
    std::vector<bool> taken(truth.size());
    for (std::size_t i = 0; i < detections.size(); ++i) {
      const auto [k, overlap] =
          nearest(detections[i].box, truth, options_.rule == ApRule::coco ? &taken : nullptr);
      const bool right = k != kNone && overlap >= threshold && !taken[k];
      if (right) taken[k] = true;
      record.detections[first + i].right.push_back(right);
    }
  }
}

double MeanAveragePrecision::average_precision(const ClassRecord& record, std::size_t threshold) const {
  std::vector<const Scored*> order;
  for (const Scored& s : record.detections) order.push_back(&s);
  std::stable_sort(order.begin(), order.end(),
                   [](const Scored* a, const Scored* b) { return a->score > b->score; });

  std::vector<std::int64_t> hits;  // right ones among the first i + 1
  std::int64_t right = 0;
  for (const Scored* s : order) hits.push_back(right += s->right[threshold] ? 1 : 0);
  std::vector<double> precision(hits.size());  // the best from here on
  double best = 0;
  for (std::size_t i = hits.size(); i-- > 0;)
    precision[i] = best = std::max(best, static_cast<double>(hits[i]) / static_cast<double>(i + 1));

  const std::int64_t truth = record.truth;
  double sum = 0;
  if (options_.rule == ApRule::voc) {
    for (std::size_t i = 0; i < hits.size(); ++i)
      if (order[i]->right[threshold]) sum += precision[i];
    return sum / static_cast<double>(truth);
  }
  // Recall hits / truth reaches percent / 100, compared in whole numbers.
  std::size_t i = 0;
  for (std::int64_t percent = 0; percent <= 100; ++percent) {
    while (i < hits.size() && 100 * hits[i] < percent * truth) ++i;
    if (i < hits.size()) sum += precision[i];
  }
  return sum / 101;
}

MeanAp MeanAveragePrecision::result() const {
  MeanAp out;
  out.by_threshold.assign(options_.thresholds.size(), 0);
  for (const auto& [label, record] : classes_) {
    if (record.truth == 0) continue;
    std::vector<double>& ap = out.by_class[label];
    for (std::size_t t = 0; t < options_.thresholds.size(); ++t) {
      ap.push_back(average_precision(record, t));
      out.by_threshold[t] += ap.back();
    }
  }
  const auto count = static_cast<double>(out.by_class.size());
  for (double& mean : out.by_threshold) {
    mean = count > 0 ? mean / count : std::numeric_limits<double>::quiet_NaN();
    out.mean += mean / static_cast<double>(out.by_threshold.size());
  }
  return out;
}

}  // namespace gpunn
