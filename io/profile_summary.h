#pragma once
// What took the time: the table that every profiler has.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/profiler.h"

namespace gpunn {

/// All runs of one op (or copy) of one layer in one direction by one implementation.
struct ProfileItem {
  std::string op, layer, entry;  // op: with " backward" where it is
  std::int64_t count = 0;
  std::int64_t total = 0, longest = 0;  // nanoseconds; on the device where those are known
  std::int64_t host = 0;                // of it or beside it: what issuing took
  std::uint64_t bytes = 0;
  bool on_device = false;
  double share = 0;  // of the time of all items
};

/// The `limit` items that took most time, largest first; equal ones in order of appearance.
GPUNN_API std::vector<ProfileItem> largest_items(const Profile& profile, std::size_t limit);
/// Lines of text for a terminal, each ending in a line break; "" when there is nothing.
GPUNN_API std::string items_text(const std::vector<ProfileItem>& items);
/// "350 ns", "12.3 us", "4.56 ms", "7.89 s"
GPUNN_API std::string duration_text(std::int64_t nanoseconds);

}  // namespace gpunn
