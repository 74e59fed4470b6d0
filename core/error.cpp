#include "gpunn/core/error.h"

#include <array>
#include <charconv>
#include <cmath>

#include "gpunn/core/detail/profile_hooks.h"

namespace gpunn {

// Out-of-line destructors give each exception one vtable and type_info, so that a catch works across
// libraries.
Error::~Error() = default;
InvalidArgument::~InvalidArgument() = default;
Unsupported::~Unsupported() = default;
OutOfMemory::~OutOfMemory() = default;
CudaError::~CudaError() = default;
DeviceLost::~DeviceLost() = default;
DataError::~DataError() = default;

namespace {

// Module nesting of this thread. Deeper levels than the array are counted, but not named.
constexpr int kMaxNamedDepth = 32;
struct Place {
  std::array<std::string_view, kMaxNamedDepth> layers;
  int depth = 0;
  const char* op = nullptr;
};
constinit thread_local Place place{};

}  // namespace

LayerScope::LayerScope(std::string_view name) noexcept {
  if (place.depth < kMaxNamedDepth) place.layers[static_cast<std::size_t>(place.depth)] = name;
  ++place.depth;
  if (detail::profiling() && !name.empty()) [[unlikely]]
    detail::profile_begin(this, ProfileKind::layer, name);
}
LayerScope::~LayerScope() {
  --place.depth;
  if (detail::profiling()) [[unlikely]]
    detail::profile_end(this);
}

OpScope::OpScope(const char* name) noexcept : previous_(place.op) {
  if (!place.op) place.op = name;
}
OpScope::~OpScope() { place.op = previous_; }

std::string layer_path() {
  std::string path;
  for (int i = 0; i < place.depth && i < kMaxNamedDepth; ++i) {
    const std::string_view name = place.layers[static_cast<std::size_t>(i)];
    if (name.empty()) continue;  // the root module has no name
    if (!path.empty()) path += '.';
    path += name;
  }
  return path;
}

const char* current_op() noexcept { return place.op ? place.op : ""; }

std::string where() {
  std::string out = layer_path();
  if (place.op) {
    if (!out.empty()) out += ": ";
    out += place.op;
  }
  return out.empty() ? out : "[" + out + "] ";
}

namespace detail {

void append_double(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += std::isnan(value) ? "nan" : value < 0 ? "-inf" : "inf";
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 9).ptr;
  out.append(buffer, end);
}

void throw_invalid(const std::string& message) { throw InvalidArgument(where() + message); }
void throw_unsupported(const std::string& message) { throw Unsupported(where() + message); }
void throw_data(const std::string& message) { throw DataError(message); }

}  // namespace detail
}  // namespace gpunn
