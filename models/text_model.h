#pragma once
// Models that continue texts, opened from the folders they were stored in: what `gpunn generate` runs.
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/models/generation.h"

namespace gpunn {

/// A model with its vocabulary. Not to be shared between threads.
class GPUNN_API TextModel {
 public:
  virtual ~TextModel();
  /// One line for people: "LSTM of 65 characters, 1 layer of 256".
  virtual std::string describe() const = 0;
  virtual std::int64_t vocabulary() const noexcept = 0;
  /// Most tokens that it reads; none: as many as there are.
  virtual std::optional<std::int64_t> context() const noexcept = 0;

  /// Ids of a prompt as the model wants it. Throws DataError for what its vocabulary cannot write.
  virtual std::vector<std::int64_t> encode(std::string_view prompt) const = 0;
  /// Bytes of a token; none of a special one.
  virtual std::string piece(std::int64_t id) const = 0;
  /// What an empty prompt begins with, and what ends a text of its own; there may be none.
  virtual std::optional<std::int64_t> start_token() const = 0;
  virtual std::vector<std::int64_t> stop_tokens() const = 0;

  /// gpunn::generate() with the options as they are.
  virtual std::vector<Generated> generate(std::span<const std::vector<std::int64_t>> prompts,
                                          const GenerationOptions& options) = 0;
};

/// A kind of stored model. A new one gets an entry in text_model.cpp.
struct TextModelKind {
  const char* name;   // "characters"
  const char* files;  // what a folder of it holds, for messages
  /// Whether the folder has such files; they need not be sound.
  bool (*fits)(const std::string& folder);
  /// Throws DataError naming the file at fault.
  std::unique_ptr<TextModel> (*open)(const std::string& folder, Device device);
};
GPUNN_API std::span<const TextModelKind> text_model_kinds() noexcept;

/// Opens the model in `folder` with the first kind that fits. Throws DataError when none does, with what each
/// expects, and as the kind's open().
GPUNN_API std::unique_ptr<TextModel> open_text_model(const std::string& folder, Device device);

/// In a run folder: the vocabulary's state(), beside the weights whose rows it names.
inline constexpr const char* kVocabularyFile = "vocabulary.txt";

}  // namespace gpunn
