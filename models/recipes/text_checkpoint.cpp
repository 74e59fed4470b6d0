#include "gpunn/models/recipes/detail/text_checkpoint.h"

#include <charconv>
#include <utility>

#include "gpunn/core/error.h"
#include "gpunn/training/checkpoint.h"

namespace gpunn::detail {
namespace {

constexpr std::int64_t kVersion = 1;
constexpr const char* kFile = "checkpoint.safetensors";
constexpr std::string_view kSample = "sample.";

template <class T>
Tensor on_host(const std::vector<T>& values) {
  return Tensor::from(values, {std::ssize(values)}, {.device = Device::cpu()});
}
Tensor on_host(std::string_view text) { return on_host(std::vector<std::uint8_t>(text.begin(), text.end())); }

/// The entries of a file's carried part, each asked for once; what is wrong with them names the file.
class CarriedReader {
 public:
  CarriedReader(const std::string& path, const StateDict& entries) : path_(path), entries_(entries) {}

  const Tensor* find(std::string_view name) const {
    for (const auto& [key, tensor] : entries_)
      if (key == name) return &tensor;
    return nullptr;
  }
  Tensor tensor(std::string_view name, DType dtype, const Shape& shape) const {
    const Tensor* found = find(name);
    if (!found) fail(concat("expected 'carried.", name, "'"));
    if (found->dtype() != dtype || found->shape() != shape)
      fail(concat("'carried.", name, "': expected ", dtype, " ", shape, ", got ", found->dtype(), " ",
                  found->shape()));
    return *found;
  }
  template <class T>
  std::vector<T> numbers(std::string_view name, DType dtype) const {
    const Tensor* found = find(name);
    if (!found || found->dim() != 1) fail(concat("expected 'carried.", name, "' of one dimension"));
    return tensor(name, dtype, found->shape()).template to_vector<T>();
  }
  std::string text(std::string_view name) const {
    const std::vector<std::uint8_t> bytes = numbers<std::uint8_t>(name, DType::u8);
    return {bytes.begin(), bytes.end()};
  }
  [[noreturn]] void fail(const std::string& what) const { throw_data(concat(path_, ": ", what)); }

 private:
  const std::string& path_;
  const StateDict& entries_;
};

/// Where the streams stand: what a run that goes on must have in common, and the window that follows.
std::vector<std::int64_t> place_of(const TokenStreams& streams, std::int64_t window) {
  return {streams.options().streams, streams.options().length, streams.windows(), window};
}

RecurrentState read_state(const CarriedReader& reader, CharRnn& model, const TokenStreams& streams,
                          Device device) {
  const std::vector<std::int64_t> place = reader.numbers<std::int64_t>("stream", DType::i64);
  const std::vector<std::int64_t> here = place_of(streams, 0);
  if (place.size() != here.size())
    reader.fail(concat("expected four numbers in 'carried.stream', got ", place.size()));
  constexpr const char* kNames[] = {"streams (--batch-size)", "characters a window (--length)",
                                    "windows of the text"};
  for (std::size_t i = 0; i < std::size(kNames); ++i)
    if (place[i] != here[i])
      reader.fail(concat("expected ", here[i], " ", kNames[i], ", this checkpoint's run has ", place[i]));
  RecurrentState state;
  if (place[3] == 0) return state;
  const CharRnnOptions& o = model.options();
  const Shape shape{o.num_layers, place[0], o.hidden};
  state.h = reader.tensor("h", DType::f32, shape).to(device);
  if (o.mode == RnnMode::lstm) state.c = reader.tensor("c", DType::f32, shape).to(device);
  return state;
}

}  // namespace

void add_samples(StateDict& entries, const std::vector<TextSample>& samples) {
  for (const TextSample& sample : samples)
    entries.emplace_back(concat(kSample, sample.step), on_host(sample.text));
}

std::vector<TextSample> read_samples(const std::string& path, const StateDict& entries) {
  const CarriedReader reader(path, entries);
  std::vector<TextSample> samples;
  for (const auto& [key, tensor] : entries) {
    if (key.rfind(kSample, 0) != 0) continue;
    TextSample sample{};
    const char *begin = key.data() + kSample.size(), *end = key.data() + key.size();
    const auto [stop, error] = std::from_chars(begin, end, sample.step);
    if (error != std::errc() || stop != end || (!samples.empty() && sample.step <= samples.back().step))
      reader.fail(concat("'carried.", key, "': expected samples of rising steps"));
    sample.text = reader.text(key);
    samples.push_back(std::move(sample));
  }
  return samples;
}

std::string TextCheckpoint::run_name() const {
  return concat(context_.recipe(), ", seed ", context_.settings().seed);
}

// What is carried is read and checked before the rest is loaded, and handed over after it.
TrainPosition TextCheckpoint::load(TextCarried& carried) const {
  const std::string path = context_.settings().run_dir + "/" + kFile;
  const StateDict entries = load_carried(path, run_name());
  const CarriedReader reader(path, entries);
  const std::vector<std::int64_t> version = reader.numbers<std::int64_t>("version", DType::i64);
  if (version != std::vector{kVersion})
    reader.fail(concat("expected version ", kVersion, " of what is carried, got ",
                       version.size() == 1 ? std::to_string(version[0]) : "none"));
  const std::string cell = reader.text("cell"), here = cell_name(parts_.model.options().mode);
  if (cell != here) reader.fail(concat("expected the cell ", here, ", this checkpoint's run has ", cell));
  TextCarried read;
  if (parts_.streams) read.state = read_state(reader, parts_.model, *parts_.streams, context_.device());
  read.samples = read_samples(path, entries);
  if (reader.find("losses")) read.losses = reader.numbers<double>("losses", DType::f64);
  const TrainPosition at = load_checkpoint(path, run_name(), parts_.model, parts_.optimizer, parts_.schedule);
  carried = std::move(read);
  return at;
}

void TextCheckpoint::save(const TextCarried& carried, const TrainPosition& at) const {
  StateDict entries{{"version", on_host(std::vector{kVersion})},
                    {"cell", on_host(cell_name(parts_.model.options().mode))}};
  if (parts_.streams) {
    entries.emplace_back("stream", on_host(place_of(*parts_.streams, at.step)));
    if (at.step > 0) {
      entries.emplace_back("h", carried.state.h);
      if (carried.state.c.defined()) entries.emplace_back("c", carried.state.c);
    }
  }
  if (!carried.losses.empty()) entries.emplace_back("losses", on_host(carried.losses));
  add_samples(entries, carried.samples);
  save_checkpoint(context_.folder().file(kFile), run_name(), parts_.model, parts_.optimizer, at,
                  parts_.schedule, entries);
}

}  // namespace gpunn::detail
