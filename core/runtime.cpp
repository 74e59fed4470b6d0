#include "gpunn/core/runtime.h"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <map>
#include <mutex>
#include <string_view>
#include <utility>

#include "gpunn/core/detail/cpu_count.h"
#include "gpunn/core/detail/cuda_probe.h"
#include "gpunn/core/detail/host_calls.h"
#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/scheduler.h"

namespace gpunn {
namespace {

constinit thread_local Runtime* t_runtime = nullptr;

std::string_view variable(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

bool flag(const char* name, bool otherwise) {
  const std::string_view text = variable(name);
  if (text.empty()) return otherwise;
  GPUNN_CHECK(text == "0" || text == "1", name, ": expected 0 or 1, got '", text, "'");
  return text == "1";
}

// "8000000", "512K", "20M", "6G": bytes, in units of 1024. "" gives 0.
std::size_t byte_count(const char* name) {
  const std::string_view text = variable(name);
  std::size_t bytes = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  const std::string_view unit = text.substr(static_cast<std::size_t>(end - text.data()));
  const bool digits = error == std::errc{} && end != text.data();
  const std::size_t place = unit.empty() ? 0 : std::string_view("KMG").find(unit) + 1;
  const bool known_unit = unit.empty() || (unit.size() == 1 && place > 0);
  GPUNN_CHECK(text.empty() || (digits && known_unit), name,
              ": expected bytes such as 8000000, 512K, 20M or 6G, got '", text, "'");
  GPUNN_CHECK(bytes <= std::numeric_limits<std::size_t>::max() >> (10 * place), name, ": ", text,
              " is more than can be counted");
  return bytes << (10 * place);
}

std::unique_ptr<MemoryResource> make_memory(DeviceApi& api, const RuntimeOptions& options, bool pinned) {
  const bool cpu = api.type() == DeviceType::cpu;
  auto resource =
      cpu ? make_host_allocator(api)
          : make_caching_allocator(api, {.limit_bytes = pinned ? 0 : options.memory_limit, .host = pinned});
  if (!options.memory_debug) return resource;
  return make_debug_resource(std::move(resource), api, {.host = cpu || pinned});
}

}  // namespace

RuntimeOptions RuntimeOptions::from_environment() {
  RuntimeOptions options;
  options.threads = detail::default_thread_count();
  options.deterministic = flag("GPUNN_DETERMINISTIC", true);
  options.synchronous = flag("GPUNN_SYNC", false);
  options.shadow = flag("GPUNN_SHADOW", false);
  options.forced = variable("GPUNN_IMPL");
  options.memory_debug = flag("GPUNN_MEMORY_DEBUG", false);
  options.memory_limit = byte_count("GPUNN_MEMORY_LIMIT");
  options.memory_trace = variable("GPUNN_MEMORY_TRACE");
  return options;
}

// DeviceContext

struct DeviceContext::Streams {
  DeviceApi& api;
  std::mutex mutex;
  std::vector<RawStream> all;
  std::multimap<int, RawStream> idle;  // by priority

