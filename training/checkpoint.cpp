#include "gpunn/training/checkpoint.h"

#include <charconv>
#include <cstdint>
#include <type_traits>

#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/io/safetensors.h"

namespace gpunn {

namespace {

constexpr std::string_view kModel = "model.", kOptimizer = "optimizer.", kSchedule = "schedule.",
                           kCarried = "carried.";

StateDict part_of(const std::vector<NamedTensor>& tensors, std::string_view prefix) {
  StateDict out;
  for (const auto& [name, tensor] : tensors)
    if (name.rfind(prefix, 0) == 0) out.emplace_back(name.substr(prefix.size()), tensor);
  return out;
}

// Text metadata is the caller's to check: the file's reader takes any.
std::string metadata_of(const SafetensorsFile& file, std::string_view key) {
  for (const auto& [name, value] : file.metadata())
    if (name == key) return value;
  throw DataError(file.path() + ": expected metadata '" + std::string(key) + "', this is no checkpoint");
}

template <class T = std::int64_t>
T number_of(const SafetensorsFile& file, std::string_view key) {
  const std::string text = metadata_of(file, key);
  T value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || (std::is_integral_v<T> && value < 0))
    throw DataError(file.path() + ": expected a " + (std::is_integral_v<T> ? "count" : "number") +
                    " in metadata '" + std::string(key) + "', got '" + text + "'");
  return value;
}

/// The shortest text that is read back as the same number.
std::string text_of(double value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

SafetensorsFile open_checkpoint(const std::string& path, const std::string& run) {
  SafetensorsFile file = SafetensorsFile::open(path);
  const std::string saved = metadata_of(file, "run");
  if (saved != run)
    throw DataError(path + ": expected a checkpoint of '" + run + "', got one of '" + saved + "'");
  return file;
}

StateDict state_of(const TrainSchedule& schedule) {
  if (schedule.rate) return schedule.rate->state_dict();
  return schedule.plateau ? schedule.plateau->state_dict() : StateDict();
}

// Throws InvalidArgument when the state is not of this schedule, which is then unchanged.
void load_into(const TrainSchedule& schedule, const StateDict& state) {
  if (schedule.rate)
    schedule.rate->load_state_dict(state);
  else if (schedule.plateau)
    schedule.plateau->load_state_dict(state);
  else
    GPUNN_CHECK(state.empty(), "expected no schedule, the run of this checkpoint had one");
}

}  // namespace

void save_checkpoint(const std::string& path, const std::string& run, Module& model,
                     const Optimizer& optimizer, const TrainPosition& position, const TrainSchedule& schedule,
                     const StateDict& carried) {
  std::vector<NamedTensor> tensors;
  for (const auto& [key, tensor] : model.state_dict())
    tensors.emplace_back(std::string(kModel) + key, tensor);
  for (const auto& [key, tensor] : optimizer.state_dict())
    tensors.emplace_back(std::string(kOptimizer) + key, tensor);
  for (const auto& [key, tensor] : state_of(schedule))
    tensors.emplace_back(std::string(kSchedule) + key, tensor);
  for (const auto& [key, tensor] : carried) tensors.emplace_back(std::string(kCarried) + key, tensor);
  const Generator& generator = Runtime::current().generator();
  write_safetensors(path, tensors,
                    {{"run", run},
                     {"epoch", std::to_string(position.epoch)},
                     {"step", std::to_string(position.step)},
                     {"steps", std::to_string(position.steps)},
                     {"loss_sum", text_of(position.loss_sum)},
                     {"loss_samples", std::to_string(position.loss_samples)},
                     {"random_seed", std::to_string(generator.seed())},
                     {"random_offset", std::to_string(generator.offset())}});
}

TrainPosition load_checkpoint(const std::string& path, const std::string& run, Module& model,
                              Optimizer& optimizer, const TrainSchedule& schedule) {
  const SafetensorsFile file = open_checkpoint(path, run);
  const TrainPosition position{number_of(file, "epoch"), number_of(file, "step"), number_of(file, "steps"),
                               number_of<double>(file, "loss_sum"), number_of(file, "loss_samples")};
  const auto random_seed = number_of<std::uint64_t>(file, "random_seed"),
             random_offset = number_of<std::uint64_t>(file, "random_offset");
  const std::vector<NamedTensor> tensors = load_safetensors(path);
  // Each load changes nothing when it fails; optimizer and schedule are put back if one after them refuses.
  // The schedule comes after the optimizer, whose rates it sets.
  const StateDict before = optimizer.state_dict(), schedule_before = state_of(schedule);
  try {
    optimizer.load_state_dict(part_of(tensors, kOptimizer));
    load_into(schedule, part_of(tensors, kSchedule));
    model.load_state_dict(part_of(tensors, kModel));
  } catch (const InvalidArgument& e) {
    load_into(schedule, schedule_before);
    optimizer.load_state_dict(before);
    throw DataError(path + ": " + e.what());
  }
  Runtime::current().generator().set_state(random_seed, random_offset);
  return position;
}

StateDict load_carried(const std::string& path, const std::string& run) {
  open_checkpoint(path, run);
  return part_of(load_safetensors(path), kCarried);
}

void load_weights(const std::string& path, Module& model) {
  const std::vector<NamedTensor> tensors = load_safetensors(path);
  try {
    model.load_state_dict(tensors);
  } catch (const InvalidArgument& e) {
    throw DataError(path + ": " + e.what());
  }
}

}  // namespace gpunn
