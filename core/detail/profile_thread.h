#pragma once
// What a thread has open while the profiler is on.
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/detail/profile_recorder.h"

namespace gpunn::detail {

/// Common to everything that begins and ends on one thread. One that the profiler was turned off under stays
/// behind until the next one is opened.
struct OpenEntry {
  const void* owner = nullptr;
  std::uint64_t session = 0;  // 0: only NVTX listens
  bool nvtx = false;          // a range was pushed
  ProfileRecord record;
  std::string name, layer;
};

struct OpenIssue : OpenEntry {
  const char* entry = "";
  DeviceContext* context = nullptr;
  DeviceApi* api = nullptr;
  RawStream stream = nullptr;  // null on the CPU
  bool noted = false;          // its storages and waits are in the recording
  std::vector<Storage*> reads, writes;
  std::vector<ProfileRecorder::PendingWait> waits;
  RawEvent start = nullptr, end = nullptr;
};

struct ProfileThread {
  std::array<char, 32> name{};
  std::uint64_t session = 0;  // of `index`
  std::uint32_t index = 0;
  // Stacks; entries above `depth` are kept for their capacity.
  std::vector<std::unique_ptr<OpenIssue>> issues;
  std::vector<std::unique_ptr<OpenEntry>> stretches;
  std::size_t issue_depth = 0, stretch_depth = 0;
};

/// The calling thread's.
ProfileThread& profile_thread();
/// The name that ProfiledNode gave, or null.
const char* profiled_node() noexcept;
/// Gives the thread its row in the recording under way, whose lock is held; false when there are too many.
bool number_thread(ProfileThread& thread, ProfileRecorder& recorder);

template <class Entry>
Entry& push_entry(std::vector<std::unique_ptr<Entry>>& stack, std::size_t& depth, const void* owner,
                  std::uint64_t session) {
  while (depth > 0 && !stack[depth - 1]->nvtx && stack[depth - 1]->session != session) --depth;
  if (depth == stack.size()) stack.push_back(std::make_unique<Entry>());
  Entry& entry = *stack[depth++];
  entry.owner = owner;
  entry.session = session;
  entry.nvtx = false;
  entry.record = {};
  return entry;
}

/// The newest entry, if it is `owner`'s.
template <class Entry>
Entry* top_entry(const std::vector<std::unique_ptr<Entry>>& stack, std::size_t depth, const void* owner) {
  return depth > 0 && stack[depth - 1]->owner == owner ? stack[depth - 1].get() : nullptr;
}

}  // namespace gpunn::detail
