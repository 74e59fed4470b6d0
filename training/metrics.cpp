#include "gpunn/training/metrics.h"

#include <limits>

#include "gpunn/core/autograd.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {
// Losses waiting on the device: enough that the host rarely waits, few enough that a divergence shows soon.
constexpr std::size_t kPending = 64;
constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
}  // namespace

MeanLoss::MeanLoss() : last_(kNone) { pending_.reserve(kPending); }

void MeanLoss::add(const Tensor& loss, std::int64_t samples) {
  pending_.emplace_back(loss.detach(), samples);
  if (pending_.size() >= kPending) drain();
}

double MeanLoss::mean() {
  drain();
  return samples_ > 0 ? sum_ / static_cast<double>(samples_) : kNone;
}

double MeanLoss::sum() {
  drain();
  return sum_;
}

void MeanLoss::reset() { resume(0, 0); }

void MeanLoss::resume(double sum, std::int64_t samples) {
  pending_.clear();
  sum_ = sum;
  samples_ = samples;
}

void MeanLoss::drain() {
  for (const auto& [loss, samples] : pending_) {
    last_ = loss.item();
    sum_ += last_ * static_cast<double>(samples);
    samples_ += samples;
  }
  pending_.clear();
}

std::int64_t count_correct(const Tensor& scores, const Tensor& target) {
  GPUNN_CHECK(scores.dim() == 2 && target.dim() == 1 && scores.size(0) == target.size(0) &&
                  target.dtype() == DType::i64,
              "expected scores [N, C] and i64 target [N], got ", scores.shape(), " and ", target.dtype(), " ",
              target.shape());
  if (target.numel() == 0) return 0;
  const std::vector<std::int64_t> predicted = argmax(scores.detach(), 1).to_vector<std::int64_t>();
  const std::vector<std::int64_t> wanted = target.to_vector<std::int64_t>();
  std::int64_t correct = 0;
  for (std::size_t i = 0; i < wanted.size(); ++i) correct += predicted[i] == wanted[i] ? 1 : 0;
  return correct;
}

Evaluation evaluate(Module& model, Loss& loss, const DataLoader& data) {
  NoGrad no_grad;
  const bool was_training = model.is_training();
  model.eval();
  Evaluation result;
  MeanLoss mean;
  std::int64_t correct = 0;
  bool classes = true;
  try {
    DataLoader::Epoch epoch = data.epoch(0);
    for (Batch& batch : epoch) {
      const Tensor scores = model(batch.inputs);
      mean.add(loss(scores, batch.targets), batch.size());
      classes = classes && batch.targets.dtype() == DType::i64 && scores.dim() == 2;
      if (classes) correct += count_correct(scores, batch.targets);
    }
  } catch (...) {
    model.train(was_training);
    throw;
  }
  model.train(was_training);
  result.loss = mean.mean();
  result.samples = mean.samples();
  if (classes && result.samples > 0)
    result.accuracy = static_cast<double>(correct) / static_cast<double>(result.samples);
  return result;
}

}  // namespace gpunn
