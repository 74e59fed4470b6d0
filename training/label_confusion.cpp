#include "gpunn/training/label_confusion.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "gpunn/core/error.h"

namespace gpunn {

namespace {
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr std::int64_t kMaxClasses = 4096;
}  // namespace

LabelConfusion::LabelConfusion(std::int64_t classes, std::optional<std::int64_t> ignore_index)
    : classes_(classes), ignore_index_(ignore_index) {
  GPUNN_CHECK(classes >= 1 && classes <= kMaxClasses, "expected 1 to ", kMaxClasses, " classes, got ",
              classes);
  counts_.resize(static_cast<std::size_t>(classes * classes));
}

void LabelConfusion::reset() { counts_.assign(counts_.size(), 0); }

void LabelConfusion::add(const Tensor& predicted, const Tensor& target) {
  GPUNN_CHECK(predicted.defined() && target.defined() && predicted.dtype() == DType::i64 &&
                  target.dtype() == DType::i64 && predicted.shape() == target.shape(),
              "expected predicted and true labels, i64 of one shape");
  const std::vector<std::int64_t> ours = predicted.to_vector<std::int64_t>(),
                                  wanted = target.to_vector<std::int64_t>();
  const auto is_label = [&](std::int64_t v) { return v >= 0 && v < classes_; };
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (ignore_index_ && wanted[i] == *ignore_index_) continue;
    GPUNN_CHECK(is_label(wanted[i]) && is_label(ours[i]), "expected labels in [0, ", classes_, "), got ",
                wanted[i], " and predicted ", ours[i], " at element ", i);
  }
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (!ignore_index_ || wanted[i] != *ignore_index_)
      ++counts_[static_cast<std::size_t>(wanted[i] * classes_ + ours[i])];
}

std::int64_t LabelConfusion::total() const noexcept {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

double LabelConfusion::accuracy() const {
  std::int64_t right = 0;
  for (std::int64_t c = 0; c < classes_; ++c) right += count(c, c);
  const std::int64_t all = total();
  return all > 0 ? static_cast<double>(right) / static_cast<double>(all) : kNone;
}

std::vector<double> LabelConfusion::iou() const {
  std::vector<double> out;
  for (std::int64_t c = 0; c < classes_; ++c) {
    std::int64_t either = -count(c, c);
    for (std::int64_t other = 0; other < classes_; ++other) either += count(c, other) + count(other, c);
    out.push_back(either > 0 ? static_cast<double>(count(c, c)) / static_cast<double>(either) : kNone);
  }
  return out;
}

double LabelConfusion::mean_iou() const {
  double sum = 0;
  int present = 0;
  for (const double v : iou()) {
    if (std::isnan(v)) continue;
    sum += v;
    ++present;
  }
  return present > 0 ? sum / present : kNone;
}

}  // namespace gpunn
