#pragma once
// `gpunn train --profile`: some steps of a run on record.
#include <cstdint>
#include <optional>
#include <string>

#include "gpunn/core/device.h"
#include "gpunn/core/profiler.h"

namespace gpunn::tool {

/// Lets some steps pass, records the next ones, and writes what it saw once the run is over, so that writing
/// is not part of what the run measures. The trainer's own measurements begin after its 20th step.
class ProfiledRun {
 public:
  static constexpr std::int64_t kWarmUp = 8, kSteps = 10;
  /// `steps`: how many to record of what runs on `device`.
  ProfiledRun(std::int64_t steps, Device device) : steps_(steps), device_(device) {}

  /// To be called after every step.
  void after_step();
  /// Writes trace.json, schedule.html and schedule.dot into `folder`. Returns what there is to say: the
  /// largest items as a table and the names of the files. Throws Error.
  std::string finish(const std::string& recipe, const std::string& folder);

 private:
  std::int64_t steps_, seen_ = 0;
  Device device_;
  std::optional<Profiler> profiler_;
  std::optional<Profile> profile_;
};

/// Steps asked for by the value of --profile. Throws UsageError.
std::int64_t profiled_steps(const std::string& text);

}  // namespace gpunn::tool
