// Replays traces of allocations: reserved memory against live, calls of the device, time per operation.
//
//   alloc_replay [TRACE...] [--device-gib N] [--lag N] [--threads N] [--rounds N] [--of DEVICE]
//                [--allocators caching,torch,...] [--json] [--list]
//
// A TRACE is a file that GPUNN_MEMORY_TRACE recorded (plain or gzip), or the name of one that is made here;
// without any, all of the latter. Ours and a simulation of PyTorch's run on a device of arithmetic, so that
// any size can be asked for; the host's allocators use real memory. Rows say how long one allocation or
// deallocation takes when the allocator is warm (the replay's own work, some 5 ns, included); with --threads
// each thread replays the trace for itself on the same allocator. --of picks the device of a recorded trace.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "benchmarks/replay/replay.h"
#include "gpunn/core/detail/bytes.h"
#include "gpunn/core/error.h"
#include "gpunn/io/json_writer.h"

namespace {

using namespace gpunn;
using replay::ReplayResult;
using replay::Trace;

struct Arguments {
  std::vector<std::string> traces;
  std::vector<std::string> allocators = replay::allocator_names();
  replay::ReplayOptions options;
  std::string device;
  bool json = false, list = false;
};

[[noreturn]] void usage() {
  std::fputs(
      "usage: alloc_replay [TRACE...] [--device-gib N] [--lag N] [--threads N] [--rounds N] [--of DEVICE]\n"
      "                    [--allocators caching,torch,host,malloc] [--json] [--list]\n",
      stderr);
  std::exit(2);
}

int whole_number(const char* text, int least, int most) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*text == '\0' || *end != '\0' || value < least || value > most) usage();
  return static_cast<int>(value);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    out.emplace_back(text.substr(0, comma));
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
  }
  return out;
}

Arguments parse(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with("--")) {
      a.traces.emplace_back(word);
    } else if (word == "--json") {
      a.json = true;
    } else if (word == "--list") {
      a.list = true;
    } else {
      if (i + 1 == argc) usage();
      const char* value = argv[++i];
      if (word == "--device-gib")
        a.options.device_bytes = static_cast<std::size_t>(whole_number(value, 1, 1 << 20)) << 30;
      else if (word == "--lag")
        a.options.lag = static_cast<std::uint64_t>(whole_number(value, 0, 1 << 30));
      else if (word == "--threads")
        a.options.threads = whole_number(value, 1, 256);
      else if (word == "--rounds")
        a.options.rounds = whole_number(value, 1, 1000);
      else if (word == "--of")
        a.device = value;
      else if (word == "--allocators")
        a.allocators = split(value);
      else
        usage();
    }
  }
  if (a.traces.empty()) a.traces = replay::made_trace_names();
  return a;
}

Trace load(const std::string& name, const std::string& device) {
  const auto made = replay::made_trace_names();
  if (std::find(made.begin(), made.end(), name) != made.end()) return replay::make_trace(name);
  return replay::read_trace(name, device);
}

void print_trace(const Trace& trace) {
  std::printf("%s (%s): %zu events, %u streams, peak live %s, largest %s\n", trace.name.c_str(),
              trace.origin.c_str(), trace.events.size(), trace.streams,
              detail::bytes_text(trace.peak_live_bytes).c_str(),
              detail::bytes_text(trace.largest_bytes).c_str());
}

void print_row(const ReplayResult& r) {
  if (!r.skipped.empty()) {
    std::printf("  %-8s  not run: %s\n", r.allocator.c_str(), r.skipped.c_str());
  } else if (r.peak_reserved_bytes == 0) {
    std::printf("  %-8s  %12s %10s %10s %8s %9.1f ns\n", r.allocator.c_str(), "-", "-", "-", "-",
                r.nanoseconds);
  } else {
    std::printf("  %-8s  %12s %10.4f %10llu %8llu %9.1f ns%s\n", r.allocator.c_str(),
                detail::bytes_text(r.peak_reserved_bytes).c_str(), r.ratio(),
                static_cast<unsigned long long>(r.device_allocations),
                static_cast<unsigned long long>(r.waits), r.nanoseconds, r.leaked_bytes ? "  LEAKED" : "");
  }
}

void write_trace(JsonWriter& json, const Trace& trace, const std::vector<ReplayResult>& results) {
  json.begin_object().field("trace", trace.name).field("origin", trace.origin);
  json.field("events", trace.events.size()).field("streams", trace.streams);
  json.field("peak_live_bytes", trace.peak_live_bytes).field("largest_bytes", trace.largest_bytes);
  json.key("allocators").begin_array();
  for (const ReplayResult& r : results) {
    json.begin_object().field("allocator", r.allocator);
    if (!r.skipped.empty()) {
      json.field("skipped", r.skipped).end_object();
      continue;
    }
    if (r.peak_reserved_bytes > 0) {
      json.field("peak_reserved_bytes", r.peak_reserved_bytes).field("ratio", r.ratio());
      json.field("device_allocations", r.device_allocations).field("waits", r.waits);
    }
    json.field("ns_per_operation", r.nanoseconds).field("leaked_bytes", r.leaked_bytes).end_object();
  }
  json.end_array().end_object();
}

int run(const Arguments& a) {
  JsonWriter json(2);
  json.begin_object().field("device_bytes", a.options.device_bytes).field("lag", a.options.lag);
  json.field("threads", a.options.threads).key("traces").begin_array();
  bool leaked = false;
  if (!a.json && !a.list)
    std::printf("  %-8s  %12s %10s %10s %8s %12s\n", "", "reserved", "/ live", "dev allocs", "waits",
                "per op");
  for (const std::string& name : a.traces) {
    const Trace trace = load(name, a.device);
    if (!a.json) print_trace(trace);
    std::vector<ReplayResult> results;
    if (!a.list)
      for (const std::string& allocator : a.allocators) {
        results.push_back(replay::replay(trace, allocator, a.options));
        leaked = leaked || results.back().leaked_bytes > 0;
        if (!a.json) print_row(results.back());
        std::fflush(stdout);
      }
    write_trace(json, trace, results);
  }
  if (a.json) std::puts(json.end_array().end_object().take().c_str());
  return leaked ? 1 : 0;
}

}  // namespace

int main(int argc, char** argv) try { return run(parse(argc, argv)); } catch (const gpunn::Error& e) {
  std::fprintf(stderr, "alloc_replay: %s\n", e.what());
  return 1;
}
