#include "arguments.h"

#include <algorithm>
#include <cstdlib>
#include <deque>

#include <CLI/CLI.hpp>

#include "gpunn/core/error.h"
#include "gpunn/io/json_writer.h"

namespace gpunn::tool {

namespace {

// One line of the help: "  --lr X   learning rate [0.01]"; a heading has no flags.
struct HelpRow {
  std::string left, right;
};

struct SettingFlag {
  Field field;
  CLI::Option* option;
  std::string text;  // as given
  bool on = false;   // of a switch
};

std::string table(const std::vector<HelpRow>& rows) {
  constexpr std::size_t kMaxLeft = 28;
  std::size_t width = 0;
  for (const HelpRow& row : rows)
    if (row.left.size() <= kMaxLeft) width = std::max(width, row.left.size());
  std::string out;
  for (const HelpRow& row : rows) {
    out += "  " + row.left;
    out += row.left.size() > width ? "\n" + std::string(width + 4, ' ')
                                   : std::string(width - row.left.size() + 2, ' ');
    out += row.right + "\n";
  }
  return out;
}

}  // namespace

double parse_number(const char* flag, const std::string& text, double least, double most) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (text.empty() || *end != '\0' || !(value >= least && value <= most))
    throw UsageError(std::string(flag) + ": expected a number from " + json_number(least) + " to " +
                     json_number(most) + ", got '" + text + "'");
  return value;
}

struct Arguments::State {
  CLI::App app;
  std::string usage, summary, footer;
  std::vector<std::string> examples;
  std::vector<HelpRow> positionals, options, settings, common;
  std::string settings_heading;
  std::vector<std::string> names;         // long flags, for suggestions
  std::deque<SettingFlag> setting_flags;  // stable addresses for CLI11
  bool help = false;

  void note(const std::string& flags) {
    const std::size_t at = flags.find("--");
    if (at != std::string::npos) names.push_back(flags.substr(at, flags.find(',', at) - at));
  }
};

Arguments::Arguments(std::string usage, std::string summary, std::vector<std::string> examples)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.usage = std::move(usage);
  s.summary = std::move(summary);
  s.examples = std::move(examples);
  s.app.set_help_flag();  // ours prints examples first
  s.app.allow_extras();   // looked at in parse(), to suggest the nearest name
  s.app.add_flag("-h,--help", s.help);
  s.note("--help");
}

Arguments::~Arguments() = default;

namespace {
std::string left_of(std::string flags, const std::string& metavar) {
  for (std::size_t at = flags.find(','); at != std::string::npos; at = flags.find(',', at + 2))
    flags.insert(at + 1, " ");
  return metavar.empty() ? flags : flags + " " + metavar;
}
}  // namespace

void Arguments::flag(const std::string& names, bool& out, const std::string& help) {
  state_->app.add_flag(names, out);
  state_->note(names);
  state_->options.push_back({left_of(names, ""), help});
}

void Arguments::option(const std::string& names, std::string& out, const std::string& metavar,
                       const std::string& help) {
  state_->app.add_option(names, out)->take_last();
  state_->note(names);
  state_->options.push_back({left_of(names, metavar), help});
}

void Arguments::option_if_given(const std::string& names, std::string& out, bool& given,
                                const std::string& metavar, const std::string& help) {
  state_->app
      .add_option_function<std::string>(names,
                                        [&out, &given](const std::string& text) {
                                          out = text;
                                          given = true;
                                        })
      ->take_last();
  state_->note(names);
  state_->options.push_back({left_of(names, metavar), help});
}

void Arguments::list(const std::string& names, std::vector<std::string>& out, const std::string& metavar,
                     const std::string& help) {
  // One value each time: what follows it is no second one.
  state_->app.add_option(names, out)->allow_extra_args(false);
  state_->note(names);
  state_->options.push_back({left_of(names, metavar), help});
}

