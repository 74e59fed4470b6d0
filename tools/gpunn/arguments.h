#pragma once
// Arguments of one command: parsing (CLI11 behind it), help that leads with examples, suggestions for
// mistypes.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "command.h"
#include "gpunn/training/settings.h"

namespace gpunn::tool {

/// The value of an option that is a number. Throws UsageError unless it lies in [least, most].
double parse_number(const char* flag, const std::string& text, double least, double most);

class Arguments {
 public:
  /// `usage` is what follows "gpunn ", as "train NAME [options]".
  Arguments(std::string usage, std::string summary, std::vector<std::string> examples);
  ~Arguments();
  Arguments(const Arguments&) = delete;
  Arguments& operator=(const Arguments&) = delete;

  /// Flags are "--name" or "-n,--name". Variables are written by parse() and must outlive it.
  void flag(const std::string& names, bool& out, const std::string& help);
  void option(const std::string& names, std::string& out, const std::string& metavar,
              const std::string& help);
  /// The same, and whether the option was there: its value may be empty.
  void option_if_given(const std::string& names, std::string& out, bool& given, const std::string& metavar,
                       const std::string& help);
  /// An option that may be there several times.
  void list(const std::string& names, std::vector<std::string>& out, const std::string& metavar,
            const std::string& help);
  /// A flag that may bring a value: "--name" writes `implied`, "--name=VALUE" the value.
  void flag_with_value(const std::string& name, std::string& out, const std::string& implied,
                       const std::string& metavar, const std::string& help);
  /// Positional arguments in order; those after the first missing one stay empty.
  void positional(const std::string& name, std::string& out, const std::string& help);
  /// A flag for each setting; the help shows the defaults.
  void settings(Settings& settings, const std::string& heading);
  /// --json, --quiet, -v, --color.
  void common(Common& out);
  /// A paragraph at the end of the help.
  void footer(std::string text);

  /// Throws UsageError. False: help was asked for and printed. Settings given as flags are applied by
  /// apply_settings(), so that a configuration file can come before them.
  bool parse(Words arguments);
  /// Throws UsageError for values that a setting does not take.
  void apply_settings();
  std::string help() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace gpunn::tool
