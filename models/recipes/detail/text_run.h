#pragma once
// What recipes of character models share: training with carried state, evaluation, samples, pictures.
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/io/html_report.h"
#include "gpunn/io/svg.h"
#include "gpunn/models/char_rnn.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/character_vocab.h"
#include "gpunn/training/optimizer.h"
#include "gpunn/training/token_streams.h"
#include "gpunn/training/trainer.h"

namespace gpunn::detail {

/// "lstm", "gru", "tanh", "relu"; of another name cell_of() throws InvalidArgument.
const char* cell_name(RnnMode mode);
RnnMode cell_of(std::string_view name);

/// Settings of recipes that train a character model with Adam.
struct CharNetSettings : AdamSettings {
  std::int64_t hidden, embedding;
  double dropout = 0;
  double clip = 1;
  double temperature;
  CharNetSettings(std::int64_t hidden_units, std::int64_t features, double of_samples)
      : hidden(hidden_units), embedding(features), temperature(of_samples) {}
  std::vector<Field> fields() override;
};

struct StreamRun {
  CharRnn& model;
  std::shared_ptr<const TokenStreams> data;
  std::int64_t streams;  // of `data`
  Optimizer& optimizer;
  /// Of all parameters, between backward and update.
  std::function<void(const std::vector<Tensor>&)> clip;
  double loss_scale = 1;  // of what backward begins with; the losses told are means over characters
  std::function<Evaluation()> test{};
  std::int64_t workers = 0;  // threads that prepare batches
  /// The state after the last window; undefined where an epoch begins. A run that starts in the middle of an
  /// epoch brings it, after each step it is that step's.
  RecurrentState* state = nullptr;
};

/// What `gpunn generate` needs beside the weights.
void write_vocabulary(const RunFolder& folder, const CharacterVocab& vocab);

/// Truncated back-propagation: a step for each window, the state carried without its history and begun anew
/// with each epoch. Throws InvalidArgument for a start in the middle of an epoch without a state.
TrainResult train_streams(const StreamRun& run, Device device, const TrainerOptions& options);

/// Mean loss of a character over all windows, the state carried, in evaluation mode.
Evaluation evaluate_streams(CharRnn& model, const TokenStreams& data, std::int64_t streams, Device device);

/// `count` characters after `prompt`, drawn with (`temperature`, `seed`).
std::string sample_text(CharRnn& model, const CharacterVocab& vocab, std::string_view prompt,
                        std::int64_t count, double temperature, std::uint64_t seed);

/// Share of the pieces of `n` characters of `sample` that stand in `text` as well; 0 for a shorter sample.
/// Both in ASCII.
double piece_share(std::string_view sample, std::string_view text, std::size_t n);

/// The losses of a text model as the first figures of its report, the validation loss with the verdict.
void report_losses(HtmlReport& report, const RecipeResult& result);

/// A text drawn in the middle of a run.
struct TextSample {
  std::int64_t step;
  std::string text;
};
void report_samples(HtmlReport& report, const std::vector<TextSample>& samples);

/// A character as the label of a column: what cannot be seen is written as a sign.
std::string visible(char32_t character);

/// Heat maps of the first layer over a text: its output, and of LSTM and GRU its gates, of the units whose
/// output varies most.
void report_gates(HtmlReport& report, CharRnn& model, const CharacterVocab& vocab, std::string_view text,
                  int units = 16);

/// A recurrent net unrolled over steps: inputs below, states in a row, outputs above.
struct UnrolledStep {
  std::string input, output;  // characters
  std::string note;           // below the output
};
Svg draw_unrolled(const std::string& title, std::span<const UnrolledStep> steps);
/// The net over the first characters of `text`, with the probability that it gives to each next one.
Svg draw_unrolled(CharRnn& model, const CharacterVocab& vocab, std::string_view text, std::size_t steps = 7);

}  // namespace gpunn::detail