void Arguments::flag_with_value(const std::string& name, std::string& out, const std::string& implied,
                                const std::string& metavar, const std::string& help) {
  state_->app.add_flag(name + "{" + implied + "}", out)->take_last();
  state_->note(name);
  state_->options.push_back({name + "[=" + metavar + "]", help});
}

void Arguments::positional(const std::string& name, std::string& out, const std::string& help) {
  state_->app.add_option(name, out);
  state_->positionals.push_back({name, help});
}

void Arguments::settings(Settings& settings, const std::string& heading) {
  State& s = *state_;
  s.settings_heading = heading;
  for (Field& field : settings.fields()) {
    const std::string flag = flag_of(field), value = field_text(field);
    s.setting_flags.push_back({field, nullptr, "", false});
    SettingFlag& entry = s.setting_flags.back();
    const bool is_switch = std::holds_alternative<bool*>(field.value);
    entry.option = is_switch ? s.app.add_flag(flag + ",!--no-" + flag.substr(2), entry.on)
                             : s.app.add_option(flag, entry.text)->take_last();
    s.note(flag);
    const std::string shown = is_switch || value.empty() ? "" : " [" + value + "]";
    s.settings.push_back({left_of(flag, field_metavar(field)), field.help + shown});
  }
}

void Arguments::common(Common& out) {
  State& s = *state_;
  s.app.add_flag("--json", out.json);
  s.app.add_flag("-q,--quiet", out.quiet);
  s.app.add_flag("-v,--verbose", out.verbose);
  s.app.add_option("--color", out.color)->take_last()->check(CLI::IsMember({"auto", "always", "never"}));
  for (const char* name : {"--json", "--quiet", "--verbose", "--color"}) s.note(name);
  s.common = {{"--json", "result as JSON on stdout"},
              {"-q, --quiet", "no messages on stderr but errors"},
              {"-v, --verbose", "more messages"},
              {"--color auto|always|never", "colour on stderr [auto]; NO_COLOR turns it off"},
              {"-h, --help", "this text"}};
}

void Arguments::footer(std::string text) { state_->footer = std::move(text); }

bool Arguments::parse(Words arguments) {
  State& s = *state_;
  try {
    s.app.parse(
        std::vector<std::string>(arguments.rbegin(), arguments.rend()));  // CLI11 takes the last word first
  } catch (const CLI::ParseError& e) {
    throw UsageError(e.what());
  }
  if (s.help) {
    print_line(help());
    return false;
  }
  const std::vector<std::string> extras = s.app.remaining();
  if (extras.empty()) return true;
  const std::string word = extras.front().substr(0, extras.front().find('='));
  if (word.size() < 2 || word[0] != '-') throw UsageError("unexpected argument '" + word + "'");
  const std::string near = nearest_name(word, s.names);
  throw UsageError("unknown option '" + word + "'" + (near.empty() ? "" : ", did you mean '" + near + "'?"));
}

void Arguments::apply_settings() {
  for (SettingFlag& entry : state_->setting_flags) {
    if (entry.option->count() == 0) continue;
    try {
      set_field(entry.field, std::holds_alternative<bool*>(entry.field.value) ? (entry.on ? "true" : "false")
                                                                              : entry.text);
    } catch (const InvalidArgument& e) {
      throw UsageError(e.what());
    }
  }
}

std::string Arguments::help() const {
  const State& s = *state_;
  std::string out = s.summary + "\n\nExamples:\n";
  for (const std::string& example : s.examples) out += "  " + example + "\n";
  out += "\nUsage: gpunn " + s.usage + "\n";
  if (!s.positionals.empty()) out += "\nArguments:\n" + table(s.positionals);
  if (!s.options.empty()) out += "\nOptions:\n" + table(s.options);
  if (!s.settings.empty()) out += "\n" + s.settings_heading + ":\n" + table(s.settings);
  if (!s.common.empty()) out += "\nCommon options:\n" + table(s.common);
  if (!s.footer.empty()) out += "\n" + s.footer + "\n";
  out.pop_back();
  return out;
}

}  // namespace gpunn::tool
