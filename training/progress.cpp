#include "gpunn/training/progress.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>

namespace gpunn {

namespace {
constexpr auto kRedraw = std::chrono::milliseconds(100);
constexpr int kBarWidth = 28;
constexpr const char* kWipe = "\r\x1b[K";  // to the line's start, then erase the line
}  // namespace

ProgressOptions ProgressOptions::detect(std::FILE* stream) {
  ProgressOptions options;
  options.stream = stream;
  const char* term = std::getenv("TERM");
  const char* no_color = std::getenv("NO_COLOR");
  const bool terminal = ::isatty(::fileno(stream)) == 1 && !(term && std::strcmp(term, "dumb") == 0);
  options.bar = terminal;
  options.color = terminal && !(no_color && *no_color);
  return options;
}

Progress::~Progress() { clear(); }

void Progress::update(const ProgressState& state) {
  if (options_.quiet || !options_.bar) return;
  const auto now = std::chrono::steady_clock::now();
  if (state.epoch != started_epoch_) {
    started_epoch_ = state.epoch;
    started_ = now;
  }
  // Called after every step, which may take microseconds: most calls end here.
  if (visible_ && now - drawn_ < kRedraw) return;
  drawn_ = now;
  visible_ = true;

  const double part =
      state.steps > 0 ? static_cast<double>(state.step) / static_cast<double>(state.steps) : 0;
  const int full = std::clamp(static_cast<int>(part * kBarWidth), 0, kBarWidth);
  std::string bar;
  for (int i = 0; i < kBarWidth; ++i) bar += i < full ? '#' : '.';
  const double seconds = std::chrono::duration<double>(now - started_).count();
  char text[160];
  int length =
      std::snprintf(text, sizeof text, "%sepoch %lld/%lld%s [%s] %lld/%lld", options_.color ? "\x1b[36m" : "",
                    static_cast<long long>(state.epoch), static_cast<long long>(state.epochs),
                    options_.color ? "\x1b[0m" : "", bar.c_str(), static_cast<long long>(state.step),
                    static_cast<long long>(state.steps));
  if (std::isfinite(state.loss))
    length += std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), "  loss %.4f",
                            state.loss);
  if (seconds > 0.2 && state.step > 0)
    std::snprintf(text + length, sizeof text - static_cast<std::size_t>(length), "  %.0f steps/s",
                  static_cast<double>(state.step) / seconds);
  std::fprintf(options_.stream, "%s%s", kWipe, text);
  std::fflush(options_.stream);
}

void Progress::line(const std::string& text) {
  if (options_.quiet) return;
  clear();
  std::fprintf(options_.stream, "%s\n", text.c_str());
  std::fflush(options_.stream);
}

void Progress::clear() {
  if (!visible_) return;
  std::fputs(kWipe, options_.stream);
  std::fflush(options_.stream);
  visible_ = false;
}

}  // namespace gpunn
