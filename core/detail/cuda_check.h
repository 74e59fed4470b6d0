#pragma once
// Every CUDA call goes through one of these. Private: for host code that sees the CUDA runtime's headers, and
// launch().
#include <string>

namespace gpunn::detail {

/// Clears CUDA's last error and throws OutOfMemory, CudaError or, for errors after which the context is gone,
/// DeviceLost. The first loss of a device is remembered with the kernels launched before it. `call` is the
/// source text of the call; `what` (may be null) names its subject, such as a kernel; `file` may be null.
[[noreturn]] void throw_cuda(int code, const char* call, const char* what, const char* file, int line);

/// For destructors: remembers a loss, clears CUDA's last error; false when there was one.
bool note_cuda(int code, const char* call, const char* file, int line) noexcept;

/// Throws DeviceLost with the first cause when CUDA device `index` has been lost, CudaError when the process
/// is exiting. On other threads than the exiting one it waits for the end first, up to a second: most threads
/// have nobody who would catch the exception, and the process is usually gone before.
void check_cuda_alive(int index);
/// A device opened anew answers again (the emulator's can be reset): forget what was remembered.
void forget_cuda_loss(int index) noexcept;

/// For what must not throw: may CUDA device `index` still be called?
bool cuda_alive(int index) noexcept;

/// Says of the calling thread's CUDA calls within its scope which one piece of work they wait for
/// (GPUNN_SYNC=1): an error they return is that work's.
class WaitingFor {
 public:
  explicit WaitingFor(const std::string& work) noexcept;
  ~WaitingFor();
  WaitingFor(const WaitingFor&) = delete;
  WaitingFor& operator=(const WaitingFor&) = delete;
};

/// True from the start of process exit, when CUDA may be gone already: no call may reach it.
bool process_exiting() noexcept;
/// Starts to watch for it; called when the first device has been opened.
void watch_process_exit();

}  // namespace gpunn::detail

/// Runs a CUDA call and throws when it fails.
#define GPUNN_CUDA(call)                                                            \
  do {                                                                              \
    const int gpunn_code_ = static_cast<int>(call);                                 \
    if (gpunn_code_ != 0) [[unlikely]]                                              \
      ::gpunn::detail::throw_cuda(gpunn_code_, #call, nullptr, __FILE__, __LINE__); \
  } while (0)

/// Runs a CUDA call in a destructor: never throws, and makes no call once the process is exiting.
#define GPUNN_CUDA_NOTHROW(call)                                                     \
  do {                                                                               \
    if (!::gpunn::detail::process_exiting())                                         \
      ::gpunn::detail::note_cuda(static_cast<int>(call), #call, __FILE__, __LINE__); \
  } while (0)
