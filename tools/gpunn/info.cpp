// gpunn info: version, build, devices, libraries.
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <optional>
#include <vector>

#include <hwy/highway.h>
#include <zlib.h>

#include "arguments.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/sha256.h"
#include "gpunn/training/tuning_file.h"

namespace gpunn::tool {

namespace {

struct DeviceLine {
  std::string name;  // "cuda:0"
  DeviceInfo info;
  std::string problem{};  // why it cannot be used; empty when it can
};

std::vector<DeviceLine> devices() {
  std::vector<DeviceLine> out;
  out.push_back({"cpu", Device::cpu().context().api().info()});
  const int count = cuda_device_count();
  for (int i = 0; i < count; ++i) {
    const std::string name = "cuda:" + std::to_string(i);
    try {
      out.push_back({name, Device::cuda(i).context().api().info()});
    } catch (const Error& e) {
      out.push_back({name, {}, e.what()});
    }
  }
  return out;
}

std::string gigabytes(std::size_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1024.0 * 1024.0 * 1024.0));
  return text;
}

struct Library {
  std::string name, role, found;  // found: version or file; empty when it is not there
};

// Vendor libraries are opened on first use; here they are only looked for, under the names the loader tries.
std::string find_library(std::initializer_list<const char*> names) {
  for (const char* name : names) {
    // Left open: libraries of this size do not unload cleanly, and the process ends soon.
    if (!::dlopen(name, RTLD_LAZY | RTLD_LOCAL | RTLD_NODELETE)) continue;
    return name;
  }
  return "";
}

std::vector<Library> libraries() {
  const std::string highway =
      std::to_string(HWY_MAJOR) + "." + std::to_string(HWY_MINOR) + "." + std::to_string(HWY_PATCH);
  std::vector<Library> out{
      {"zlib", "compression", ::zlibVersion()},
      {"highway", "SIMD on the CPU",
       highway + ", up to " + hwy::TargetName(hwy::SupportedTargets() & -hwy::SupportedTargets())},
      {"onednn", "matrix products on the CPU, optional", find_library({"libdnnl.so.3", "libdnnl.so.2"})}};
  if (cuda_device_count() > 0) {
    out.push_back({"cublaslt", "matrix products on a GPU, optional",
                   find_library({"libcublasLt.so.13", "libcublasLt.so.12"})});
    out.push_back({"cudnn", "convolution and attention on a GPU, optional", find_library({"libcudnn.so.9"})});
  }
  return out;
}

/// What GPUNN_AUTOTUNE names: the device it serves, or why it serves none.
struct TuningLine {
  std::string path, device, digest, problem;
  std::size_t problems = 0;
};

std::optional<TuningLine> tuning() {
  const char* path = std::getenv("GPUNN_AUTOTUNE");
  if (!path || !*path) return std::nullopt;
  TuningLine line{.path = path, .device = {}, .digest = {}, .problem = {}};
  for (const DeviceLine& d : devices()) {
    if (!d.problem.empty()) continue;
    try {
      const Device device = Device::parse(d.name);
      line.problems = read_tuning(path, device, Runtime::current().pool().threads()).size();
      line.device = d.name, line.digest = sha256_of_file(path);
      return line;
    } catch (const DataError& e) {
      if (line.problem.empty()) line.problem = e.what();
    }
  }
  return line;
}

void print_json() {
  const BuildInfo& b = build_info();
  const RuntimeOptions& options = Runtime::current().options();
  JsonWriter json;
  json.begin_object().field("version", b.version).key("build").begin_object();
  json.field("commit", b.commit).field("compiler", b.compiler).field("cuda_compiler", b.cuda_compiler);
  json.field("mode", b.mode)
      .field("type", b.build_type)
      .field("sanitizer", b.sanitizer)
      .field("flags", b.flags);
  json.end_object();
  json.field("threads", Runtime::current().pool().threads()).field("deterministic", options.deterministic);
  json.key("devices").begin_array();
  for (const DeviceLine& d : devices()) {
    json.begin_object()
        .field("device", d.name)
        .field("name", d.info.name)
        .field("memory_bytes", d.info.memory_bytes);
    json.field("compute_capability",
               std::to_string(d.info.compute_major) + "." + std::to_string(d.info.compute_minor));
    json.field("multiprocessors", d.info.multiprocessors)
        .field("emulated", d.info.emulated)
        .field("problem", d.problem);
    json.end_object();
  }
  json.end_array().key("libraries").begin_array();
  for (const Library& l : libraries())
    json.begin_object().field("name", l.name).field("role", l.role).field("found", l.found).end_object();
  json.end_array().key("autotune");
  if (const std::optional<TuningLine> t = tuning())
    json.begin_object()
        .field("file", t->path)
        .field("device", t->device)
        .field("problems", t->problems)
        .field("sha256", t->digest)
        .field("problem", t->device.empty() ? t->problem : "")
        .end_object();
  else
    json.value(nullptr);
  json.end_object();
  print_line(json.take());
}

void print_text() {
  const BuildInfo& b = build_info();
  print_line(std::string("gpunn ") + b.version + " (" + b.commit + ")");
  print_line(std::string("build: ") + b.mode + ", " + b.build_type + ", " + b.compiler +
             (*b.cuda_compiler ? std::string(", nvcc ") + b.cuda_compiler : "") +
             (*b.sanitizer ? std::string(", sanitizer ") + b.sanitizer : ""));
  print_line("CPU threads: " + std::to_string(Runtime::current().pool().threads()));
  for (const DeviceLine& d : devices()) {
    if (!d.problem.empty()) {
      print_line(d.name + ": cannot be used: " + d.problem);
      continue;
    }
    std::string line = d.name + ": " + d.info.name + ", " + gigabytes(d.info.memory_bytes);
    if (d.info.compute_major > 0)
      line += ", compute capability " + std::to_string(d.info.compute_major) + "." +
              std::to_string(d.info.compute_minor);
    print_line(line + ", " + std::to_string(d.info.multiprocessors) +
               (d.name == "cpu" ? " cores" : " multiprocessors") + (d.info.emulated ? " (emulated)" : ""));
  }
  for (const Library& l : libraries())
    print_line(l.name + ": " + (l.found.empty() ? "not found" : l.found) + " (" + l.role + ")");
  if (const std::optional<TuningLine> t = tuning())
    print_line("autotune: " + (t->device.empty()
                                   ? "cannot be used: " + t->problem
                                   : t->path + " is active for " + t->device + ", " +
                                         std::to_string(t->problems) + " problems, sha256 " + t->digest));
}

}  // namespace

int run_info(Words words) {
  Common common;
  Arguments arguments("info [options]", "Prints version, build, devices and libraries.",
                      {"gpunn info", "gpunn info --json"});
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;
  common.json ? print_json() : print_text();
  return kOk;
}

}  // namespace gpunn::tool
