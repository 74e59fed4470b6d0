// How much memory the allocator takes from the device for what is live at the most: reserved / peak live, on
// traces like those of training and on a torture trace. A fake device counts; nobody touches the memory.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/memory.h"
#include "tests/support/fake_device.h"

namespace gpunn {
namespace {

using detail::round_up;
using testing::FakeDevice;

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

// A step of a trace: bytes > 0 allocates block `id`, 0 frees it.
struct Step {
  std::size_t id, bytes;
};

class Trace {
 public:
  std::size_t take(std::size_t bytes) {
    steps_.push_back({bytes_.size(), bytes});
    bytes_.push_back(bytes);
    live_ += bytes;
    peak_ = std::max(peak_, live_);
    return bytes_.size() - 1;
  }
  void give(std::size_t id) {
    steps_.push_back({id, 0});
    live_ -= bytes_[id];
  }
  const std::vector<Step>& steps() const { return steps_; }
  std::size_t bytes_of(std::size_t id) const { return bytes_[id]; }
  std::size_t blocks() const { return bytes_.size(); }
  std::size_t live() const { return live_; }
  std::size_t peak() const { return peak_; }

 private:
  std::vector<Step> steps_;
  std::vector<std::size_t> bytes_;
  std::size_t live_ = 0, peak_ = 0;
};

// Forward keeps an activation for each layer, backward drops them and makes gradients, the optimizer reads
// them. `batch(step)` examples; workspaces come and go within a layer.
Trace training_trace(int layers, std::size_t weight, std::size_t activation,
                     const std::function<std::size_t(int)>& batch, int steps) {
  Trace trace;
  std::mt19937 random(5);
  std::vector<std::size_t> weights(static_cast<std::size_t>(layers)), examples(weights.size());
  for (std::size_t l = 0; l < weights.size(); ++l) {
    weights[l] = weight / 4 + random() % weight;
    examples[l] = activation / 4 + random() % activation;
    trace.take(weights[l]);  // the weight, two moments of the optimizer and a bias
    trace.take(weights[l]);
    trace.take(weights[l]);
    trace.take(512 + random() % 8192);
  }
  for (int step = 0; step < steps; ++step) {
    const std::size_t n = batch(step);
    std::vector<std::size_t> kept, gradients;
    std::size_t input = trace.take(n * activation / 8);
    const std::size_t data = input;
    for (std::size_t l = 0; l < weights.size(); ++l) {
      const std::size_t workspace = trace.take(n * examples[l] / 2);
      kept.push_back(trace.take(n * examples[l]));
      kept.push_back(trace.take(n * 64 + 4));
      trace.give(workspace);
    }
    std::size_t upstream = trace.take(n * 40);
    for (std::size_t l = weights.size(); l-- > 0;) {
      const std::size_t downstream = trace.take(n * examples[l]);
      const std::size_t workspace = trace.take(weights[l] / 3);
      gradients.push_back(trace.take(weights[l]));
      trace.give(workspace);
      trace.give(upstream);
      trace.give(kept[2 * l]);
      trace.give(kept[2 * l + 1]);
      upstream = downstream;
    }
    trace.give(upstream);
    trace.give(data);
    for (std::size_t g : gradients) trace.give(g);
  }
  return trace;
}

// Sizes of 1 KB to 1 GB, as likely in each doubling; batches of varying length are built up and mostly
// dropped, the newest first or in any order, and what is left lives on.
Trace torture_trace() {
  Trace trace;
  std::mt19937 random(17);
  std::uniform_real_distribution<double> exponent(std::log(1024.0), std::log(1024.0 * kMiB));
  std::vector<std::size_t> live;
  for (int batch = 0; batch < 80; ++batch) {
    const std::size_t most = (4 + random() % 20) * kGiB;
    for (std::size_t n = 20 + random() % 300; n-- > 0;) {
      const auto bytes = static_cast<std::size_t>(std::exp(exponent(random)));
      if (trace.live() + bytes > most) break;
      live.push_back(trace.take(bytes));
    }
    if (random() % 2) std::shuffle(live.begin(), live.end(), random);
    const std::size_t stay = live.size() * (random() % 60) / 100;
    while (live.size() > stay) {
      trace.give(live.back());
      live.pop_back();
    }
  }
  return trace;
}

double ratio_of(const Trace& trace, bool pages) {
  FakeDevice device({.memory_bytes = 80 * kGiB, .virtual_memory = pages});
  const RawStream stream = device.create_stream(0);
  auto resource = make_caching_allocator(device);
  std::vector<void*> blocks(trace.blocks());
  for (const Step& step : trace.steps()) {
    if (step.bytes) {
      blocks[step.id] = resource->allocate(step.bytes, stream);
    } else {
      resource->deallocate(std::exchange(blocks[step.id], nullptr), trace.bytes_of(step.id), stream);
    }
  }
  for (std::size_t i = 0; i < blocks.size(); ++i) resource->deallocate(blocks[i], trace.bytes_of(i), stream);
  const MemoryStats stats = resource->stats();
  EXPECT_EQ(stats.peak_live_bytes, trace.peak());
  EXPECT_EQ(stats.live_bytes, 0u);
  return static_cast<double>(stats.peak_reserved_bytes) / static_cast<double>(stats.peak_live_bytes);
}

// PyTorch's rules as its documentation and sources state them: requests are rounded to 512 bytes; up to 1 MiB
// come from segments of 2 MiB, below 10 MiB from segments of 20 MiB, larger ones get segments rounded to 2
// MiB; best fit, a rest is split off if it is 512 bytes (small) or more than 1 MiB (large); neighbours merge.
class RoundedSegments {
 public:
  std::uint64_t take(std::size_t bytes) {
    const std::size_t size = round_up(bytes, 512);
    const bool small = size <= kMiB;
    auto& free = free_[small];
    auto found = free.lower_bound({size, 0});
    if (found == free.end()) {
      const std::size_t segment = small ? 2 * kMiB : size < 10 * kMiB ? 20 * kMiB : round_up(size, 2 * kMiB);
      reserved_ += segment;
      blocks_[end_] = {segment, small, true};
      found = free.insert({segment, end_}).first;
      end_ += segment + kGiB;  // segments do not touch
    }
    const auto [whole, address] = *found;
    free.erase(found);
    Block& block = blocks_[address];
    block.free = false;
    const std::size_t rest = whole - size;
    if (small ? rest >= 512 : rest > kMiB) {
      block.bytes = size;
      blocks_[address + size] = {rest, small, true};
      free.insert({rest, address + size});
    }
    return address;
  }
  void give(std::uint64_t address) {
    auto it = blocks_.find(address);
    auto& free = free_[it->second.small];
    it->second.free = true;
    const auto joins = [](auto a, auto b) {
      return a->second.free && b->second.free && a->first + a->second.bytes == b->first;
    };
    if (const auto next = std::next(it); next != blocks_.end() && joins(it, next)) {
      free.erase({next->second.bytes, next->first});
      it->second.bytes += next->second.bytes;
      blocks_.erase(next);
    }
    if (it != blocks_.begin() && joins(std::prev(it), it)) {
      const auto previous = std::prev(it);
      free.erase({previous->second.bytes, previous->first});
      previous->second.bytes += it->second.bytes;
      blocks_.erase(it);
      it = previous;
    }
    free.insert({it->second.bytes, it->first});
  }
  std::size_t reserved() const { return reserved_; }

