#include "gpunn/training/tuning_file.h"

#include <algorithm>
#include <utility>

#include "gpunn/core/build_info.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/sha256.h"

namespace gpunn {
namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{64} << 20;

std::string device_name(Device device) { return device.context().api().info().name; }

void check_equal(const std::string& path, const char* what, const std::string& file,
                 const std::string& here) {
  if (file == here) return;
  detail::throw_data(detail::concat(path, " was measured with ", what, " '", file, "', here it is '", here,
                                    "': run gpunn autotune again"));
}

TuningRow parse_row(const JsonValue& json) {
  TuningRow row{json.at("key").as_string(), {}};
  if (row.key.empty()) json.at("key").fail("expected the key of a problem, got an empty one");
  for (const JsonValue& item : json.at("order").as_array()) {
    const std::string& name = item.at("implementation").as_string();
    const auto same = [&](const TuningTime& t) { return t.implementation == name; };
    if (name.empty() || std::any_of(row.order.begin(), row.order.end(), same))
      item.fail("expected each implementation once, with its name");
    const double seconds = item.at("seconds").as_number();
    if (!(seconds >= 0)) item.at("seconds").fail("expected seconds");
    row.order.push_back({name, seconds});
  }
  if (row.order.empty()) json.at("order").fail("expected at least one implementation");
  return row;
}

TuningTable parse(std::string_view text, const std::string& path, Device device, int threads) {
  const JsonValue json = JsonValue::parse(text, path);
  check_equal(path, "gpunn", json.at("gpunn").as_string(), build_info().version);
  check_equal(path, "device", json.at("device").as_string(), device_name(device));
  const std::int64_t measured = json.at("threads").as_int();
  if (device.is_cpu()) check_equal(path, "threads", std::to_string(measured), std::to_string(threads));
  TuningTable table;
  for (const JsonValue& item : json.at("rows").as_array()) {
    TuningRow row = parse_row(item);
    if (table.find(row.key)) item.fail("expected each key once");
    table.set(std::move(row));
  }
  return table;
}

}  // namespace

std::string to_json(const TuningTable& table, Device device, int threads) {
  JsonWriter json(2);
  json.begin_object().field("gpunn", build_info().version).field("device", device_name(device));
  json.field("threads", threads).key("rows").begin_array();
  for (const TuningRow* row : table.rows()) {
    const std::size_t op = row->key.find(' '), direction = row->key.find(' ', op + 1);
    json.begin_object().field("key", row->key).field("op", row->key.substr(0, op));
    json.field("direction", row->key.substr(op + 1, direction - op - 1)).key("order").begin_array();
    for (const TuningTime& time : row->order)
      json.begin_object()
          .field("implementation", time.implementation)
          .field("seconds", time.seconds)
          .end_object();
    json.end_array().end_object();
  }
  return json.end_array().end_object().take() + "\n";
}

TuningTable read_tuning(const std::string& path, Device device, int threads) {
  return parse(read_text_file(path, kMaxBytes), path, device, threads);
}

void use_tuning(const std::string& path, Device device, int threads) {
  // Read once: the digest is of what is used.
  const std::string text = read_text_file(path, kMaxBytes);
  install_tuning(device.context(), parse(text, path, device, threads), sha256_hex(as_bytes(text)));
}

}  // namespace gpunn
