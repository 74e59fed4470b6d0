#include "profile.h"

#include <algorithm>
#include <cmath>

#include "arguments.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/chrome_trace.h"
#include "gpunn/io/file.h"
#include "gpunn/io/profile_summary.h"
#include "gpunn/io/schedule_view.h"

namespace gpunn::tool {

namespace {
constexpr std::size_t kShown = 10;
constexpr double kMostSteps = 10'000;
}  // namespace

void ProfiledRun::after_step() {
  ++seen_;
  if (profiler_ && seen_ == kWarmUp + steps_) {
    profile_ = profiler_->stop();
    profiler_.reset();
  } else if (seen_ == kWarmUp) {
    // Else the recording would begin with what the device has still to do of the steps before.
    device_.context().synchronize();
    profiler_.emplace();
  }
}

std::string ProfiledRun::finish(const std::string& recipe, const std::string& folder) {
  if (profiler_) {  // the run ended before its steps did
    profile_ = profiler_->stop();
    profiler_.reset();
  }
  if (!profile_)
    return detail::concat("profile: nothing was recorded, the run had no more than ", seen_, " steps and ",
                          kWarmUp, " are let pass first");
  write_chrome_trace(folder + "/trace.json", *profile_);
  const ScheduleOptions options{.title = recipe + ": what ran where"};
  write_file_atomic(folder + "/schedule.html", schedule_html(*profile_, options));
  write_file_atomic(folder + "/schedule.dot", schedule_dot(*profile_, options));

  const std::int64_t steps = std::min(steps_, seen_ - kWarmUp);
  std::string out =
      detail::concat("profile of ", steps, " steps, ", duration_text(profile_->duration), ":\n");
  out += items_text(largest_items(*profile_, kShown));
  if (profile_->lost > 0) out += detail::concat(profile_->lost, " records did not fit\n");
  return out + "trace: " + folder + "/trace.json (ui.perfetto.dev opens it)\nschedule: " + folder +
         "/schedule.html, schedule.dot";
}

std::int64_t profiled_steps(const std::string& text) {
  const double steps = parse_number("--profile", text, 1, kMostSteps);
  if (steps != std::floor(steps)) throw UsageError("--profile: expected a whole number, got '" + text + "'");
  return static_cast<std::int64_t>(steps);
}

}  // namespace gpunn::tool
