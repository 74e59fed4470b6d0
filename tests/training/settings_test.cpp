// Settings: one table, from which flags, JSON and messages derive.
#include "gpunn/training/settings.h"

#include <gtest/gtest.h>

#include <string>

#include "gpunn/core/error.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"

namespace gpunn {
namespace {

struct Sample : Settings {
  bool fast = false;
  std::int64_t batch_size = 64;
  std::uint64_t seed = 0;
  double lr = 0.1;
  std::string init = "he";
  std::vector<Field> fields() override {
    return {{"fast", &fast, "be quick"},
            {"batch_size", &batch_size, "rows", 1, 4096},
            {"seed", &seed, "seed"},
            {"lr", &lr, "rate", 0},
            {.name = "init", .value = &init, .help = "values", .choices = {"he", "xavier", "zeros"}}};
  }
};

template <class E, class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const E& e) {
    return e.what();
  }
  return "no error";
}

std::string set_error(int field, std::string_view text) {
  Sample s;
  return message_of<InvalidArgument>([&] { set_field(s.fields()[static_cast<std::size_t>(field)], text); });
}

TEST(SettingsTest, SetsFromText) {
  Sample s;
  const std::vector<Field> fields = s.fields();
  set_field(fields[0], "true");
  set_field(fields[1], "128");
  set_field(fields[2], "18446744073709551615");
  set_field(fields[3], "1e-3");
  set_field(fields[4], "zeros");
  EXPECT_TRUE(s.fast);
  EXPECT_EQ(s.batch_size, 128);
  EXPECT_EQ(s.seed, 18446744073709551615u);
  EXPECT_EQ(s.lr, 1e-3);
  EXPECT_EQ(s.init, "zeros");
  EXPECT_EQ(field_text(fields[3]), "0.001");
  EXPECT_EQ(flag_of(fields[1]), "--batch-size");
  EXPECT_EQ(field_metavar(fields[4]), "he|xavier|zeros");
}

TEST(SettingsTest, SaysWhatWasExpected) {
  EXPECT_EQ(set_error(0, "yes"), "--fast: expected true or false, got 'yes'");
  EXPECT_EQ(set_error(1, "0"), "--batch-size: expected an integer in 1..4096, got '0'");
  EXPECT_EQ(set_error(1, "12x"), "--batch-size: expected an integer in 1..4096, got '12x'");
  EXPECT_EQ(set_error(1, "1.5"), "--batch-size: expected an integer in 1..4096, got '1.5'");
  EXPECT_EQ(set_error(1, "99999999999999999999"),
            "--batch-size: expected an integer in 1..4096, got '99999999999999999999'");
  EXPECT_EQ(set_error(2, "-1"), "--seed: expected an integer of at least 0, got '-1'");
  EXPECT_EQ(set_error(3, "-0.5"), "--lr: expected a number of at least 0, got '-0.5'");
  EXPECT_EQ(set_error(3, "nan"), "--lr: expected a number of at least 0, got 'nan'");
  EXPECT_EQ(set_error(3, "inf"), "--lr: expected a number of at least 0, got 'inf'");
  EXPECT_EQ(set_error(3, ""), "--lr: expected a number of at least 0, got ''");
  EXPECT_EQ(set_error(4, "she"), "--init: expected he, xavier or zeros, got 'she'");
}

TEST(SettingsTest, JsonRoundTrip) {
  Sample from, into;
  from.fast = true;
  from.lr = 0.30000000000000004;
  from.seed = 18446744073709551615u;
  from.init = "xavier";
  JsonWriter json;
  write_settings(json, from);
  const std::string text = json.take();
  read_settings(into, JsonValue::parse(text, "config.json"));
  EXPECT_TRUE(into.fast);
  EXPECT_EQ(into.lr, from.lr);
  EXPECT_EQ(into.seed, from.seed);
  EXPECT_EQ(into.init, "xavier");
  read_settings(into, JsonValue::parse(R"({"batch_size": 7, "lr": 1})", "config.json"));
  EXPECT_EQ(into.batch_size, 7);
  EXPECT_EQ(into.lr, 1);
  EXPECT_EQ(into.init, "xavier") << "absent keys keep their value";
}

TEST(SettingsTest, BadJsonNamesFileAndKey) {
  const auto error = [](std::string_view text) {
    Sample s;
    return message_of<DataError>([&] { read_settings(s, JsonValue::parse(text, "config.json")); });
  };
  for (const char* text :
       {"", "[]", "3", "{", R"({"lr": })", R"({"lr": "0.1"})", R"({"fast": 1})", R"({"lr": null})",
        R"({"batch_size": 1.5})", R"({"batch_size": 0})", R"({"init": "she"})", R"({"init": {}})",
        R"({"lr": 1, "lr": 2})", R"({"seed": -1})"})
    EXPECT_EQ(error(text).rfind("config.json: ", 0), 0u) << text << " gave " << error(text);
  EXPECT_NE(error(R"({"batchsize": 3})").find("did you mean 'batch_size'?"), std::string::npos);
}

TEST(NearestNameTest, FindsMistypes) {
  const std::vector<std::string> names = {"fashion-mlp", "fashion-logistic", "mnist-mlp", "xor"};
  EXPECT_EQ(nearest_name("fashon-mlp", names), "fashion-mlp");
  EXPECT_EQ(nearest_name("mnsit-mlp", names), "mnist-mlp");
  EXPECT_EQ(nearest_name("xro", names), "xor");
  EXPECT_EQ(nearest_name("resnet", names), "");
  EXPECT_EQ(nearest_name("fashion", names), "");
}

}  // namespace
}  // namespace gpunn