 private:
  struct Block {
    std::size_t bytes = 0;
    bool small = false, free = false;
  };
  std::map<std::uint64_t, Block> blocks_;
  std::set<std::pair<std::size_t, std::uint64_t>> free_[2];
  std::uint64_t end_ = kGiB;
  std::size_t reserved_ = 0;
};

double rounded_ratio_of(const Trace& trace) {
  RoundedSegments memory;
  std::vector<std::uint64_t> blocks(trace.blocks());
  for (const Step& step : trace.steps()) {
    if (step.bytes) {
      blocks[step.id] = memory.take(step.bytes);
    } else {
      memory.give(blocks[step.id]);
    }
  }
  return static_cast<double>(memory.reserved()) / static_cast<double>(trace.peak());
}

void expect_ratio(const char* name, const Trace& trace, double most) {
#if GPUNN_ASAN
  const double segments = 0;  // malloc behind them would shadow gigabytes
#else
  const double segments = ratio_of(trace, false);
#endif
  const double pages = ratio_of(trace, true), rounded = rounded_ratio_of(trace);
  std::printf(
      "%-20s %6zu steps, peak %8.1f MiB; reserved / peak live: pages %.4f, segments %.4f, "
      "PyTorch's rounding %.4f\n",
      name, trace.steps().size(), static_cast<double>(trace.peak()) / kMiB, pages, segments, rounded);
  EXPECT_LE(pages, most) << name;
  EXPECT_GE(pages, 1.0) << name;
  EXPECT_GE(rounded, 1.0) << name;
}

TEST(MemoryRatioTest, TrainingOfAConvolutionalNet) {
  const auto batch = [](int step) { return std::size_t{step % 10 == 9 ? 37u : 64u}; };
  expect_ratio("convolutional net", training_trace(50, 4 * kMiB, 500 * kKiB, batch, 40), 1.05);
}

TEST(MemoryRatioTest, TrainingOfATransformerWithVaryingLengths) {
  std::mt19937 random(3);
  const auto batch = [&](int) { return std::size_t{8u * (16 + random() % 112)}; };
  expect_ratio("varying lengths", training_trace(24, 12 * kMiB, 60 * kKiB, batch, 60), 1.05);
}

// A page of 2 MiB is a fiftieth of this net: what is left of pages between its blocks weighs more.
TEST(MemoryRatioTest, TrainingOfASmallNet) {
  const auto batch = [](int) { return std::size_t{128}; };
  expect_ratio("small net", training_trace(6, 2 * kMiB, 100 * kKiB, batch, 40), 1.10);
}

TEST(MemoryRatioTest, Torture) { expect_ratio("torture", torture_trace(), 1.10); }

}  // namespace
}  // namespace gpunn
