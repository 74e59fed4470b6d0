#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"
#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kWords = {"{",  "}",     "[",        "]",        ":",    ",",
                                         "\"", "\\",    "\\u0000",  "\\ud800",  "null", "true",
                                         "-0", "1e999", "[[[[[[[[", "\"a\":1,", "\xff", std::string(1, '\0'),
                                         " "};

std::string text(Dice& dice) {
  std::string out;
  for (std::size_t i = dice.below(6); i > 0; --i) out += static_cast<char>(dice.below(256));
  return out;
}

void write_value(JsonWriter& json, Dice& dice, int depth) {
  switch (dice.below(depth > 0 ? 8 : 6)) {
    case 0:
      json.value(nullptr);
      break;
    case 1:
      json.value(dice.one_in(2));
      break;
    case 2:
      json.value(static_cast<std::int64_t>(fuzz::edge_number(dice)));
      break;
    case 3:
      json.value(fuzz::edge_number(dice));
      break;
    case 4:
      json.value(static_cast<double>(dice.bits()) / 1e10);
      break;
    case 5:
      json.value(text(dice));
      break;
    case 6:
      json.begin_array();
      for (std::size_t i = dice.below(4); i > 0; --i) write_value(json, dice, depth - 1);
      json.end_array();
      break;
    default:
      json.begin_object();
      for (std::size_t i = dice.below(4); i > 0; --i) {
        json.key(std::to_string(i) + text(dice));
        write_value(json, dice, depth - 1);
      }
      json.end_object();
  }
}

void copy(JsonWriter& json, const JsonValue& value) {
  const std::string_view kind = value.kind();
  if (value.is_null()) {
    json.value(nullptr);
  } else if (kind == "a boolean") {
    json.value(value.as_bool());
  } else if (kind == "an integer") {
    try {
      json.value(value.as_int());
    } catch (const DataError&) {
      json.value(value.as_uint());
    }
  } else if (kind == "a number") {
    json.value(value.as_number());
  } else if (kind == "a string") {
    json.value(value.as_string());
  } else if (kind == "an array") {
    json.begin_array();
    for (const JsonValue& item : value.as_array()) copy(json, item);
    json.end_array();
  } else {
    json.begin_object();
    for (const auto& [key, member] : value.as_object()) {
      json.key(key);
      copy(json, member);
    }
    json.end_object();
  }
}

TEST(FuzzJson, RefusesOrReads) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    JsonWriter json(dice.one_in(2) ? 0 : 2);
    write_value(json, dice, 5);
    document = json.take();
    const bool broken = !dice.one_in(4);
    if (broken) fuzz::mutate(document, dice, kWords);
    const JsonValue value = JsonValue::parse(document, "f");
    JsonWriter first, second;
    copy(first, value);
    const std::string once = first.take();
    copy(second, JsonValue::parse(once, "again"));
    EXPECT_EQ(second.take(), once);
    return true;
  });
}

}  // namespace
}  // namespace gpunn
