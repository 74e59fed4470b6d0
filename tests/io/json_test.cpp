#include <cmath>
#include <cstring>
#include <limits>

#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using testing::expect_data_error;

TEST(JsonWriter, WritesOneLine) {
  JsonWriter json;
  json.begin_object().field("name", "a\"b").field("n", 3).field("x", 0.1).field("f", 0.1f).field("ok", true);
  json.key("list").value(std::vector<int>{1, 2}).key("empty").begin_array().end_array();
  json.key("inner").begin_object().end_object().key("none").value(nullptr).end_object();
  EXPECT_EQ(
      json.take(),
      R"({"name":"a\"b","n":3,"x":0.1,"f":0.1,"ok":true,"list":[1,2],"empty":[],"inner":{},"none":null})");
  EXPECT_EQ(json.value(std::uint64_t{18'446'744'073'709'551'615u}).take(), "18446744073709551615");
}

TEST(JsonWriter, Indents) {
  JsonWriter json(2);
  json.begin_object().field("a", 1).key("b").begin_array().value(2).value("x").end_array().end_object();
  EXPECT_EQ(json.take(), "{\n  \"a\": 1,\n  \"b\": [\n    2,\n    \"x\"\n  ]\n}");
  EXPECT_THROW(JsonWriter(-1), InvalidArgument);
}

TEST(JsonWriter, NumbersReadBackAsTheyWere) {
  for (const double value :
       {0.0, -0.0, 1.0, 0.1, 1e300, -5e-324, 1.7976931348623157e308, 123456789.123, 1e21}) {
    const double back = JsonValue::parse(json_number(value), "f").as_number();
    EXPECT_EQ(std::memcmp(&back, &value, sizeof value), 0) << json_number(value);
  }
  EXPECT_EQ(json_number(0.1f), "0.1");
  EXPECT_EQ(json_number(16'777'216.0f), "16777216");
  EXPECT_EQ(json_number(std::nan("")), "null");
  EXPECT_EQ(json_number(std::numeric_limits<double>::infinity()), "null");
  EXPECT_EQ(json_number(-std::numeric_limits<float>::infinity()), "null");
}

TEST(JsonWriter, StringsAreAlwaysValid) {
  EXPECT_EQ(json_quote("tab\t line\n nul" + std::string(1, '\0') + "\x1f\x7f/"),
            "\"tab\\t line\\n nul\\u0000\\u001f\\u007f/\"");
  EXPECT_EQ(json_quote("é€𝄞"), "\"é€𝄞\"");
  // Stray continuation, overlong form, surrogate, past U+10FFFF, cut sequence.
  EXPECT_EQ(json_quote("\x80"), "\"\xef\xbf\xbd\"");
  for (const std::string_view bad :
       {"\xc0\xaf", "\xe0\x80\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\xff"}) {
    const std::string quoted = json_quote(bad);
    EXPECT_NO_THROW(JsonValue::parse(quoted, "f")) << quoted;
    EXPECT_NE(quoted.find("\xef\xbf\xbd"), std::string::npos);
  }
  for (int c = 0; c < 256; ++c) {
    const std::string text = "a" + std::string(1, static_cast<char>(c)) + "b";
    const std::string back = JsonValue::parse(json_quote(text), "f").as_string();
    EXPECT_EQ(back, c < 128 ? text
                            : "a\xef\xbf\xbd"
                              "b")
        << c;
  }
}

TEST(JsonWriter, MisuseThrows) {
  EXPECT_THROW(JsonWriter().take(), InvalidArgument);
  EXPECT_THROW(JsonWriter().end_object(), InvalidArgument);
  EXPECT_THROW(JsonWriter().key("a"), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_object().value(1), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_object().end_array(), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_object().key("a").end_object(), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_object().key("a").key("b"), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_array().key("a"), InvalidArgument);
  EXPECT_THROW(JsonWriter().begin_array().take(), InvalidArgument);
  EXPECT_THROW(JsonWriter().value(1).value(2), InvalidArgument);
}

