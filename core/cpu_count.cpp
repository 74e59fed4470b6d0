#include "gpunn/core/detail/cpu_count.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <thread>

#include "gpunn/core/error.h"

namespace gpunn::detail {
namespace {

constexpr int kMaxThreads = 1024;

int affinity_cores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

int cores_of(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return 0;
  return static_cast<int>(std::min<double>((quota + period - 1) / period, kMaxThreads));
}

// One folder of the hierarchy; 0 when it sets no limit.
int folder_limit(const std::string& folder, bool unified) {
  std::string quota;
  double period = 0;
  if (unified) {
    std::ifstream file(folder + "/cpu.max");
    if (!(file >> quota >> period)) return 0;
  } else {
    std::ifstream quota_file(folder + "/cpu.cfs_quota_us"), period_file(folder + "/cpu.cfs_period_us");
    if (!(quota_file >> quota) || !(period_file >> period)) return 0;
  }
  double value = 0;
  const auto [end, error] = std::from_chars(quota.data(), quota.data() + quota.size(), value);
  return error == std::errc{} && end == quota.data() + quota.size() ? cores_of(value, period) : 0;
}

bool lists_cpu(std::string_view controllers) {
  std::stringstream names{std::string(controllers)};
  for (std::string name; std::getline(names, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

int cgroup_cpu_limit(const std::string& mount, std::string_view membership) {
  int limit = 0;
  std::stringstream lines{std::string(membership)};
  for (std::string line; std::getline(lines, line);) {
    // "0::/path" (version 2) or "4:cpu,cpuacct:/path" (version 1).
    const auto first = line.find(':');
    const auto second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool unified = controllers.empty();
    if (!unified && !lists_cpu(controllers)) continue;
    const std::string root = unified ? mount : mount + "/cpu";
    std::string path = line.substr(second + 1);
    while (!path.empty() && path.back() == '/') path.pop_back();
    // A parent's quota binds its children; inside a container the own path may not exist, but the root does.
    for (;;) {
      const int here = folder_limit(root + path, unified);
      if (here > 0) limit = limit == 0 ? here : std::min(limit, here);
      if (path.empty()) break;
      path.erase(path.find_last_of('/') == std::string::npos ? 0 : path.find_last_of('/'));
    }
  }
  return limit;
}

int usable_cores() {
  std::ifstream file("/proc/self/cgroup");
  std::stringstream membership;
  membership << file.rdbuf();
  const int limit = cgroup_cpu_limit("/sys/fs/cgroup", membership.str());
  const int cores = affinity_cores();
  return limit > 0 ? std::min(cores, limit) : cores;
}

int default_thread_count() {
  const char* text = std::getenv("GPUNN_NUM_THREADS");
  if (!text || !*text) return std::min(usable_cores(), kMaxThreads);
  const std::string_view value(text);
  int threads = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), threads);
  GPUNN_CHECK(
      error == std::errc{} && end == value.data() + value.size() && threads >= 1 && threads <= kMaxThreads,
      "GPUNN_NUM_THREADS: expected a number from 1 to ", kMaxThreads, ", got '", value, "'");
  return threads;
}

}  // namespace gpunn::detail
