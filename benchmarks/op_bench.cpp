#include "benchmarks/op_bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>

#include "gpunn/core/device_api.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/philox.h"
#include "gpunn/core/tensor.h"

namespace gpunn::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kRotatedBytes = std::size_t{160} << 20;     // more than a CPU's last cache
constexpr std::size_t kRotatedBytesGpu = std::size_t{256} << 20;  // four times a GPU's
constexpr std::size_t kCacheBytes = std::size_t{1} << 20;  // rows below this are meant to stay in cache
constexpr std::int64_t kDrawn = std::int64_t{1} << 22;     // random elements per dtype; buffers hold parts

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

/// The value below which `part` of them lie.
double quantile(std::vector<double> v, double part) {
  const auto at = static_cast<std::ptrdiff_t>(std::lround(part * static_cast<double>(v.size() - 1)));
  std::nth_element(v.begin(), v.begin() + at, v.end());
  return v[static_cast<std::size_t>(at)];
}

std::size_t bytes_of(const Operand& o) { return static_cast<std::size_t>(o.elements) * size_of(o.dtype); }

/// Values in [0.25, 1): fine for logarithms, quotients and probabilities, and sums do not cancel. Integers
/// are small.
void fill_random(void* data, DType dtype, std::int64_t n, std::uint64_t seed, std::int64_t integers_below) {
  visit_dtype(dtype, [&]<class T>(T) {
    T* y = static_cast<T*>(data);
    Philox4 drawn{};
    for (std::int64_t i = 0; i < n; ++i) {
      if (i % 4 == 0) drawn = philox_at(seed, static_cast<std::uint64_t>(i / 4));
      const std::uint32_t bits = drawn.v[i % 4];
      if constexpr (std::is_integral_v<T>)
        y[i] = static_cast<T>(bits % static_cast<std::uint64_t>(integers_below));
      else
        y[i] = static_cast<T>(0.25f + 0.75f * philox_uniform(bits));
    }
  });
}

/// A multiply-add rate that the compiler vectorises for the widest unit the function is built for.
template <int kLanes>
[[gnu::always_inline]] inline double multiply_adds(std::int64_t rounds) {
  constexpr int kChains = 10;  // enough independent chains to hide the latency of two units
  float acc[kChains][kLanes];
  for (int c = 0; c < kChains; ++c)
    for (int l = 0; l < kLanes; ++l) acc[c][l] = static_cast<float>(c + l);
  for (std::int64_t r = 0; r < rounds; ++r)
    for (int c = 0; c < kChains; ++c)
#pragma GCC ivdep
      for (int l = 0; l < kLanes; ++l) acc[c][l] = acc[c][l] * 0.999f + 0.5f;
  float sum = 0;
  for (const auto& chain : acc)
    for (const float v : chain) sum += v;
  volatile float sink = sum;
  (void)sink;
  return 2.0 * kChains * kLanes * static_cast<double>(rounds);
}

#if defined(__x86_64__)
[[gnu::target("avx512f,prefer-vector-width=512"), gnu::optimize("O3", "fp-contract=fast")]] double
flops_avx512(std::int64_t rounds) {
  return multiply_adds<16>(rounds);
}
[[gnu::target("avx2,fma"), gnu::optimize("O3", "fp-contract=fast")]] double flops_avx2(std::int64_t rounds) {
  return multiply_adds<8>(rounds);
}
#endif
double flops_baseline(std::int64_t rounds) { return multiply_adds<4>(rounds); }

double run_flops(std::int64_t rounds) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return flops_avx512(rounds);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return flops_avx2(rounds);
#endif
  return flops_baseline(rounds);
}

/// Copy bandwidth of a GPU's own memory; the f32 rate of its units is not measured.
Ceilings gpu_ceilings(DeviceContext& context) {
  Ceilings best;
  if (context.api().info().emulated) return best;  // its speed is the emulator's
  constexpr std::size_t kBytes = std::size_t{256} << 20;
  constexpr int kCopies = 10;
  const Ref<Storage> from = Storage::allocate(context, kBytes), to = Storage::allocate(context, kBytes);
  for (int round = 0; round < 5; ++round) {
    const auto start = Clock::now();
    for (int i = 0; i < kCopies; ++i)
      context.api().copy(to->data(), from->data(), kBytes, CopyKind::device_to_device,
                         context.current_stream());
    context.api().synchronize_stream(context.current_stream());
    best.bytes_per_second = std::max(best.bytes_per_second, 2.0 * kCopies * kBytes / seconds_since(start));
  }
  return best;
}

}  // namespace

Ceilings measure_ceilings(DeviceContext& context) {
  Ceilings best;
  if (!context.is_cpu()) return gpu_ceilings(context);
  CpuPool& pool = context.runtime().pool();
  constexpr std::int64_t kBytes = std::int64_t{64} << 20, kChunk = std::int64_t{1} << 20, kRounds = 1 << 20;
  std::vector<char> from(kBytes, 1), to(kBytes, 2);
  for (int round = 0; round < 7; ++round) {
    auto start = Clock::now();
    parallel_for(pool, kBytes, kChunk, [&](std::int64_t begin, std::int64_t end) {
      std::memcpy(to.data() + begin, from.data() + begin, static_cast<std::size_t>(end - begin));
    });
    best.bytes_per_second = std::max(best.bytes_per_second, 2.0 * kBytes / seconds_since(start));
    start = Clock::now();
    std::vector<double> done(static_cast<std::size_t>(pool.threads()));
    pool.run(pool.threads(), [&](std::int64_t c) { done[static_cast<std::size_t>(c)] = run_flops(kRounds); });
    double flops = 0;
    for (const double d : done) flops += d;
    best.flops_per_second = std::max(best.flops_per_second, flops / seconds_since(start));
  }
  return best;
}

