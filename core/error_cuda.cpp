#include <cuda_runtime.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "gpunn/core/detail/cuda_check.h"
#include "gpunn/core/error.h"
#include "gpunn/core/flight_recorder.h"

namespace gpunn::detail {
namespace {

constexpr int kMaxDevices = 64;
constexpr int kUnloading = 4;  // cudaErrorCudartUnloading
constexpr std::size_t kLaunchesShown = 5;
constexpr std::chrono::seconds kWaitForTheEnd{1};

// First cause of each device's loss. The flag is read before every call, the rest only when it is set.
struct Losses {
  std::mutex mutex;
  std::array<std::atomic<bool>, kMaxDevices> lost{};
  std::array<std::string, kMaxDevices> message;
  std::array<int, kMaxDevices> code{};
};

Losses& losses() {
  static Losses* const table = new Losses;  // leaked: used until the very end of the process
  return *table;
}

std::atomic<bool> exiting{false};
std::thread::id exiting_thread;  // written before `exiting`

constinit thread_local const std::string* t_waiting_for = nullptr;

bool known(int device) noexcept { return device >= 0 && device < kMaxDevices; }

// Errors after which the device context answers nothing else.
bool loses_device(int code) noexcept {
  switch (code) {
    case 214:  // uncorrectable memory error
    case 220:  // uncorrectable NVLink error
    case 700:  // illegal address
    case 702:  // launch timeout
    case 709:  // context destroyed
    case 710:  // device-side assert
    case 714:  // hardware stack error
    case 715:  // illegal instruction
    case 716:  // misaligned address
    case 717:  // invalid address space
    case 718:  // invalid program counter
    case 719:  // launch failure
      return true;
    default:
      return false;
  }
}

std::string describe(int code, const char* call, const char* what, const char* file, int line) {
  const auto error = static_cast<cudaError_t>(code);
  if (!what && t_waiting_for) what = t_waiting_for->c_str();
  std::string text = concat(what ? what : "", what ? ": " : "", "CUDA error ", code, " (",
                            cudaGetErrorName(error), ": ", cudaGetErrorString(error), ") from ", call);
  if (file) {
    const std::string_view path(file);
    text += concat(" at ", path.substr(path.find_last_of('/') + 1), ':', line);
  }
  return text;
}

void remember_loss(int device, int code, const std::string& cause) {
  if (!known(device)) return;
  const std::string launches = flight_recorder().describe(device, kLaunchesShown);
  Losses& table = losses();
  std::lock_guard lock(table.mutex);
  const auto i = static_cast<std::size_t>(device);
  if (table.lost[i].load(std::memory_order_relaxed)) return;
  table.code[i] = code;
  table.message[i] = concat("cuda:", device, " is lost: ", cause);
  if (!launches.empty() && !t_waiting_for)
    table.message[i] += concat("; last launches and copies, newest first: ", launches,
                               ". Run with GPUNN_SYNC=1 to see which one failed");
  table.lost[i].store(true, std::memory_order_release);
}

[[noreturn]] void throw_lost(int device) {
  Losses& table = losses();
  const auto i = static_cast<std::size_t>(device);
  std::lock_guard lock(table.mutex);
  throw DeviceLost(where() + table.message[i], table.code[i]);
}

int current_device() noexcept {
  int device = 0;
  return cudaGetDevice(&device) == cudaSuccess ? device : 0;
}

}  // namespace

void throw_cuda(int code, const char* call, const char* what, const char* file, int line) {
  const int device = current_device();
  static_cast<void>(cudaGetLastError());
  const std::string text = describe(code, call, what, file, line);
  if (loses_device(code)) {
    remember_loss(device, code, where() + text);
    if (known(device)) throw_lost(device);
    throw DeviceLost(where() + text, code);
  }
  if (code == cudaErrorMemoryAllocation) throw OutOfMemory(where() + text);
  throw CudaError(where() + text, code);
}

bool note_cuda(int code, const char* call, const char* file, int line) noexcept {
  if (code == 0) return true;
  try {
    const int device = current_device();
    static_cast<void>(cudaGetLastError());
    if (loses_device(code)) remember_loss(device, code, where() + describe(code, call, nullptr, file, line));
  } catch (...) {
    // No memory for the words: the next throwing call meets the same error.
  }
  return false;
}

namespace {

[[noreturn]] void throw_exiting() {
  if (std::this_thread::get_id() != exiting_thread) std::this_thread::sleep_for(kWaitForTheEnd);
  throw CudaError("the process is exiting: no CUDA call is made any more", kUnloading);
}

}  // namespace

WaitingFor::WaitingFor(const std::string& work) noexcept { t_waiting_for = &work; }
WaitingFor::~WaitingFor() { t_waiting_for = nullptr; }

bool cuda_alive(int index) noexcept {
  return !process_exiting() &&
         !(known(index) && losses().lost[static_cast<std::size_t>(index)].load(std::memory_order_acquire));
}

void check_cuda_alive(int index) {
  if (process_exiting()) [[unlikely]]
    throw_exiting();
  if (known(index) && losses().lost[static_cast<std::size_t>(index)].load(std::memory_order_acquire))
    throw_lost(index);
}

void forget_cuda_loss(int index) noexcept {
  if (known(index)) losses().lost[static_cast<std::size_t>(index)].store(false, std::memory_order_release);
}

bool process_exiting() noexcept { return exiting.load(std::memory_order_acquire); }

void watch_process_exit() {
  // Registered after the CUDA runtime's own handlers, hence run before them.
  static const int registered = std::atexit([] {
    exiting_thread = std::this_thread::get_id();
    exiting.store(true, std::memory_order_release);
  });
  static_cast<void>(registered);
}

}  // namespace gpunn::detail
