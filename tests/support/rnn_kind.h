#pragma once
// The five recurrences.
#include "gpunn/kernels/rnn/rnn_mode.h"

namespace gpunn::testing {

struct RnnKind {
  const char* name;
  RnnMode mode;
  bool reset_after = true;
};
inline constexpr RnnKind kRnnKinds[] = {{"tanh", RnnMode::tanh},
                                        {"relu", RnnMode::relu},
                                        {"lstm", RnnMode::lstm},
                                        {"gru", RnnMode::gru},
                                        {"gru, reset before", RnnMode::gru, false}};

}  // namespace gpunn::testing
