#pragma once
// Comparing two run folders: where they first differ, and by how much.
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gpunn/training/step_hashes.h"

namespace gpunn::tool {

/// A setting, or a fact about build or machine, that is not the same; "" where a run does not name it.
struct ConfigDifference {
  std::string key, a, b;
};

/// How many of a part's tensors differ in a step.
struct PartCount {
  std::string part;  // of kHashedParts
  std::int64_t different = 0, total = 0;
};

/// The first recorded step whose hashes differ.
struct StepDifference {
  std::int64_t step = 0;
  std::int64_t equal_step = -1;  // the last recorded one before it; -1: none
  std::string part, name;        // what is computed first among what differs
  bool missing_in_a = false, missing_in_b = false;
  double loss_a = 0, loss_b = 0;
  std::vector<PartCount> counts;  // by part, those without tensors left out
};

/// Hashes of both runs, as far as both have them.
struct HashComparison {
  std::int64_t steps = 0;                 // recorded by both and compared
  std::int64_t last = -1;                 // the last of those
  std::int64_t last_a = -1, last_b = -1;  // last ones recorded
  std::optional<StepDifference> first;
};

/// An epoch of metrics.jsonl whose numbers differ.
struct MetricDifference {
  std::int64_t epoch = 0;
  std::string key;
  double a = 0, b = 0;
};
struct MetricComparison {
  std::int64_t epochs = 0;  // in both
  std::optional<MetricDifference> first;
};

/// A tensor of two files that is not the same.
struct TensorDifference {
  std::string name, problem;  // problem: missing, or of another shape or dtype
  std::int64_t elements = 0, different = 0;
  double max_abs = 0, max_rel = 0;  // |a - b|, and over max(|a|, |b|); NaN against a number is infinite
};
struct TensorComparison {
  std::string file;
  std::int64_t step = -1;  // that both were written after; -1: not known
  std::int64_t tensors = 0;
  std::vector<TensorDifference> different;
};

struct RunComparison {
  std::string a, b;
  std::vector<ConfigDifference> config;
  std::string no_hashes;  // why there was no comparison of hashes
  std::optional<HashComparison> hashes;
  std::optional<MetricComparison> metrics;
  std::vector<TensorComparison> tensors;  // of files that both wrote after the same step
  bool equal() const;
};

/// Reads what both folders have. Throws DataError for a folder that is not there, damaged files (with their
/// line), runs of different recipes, and when there is nothing that could be compared.
RunComparison compare_runs(const std::string& a, const std::string& b);

/// "gradient of fc1.weight".
std::string describe(const std::string& part, const std::string& name);

}  // namespace gpunn::tool
