// gpunn doctor: what is here, what is missing, what to do about it.
#include <unistd.h>

#include <cstdlib>
#include <cstring>

#include "arguments.h"
#include "checks.h"
#include "gpunn/core/build_info.h"
#include "gpunn/io/json_writer.h"

namespace gpunn::tool {

namespace {

constexpr std::size_t kColumns = 80;

const char* name_of(Level level) {
  constexpr const char* kNames[] = {"ok", "warning", "problem"};
  return kNames[static_cast<int>(level)];
}

// Colour on stdout, where the table goes; Common::colored() is about messages on stderr.
bool colored_output(const Common& common) {
  if (common.color != "auto") return common.color == "always";
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return ::isatty(STDOUT_FILENO) == 1 && !(no_color && *no_color) &&
         !(term && std::strcmp(term, "dumb") == 0);
}

// `text` from column `indent` on, broken at spaces; words longer than a line are left whole.
std::string wrapped(const std::string& text, std::size_t indent) {
  std::string out;
  std::size_t column = indent;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find(' ', begin), text.size());
    const std::size_t length = end - begin;
    if (column > indent && column + 1 + length > kColumns) {
      out += "\n" + std::string(indent, ' ');
      column = indent;
    } else if (column > indent) {
      out += ' ';
      ++column;
    }
    out += text.substr(begin, length);
    column += length;
    begin = end + 1;
  }
  return out;
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text;
}

void print_text(const Findings& findings, const std::string& verdict, bool color) {
  constexpr const char* kColors[] = {"\x1b[32m", "\x1b[33m", "\x1b[31m"};
  constexpr std::size_t kLevel = 9, kTopic = 15;
  print_line(std::string("gpunn ") + build_info().version + " (" + build_info().commit + ")");
  for (const Finding& f : findings) {
    const std::string level = padded(name_of(f.level), kLevel);
    print_line((color ? kColors[static_cast<int>(f.level)] + level + "\x1b[0m" : level) +
               padded(f.topic, kTopic) + wrapped(f.text, kLevel + kTopic));
    if (!f.cure.empty())
      print_line(std::string(kLevel + kTopic, ' ') + "-> " + wrapped(f.cure, kLevel + kTopic + 3));
  }
  print_line(wrapped(verdict, 0));
}

void print_json(const Findings& findings, const std::string& verdict, bool works) {
  JsonWriter json;
  json.begin_object().field("version", build_info().version).field("commit", build_info().commit);
  json.field("works", works).field("verdict", verdict).key("checks").begin_array();
  for (const Finding& f : findings) {
    json.begin_object().field("level", name_of(f.level)).field("topic", f.topic);
    json.field("text", f.text).field("cure", f.cure).end_object();
  }
  print_line(json.end_array().end_object().take());
}

}  // namespace

int run_doctor(Words words) {
  Common common;
  Arguments arguments("doctor [options]",
                      "Says what is here, what is missing and what to do about it.\n"
                      "Exit code 0, or 1 if there is a problem.",
                      {"gpunn doctor", "gpunn doctor --json"});
  arguments.common(common);
  if (!arguments.parse(words)) return kOk;

  // First what happens in child processes.
  const Machine machine = look_at_machine();
  const Findings results = check_results();
  Findings findings;
  std::string verdict = "nothing";
  const bool runs = check_runtime(findings);
  if (runs) {
    check_gpus(findings, machine, verdict);
    check_cpu(findings);
  }
  check_memory(findings);
  findings.insert(findings.end(), machine.libraries.begin(), machine.libraries.end());
  check_data(findings);
  check_folders(findings);
  check_environment(findings);
  if (runs) findings.insert(findings.end(), results.begin(), results.end());

  int problems = 0, warnings = 0;
  for (const Finding& f : findings) {
    problems += f.level == Level::problem;
    warnings += f.level == Level::warning;
  }
  const auto counted = [](int n, const char* what) {
    return std::to_string(n) + " " + what + (n == 1 ? "" : "s");
  };
  verdict += problems > 0 ? ": " + counted(problems, "problem") : ": works";
  if (runs && !machine.has_driver)
    verdict +=
        machine.driver == kNoDriver ? "; no NVIDIA driver found" : "; the NVIDIA driver cannot be used";
  if (warnings > 0) verdict += "; " + counted(warnings, "warning");
  common.json ? print_json(findings, verdict, problems == 0)
              : print_text(findings, verdict, colored_output(common));
  return problems > 0 ? kFailure : kOk;
}

}  // namespace gpunn::tool
