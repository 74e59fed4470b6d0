#include "gpunn/training/step_hashes.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>
#include <numeric>

#include "gpunn/core/build_info.h"
#include "gpunn/core/device_api.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tuning.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"

namespace gpunn {

namespace {

static_assert(std::endian::native == std::endian::little, "words are hashed as they lie in memory");

constexpr const char* kFormat = "gpunn step hashes";
constexpr std::int64_t kVersion = 1;
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
// 512 KiB: enough to be worth a thread, small enough that two cores share a layer's weights.
constexpr std::int64_t kChunkPairs = 1 << 15;

__extension__ using Product = unsigned __int128;

std::uint64_t mix(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

// One multiplication for 16 bytes: a fifth of the instructions of mixing each word by itself.
std::uint64_t fold(std::uint64_t a, std::uint64_t b) {
  const Product product = static_cast<Product>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

// Sum over the pairs of words from `first` to `last`, of which the last one of all may be incomplete.
std::uint64_t sum_of_pairs(const std::byte* data, std::size_t bytes, std::int64_t first, std::int64_t last) {
  std::uint64_t sum = 0, key = 2 * static_cast<std::uint64_t>(first) * kStep;
  std::array<std::uint64_t, 2> w{};
  const auto add = [&](const std::byte* from, std::size_t size) {
    std::memcpy(w.data(), from, size);
    sum += fold(w[0] + key + kStep, w[1] + key + 2 * kStep);
    key += 2 * kStep;
  };
  const auto whole = std::min(last, static_cast<std::int64_t>(bytes / 16));
  for (std::int64_t i = first; i < whole; ++i) add(data + 16 * i, 16);
  if (whole < last) {
    w = {};
    add(data + 16 * whole, bytes % 16);
  }
  return sum;
}

std::string hex(std::uint64_t value) {
  std::string out(16, '0');
  for (std::size_t i = out.size(); i-- > 0; value >>= 4) out[i] = "0123456789abcdef"[value & 15];
  return out;
}

std::uint64_t parse_hash(const JsonValue& value) {
  const std::string& text = value.as_string();
  std::uint64_t hash = 0;
  for (const char c : text) {
    const bool digit = c >= '0' && c <= '9', letter = c >= 'a' && c <= 'f';
    if (text.size() != 16 || (!digit && !letter)) value.fail("expected a hash of 16 hexadecimal digits");
    hash = hash << 4 | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  if (text.empty()) value.fail("expected a hash of 16 hexadecimal digits");
  return hash;
}

void write_part(JsonWriter& json, const char* part, const std::vector<NamedTensor>& tensors) {
  if (tensors.empty()) return;
  json.key(part).begin_object();
  for (const auto& [name, tensor] : tensors) json.field(name, hex(tensor_hash(tensor)));
  json.end_object();
}

std::vector<NamedTensor> gradients_of(const StateDict& parameters) {
  std::vector<NamedTensor> out;
  for (auto it = parameters.rbegin(); it != parameters.rend(); ++it)
    if (const Tensor gradient = it->second.grad(); gradient.defined()) out.emplace_back(it->first, gradient);
  return out;
}

std::string describe(const StepHashRun& run, const StateDict& parameters) {
  const BuildInfo& build = build_info();
  Runtime& runtime = Runtime::current();
  JsonWriter json;
  json.begin_object().field("format", kFormat).field("version", kVersion).field("every", run.every);
  json.field("recipe", run.recipe).field("seed", run.seed);
  json.field("device", to_string(run.device)).field("device_name", run.device.context().api().info().name);
  json.field("dtype", parameters.empty() ? "" : name_of(parameters.front().second.dtype()));
  json.field("commit", build.commit).field("compiler", build.compiler).field("mode", build.mode);
  json.field("cuda_compiler", build.cuda_compiler).field("build_type", build.build_type);
  json.field("sanitizer", build.sanitizer).field("deterministic", runtime.options().deterministic);
  json.field("forced", runtime.options().forced).field("autotune", tuning_digest());
  json.field("threads", runtime.pool().threads()).end_object();
  return json.take() + "\n";
}

}  // namespace

std::uint64_t tensor_hash(const Tensor& tensor) {
  GPUNN_CHECK(tensor.defined(), "tensor_hash: expected a tensor, got an undefined one");
  Tensor host = tensor.detach();
  if (!host.device().is_cpu()) host = host.to(Device::cpu());
  host = host.contiguous();
  const auto* data = static_cast<const std::byte*>(host.data());
  const std::size_t bytes = host.nbytes();
  const auto pairs = static_cast<std::int64_t>((bytes + 15) / 16);
  std::vector<std::uint64_t> sums(static_cast<std::size_t>((pairs + kChunkPairs - 1) / kChunkPairs));
  parallel_for(Runtime::current().pool(), pairs, kChunkPairs, [&](std::int64_t first, std::int64_t last) {
    sums[static_cast<std::size_t>(first / kChunkPairs)] = sum_of_pairs(data, bytes, first, last);
  });
  const auto kind = static_cast<std::uint64_t>(host.dtype()) + 256 * static_cast<std::uint64_t>(host.dim());
  std::uint64_t hash = mix(std::accumulate(sums.begin(), sums.end(), mix(kind)));
  for (const std::int64_t extent : host.shape()) hash = mix(hash + static_cast<std::uint64_t>(extent));
  return hash;
}

struct StepHashWriter::State {
  Module& model;
  const Optimizer& optimizer;
  std::int64_t every;
  std::unique_ptr<AppendFile> file;

  // What a run is in before and after a step; in between comes what the step made.
  void line(JsonWriter& json) {
    write_part(json, "optimizer", optimizer.state_dict());
    write_part(json, "parameters", model.named_parameters());
    file->append(json.end_object().take() + "\n");
  }
};

StepHashWriter::StepHashWriter(std::string path, const StepHashRun& run, Module& model,
                               const Optimizer& optimizer, std::int64_t start, bool continues)
    : state_(new State{model, optimizer, run.every, nullptr}) {
  GPUNN_CHECK(run.every >= 1, "step hashes: expected a number of steps of at least 1, got ", run.every);
  bool has_start = false;
  if (continues && path_exists(path)) {
    StepHashReader reader(path);
    if (reader.every() != run.every)
      throw DataError(path + " has hashes of every " + std::to_string(reader.every()) +
                      ". step, expected every " + std::to_string(run.every) + ". as before");
    // Steps after the checkpoint are made again.
    std::size_t kept = reader.offset();
    while (const std::optional<StepHashes> hashes = reader.next()) {
      if (hashes->step > start) break;
      kept = reader.offset();
      has_start = hashes->step == start;
    }
    write_file_atomic(path, std::string_view(read_text_file(path)).substr(0, kept));
    state_->file = std::make_unique<AppendFile>(path);
  } else {
    state_->file = std::make_unique<AppendFile>(path, true);
    state_->file->append(describe(run, model.named_parameters()));
  }
  if (has_start) return;
  JsonWriter json;
  json.begin_object().field("step", start);
  write_part(json, "buffers", model.named_buffers());
  state_->line(json);
}

StepHashWriter::~StepHashWriter() = default;
StepHashWriter::StepHashWriter(StepHashWriter&&) noexcept = default;

void StepHashWriter::record(const TrainPosition& after, const Batch& batch, const Tensor& loss) {
  if (after.steps % state_->every != 0) return;
  const Tensor value = loss.detach().to(Device::cpu());
  JsonWriter json;
  json.begin_object().field("step", after.steps).field("epoch", after.epoch + 1);
  if (value.numel() == 1) json.field("loss_value", value.item());
  std::vector<NamedTensor> read;
  if (batch.inputs.defined()) read.emplace_back("inputs", batch.inputs);
  if (batch.targets.defined()) read.emplace_back("targets", batch.targets);
  write_part(json, "batch", read);
  write_part(json, "buffers", state_->model.named_buffers());
  write_part(json, "loss", {{"loss", value}});
  write_part(json, "gradients", gradients_of(state_->model.named_parameters()));
  state_->line(json);
}

StepHashReader::StepHashReader(const std::string& path) : path_(path), text_(read_text_file(path)) {
  run_ = next_line();
  if (!run_) throw DataError(path + ", line 1: expected the line that describes the run, got nothing");
  const JsonValue* format = run_->find("format");
  if (!format || format->as_string() != kFormat) run_->fail("these are no step hashes");
  if (run_->at("version").as_int() != kVersion) run_->at("version").fail("expected version 1");
  every_ = run_->at("every").as_int();
  if (every_ < 1) run_->at("every").fail("expected a number of steps of at least 1");
}

std::optional<JsonValue> StepHashReader::next_line() {
  const std::size_t end = text_.find('\n', begin_);
  if (end == std::string::npos) return std::nullopt;
  const std::string_view line = std::string_view(text_).substr(begin_, end - begin_);
  JsonValue value = JsonValue::parse(line, path_ + ", line " + std::to_string(++line_), {.max_depth = 4});
  begin_ = end + 1;
  return value;
}

std::optional<StepHashes> StepHashReader::next() {
  const std::optional<JsonValue> line = next_line();
  if (!line) return std::nullopt;
  StepHashes out;
  out.loss = std::numeric_limits<double>::quiet_NaN();
  out.step = line->at("step").as_int();
  if (out.step <= last_step_) line->at("step").fail("steps must ascend from 0 on");
  last_step_ = out.step;
  for (const auto& [key, value] : line->as_object()) {
    if (key == "loss_value" && !value.is_null()) out.loss = value.as_number();
    if (key == "step" || key == "loss_value" || key == "epoch") continue;
    const auto part = std::find(kHashedParts.begin(), kHashedParts.end(), key);
    if (part == kHashedParts.end()) value.fail("there is no part '" + key + "'");
    for (const auto& [name, hash] : value.as_object())
      out.parts[static_cast<std::size_t>(part - kHashedParts.begin())].push_back({name, parse_hash(hash)});
  }
  return out;
}

}  // namespace gpunn
