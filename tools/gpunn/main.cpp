// The gpunn command line: finds the command, runs it, turns errors into messages and exit codes.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "command.h"
#include "gpunn/core/build_info.h"
#include "gpunn/core/error.h"
#include "gpunn/training/settings.h"

namespace gpunn::tool {

namespace {

constexpr Command kCommands[] = {
    {"train", "run a recipe: train, evaluate, write a report", run_train},
    {"generate", "continue a text with a stored model", run_generate},
    {"recipes", "list the recipes with the figure each must reach", run_recipes},
    {"data", "say which data sets were found where", run_data},
    {"info", "version, build, devices and libraries", run_info},
    {"doctor", "what is here, what is missing, what to do about it", run_doctor},
    {"verify", "find the first step and tensor in which two runs differ", run_verify},
    {"parity", "compare every op on a device with its reference", run_parity},
    {"bench", "time every implementation of an op beside this machine's ceilings", run_bench},
    {"autotune", "store which implementations are fastest for a recipe here", run_autotune},
};

std::string overview() {
  std::string out =
      "gpunn: deep learning from the command line\n\n"
      "Examples:\n"
      "  gpunn train fashion-mlp            train on the best device there is\n"
      "  gpunn train xor --device cpu       choose the device\n"
      "  gpunn recipes                      what can be trained\n"
      "  gpunn parity --device cuda:0       does this GPU compute what it should?\n"
      "  gpunn bench softmax                how fast is it, and how fast could it be?\n\n"
      "Usage: gpunn COMMAND [options]\n\nCommands:\n";
  for (const Command& command : kCommands) {
    std::string name = command.name;
    name.resize(10, ' ');
    out += "  " + name + command.summary + "\n";
  }
  return out + "\n`gpunn COMMAND --help` says more; `gpunn --version` prints the version.";
}

// Set before anything can fail, so that the message of a bad command line knows it too.
bool color_errors = false;

bool wants_color(Words words) {
  Common common;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].rfind("--color=", 0) == 0) common.color = words[i].substr(8);
    if (words[i] == "--color" && i + 1 < words.size()) common.color = words[i + 1];
  }
  return common.colored();
}

int fail(int code, const std::string& message) {
  std::fprintf(stderr, "%sgpunn: error:%s %s\n", color_errors ? "\x1b[31m" : "",
               color_errors ? "\x1b[0m" : "", message.c_str());
  return code;
}

int dispatch(Words words) {
  // Nothing here touches a device or makes a Runtime: --version must start in milliseconds.
  if (words.empty()) {
    std::fprintf(stderr, "%s\n", overview().c_str());
    return kUsage;
  }
  const std::string& first = words[0];
  if (first == "--version" || first == "-V") {
    print_line(std::string("gpunn ") + build_info().version);
    return kOk;
  }
  if (first == "--help" || first == "-h" || first == "help") {
    print_line(overview());
    return kOk;
  }
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (first == command.name) return command.run(words.subspan(1));
    names.push_back(command.name);
  }
  const std::string near = nearest_name(first, names);
  throw UsageError("no command is called '" + first + "'" +
                   (near.empty() ? "; `gpunn --help` lists them" : ", did you mean '" + near + "'?"));
}

int run(Words words) {
  color_errors = wants_color(words);
  try {
    return dispatch(words);
  } catch (const UsageError& e) {
    return fail(kUsage, e.what());
  } catch (const NoDeviceError& e) {
    return fail(kNoDevice, e.what());
  } catch (const DataError& e) {
    return fail(kBadInput, e.what());
  } catch (const OutOfMemory& e) {
    return fail(kOutOfMemory, e.what());
  } catch (const DeviceLost& e) {
    return fail(kDeviceLost, e.what());
  } catch (const std::bad_alloc&) {
    return fail(kOutOfMemory, "the machine's memory is used up");
  } catch (const std::exception& e) {
    return fail(kFailure, e.what());
  }
}

}  // namespace

bool Common::colored() const {
  if (color != "auto") return color == "always";
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  return ::isatty(STDERR_FILENO) == 1 && !(no_color && *no_color) &&
         !(term && std::strcmp(term, "dumb") == 0);
}

Device open_device(const std::string& text) {
  try {
    return Device::parse(text);
  } catch (const Unsupported& e) {
    throw NoDeviceError(e.what());
  } catch (const InvalidArgument& e) {
    throw UsageError(e.what());
  }
}

void print_line(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fputc('\n', stdout);
}

}  // namespace gpunn::tool

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  const int code = gpunn::tool::run(words);
  // A full disk or a closed pipe shows at the flush; a result that was not written is a failure.
  if (std::fflush(stdout) != 0 || std::ferror(stdout)) {
    std::fprintf(stderr, "gpunn: error: cannot write to stdout\n");
    return code == gpunn::tool::kOk ? gpunn::tool::kFailure : code;
  }
  return code;
}
