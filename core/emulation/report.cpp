// What a user reads when a kernel breaks CUDA's rules.

#include <cstdio>
#include <mutex>

#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

struct LastReport {
  std::mutex mutex;
  std::string text;
};
LastReport& newest() {
  static LastReport* report = new LastReport;  // never destroyed: workers may outlive static destructors
  return *report;
}

constexpr std::array<const char*, static_cast<std::size_t>(Wait::count)> kWaitName = {
    "nothing",     "__syncthreads",         "a warp operation",        "a named barrier",
    "an mbarrier", "a warpgroup operation", "its next turn (spinning)"};

std::string coordinates(uint3 v) {
  return "(" + std::to_string(v.x) + "," + std::to_string(v.y) + "," + std::to_string(v.z) + ")";
}

}  // namespace

std::string last_report() {
  const TsanQuiet quiet;
  const std::lock_guard lock(newest().mutex);
  return newest().text;
}

void publish_report(const std::string& text) {
  const TsanQuiet quiet;
  const std::lock_guard lock(newest().mutex);
  newest().text = text;
  if (!text.empty()) std::fputs(text.c_str(), stderr);
}

void Worker::report(const std::string& what) {
  failed = true;
  if (launch->failed.exchange(true)) return;  // the first report of a launch is the one that helps
  std::string text;
  {
    const TsanQuiet quiet;
    text = "gpunn emulation: " + what + "\n  kernel " + launch->name + ", block " +
           coordinates(context.block) + ", thread " + coordinates(context.thread) + "\n";
    std::array<unsigned, static_cast<std::size_t>(Wait::count)> count{}, first{};
    for (unsigned i = 0; i < threads; ++i) {
      if (thread[i] == nullptr || !thread[i]->busy || reason[i] == Wait::none) continue;
      const auto why = static_cast<std::size_t>(reason[i]);
      if (count[why]++ == 0) first[why] = i;
    }
    for (std::size_t why = 1; why < count.size(); ++why) {
      if (count[why] == 0) continue;
      text += "  " + std::to_string(count[why]) + " threads wait for " + kWaitName[why] + " (first: thread " +
              std::to_string(first[why]) + ")\n";
    }
    text += "  " + std::to_string(finished) + " of " + std::to_string(threads) + " threads have ended\n";
  }
  publish_report(text);
}

void trap() { context.worker->fail("__trap()"); }

}  // namespace gpunn::emu
