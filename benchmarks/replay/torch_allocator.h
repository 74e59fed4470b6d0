#pragma once
// PyTorch's caching allocator as its documentation describes it, for comparison: written anew from the
// published rules, not a copy.
//
// Requests are rounded up to 512 B. Up to 1 MiB they come from 2 MiB segments; above, and below 10 MiB, from
// 20 MiB segments; larger ones from segments of their own, rounded up to 2 MiB. A pool is kept for each
// stream and kind; the best fit is split when at least 512 B (small) or more than 1 MiB (large) would be
// left. Neighbours in a segment are joined when freed. A block that other streams used waits for events. When
// the device has no memory, all segments that are entirely free go back to it.
#include <memory>

#include "gpunn/core/memory.h"

namespace gpunn::replay {

std::unique_ptr<MemoryResource> make_torch_allocator(DeviceApi& api);

}  // namespace gpunn::replay
