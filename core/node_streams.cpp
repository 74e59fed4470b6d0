#include "gpunn/core/detail/node_streams.h"

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "gpunn/core/runtime.h"

namespace gpunn::detail {
namespace {

std::atomic<std::size_t> noted{0};

struct Table {
  std::mutex mutex;
  std::unordered_map<const Node*, NodeStream> streams;
};

Table& table() {
  static auto* const t = new Table;  // leaked: nodes may outlive every static
  return *t;
}

}  // namespace

void note_node_stream(const Node& node, DeviceContext& context) {
  const RawStream stream = context.current_stream();
  if (context.is_cpu() || stream == context.compute_stream()) return;
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  t.streams[&node] = {&context, stream};
  noted.store(t.streams.size(), std::memory_order_relaxed);
}

// Whoever holds a node got it from the thread that noted it, and so sees a count that includes it.
NodeStream node_stream(const Node& node) noexcept {
  if (noted.load(std::memory_order_relaxed) == 0) return {};
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  const auto found = t.streams.find(&node);
  return found == t.streams.end() ? NodeStream{} : found->second;
}

void forget_node_stream(const Node& node) noexcept {
  if (noted.load(std::memory_order_relaxed) == 0) return;
  Table& t = table();
  const std::lock_guard lock(t.mutex);
  t.streams.erase(&node);
  noted.store(t.streams.size(), std::memory_order_relaxed);
}

}  // namespace gpunn::detail
