#pragma once
// Progress of a training run: a bar that redraws itself on a terminal, else one line an epoch.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>

#include "gpunn/core/api.h"

namespace gpunn {

struct ProgressOptions {
  std::FILE* stream = stderr;
  bool bar = false;  // redraw one line; for terminals
  bool color = false;
  bool quiet = false;  // nothing at all
  /// What the terminal behind `stream`, NO_COLOR and TERM=dumb suggest.
  GPUNN_API static ProgressOptions detect(std::FILE* stream);
};

struct ProgressState {
  std::int64_t epoch = 0, epochs = 0;  // epoch counts from 1
  std::int64_t step = 0, steps = 0;    // within the epoch
  double loss = 0;                     // NaN: not known yet
};

class GPUNN_API Progress {
 public:
  explicit Progress(ProgressOptions options) : options_(options) {}
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Redraws at most ten times a second.
  void update(const ProgressState& state);
  /// A line that stays: an epoch's result, a notice. Wipes the bar first.
  void line(const std::string& text);
  /// Wipes the bar.
  void clear();
  bool quiet() const noexcept { return options_.quiet; }

 private:
  ProgressOptions options_;
  std::chrono::steady_clock::time_point drawn_{}, started_{};
  std::int64_t started_epoch_ = -1;
  bool visible_ = false;
};

}  // namespace gpunn
