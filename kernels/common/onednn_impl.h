#pragma once
// oneDNN, opened at run time.
#include <dlfcn.h>

namespace gpunn {

/// Handle of libdnnl.so.2, null where there is none. Never closed: it may hold threads of its own until the
/// process ends.
inline void* onednn_library() {
  static void* const handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  return handle;
}

/// Sets `function` to the symbol, null without library or symbol.
template <class F>
void find_onednn(const char* name, F& function) {
  void* const handle = onednn_library();
  function = handle ? reinterpret_cast<F>(dlsym(handle, name)) : nullptr;
}

/// One OpenMP thread for oneDNN's calls from this thread, and the caller's setting back afterwards: its own
/// threading changes bits with the number of threads. Nothing to do for a library without OpenMP.
class OneOnednnThread {
 public:
  OneOnednnThread() : before_(functions().set ? functions().get() : 0) {
    if (before_ > 1) functions().set(1);
  }
  ~OneOnednnThread() {
    if (before_ > 1) functions().set(before_);
  }
  OneOnednnThread(const OneOnednnThread&) = delete;
  OneOnednnThread& operator=(const OneOnednnThread&) = delete;

 private:
  struct Functions {
    void (*set)(int) = nullptr;
    int (*get)() = nullptr;
  };
  static const Functions& functions() {
    static const Functions found = [] {
      Functions f;
      find_onednn("omp_set_num_threads", f.set);
      find_onednn("omp_get_max_threads", f.get);
      if (!f.get) f.set = nullptr;
      return f;
    }();
    return found;
  }

  int before_;
};

}  // namespace gpunn
