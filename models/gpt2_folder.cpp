#include "gpunn/models/gpt2_folder.h"

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/models/detail/text_models.h"

namespace gpunn {
namespace {

constexpr const char* kFiles[] = {"config.json", "model.safetensors", "vocab.json", "merges.txt"};

void check_sizes(const std::string& path, const Gpt2Options& o) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::string prefix = file.contains("transformer.wte.weight") ? "transformer." : "";
  detail::expect_shape(file, prefix + "wte.weight", {o.vocabulary, o.features});
  detail::expect_shape(file, prefix + "wpe.weight", {o.context, o.features});
  for (std::int64_t i = 0; i < o.layers; ++i) {
    const std::string block = prefix + "h." + std::to_string(i);
    detail::expect_shape(file, block + ".attn.c_attn.weight", {o.features, 3 * o.features});
    detail::expect_shape(file, block + ".mlp.c_fc.weight", {o.features, 4 * o.features});
  }
}

}  // namespace

Gpt2Folder open_gpt2_folder(const std::string& folder, Device device) {
  for (const char* file : kFiles)
    if (!path_exists(folder + "/" + file))
      detail::throw_data(detail::concat(folder, ": lacks ", file, " of the files of GPT-2: ", kFiles[0], ", ",
                                        kFiles[1], ", ", kFiles[2], ", ", kFiles[3]));
  const std::string config = folder + "/config.json", weights = folder + "/model.safetensors";
  const Gpt2Options options = read_gpt2_config(config);
  BytePairVocab vocab = BytePairVocab::load(folder + "/vocab.json", folder + "/merges.txt");
  if (vocab.size() > options.vocabulary)
    detail::throw_data(detail::concat(folder, "/vocab.json: expected at most the ", options.vocabulary,
                                      " tokens of config.json, got ", vocab.size()));
  check_sizes(weights, options);
  const DeviceScope scope(device);
  auto model = std::make_unique<Gpt2>(options);
  load_gpt2_weights(weights, *model);
  return {std::move(model), std::move(vocab)};
}

}  // namespace gpunn
