#pragma once
// The kinds of stored text models, one definition each.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/io/safetensors.h"
#include "gpunn/models/text_model.h"

namespace gpunn::detail {

/// Runs of char-rnn, shakespeare-lstm, shakespeare-gru and names (models/char_text_model.cpp).
extern const TextModelKind kCharTextModel;
/// Runs of shakespeare-gpt (models/char_gpt_text_model.cpp).
extern const TextModelKind kCharGptTextModel;
/// Published files of GPT-2 (models/gpt2_text_model.cpp).
extern const TextModelKind kGpt2TextModel;

/// Throws DataError unless the tensor is there with that shape: sizes are believed only where the file holds
/// as much.
void expect_shape(const SafetensorsFile& file, const std::string& name,
                  const std::vector<std::int64_t>& shape);

}  // namespace gpunn::detail
