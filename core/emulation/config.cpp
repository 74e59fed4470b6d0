// Settings from the environment. A value that makes no sense is reported and the default stays, so that a
// typing error in a variable never stops a program.

#include "gpunn/core/emulation/config.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>

#include "gpunn/core/emulation/runtime.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

// A setting's spelling in the environment.
template <class Value>
struct Word {
  const char* text;
  Value value;
};

void complain(const char* name, const char* value, const std::string& expected) {
  std::fprintf(stderr, "gpunn emulation: %s=%s ignored: expected %s\n", name, value, expected.c_str());
}

template <class Value, std::size_t N>
void read_word(const char* name, const Word<Value> (&words)[N], Value& target) {
  const char* value = std::getenv(name);
  if (value == nullptr) return;
  std::string expected;
  for (const Word<Value>& word : words) {
    if (std::strcmp(word.text, value) == 0) {
      target = word.value;
      return;
    }
    expected += (expected.empty() ? "" : " or ") + std::string(word.text);
  }
  complain(name, value, expected);
}

Config from_environment() {
  static constexpr Word<Schedule> kSchedules[] = {{"seq", Schedule::seq},
                                                  {"reverse", Schedule::reverse},
                                                  {"random", Schedule::random},
                                                  {"pct", Schedule::pct}};
  static constexpr Word<Async> kAsyncs[] = {
      {"late", Async::late}, {"early", Async::early}, {"random", Async::random}};
  Config c;
  const unsigned cores = std::thread::hardware_concurrency();
  c.threads = cores < 2   ? 2
              : cores > 4 ? 4
                          : static_cast<int>(cores);  // two at least, so that blocks can collide
  if (kAsan || kTsan) c.stack_kib = 256;
  read_word("GPUNN_EMU_SCHEDULE", kSchedules, c.schedule);
  read_word("GPUNN_EMU_ASYNC", kAsyncs, c.async);
  c.seed = static_cast<std::uint64_t>(environment_number("GPUNN_EMU_SEED", 0, INT64_MAX, 1));
  c.threads = static_cast<int>(environment_number("GPUNN_EMU_THREADS", 1, 256, c.threads));
  c.poison = environment_number("GPUNN_EMU_POISON", 0, 1, 1) != 0;
  c.strict = environment_number("GPUNN_EMU_STRICT", 0, 1, 1) != 0;
  c.stack_kib = static_cast<int>(environment_number("GPUNN_EMU_STACK_KIB", 16, 65536, c.stack_kib));
  c.jitter_us = static_cast<int>(environment_number("GPUNN_EMU_JITTER_US", 0, 1000000, 0));
  c.watchdog_ms = static_cast<int>(environment_number("GPUNN_EMU_WATCHDOG_MS", 1, 3600000, c.watchdog_ms));
  return c;
}

Config& settings() {
  static Config config = from_environment();
  return config;
}

}  // namespace

std::int64_t environment_number(const char* name, std::int64_t low, std::int64_t high,
                                std::int64_t fallback) {
  const char* value = std::getenv(name);
  if (value == nullptr) return fallback;
  const std::string_view text(value);
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error == std::errc() && end == text.data() + text.size() && number >= low && number <= high)
    return number;
  complain(name, value, "a number from " + std::to_string(low) + " to " + std::to_string(high));
  return fallback;
}

const Config& config() { return settings(); }

void set_config(const Config& replacement) {
  const TsanQuiet quiet;
  settings() = replacement;
  State& s = state();
  const std::lock_guard lock(s.mutex);
  s.launch_serial = 0;
}

}  // namespace gpunn::emu
