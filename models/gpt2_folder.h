#pragma once
// GPT-2 as it is published: a folder with the model, its sizes and its vocabulary.
#include <memory>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/models/gpt2.h"
#include "gpunn/training/bpe.h"

namespace gpunn {

struct Gpt2Folder {
  std::unique_ptr<Gpt2> model;
  BytePairVocab vocab;  // at most as many pieces as the model has rows
};

/// Whether config.json, model.safetensors, vocab.json and merges.txt are in `folder`; they need not be sound.
GPUNN_API bool is_gpt2_folder(const std::string& folder);
/// Reads these files onto `device`. Sizes of the configuration are compared with the weights before anything of that
/// size is allocated. Throws DataError naming the file at fault.
GPUNN_API Gpt2Folder open_gpt2_folder(const std::string& folder, Device device);

}  // namespace gpunn
