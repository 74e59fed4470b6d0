// Checks of environment, CPU, memory, data and folders.
#include "checks.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include <hwy/highway.h>

#include "gpunn/core/detail/cpu_count.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/kernels/op_table.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/settings.h"
#include "gpunn/training/tuning_file.h"

namespace gpunn::tool {

namespace {

constexpr const char* kVariables[] = {"GPUNN_AUTOTUNE",
                                      "GPUNN_DATA_DIR",
                                      "GPUNN_DETERMINISTIC",
                                      "GPUNN_EMU_ASYNC",
                                      "GPUNN_EMU_BUGS",
                                      "GPUNN_EMU_DEVICES",
                                      "GPUNN_EMU_JITTER_US",
                                      "GPUNN_EMU_MEMORY_MB",
                                      "GPUNN_EMU_POISON",
                                      "GPUNN_EMU_SCHEDULE",
                                      "GPUNN_EMU_SEED",
                                      "GPUNN_EMU_STACK_KIB",
                                      "GPUNN_EMU_STRICT",
                                      "GPUNN_EMU_THREADS",
                                      "GPUNN_EMU_WATCHDOG_MS",
                                      "GPUNN_FUZZ_RUN",
                                      "GPUNN_FUZZ_SECONDS",
                                      "GPUNN_FUZZ_SEED",
                                      "GPUNN_IMPL",
                                      "GPUNN_MEMORY_DEBUG",
                                      "GPUNN_MEMORY_LIMIT",
                                      "GPUNN_MEMORY_TAG_LIMITS",
                                      "GPUNN_MEMORY_TRACE",
                                      "GPUNN_NVTX",
                                      "GPUNN_NUM_THREADS",
                                      "GPUNN_SHADOW",
                                      "GPUNN_SYNC",
                                      "GPUNN_TEST_DATA_DIR",
                                      "GPUNN_TEST_TIMEOUT"};

// An unknown op or implementation in GPUNN_IMPL forces nothing, silently. "" when all are known.
std::string unknown_implementation(const std::string& setting) {
  const std::vector<OpInfo> table = op_table();
  std::vector<std::string> ops;
  for (const OpInfo& op : table)
    for (const ListInfo& list : op.lists) ops.push_back(list.op);
  std::istringstream items(setting);
  for (std::string item; std::getline(items, item, ',');) {
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos) return "GPUNN_IMPL: expected OP=NAME, got \"" + item + '"';
    const std::string op = item.substr(0, equals), entry = item.substr(equals + 1);
    std::set<std::string> entries;
    for (const OpInfo& info : table)
      for (const ListInfo& list : info.lists)
        for (const EntryInfo& e : list.entries)
          if (list.op == op) entries.insert(e.name);
    if (entries.empty()) {
      const std::string near = nearest_name(op, ops);
      return "GPUNN_IMPL: no op is called " + op + (near.empty() ? "" : "; did you mean " + near + "?");
    }
    if (!entries.count(entry)) {
      std::string known;
      for (const std::string& e : entries) known += (known.empty() ? "" : ", ") + e;
      return "GPUNN_IMPL: " + op + " has no implementation " + entry + ", but " + known;
    }
  }
  return "";
}

// What a variable that is set changes, where that surprises people who forgot it.
const char* effect_of(std::string_view name) {
  if (name == "GPUNN_SHADOW") return "every op also runs its reference: slow";
  if (name == "GPUNN_SYNC") return "waits after every kernel: slow";
  if (name == "GPUNN_DETERMINISTIC") return "0 allows results that vary from run to run";
  if (name == "GPUNN_MEMORY_DEBUG") return "red zones and poison: slow";
  if (name == "GPUNN_IMPL") return "forces implementations";
  return nullptr;
}

std::string gigabytes(double bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", bytes / (1024.0 * 1024.0 * 1024.0));
  return text;
}

// "MemAvailable:  123 kB" of /proc/meminfo, in bytes; 0 when it is not there.
double memory_line(const std::string& key) {
  std::ifstream file("/proc/meminfo");
  for (std::string word; file >> word;) {
    double kilobytes = 0;
    if (word == key && file >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

// The control group's limit, in bytes; 0: none.
double memory_limit() {
  for (const char* path : {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"}) {
    std::ifstream file(path);
    double bytes = 0;
    if (file >> bytes && bytes > 0 && bytes < 1e18) return bytes;
  }
  return 0;
}

}  // namespace

std::vector<std::string> known_variables() { return {std::begin(kVariables), std::end(kVariables)}; }

void check_environment(Findings& out) {
  const std::vector<std::string> known = known_variables();
  const std::size_t before = out.size();
  for (char** entry = environ; entry && *entry; ++entry) {
    const std::string_view text(*entry);
    if (text.rfind("GPUNN_", 0) != 0) continue;
    const std::string name(text.substr(0, text.find('=')));
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      const std::string near = nearest_name(name, known);
      out.push_back({Level::warning, "variable", name + " is set, but nothing reads it",
                     near.empty() ? "unset " + name : "did you mean " + near + "?"});
      continue;
    }
    const char* effect = effect_of(name);
    out.push_back(
        {Level::ok, "variable", std::string(text) + (effect ? std::string(" (") + effect + ")" : ""), ""});
  }
  if (out.size() == before) out.push_back({Level::ok, "variables", "no GPUNN_ variable is set", ""});
  const char* autotune = std::getenv("GPUNN_AUTOTUNE");
  if (autotune && *autotune && !path_exists(autotune))
    out.push_back({Level::problem, "variable",
                   std::string("GPUNN_AUTOTUNE names ") + autotune + ", which is not there",
                   "unset it, or run gpunn autotune NAME"});
  const char* forced = std::getenv("GPUNN_IMPL");
  if (const std::string unknown = forced ? unknown_implementation(forced) : ""; !unknown.empty())
    out.push_back({Level::problem, "variable", unknown, "correct or unset the variable"});
  const char* data = std::getenv("GPUNN_DATA_DIR");
  if (data && *data && !path_exists(data))
    out.push_back({Level::warning, "variable",
                   std::string("GPUNN_DATA_DIR names ") + data + ", which is not there",
                   "make the folder, or unset the variable"});
}

bool check_runtime(Findings& out) {
  try {
    Runtime::current();
    return true;
  } catch (const std::exception& e) {
    out.push_back({Level::problem, "runtime", e.what(), "correct or unset the variable"});
    return false;
  }
}

void check_cpu(Findings& out) {
  try {
    Runtime& runtime = Runtime::current();
    const int threads = runtime.pool().threads(), cores = detail::usable_cores();
    const long present = ::sysconf(_SC_NPROCESSORS_ONLN);
    std::string text = runtime.cpu().api().info().name + ", " + std::to_string(cores) + " of " +
                       std::to_string(present) + " cores usable, " + std::to_string(threads) +
                       (threads == 1 ? " thread" : " threads");
    out.push_back({Level::ok, "CPU", text, ""});
    if (threads > cores)
      out.push_back({Level::warning, "CPU",
                     std::to_string(threads) + " threads share " + std::to_string(cores) + " cores",
                     "unset GPUNN_NUM_THREADS, or set it to " + std::to_string(cores)});
    if (cores < present) {
      cpu_set_t set;
      const bool pinned = ::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) < present;
      out.push_back({Level::ok, "CPU",
                     pinned ? "the affinity mask holds this process to fewer cores"
                            : "the control group limits the CPU time",
                     ""});
    }
    const std::string best = hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets());
    const bool plain = best.rfind("SS", 0) == 0 || best == "Scalar" || best == "EMU128";
    out.push_back({plain ? Level::warning : Level::ok, "SIMD", "up to " + best,
                   plain ? "nothing is wrong, but an AVX2 or NEON machine is several times as fast" : ""});
  } catch (const std::exception& e) {
    out.push_back({Level::problem, "CPU", e.what(), ""});
  }
}

void check_memory(Findings& out) {
  const double total = memory_line("MemTotal:"), available = memory_line("MemAvailable:"),
               limit = memory_limit();
  if (total == 0) {
    out.push_back({Level::warning, "memory", "/proc/meminfo does not say how much there is", ""});
    return;
  }
  std::string text = gigabytes(available) + " of " + gigabytes(total) + " available";
  if (limit > 0 && limit < total) text += ", the control group allows " + gigabytes(limit);
  constexpr double kLittle = 1024.0 * 1024 * 1024;
  const bool little = available < kLittle || (limit > 0 && limit < kLittle);
  out.push_back({little ? Level::warning : Level::ok, "memory", text,
                 little ? "close other programs, or train with a smaller --batch-size" : ""});
}

void check_data(Findings& out) {
  std::string found, missing, hint;
  try {
    for (const DataSetInfo& info : known_data_sets()) {
      const std::vector<DataPlace> places = data_places(info, "");
      const auto place =
          std::find_if(places.begin(), places.end(), [](const DataPlace& p) { return p.missing.empty(); });
      const bool here = info.files.empty() || place != places.end();
      std::string& list = here ? found : missing;
      list += (list.empty() ? "" : ", ") + std::string(info.name);
      if (here && place != places.end() && !place->folder.empty()) list += " in " + place->folder;
      if (!here && hint.empty()) hint = std::string(info.name) + ": " + info.hint;
    }
  } catch (const std::exception& e) {
    out.push_back({Level::problem, "data", e.what(), ""});
    return;
  }
  if (!found.empty()) out.push_back({Level::ok, "data", found, ""});
  if (!missing.empty())
    out.push_back({Level::warning, "data", "not found: " + missing,
                   hint + "; gpunn data list says where it is looked for"});
}

void check_folders(Findings& out) {
  const std::string folder = path_exists("runs") ? "runs" : ".";
  try {
    AtomicFile probe(folder + "/config.json");  // begun and given up: nothing is changed
    out.push_back({Level::ok, "run folder",
                   "runs/ can be written" + std::string(folder == "." ? ", it is not there yet" : ""), ""});
  } catch (const std::exception& e) {
    out.push_back(
        {Level::problem, "run folder", e.what(), "work in a folder of yours, or name one with --run-dir"});
  }
}

}  // namespace gpunn::tool
