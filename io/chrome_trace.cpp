#include "gpunn/io/chrome_trace.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"

namespace gpunn {
namespace {

constexpr int kHost = 1;  // "process" of the host's threads; devices follow

const char* category(const ProfileRecord& r) {
  switch (r.kind) {
    case ProfileKind::op:
      return r.backward ? "backward" : "op";
    case ProfileKind::copy:
      return "copy";
    case ProfileKind::wait:
      return "wait";
    case ProfileKind::callback:
      return "callback";
    case ProfileKind::layer:
      return "layer";
    case ProfileKind::range:
      break;
  }
  return "range";
}

const char* words(ProfileOrder order) {
  switch (order) {
    case ProfileOrder::made:
      return "event";
    case ProfileOrder::same_stream:
      return "same stream";
    case ProfileOrder::done:
      return "done";
    case ProfileOrder::covered:
      break;
  }
  return "covered by an earlier wait";
}

// The format counts in microseconds; three decimals keep every nanosecond.
std::string microseconds(std::int64_t ns) {
  const bool negative = ns < 0;
  const auto n = static_cast<std::uint64_t>(negative ? -ns : ns);
  std::string fraction = std::to_string(1000 + n % 1000).substr(1);
  return (negative ? "-" : "") + std::to_string(n / 1000) + "." + fraction;
}

struct Row {
  int process;
  std::int64_t thread;
};

class TraceWriter {
 public:
  explicit TraceWriter(const Profile& profile) : profile_(profile) {}

  std::string write() {
    name_rows();
    for (const ProfileRecord& r : profile_.records) slices(r);
    arrows();
    for (const Profile::Memory& m : profile_.memory) counter(m);
    return out_ + "\n]\n";
  }

 private:
  JsonWriter& begin(const char* phase, Row row) {
    json_.begin_object().field("ph", phase).field("pid", row.process).field("tid", row.thread);
    return json_;
  }
  void finish() {
    out_ += out_.empty() ? "[\n" : ",\n";
    out_ += json_.end_object().take();
  }
  JsonWriter& at(std::int64_t time) { return json_.key("ts").raw(microseconds(time)); }

  void name(const char* what, Row row, const std::string& text) {
    begin("M", row).field("name", what).key("args").begin_object().field("name", text).end_object();
    finish();
  }
  void sort(const char* what, Row row, std::int64_t place) {
    begin("M", row).field("name", what).key("args").begin_object().field("sort_index", place).end_object();
    finish();
  }

  int process_of(const std::string& device) {
    const auto [at, first] = processes_.try_emplace(device, kHost + 1 + static_cast<int>(processes_.size()));
    if (first) {
      name("process_name", {at->second, 0}, device);
      sort("process_sort_index", {at->second, 0}, at->second);
    }
    return at->second;
  }

  void name_rows() {
    name("process_name", {kHost, 0}, "host");
    sort("process_sort_index", {kHost, 0}, kHost);
    for (std::size_t t = 0; t < profile_.threads.size(); ++t) {
      const Row row{kHost, static_cast<std::int64_t>(t) + 1};
      name("thread_name", row, profile_.threads[t]);
      sort("thread_sort_index", row, row.thread);
    }
    for (std::size_t s = 0; s < profile_.streams.size(); ++s) {
      const Row row{process_of(profile_.streams[s].device), static_cast<std::int64_t>(s) + 1};
      name("thread_name", row, profile_.streams[s].name);
      sort("thread_sort_index", row, row.thread);
      stream_rows_.push_back(row);
    }
  }

  Row host_row(const ProfileRecord& r) const { return {kHost, static_cast<std::int64_t>(r.thread) + 1}; }

  void arguments(const ProfileRecord& r) {
    json_.key("args").begin_object();
    if (r.layer) json_.field("layer", profile_.text(r.layer));
    if (r.entry) json_.field("implementation", profile_.text(r.entry));
    if (r.number) json_.field("issue", r.number);
    if (r.bytes) json_.field("bytes", r.bytes);
    if (r.kind == ProfileKind::copy) json_.field("pinned", r.pinned);
    if (r.skipped) json_.field("skipped", true);
    const auto list = [&](const char* key, std::span<const std::uint32_t> numbers) {
      if (!numbers.empty()) json_.field(key, std::vector<std::uint32_t>(numbers.begin(), numbers.end()));
    };
    list("reads", profile_.reads(r));
    list("writes", profile_.writes(r));
    if (r.waits > 0) {
      json_.key("waits").begin_array();
      for (const ProfileWait& w : profile_.waits_of(r))
        json_.value(profile_.streams[w.stream].name + " " + std::to_string(w.number) + ": " + words(w.order));
      json_.end_array();
    }
    json_.end_object();
  }

  void slice(const ProfileRecord& r, Row row, std::int64_t from, std::int64_t to) {
    begin("X", row).field("name", profile_.label(r)).field("cat", category(r));
    at(from).key("dur").raw(microseconds(std::max<std::int64_t>(to - from, 0)));
    arguments(r);
    finish();
  }

  void slices(const ProfileRecord& r) {
    slice(r, host_row(r), r.begin, r.end);
    if (!r.timed) return;
    const Row row = stream_rows_[r.stream];
    slice(r, row, r.device_begin, r.device_end);
    arrow("issue", host_row(r), r.begin, row, r.device_begin);
  }

  // An arrow starts inside the slice that it leaves and ends at the beginning of the one it leads to.
  void arrow(const char* what, Row from, std::int64_t leaves, Row to, std::int64_t arrives) {
    ++arrows_;
    begin("s", from).field("name", what).field("cat", what).field("id", arrows_);
    at(leaves);
    finish();
    begin("f", to).field("name", what).field("cat", what).field("id", arrows_).field("bp", "e");
    at(arrives);
    finish();
  }

  void arrows() {
    // Timed work by stream and number.
    std::map<std::pair<std::uint32_t, std::uint64_t>, const ProfileRecord*> work;
    for (const ProfileRecord& r : profile_.records)
      if (r.timed) work[{r.stream, r.number}] = &r;
    for (const ProfileRecord& r : profile_.records) {
      if (!r.timed) continue;
      for (const ProfileWait& w : profile_.waits_of(r)) {
        if (w.order != ProfileOrder::made) continue;
        // The last work up to that number: a join gets a number of its own.
        auto before = work.upper_bound({w.stream, w.number});
        if (before == work.begin() || (--before)->first.first != w.stream) continue;
        const ProfileRecord& b = *before->second;
        arrow("wait", stream_rows_[b.stream], std::max(b.device_begin, b.device_end - 1),
              stream_rows_[r.stream], r.device_begin);
      }
    }
  }

  void counter(const Profile::Memory& m) {
    const std::string& device = profile_.text(m.device);
    begin("C", {device == "cpu" ? kHost : process_of(device), 0}).field("name", "memory of " + device);
    at(m.time).key("args").begin_object().field("live", m.live);
    json_.field("reserved but free", m.reserved - std::min(m.live, m.reserved)).end_object();
    finish();
  }

  const Profile& profile_;
  JsonWriter json_;
  std::string out_;
  std::map<std::string, int> processes_;
  std::vector<Row> stream_rows_;
  std::uint64_t arrows_ = 0;
};

}  // namespace

std::string chrome_trace(const Profile& profile) { return TraceWriter(profile).write(); }

void write_chrome_trace(const std::string& path, const Profile& profile) {
  write_file_atomic(path, chrome_trace(profile));
}

}  // namespace gpunn
