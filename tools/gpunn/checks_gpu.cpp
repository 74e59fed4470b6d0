// Checks of driver, build, devices and vendor libraries, and the self test.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "checks.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/device.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "isolated.h"
#include "library_probe.h"
#include "tests/support/all_cases.h"
#include "tests/support/parity.h"

#ifndef GPUNN_TOOL_ARCHITECTURES
#define GPUNN_TOOL_ARCHITECTURES ""
#endif

namespace gpunn::tool {

namespace {

bool built_for_cuda() { return std::string_view(build_info().mode) == "cuda"; }

// One op of each family, each of which has cases small enough to take no time.
constexpr const char* kOps[] = {"copy", "add",    "gelu", "chain",  "matmul", "softmax",  "cross_entropy",
                                "sum",  "cumsum", "sort", "gather", "cat",    "bincount", "dropout"};
constexpr std::int64_t kMostElements = 4096;

Finding library_finding(const char* topic, const LibraryProbe& probe, bool needed, const char* role,
                        const char* cure) {
  if (probe.problem.empty()) {
    const std::string version = probe.version.empty() ? "of unknown version" : probe.version;
    return {Level::ok, topic, version + (probe.path.empty() ? "" : ", " + probe.path), ""};
  }
  if (probe.absent && !needed) return {Level::ok, topic, "not found, and not needed without a GPU", ""};
  if (probe.absent) return {Level::warning, topic, std::string("not found (") + role + ")", cure};
  return {Level::warning, topic,
          probe.name + " " + (probe.problem.rfind(probe.name, 0) == 0 ? "cannot be opened: " : "") +
              probe.problem,
          "reinstall it, or correct LD_LIBRARY_PATH; the library does without it"};
}

// "8.0" of 80.
std::string capability(int architecture) {
  return std::to_string(architecture / 10) + "." + std::to_string(architecture % 10);
}

// Architectures of the portable kernels: "80", "80-real;90"…
std::vector<int> built_architectures() {
  std::vector<int> out;
  const std::string_view list = GPUNN_TOOL_ARCHITECTURES;
  for (std::size_t begin = 0; begin < list.size();) {
    const std::size_t end = std::min(list.find_first_of(";,", begin), list.size());
    if (const int one = std::atoi(std::string(list.substr(begin, end - begin)).c_str()); one > 0)
      out.push_back(one);
    begin = end + 1;
  }
  std::sort(out.begin(), out.end());
  return out;
}

// How the kernels of this build get onto a device of that capability.
Finding fit_of(const std::string& device, const DeviceInfo& info) {
  const int own = info.compute_major * 10 + info.compute_minor;
  const std::vector<int> built = built_architectures();
  std::string text = device + " is " + info.name + ", compute capability " + capability(own);
  if (info.emulated)
    return {Level::ok, "device", device + " is " + info.name + ": for finding bugs, not for speed", ""};
  if (built.empty()) return {Level::ok, "device", text, ""};
  if (own < built.front())
    return {
        Level::problem, "device", text + "; the kernels of this build need " + capability(built.front()),
        "configure with -DGPUNN_CUDA_ARCHITECTURES=" + std::to_string(own) + " (80 is the oldest supported)"};
  const bool native =
      std::any_of(built.begin(), built.end(), [&](int b) { return b / 10 == own / 10 && b <= own; });
  if (native) return {Level::ok, "device", text, ""};
  return {Level::warning, "device", text + ": its driver compiles the kernels at the first start",
          "configure with -DGPUNN_CUDA_ARCHITECTURES=" + std::to_string(own)};
}

// Versions "13.0": is `driver` at least the major version of the toolkit?
bool driver_is_new_enough(const std::string& driver, const std::string& toolkit) {
  return std::atoi(driver.c_str()) >= std::atoi(toolkit.c_str());
}

void check_driver(Findings& out, const Machine& machine) {
  const std::string toolkit = build_info().cuda_compiler;
  if (!machine.has_driver) {
    out.push_back(
        {built_for_cuda() ? Level::warning : Level::ok, "NVIDIA driver", machine.driver,
         built_for_cuda()
             ? "install the driver of your distribution (Debian: nvidia-driver), then run nvidia-smi"
             : "for a GPU: install its driver, then configure with -DGPUNN_CUDA=ON"});
    return;
  }
  if (!built_for_cuda()) {
    out.push_back({Level::warning, "NVIDIA driver",
                   "for CUDA " + machine.driver + ", but this build has no CUDA",
                   "install the CUDA toolkit and configure with -DGPUNN_CUDA=ON"});
    return;
  }
  const bool fits = driver_is_new_enough(machine.driver, toolkit);
  out.push_back({fits ? Level::ok : Level::problem, "NVIDIA driver", "for CUDA " + machine.driver,
                 fits ? ""
                      : "the build's CUDA " + toolkit +
                            " needs a newer driver: update it, or build with an older toolkit"});
}

}  // namespace

Machine look_at_machine() {
  Machine out;
  const LibraryProbe driver = probe_driver();
  out.has_driver = driver.problem.empty();
  out.driver = out.has_driver  ? driver.version
               : driver.absent ? kNoDriver
                               : driver.name + ": " + driver.problem;
  const char* install = "install it beside the CUDA toolkit";
  const bool gpu = out.has_driver && built_for_cuda();
  out.libraries.push_back(library_finding("oneDNN", probe_onednn(), true,
                                          "a second way to multiply matrices on the CPU; ours serves",
                                          "if you want it: apt-get install libdnnl2"));
  out.libraries.push_back(
      library_finding("cuBLASLt", probe_cublaslt(), gpu, "matrix products on a GPU; ours serve", install));
  out.libraries.push_back(
      library_finding("cuDNN", probe_cudnn(), gpu, "convolution and attention on a GPU", install));
  out.libraries.push_back(library_finding("NCCL", probe_nccl(), gpu, "training on several GPUs", install));
  return out;
}

void check_gpus(Findings& out, const Machine& machine, std::string& verdict) {
  const BuildInfo& build = build_info();
  const std::vector<int> built = built_architectures();
  std::string text = std::string(build.mode) + ", " + build.build_type;
  if (*build.cuda_compiler) text += std::string(", CUDA ") + build.cuda_compiler;
  if (built_for_cuda())
    for (const int one : built)
      text += std::string(one == built.front() ? ", kernels for " : " and ") + capability(one);
  if (*build.sanitizer) text += std::string(", sanitizer ") + build.sanitizer;
  out.push_back({Level::ok, "build", text, ""});
  check_driver(out, machine);
  verdict = "CPU only";
  int usable = 0;
  const int count = cuda_device_count();
  for (int i = 0; i < count; ++i) {
    const std::string name = "cuda:" + std::to_string(i);
    try {
      const DeviceInfo& info = Device::cuda(i).context().api().info();
      out.push_back(fit_of(name, info));
      if (out.back().level == Level::problem) continue;
      verdict = (usable++ == 0 ? "CPU and " : verdict + ", ") + name + (info.emulated ? " (emulated)" : "");
    } catch (const std::exception& e) {
      out.push_back({Level::problem, "device", name + " cannot be used: " + e.what(),
                     "nvidia-smi shows its state; a reset or a new login may be needed"});
    }
  }
  if (built_for_cuda() && machine.has_driver && count == 0)
    out.push_back({Level::problem, "device", "there is a driver, but no device for this process",
                   "look at CUDA_VISIBLE_DEVICES, and in a container at --gpus all"});
}

namespace {

// Device, cases, first failure, for each device.
std::vector<std::string> self_test() {
  std::vector<Device> devices{Device::cpu()};
  for (int i = 0; i < cuda_device_count(); ++i) {
    try {
      devices.push_back(Device::cuda(i));
    } catch (const std::exception&) {
      continue;  // check_gpus() says why
    }
  }
  const parity::Suite suite = parity::all_cases();
  std::vector<std::string> out;
  for (const Device& device : devices) {
    int cases = 0;
    std::string failure;
    for (const char* op : kOps) {
      const parity::Report report = parity::run(
          suite, {.device = device, .op = op, .dtypes = {DType::f32}, .most_elements = kMostElements});
      int here = 0;
      for (const parity::Row& row : report.rows) here += row.cases;
      if (failure.empty() && here == 0) failure = std::string("no case of ") + op;
      if (failure.empty() && !report.ok()) failure = report.failures.front().message;
      cases += here;
    }
    for (std::string field : {to_string(device), std::to_string(cases), failure})
      out.push_back(std::move(field));
  }
  return out;
}

}  // namespace

Findings check_results() {
  constexpr int kSeconds = 120;
  const char* const report = "gpunn parity shows all; please report it";
  Findings out;
  // By itself: a broken vendor library may crash in the middle of a product.
  const Isolated tried = run_isolated(self_test, kSeconds);
  if (!tried.problem.empty())
    out.push_back({Level::problem, "self test", "it " + tried.problem,
                   "if a library above is broken, correct that first; else " + std::string(report)});
  for (std::size_t i = 0; i + 2 < tried.fields.size(); i += 3) {
    const std::string &device = tried.fields[i], &cases = tried.fields[i + 1], &failure = tried.fields[i + 2];
    if (failure.empty())
      out.push_back({Level::ok, "self test",
                     device + ": " + std::to_string(std::size(kOps)) + " ops, " + cases +
                         " cases agree with their reference",
                     ""});
    else
      out.push_back({Level::problem, "self test", device + ": " + failure, report});
  }
  return out;
}

}  // namespace gpunn::tool