TEST(JsonValue, ReadsEveryKind) {
  const JsonValue v = JsonValue::parse(
      R"( {"i": -5, "u": 18446744073709551615, "x": 1.5e2, "s": "\u00e9\n", "b": true, "n": null, "a": [1, [2]]} )",
      "f");
  EXPECT_EQ(v.at("i").as_int(), -5);
  EXPECT_EQ(v.at("i").as_number(), -5.0);
  EXPECT_EQ(v.at("u").as_uint(), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(v.at("x").as_number(), 150.0);
  EXPECT_EQ(v.at("s").as_string(), "é\n");
  EXPECT_TRUE(v.at("b").as_bool());
  EXPECT_TRUE(v.at("n").is_null());
  EXPECT_EQ(v.at("a").as_array().at(1).as_array().at(0).as_uint(), 2u);
  EXPECT_EQ(v.find("none"), nullptr);
  EXPECT_EQ(v.as_object().front().first, "i");
  EXPECT_EQ(v.as_object().size(), 7u);
}

TEST(JsonValue, WrongKindsNameThePlace) {
  const JsonValue v = JsonValue::parse(
      R"({"epochs": "ten", "lr": 0.5, "seed": -1, "big": 9223372036854775808})", "config.json");
  expect_data_error([&] { v.at("epochs").as_int(); },
                    {"config.json: expected an integer", "offset 16, got a string"});
  expect_data_error([&] { v.at("lr").as_int(); }, {"got a number"});
  expect_data_error([&] { v.at("seed").as_uint(); }, {"without sign"});
  expect_data_error([&] { v.at("big").as_int(); }, {"with sign"});
  expect_data_error([&] { v.at("lr").as_bool(); }, {"expected true or false"});
  expect_data_error([&] { v.at("lr").as_string(); }, {"expected a string"});
  expect_data_error([&] { v.at("lr").as_array(); }, {"expected an array"});
  expect_data_error([&] { v.at("lr").find("x"); }, {"expected an object"});
  expect_data_error([&] { v.as_number(); }, {"expected a number", "got an object"});
  expect_data_error([&] { v.at("steps"); }, {"expected a member 'steps'"});
  expect_data_error([&] { v.at("lr").fail("expected at most 0.1"); },
                    {"config.json: expected at most 0.1 at offset"});
}

TEST(JsonValue, MalformedTextIsRefused) {
  const std::vector<std::string> cases = {"",
                                          " ",
                                          "{",
                                          "}",
                                          "[",
                                          "]",
                                          "{]",
                                          "[1,]",
                                          "[,1]",
                                          "[1 2]",
                                          "{\"a\"}",
                                          "{\"a\":}",
                                          "{\"a\":1,}",
                                          "{a:1}",
                                          "{'a':1}",
                                          "{1:2}",
                                          "{\"a\":1 \"b\":2}",
                                          "nul",
                                          "True",
                                          "NaN",
                                          "Infinity",
                                          "-",
                                          "+1",
                                          "01",
                                          "1.",
                                          ".5",
                                          "1e",
                                          "0x1",
                                          "1e999",
                                          "\"",
                                          "\"\\x\"",
                                          "\"\\u12\"",
                                          "\"\\ud800\"",
                                          "\"\\udc00\"",
                                          "\"\t\"",
                                          "\"\xff\"",
                                          "\"\xc0\x80\"",
                                          "1 2",
                                          "{} {}",
                                          "[1] x",
                                          "// c\n1",
                                          "/* */1",
                                          std::string("1\0", 2),
                                          std::string("\"a\0b\"", 5),
                                          std::string("{}\0garbage", 10),
                                          "{\"a\":1,\"a\":2}",
                                          "{\"\\u0061\":1,\"a\":2}",
                                          "[[{\"x\":{\"y\":1,\"y\":1}}]]",
                                          std::string(65, '[') + std::string(65, ']')};
  for (const std::string& text : cases) {
    expect_data_error([&] { JsonValue::parse(text, "f.json"); }, {"f.json: ", "at offset"}, text);
  }
  EXPECT_NO_THROW(JsonValue::parse(std::string(64, '[') + std::string(64, ']'), "f"));
}

TEST(JsonValue, TruncationAtEveryByteIsRefused) {
  const std::string text = R"({"a": [1, -2.5e3, true, null], "b": {"c": "\u00e9\\"}})";
  ASSERT_NO_THROW(JsonValue::parse(text, "f"));
  for (std::size_t size = 0; size < text.size(); ++size) {
    expect_data_error([&] { JsonValue::parse(text.substr(0, size), "f"); }, {"at offset"},
                      text.substr(0, size));
  }
}

TEST(JsonValue, DocumentsAreBounded) {
  expect_data_error([] { JsonValue::parse(std::string(1'000'000, '['), "f"); }, {"nested at most 64 deep"});
  std::string many = "[0";
  for (int i = 0; i < 300'000; ++i) many += ",0";
  expect_data_error([&] { JsonValue::parse(many + "]", "f"); }, {"at most 250000 JSON values"});
  expect_data_error([] { JsonValue::parse('"' + std::string(5 << 20, 'a') + '"', "f"); },
                    {"strings of at most"});
  expect_data_error([] { JsonValue::parse(std::string(2000, '1'), "f"); },
                    {"at most 1024 digits", "offset 1024"});
  expect_data_error([] { JsonValue::parse("[1,2,3]", "f", {.max_values = 3}); }, {"at most 3 JSON values"});
  const testing::TemporaryFolder folder;
  testing::put_file(folder.file("a.json"), "[1, 2]");
  EXPECT_EQ(JsonValue::read(folder.file("a.json")).as_array().size(), 2u);
  expect_data_error([&] { JsonValue::read(folder.file("a.json"), {.max_bytes = 5}); }, {"at most 5 bytes"});
}

}  // namespace
}  // namespace gpunn
