#include "benchmarks/replay/made_traces.h"

#include <array>
#include <cmath>
#include <deque>

#include "gpunn/core/error.h"

namespace gpunn::replay {

namespace {

constexpr std::size_t kKiB = 1024, kMiB = 1024 * kKiB, kGiB = 1024 * kMiB;

struct Made {
  const char* name;
  Trace (*make)();
};
constexpr std::array kMade{
    Made{"lifo", make_lifo},
    Made{"fifo", make_fifo},
    Made{"classes", make_classes},
    Made{"resnet", make_resnet},
    Made{"transformer", make_transformer},
    Made{"varying", make_varying_lengths},
    Made{"two-streams", make_producer_consumer},
    Made{"eight-threads", make_eight_threads},
    Made{"growth", make_growth},
    Made{"torture", make_torture},
};

/// Frees one of `live` at random.
void free_one(TraceBuilder& out, std::vector<std::uint32_t>& live, Random& random) {
  const std::size_t i = random.below(live.size());
  out.free(live[i]);
  live[i] = live.back();
  live.pop_back();
}

}  // namespace

std::uint64_t Random::next() noexcept {
  std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

std::size_t Random::size_between(double low, double high) noexcept {
  return static_cast<std::size_t>(low * std::exp(fraction() * std::log(high / low)));
}

std::vector<std::string> made_trace_names() {
  std::vector<std::string> names;
  for (const Made& made : kMade) names.emplace_back(made.name);
  return names;
}

Trace make_trace(const std::string& name) {
  std::string known;
  for (const Made& made : kMade) {
    if (name == made.name) return made.make();
    known += std::string(" ") + made.name;
  }
  detail::throw_invalid(detail::concat("no trace '", name, "'; there are:", known));
}

// A million operations on 512 B, a thousand deep.
Trace make_lifo() {
  TraceBuilder out("lifo", "computed");
  std::vector<std::uint32_t> live;
  for (int round = 0; round < 500; ++round) {
    while (live.size() < 1000) live.push_back(out.alloc(512));
    for (; !live.empty(); live.pop_back()) out.free(live.back());
  }
  return out.take();
}

Trace make_fifo() {
  TraceBuilder out("fifo", "computed");
  std::deque<std::uint32_t> live;
  for (int i = 0; i < 500'000; ++i) {
    if (live.size() == 1000) {
      out.free(live.front());
      live.pop_front();
    }
    live.push_back(out.alloc(512));
  }
  return out.take();
}

// 64 sizes, four to a doubling from 512 B to 28 MiB; each as often as any other.
Trace make_classes() {
  TraceBuilder out("classes", "computed");
  Random random(64);
  std::vector<std::uint32_t> live;
  for (int i = 0; i < 200'000; ++i) {
    if (live.size() > 1500 || (!live.empty() && random.below(2))) {
      free_one(out, live, random);
      continue;
    }
    const std::uint64_t c = random.below(64);
    live.push_back(out.alloc((4 + c % 4) * 128 << (c / 4)));
  }
  return out.take();
}

// A producer fills buffers of varying size on stream 0, a consumer on stream 1 reads them and makes results
// of its own; buffers are freed while the consumer's work is still under way.
Trace make_producer_consumer() {
  TraceBuilder out("two-streams", "computed");
  Random random(7);
  std::deque<std::uint32_t> buffers, results;
  for (int i = 0; i < 20'000; ++i) {
    buffers.push_back(out.alloc(random.size_between(256.0 * kKiB, 32.0 * kMiB), 0));
    out.use(buffers.back(), 1);
    results.push_back(out.alloc(random.size_between(4.0 * kKiB, 4.0 * kMiB), 1));
    if (buffers.size() > 4) {
      out.free(buffers.front());
      buffers.pop_front();
    }
    if (results.size() > 8) {
      out.free(results.front());
      results.pop_front();
    }
  }
  return out.take();
}

// What eight threads, each with its own mixture of sizes, ask of one stream in turn.
Trace make_eight_threads() {
  TraceBuilder out("eight-threads", "computed");
  Random random(8);
  std::array<std::vector<std::uint32_t>, 8> live;
  for (int i = 0; i < 400'000; ++i) {
    const std::size_t thread = random.below(8);
    auto& own = live[thread];
    if (own.size() > 64 || (!own.empty() && random.below(2)))
      free_one(out, own, random);
    else
      own.push_back(
          out.alloc(random.size_between(256.0, 64.0 * kKiB * std::exp2(static_cast<double>(thread)))));
  }
  return out.take();
}

// One buffer that is made anew, 3 % larger each time, from 1 to 60 GiB, beside a small one that stays.
Trace make_growth() {
  TraceBuilder out("growth", "computed");
  out.alloc(256 * kMiB);
  for (double bytes = kGiB; bytes < 60.0 * kGiB; bytes *= 1.03) {
    const std::uint32_t small = out.alloc(64 * kKiB);
    out.free(out.alloc(static_cast<std::size_t>(bytes)));
    out.free(small);
  }
  return out.take();
}

// Sizes from 1 KiB to 1 GiB, even on a logarithmic scale, freed at random, around 24 GiB; in between, phases
// that free three quarters.
Trace make_torture() {
  TraceBuilder out("torture", "computed");
  Random random(11);
  std::vector<std::uint32_t> live;
  for (int i = 0; i < 60'000; ++i) {
    if (i % 9'000 == 8'999)
      for (std::size_t n = live.size() * 3 / 4; n > 0; --n) free_one(out, live, random);
    const std::size_t bytes = random.size_between(1.0 * kKiB, 1.0 * kGiB);
    while (!live.empty() && out.live_bytes() + bytes > 24 * kGiB) free_one(out, live, random);
    live.push_back(out.alloc(bytes));
    if (live.size() > 2'000 || random.below(8) == 0) free_one(out, live, random);
  }
  return out.take();
}

}  // namespace gpunn::replay
