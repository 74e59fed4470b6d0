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

/// Reads config.json, model.safetensors, vocab.json and merges.txt of `folder` onto `device`. Sizes of the
/// configuration are compared with the weights before anything of that size is allocated. Throws DataError
/// naming the file that is missing, damaged, or does not fit the others: the vocabulary may have fewer tokens
/// than the model has rows (tables are filled up to a round number), never more.
GPUNN_API Gpt2Folder open_gpt2_folder(const std::string& folder, Device device);

}  // namespace gpunn