  explicit Streams(DeviceApi& device) : api(device) {}
  ~Streams() {
    for (RawStream stream : all) api.destroy_stream(stream);
  }
};

struct DeviceContext::Lazy {
  std::mutex mutex;
  RawStream copy_in = nullptr, copy_out = nullptr;
};

DeviceContext::DeviceContext(Runtime& runtime, std::unique_ptr<DeviceApi> api)
    : runtime_(runtime),
      api_(std::move(api)),
      type_(api_->type()),
      streams_(std::make_unique<Streams>(*api_)),
      memory_(make_memory(*api_, runtime.options(), false)),
      usage_(std::make_unique<MemoryUsage>()),
      scheduler_(std::make_unique<Scheduler>(*api_)),
      compute_(take_stream(0)),
      lazy_(std::make_unique<Lazy>()) {
  api_->set_synchronous(runtime.options().synchronous);
  detail::prepare_usage(*this);
  detail::name_stream(*api_, compute_, "compute");
}

int DeviceContext::index() const noexcept { return api_->index(); }

DeviceContext::~DeviceContext() {
  try {
    api_->synchronize_device();
  } catch (...) {
    // A device that failed runs nothing any more.
  }
  scheduler_->host_calls().clear();  // tensors that they captured need what is destroyed next
  detail::forget_device(*api_);
}

RawStream DeviceContext::take_stream(int priority) {
  std::lock_guard lock(streams_->mutex);
  if (const auto found = streams_->idle.find(priority); found != streams_->idle.end()) {
    const RawStream stream = found->second;
    streams_->idle.erase(found);
    return stream;
  }
  streams_->all.reserve(streams_->all.size() + 1);
  const RawStream stream = api_->create_stream(priority);
  streams_->all.push_back(stream);
  return stream;
}

void DeviceContext::give_stream(RawStream stream, int priority) noexcept {
  std::lock_guard lock(streams_->mutex);
  try {
    streams_->idle.emplace(priority, stream);
  } catch (...) {
    // No memory to note it: the stream stays unused until the context ends.
  }
}

MemoryResource& DeviceContext::pinned() {
  if (is_cpu()) return *memory_;
  std::lock_guard lock(lazy_->mutex);
  if (!pinned_) pinned_ = make_memory(*api_, runtime_.options(), true);
  return *pinned_;
}

RawStream DeviceContext::copy_in_stream() {
  std::lock_guard lock(lazy_->mutex);
  if (!lazy_->copy_in) detail::name_stream(*api_, lazy_->copy_in = take_stream(0), "copy-in");
  return lazy_->copy_in;
}

RawStream DeviceContext::copy_out_stream() {
  std::lock_guard lock(lazy_->mutex);
  if (!lazy_->copy_out) detail::name_stream(*api_, lazy_->copy_out = take_stream(0), "copy-out");
  return lazy_->copy_out;
}

void DeviceContext::synchronize() {
  if (!is_cpu()) scheduler_->synchronize();
}

// Runtime

struct Runtime::Devices {
  std::mutex mutex;
  std::map<int, std::unique_ptr<DeviceContext>> cuda;
  std::vector<std::unique_ptr<DeviceContext>> adopted;
};

Runtime::Runtime(RuntimeOptions options)
    : options_(std::move(options)), devices_(std::make_unique<Devices>()) {
  detail::nvtx_from_environment();
  if (options_.threads == 0) options_.threads = detail::default_thread_count();
  pool_ = std::make_unique<CpuPool>(options_.threads);
  cpu_ = std::make_unique<DeviceContext>(*this, make_cpu_device_api());
}

Runtime::~Runtime() = default;

Runtime& Runtime::current() {
  if (t_runtime) return *t_runtime;
  static Runtime* const process = new Runtime;  // leaked: nothing of it is destroyed when the process exits
  return *process;
}

void Runtime::set_threads(int threads) {
  auto pool = std::make_unique<CpuPool>(threads);
  pool_ = std::move(pool);
  options_.threads = threads;
}

DeviceContext& Runtime::cuda(int index) {
  std::lock_guard lock(devices_->mutex);
  auto& context = devices_->cuda[index];
  if (!context) {
    auto api = make_cuda_device_api(index);
    if (!api)
      detail::throw_unsupported(
          detail::concat("cuda:", index, " is not there: ", detail::absent_reason(detail::probe_cuda())));
    context = std::make_unique<DeviceContext>(*this, std::move(api));
  }
  return *context;
}

DeviceContext& Runtime::adopt(std::unique_ptr<DeviceApi> api) {
  auto context = std::make_unique<DeviceContext>(*this, std::move(api));
  std::lock_guard lock(devices_->mutex);
  devices_->adopted.push_back(std::move(context));
  return *devices_->adopted.back();
}

RuntimeScope::RuntimeScope(Runtime& runtime) noexcept : previous_(std::exchange(t_runtime, &runtime)) {}
RuntimeScope::~RuntimeScope() { t_runtime = previous_; }

}  // namespace gpunn