Bench::Bench(DeviceContext& context, Options options) : context_(context), options_(std::move(options)) {
  if (!options_.names_only && !options_.issues_only) ceilings_ = measure_ceilings(context);
}

bool Bench::on_gpu() const { return !context_.is_cpu() && !context_.api().info().emulated; }

bool Bench::late() const { return options_.budget > 0 && seconds_since(start_) > options_.budget; }

bool Bench::wanted(const std::string& op, const std::string& row) const {
  if (!options_.op.empty() && options_.op != op) return false;
  const std::string& first = options_.row;
  return first.empty() || row == first || row.starts_with(first + " ");
}

int Bench::rotations(const std::vector<Operand>& operands) const {
  std::size_t bytes = 0;
  for (const Operand& o : operands) bytes += bytes_of(o);
  if (bytes < kCacheBytes) return 1;
  return static_cast<int>(
      std::min<std::size_t>(64, (on_gpu() ? kRotatedBytesGpu : kRotatedBytes) / bytes + 1));
}

void Bench::fill(const std::vector<Operand>& operands, std::int64_t integers_below) {
  const RawStream stream = context_.current_stream();
  for (const Operand& o : operands) {
    const std::size_t bytes = bytes_of(o);
    if (bytes == 0) continue;
    void* data = context_.memory().allocate(bytes, stream);
    buffers_.emplace_back(data, bytes);
    *o.pointer = data;
    // Every buffer begins elsewhere in what was drawn; a large one repeats its part.
    const std::size_t part = static_cast<std::size_t>(std::min(o.elements, kDrawn / 2)) * size_of(o.dtype);
    const std::size_t begin = ++buffers_filled_ * 4099 % (kDrawn / 2) * size_of(o.dtype);
    const char* const from = drawn(o.dtype, integers_below).data() + begin;
    char* const to = static_cast<char*>(data);
    if (context_.is_cpu()) {
      std::memcpy(to, from, part);
      for (std::size_t done = part; done < bytes; done *= 2)
        std::memcpy(to + done, to, std::min(done, bytes - done));
      continue;
    }
    void* host = context_.pinned().allocate(part, stream);
    std::memcpy(host, from, part);
    context_.api().copy(to, host, part, CopyKind::host_to_device, stream);
    for (std::size_t done = part; done < bytes; done *= 2)
      context_.api().copy(to + done, to, std::min(done, bytes - done), CopyKind::device_to_device, stream);
    context_.api().synchronize_stream(stream);
    context_.pinned().deallocate(host, part, stream);
  }
}

const std::vector<char>& Bench::drawn(DType dtype, std::int64_t integers_below) {
  const bool floating = is_floating(dtype);
  std::vector<char>& values = drawn_[{dtype, floating ? 0 : integers_below}];
  if (values.empty()) {
    values.resize(static_cast<std::size_t>(kDrawn) * size_of(dtype));
    fill_random(values.data(), dtype, kDrawn, drawn_.size(), integers_below);
  }
  return values;
}

void Bench::release() {
  for (const auto& [data, bytes] : buffers_)
    context_.memory().deallocate(data, bytes, context_.current_stream());
  buffers_.clear();
}

Exec Bench::exec(std::size_t workspace_bytes) {
  if (workspace_bytes > 0 && (!workspace_ || workspace_->bytes() < workspace_bytes))
    workspace_ = Storage::allocate(context_, workspace_bytes);
  Exec e;
  e.stream = context_.current_stream();
  e.workspace = workspace_bytes > 0 ? workspace_->data() : nullptr;
  e.workspace_bytes = workspace_bytes;
  e.pool = &context_.runtime().pool();
  e.device = &context_;
  return e;
}

double Bench::fraction(Cost cost, double seconds) const {
  if (ceilings_.bytes_per_second <= 0) return 0;
  double floor = cost.bytes / ceilings_.bytes_per_second;
  if (ceilings_.flops_per_second > 0) floor = std::max(floor, cost.flops / ceilings_.flops_per_second);
  return floor / seconds;
}

void Bench::time(const char* op, const char* direction, const std::string& row, DType dtype, Cost cost,
                 const std::vector<Candidate>& candidates) {
  constexpr int kTurns = 9;
  const double most = 4 * options_.seconds_per_row;  // for all turns of one implementation
  const auto batch_seconds = [&](const Candidate& c, int runs) {
    const auto start = Clock::now();
    for (int i = 0; i < runs; ++i) c.run(i);
    context_.api().synchronize_device();
    return seconds_since(start);
  };
  std::vector<int> runs, turns_of;
  for (const Candidate& c : candidates) {
    double once = batch_seconds(c, 1);  // warm-up
    if (once < most) once = batch_seconds(c, 1);
    once = std::max(once, 1e-8);
    runs.push_back(static_cast<int>(std::clamp(options_.seconds_per_row / kTurns / once, 1.0, 1e6)));
    turns_of.push_back(static_cast<int>(std::clamp(most / once, 1.0, double{kTurns})));
  }
  std::vector<std::vector<double>> turns(candidates.size());
  for (int turn = 0; turn < kTurns; ++turn)
    for (std::size_t i = 0; i < candidates.size(); ++i)
      if (turn < turns_of[i]) turns[i].push_back(batch_seconds(candidates[i], runs[i]) / runs[i]);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const double seconds = quantile(turns[i], 0.5);
    results_.push_back({op, direction, row, candidates[i].name, dtype, seconds, quantile(turns[i], 0.25),
                        quantile(turns[i], 0.75), cost, fraction(cost, seconds)});
  }
}

}  // namespace gpunn::bench
