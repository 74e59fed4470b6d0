// Snapshots, and the out-of-memory message, which is a snapshot in words.
#include "gpunn/core/memory_snapshot.h"

#include <algorithm>
#include <map>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/detail/memory_recorder.h"
#include "gpunn/core/detail/out_of_memory.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

namespace {

constexpr std::size_t kLayersNamed = 5;

std::size_t index_of(MemoryTag tag) { return static_cast<std::size_t>(tag); }

/// Tags by what they hold, most first.
std::array<MemoryTag, kMemoryTags> by_holding(const MemorySnapshot& s) {
  std::array<MemoryTag, kMemoryTags> order{};
  for (int i = 0; i < kMemoryTags; ++i) order[static_cast<std::size_t>(i)] = static_cast<MemoryTag>(i);
  std::stable_sort(order.begin(), order.end(), [&](MemoryTag a, MemoryTag b) {
    return s.tags[index_of(a)].live_bytes > s.tags[index_of(b)].live_bytes;
  });
  return order;
}

std::string tag_holders(const MemorySnapshot& s) {
  std::string out;
  for (const MemoryTag tag : by_holding(s)) {
    const TagUsage& use = s.tags[index_of(tag)];
    if (use.live_bytes == 0) continue;
    out += detail::concat(out.empty() ? "" : ", ", name_of(tag), ' ', detail::bytes_text(use.live_bytes),
                          " in ", use.blocks, use.blocks == 1 ? " block" : " blocks");
  }
  return out;
}

std::string layer_holders(const MemorySnapshot& s) {
  std::string out;
  const auto layers = bytes_by_layer(s.blocks);
  for (std::size_t i = 0; i < std::min(kLayersNamed, layers.size()); ++i)
    out += detail::concat(out.empty() ? "" : ", ", layers[i].layer.empty() ? "(no layer)" : layers[i].layer,
                          ' ', detail::bytes_text(layers[i].bytes));
  return out;
}

const char* advice_for(MemoryTag tag) {
  switch (tag) {
    case MemoryTag::activations:
      return "a smaller batch, NoGrad where no gradient is wanted, or letting go of outputs that are no "
             "longer "
             "used";
    case MemoryTag::weights:
      return "a 16-bit dtype for the parameters (to(DType::bf16)), or a smaller model";
    case MemoryTag::gradients:
      return "zero_grad() before the forward pass instead of after it, or freezing parameters that need no "
             "training";
    case MemoryTag::optimizer:
      return "an optimizer with fewer states (SGD keeps none or one, Adam two), or 16-bit parameters without "
             "master_weights, whose states are of 16 bits, too";
    case MemoryTag::workspace:
      break;
  }
  return "an implementation that needs less scratch memory (GPUNN_IMPL), or a smaller batch";
}

// Scattered free memory is the cause when there would be enough of it in all; else the largest holder.
std::string advice(const MemorySnapshot& s, std::size_t bytes, MemoryTag tag) {
  const TagUsage& own = s.tags[index_of(tag)];
  const bool over_limit =
      own.limit_bytes > 0 && bytes > own.limit_bytes - std::min(own.limit_bytes, own.live_bytes);
  std::string out;
  if (over_limit) {
    out = detail::concat("a higher limit for ", name_of(tag), ", or ", advice_for(tag));
  } else if (const std::size_t idle =
                 s.stats.reserved_bytes - std::min(s.stats.reserved_bytes, s.stats.live_bytes);
             idle >= bytes) {
    out =
        detail::concat(detail::bytes_text(idle),
                       " are reserved and free, but in pieces too small or waiting for another stream: fewer "
                       "different sizes (batches of one shape), or trim() between phases");
  } else {
    const MemoryTag most = by_holding(s)[0];
    out = advice_for(s.tags[index_of(most)].live_bytes > bytes ? most : tag);
  }
  if (!s.recorded) out += ". GPUNN_MEMORY_TRACE=FILE makes this message name layers";
  return out;
}

}  // namespace

std::vector<LayerBytes> bytes_by_layer(const std::vector<BlockRecord>& blocks) {
  std::map<std::string_view, LayerBytes> sums;
  for (const BlockRecord& block : blocks) {
    LayerBytes& sum = sums[block.layer];
    sum.bytes += block.bytes;
    ++sum.blocks;
  }
  std::vector<LayerBytes> out;
  for (auto& [layer, sum] : sums) {
    sum.layer = layer;
    out.push_back(std::move(sum));
  }
  std::stable_sort(out.begin(), out.end(),
                   [](const LayerBytes& a, const LayerBytes& b) { return a.bytes > b.bytes; });
  return out;
}

MemorySnapshot memory_snapshot(Device device) {
  const MemoryUsage& usage = device.context().usage();
  MemorySnapshot s;
  s.device = to_string(device);
  s.stats = device.context().memory().stats();
  s.segments = device.context().memory().segments();
  for (int i = 0; i < kMemoryTags; ++i)
    s.tags[static_cast<std::size_t>(i)] = usage.of(static_cast<MemoryTag>(i));
  s.recorded = usage.recording();
  if (s.recorded) s.blocks = usage.recorder().blocks();
  return s;
}

namespace detail {

std::string limit_text(DeviceContext& context, std::size_t bytes, MemoryTag tag) {
  const TagUsage use = context.usage().of(tag);
  return concat(where(), "out of memory for ", name_of(tag), " on ", to_string(Device(context)),
                ": requested ", bytes_text(bytes), ", held ", bytes_text(use.live_bytes), ", limit of ",
                name_of(tag), ' ', bytes_text(use.limit_bytes));
}

std::string out_of_memory_text(DeviceContext& context, std::size_t bytes, MemoryTag tag,
                               const std::string& cause) {
  const MemorySnapshot s = memory_snapshot(Device(context));
  const std::string place = where();
  std::string out = cause.starts_with(place) ? cause : place + cause;
  if (!out.ends_with('.')) out += '.';
  out += concat(" Wanted for ", name_of(tag));
  if (const std::string tags = tag_holders(s); !tags.empty()) out += "; held by " + tags;
  if (const std::string layers = layer_holders(s); !layers.empty()) out += "; made in " + layers;
  return out + ". What would help: " + advice(s, bytes, tag);
}

}  // namespace detail
}  // namespace gpunn
