#include "gpunn/training/history.h"

#include <limits>
#include <string_view>

#include "gpunn/io/file.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"

namespace gpunn {

std::string record_line(const EpochRecord& r) {
  JsonWriter json;
  json.begin_object().field("epoch", r.epoch).field("step", r.steps).field("train_loss", r.train_loss);
  if (r.test) {
    json.field("test_loss", r.test->loss);
    if (r.test->accuracy) json.field("test_accuracy", *r.test->accuracy);
  }
  if (r.learning_rate) json.field("learning_rate", *r.learning_rate);
  json.field("seconds", r.seconds).end_object();
  return json.take();
}

std::vector<EpochRecord> read_history(const std::string& path) {
  const auto number = [](const JsonValue& value) {
    return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.as_number();
  };
  const std::string text = read_text_file(path);
  std::vector<EpochRecord> records;
  for (std::size_t begin = 0, end; (end = text.find('\n', begin)) != std::string::npos; begin = end + 1) {
    const JsonValue line = JsonValue::parse(std::string_view(text).substr(begin, end - begin), path);
    EpochRecord r;
    r.epoch = line.at("epoch").as_int();
    r.steps = line.at("step").as_int();
    r.train_loss = number(line.at("train_loss"));
    r.seconds = number(line.at("seconds"));
    if (const JsonValue* loss = line.find("test_loss")) {
      r.test.emplace();
      r.test->loss = number(*loss);
      if (const JsonValue* accuracy = line.find("test_accuracy")) r.test->accuracy = number(*accuracy);
    }
    if (const JsonValue* rate = line.find("learning_rate")) r.learning_rate = number(*rate);
    // A stopped run wrote its last epoch as far as it went; the run that went on wrote it again.
    while (!records.empty() && records.back().epoch >= r.epoch) records.pop_back();
    records.push_back(r);
  }
  return records;
}

}  // namespace gpunn
