#include "gpunn/training/settings.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/io/json_value.h"
#include "gpunn/io/json_writer.h"

namespace gpunn {

namespace {

// One call operator per type of field value.
template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <class... F>
Overloaded(F...) -> Overloaded<F...>;

std::string range_text(const Field& field) {
  if (std::isfinite(field.min) && std::isfinite(field.max))
    return detail::concat(" in ", field.min, "..", field.max);
  if (std::isfinite(field.min)) return detail::concat(" of at least ", field.min);
  if (std::isfinite(field.max)) return detail::concat(" of at most ", field.max);
  return "";
}

// "he, xavier or zeros".
std::string choices_text(const std::vector<std::string>& choices) {
  std::string text;
  for (std::size_t i = 0; i < choices.size(); ++i)
    text += (i == 0 ? "" : i + 1 < choices.size() ? ", " : " or ") + choices[i];
  return text;
}

// What a value must be, for messages.
std::string expectation(const Field& field) {
  return std::visit(
      Overloaded{[](bool*) -> std::string { return "true or false"; },
                 [&](std::int64_t*) { return "an integer" + range_text(field); },
                 [](std::uint64_t*) { return std::string("an integer of at least 0"); },
                 [&](double*) { return "a number" + range_text(field); },
                 [&](std::string*) { return field.choices.empty() ? "text" : choices_text(field.choices); }},
      field.value);
}

template <class T>
bool parse_number(std::string_view text, T& out) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return false;
  out = value;
  return true;
}

// NaN fails both comparisons; infinities are no setting either.
template <class T>
bool assign_number(const Field& field, std::string_view text, T* out) {
  T value{};
  if (!parse_number(text, value)) return false;
  const double as_double = static_cast<double>(value);
  if (!(as_double >= field.min && as_double <= field.max) || !std::isfinite(as_double)) return false;
  *out = value;
  return true;
}

// False when `text` is not a value of the field, which then keeps its own.
bool assign(const Field& field, std::string_view text) {
  return std::visit(
      Overloaded{[&](bool* out) {
                   if (text != "true" && text != "false") return false;
                   *out = text == "true";
                   return true;
                 },
                 [&](std::string* out) {
                   if (!field.choices.empty() &&
                       std::find(field.choices.begin(), field.choices.end(), text) == field.choices.end())
                     return false;
                   *out = text;
                   return true;
                 },
                 [&](auto* out) { return assign_number(field, text, out); }},
      field.value);
}

}  // namespace

Settings::~Settings() = default;

std::string flag_of(const Field& field) {
  std::string flag = "--" + field.name;
  std::replace(flag.begin(), flag.end(), '_', '-');
  return flag;
}

void set_field(const Field& field, std::string_view text) {
  if (!assign(field, text))
    throw InvalidArgument(flag_of(field) + ": expected " + expectation(field) + ", got '" +
                          std::string(text) + "'");
}

std::string field_text(const Field& field) {
  return std::visit(Overloaded{[](bool* v) { return std::string(*v ? "true" : "false"); },
                               [](std::string* v) { return *v; }, [](double* v) { return json_number(*v); },
                               [](auto* v) { return std::to_string(*v); }},
                    field.value);
}

std::string field_metavar(const Field& field) {
  if (!field.metavar.empty()) return field.metavar;
  return std::visit(Overloaded{[](bool*) { return std::string(); }, [](double*) { return std::string("X"); },
                               [&](std::string*) {
                                 std::string text;
                                 for (const std::string& choice : field.choices)
                                   text += (text.empty() ? "" : "|") + choice;
                                 return text.empty() ? std::string("TEXT") : text;
                               },
                               [](auto*) { return std::string("N"); }},
                    field.value);
}

void write_settings(JsonWriter& json, Settings& settings) {
  json.begin_object();
  for (const Field& field : settings.fields())
    std::visit([&](auto* value) { json.field(field.name, *value); }, field.value);
  json.end_object();
}

void read_settings(Settings& settings, const JsonValue& json) {
  const std::vector<Field> fields = settings.fields();
  for (const auto& [key, value] : json.as_object()) {
    const auto found =
        std::find_if(fields.begin(), fields.end(), [&](const Field& f) { return f.name == key; });
    if (found == fields.end()) {
      std::vector<std::string> names;
      for (const Field& f : fields) names.push_back(f.name);
      const std::string near = nearest_name(key, names);
      value.fail("unknown setting '" + key + "'" + (near.empty() ? "" : ", did you mean '" + near + "'?"));
    }
    const std::string text =
        std::visit(Overloaded{[&](bool*) { return std::string(value.as_bool() ? "true" : "false"); },
                              [&](std::int64_t*) { return std::to_string(value.as_int()); },
                              [&](std::uint64_t*) { return std::to_string(value.as_uint()); },
                              [&](double*) { return json_number(value.as_number()); },
                              [&](std::string*) { return value.as_string(); }},
                   found->value);
    if (!assign(*found, text)) value.fail(key + ": expected " + expectation(*found) + ", got " + text);
  }
}

std::string nearest_name(std::string_view word, const std::vector<std::string>& candidates) {
  // Optimal string alignment distance, three rows at a time.
  const auto distance = [](std::string_view a, std::string_view b) {
    std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
      row[0] = i;
      for (std::size_t j = 1; j <= b.size(); ++j) {
        row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
          row[j] = std::min(row[j], before[j - 2] + 1);
      }
      std::swap(before, above);
      std::swap(above, row);
    }
    return above[b.size()];
  };
  std::string best;
  std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    const std::size_t d = distance(word, candidate);
    if (d < least) {
      least = d;
      best = candidate;
    }
  }
  return best;
}

}  // namespace gpunn
