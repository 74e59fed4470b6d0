#include "library_probe.h"

#include <dlfcn.h>
#include <link.h>

#include <cstddef>
#include <vector>

#include "isolated.h"

namespace gpunn::tool {

namespace {

constexpr int kSeconds = 10;

template <class F>
F function(void* handle, const char* name) {
  return reinterpret_cast<F>(::dlsym(handle, name));
}

// Is the message of dlopen() about the library itself not being there?
bool says_absent(const std::string& message, const char* name) {
  return message.rfind(std::string(name) + ": cannot open shared object file: No such file", 0) == 0;
}

// In the child: everything that may go wrong does so here.
void look(std::initializer_list<const char*> names, void (*ask)(void*, LibraryProbe&), LibraryProbe& out) {
  for (const char* name : names) {
    void* const handle = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
      const char* text = ::dlerror();
      const std::string message = text ? text : "cannot be opened";
      const bool absent = says_absent(message, name);
      // Another name's absence is no news once a broken library has been found.
      if (out.problem.empty() || (out.absent && !absent))
        out.name = name, out.problem = message, out.absent = absent;
      continue;
    }
    out = LibraryProbe{};
    out.name = name;
    if (link_map* map = nullptr; ::dlinfo(handle, RTLD_DI_LINKMAP, &map) == 0 && map) out.path = map->l_name;
    return ask(handle, out);
  }
}

}  // namespace

LibraryProbe probe_library(std::initializer_list<const char*> names, void (*ask)(void*, LibraryProbe&)) {
  const Isolated seen = run_isolated(
      [&] {
        LibraryProbe found;
        look(names, ask, found);
        return std::vector<std::string>{found.name, found.path, found.version, found.problem,
                                        found.absent ? "absent" : ""};
      },
      kSeconds);
  LibraryProbe out;
  out.name = *names.begin();
  if (!seen.problem.empty() || seen.fields.size() != 5) {
    out.problem = seen.problem + " when it is opened";
    return out;
  }
  out.name = seen.fields[0];
  out.path = seen.fields[1];
  out.version = seen.fields[2];
  out.problem = seen.fields[3];
  out.absent = !seen.fields[4].empty();
  return out;
}

namespace {

// Vendors pack versions in decimal places.
std::string dotted(std::size_t version, std::size_t major, std::size_t minor) {
  return std::to_string(version / major) + "." + std::to_string(version % major / minor) + "." +
         std::to_string(version % minor);
}

void need(void* handle, const char* symbol, LibraryProbe& out) {
  if (out.problem.empty() && !::dlsym(handle, symbol)) out.problem = std::string("has no function ") + symbol;
}

}  // namespace

LibraryProbe probe_onednn() {
  return probe_library({"libdnnl.so.2"}, [](void* handle, LibraryProbe& out) {
    struct Version {
      int major, minor, patch;
    };
    need(handle, "dnnl_sgemm", out);
    if (const auto ask = function<const Version* (*)()>(handle, "dnnl_version"))
      if (const Version* v = ask())
        out.version =
            std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  });
}

LibraryProbe probe_cublaslt() {
  return probe_library({"libcublasLt.so.13", "libcublasLt.so.12"}, [](void* handle, LibraryProbe& out) {
    need(handle, "cublasLtMatmul", out);
    if (const auto ask = function<std::size_t (*)()>(handle, "cublasLtGetVersion"))
      out.version = dotted(ask(), 10000, 100);
  });
}

LibraryProbe probe_cudnn() {
  return probe_library({"libcudnn.so.9"}, [](void* handle, LibraryProbe& out) {
    need(handle, "cudnnCreate", out);
    if (const auto ask = function<std::size_t (*)()>(handle, "cudnnGetVersion"))
      out.version = dotted(ask(), 10000, 100);
  });
}

LibraryProbe probe_nccl() {
  return probe_library({"libnccl.so.2"}, [](void* handle, LibraryProbe& out) {
    int version = 0;
    need(handle, "ncclCommInitRank", out);
    if (const auto ask = function<int (*)(int*)>(handle, "ncclGetVersion"); ask && ask(&version) == 0)
      out.version = dotted(static_cast<std::size_t>(version), 10000, 100);
  });
}

LibraryProbe probe_driver() {
  return probe_library({"libcuda.so.1"}, [](void* handle, LibraryProbe& out) {
    const auto version = function<int (*)(int*)>(handle, "cuDriverGetVersion");
    const auto init = function<int (*)(unsigned)>(handle, "cuInit");
    if (!version || !init) {
      out.problem = "has no function cuInit or cuDriverGetVersion";
      return;
    }
    int number = 0;
    if (version(&number) == 0)
      out.version = std::to_string(number / 1000) + "." + std::to_string(number % 1000 / 10);
    if (const int error = init(0); error != 0)
      out.problem = "finds no usable device (cuInit gives error " + std::to_string(error) + ")";
  });
}

}  // namespace gpunn::tool
