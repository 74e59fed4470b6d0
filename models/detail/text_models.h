#pragma once
// The kinds of stored text models, one definition each.
#include "gpunn/models/text_model.h"

namespace gpunn::detail {

/// Runs of char-rnn, shakespeare-lstm, shakespeare-gru and names (models/char_text_model.cpp).
extern const TextModelKind kCharTextModel;

}  // namespace gpunn::detail
