#include "run_compare.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <string_view>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/training/history.h"

namespace gpunn::tool {

namespace {

constexpr const char* kHashes = "/hashes.jsonl";  // beside config.json, metrics.jsonl and the weights

// A value as a person writes it.
std::string text_of(const JsonValue& value) {
  const std::string kind = value.kind();
  if (value.is_null()) return "null";
  if (kind == "a string") return value.as_string();
  if (kind == "a boolean") return value.as_bool() ? "true" : "false";
  if (kind == "an object" || kind == "an array") return kind;
  // Not by way of a double: seeds may need all 64 bits.
  if (kind == "an integer")
    return value.as_number() < 0 ? std::to_string(value.as_int()) : std::to_string(value.as_uint());
  return json_number(value.as_number());
}

using Facts = std::vector<std::pair<std::string, std::string>>;

// What is said twice counts as it is said last: the threads there were, after those asked for.
void add_facts(Facts& facts, const JsonValue& object, std::initializer_list<const char*> without) {
  for (const auto& [key, value] : object.as_object()) {
    const auto is_key = [&k = key](const auto& fact) { return fact.first == k; };
    const bool skip =
        std::any_of(without.begin(), without.end(), [&k = key](const char* w) { return k == w; });
    if (skip || key == "settings") continue;
    const auto known = std::find_if(facts.begin(), facts.end(), is_key);
    if (known != facts.end())
      known->second = text_of(value);
    else
      facts.emplace_back(key, text_of(value));
  }
}

Facts facts_of(const std::string& folder, const StepHashReader* hashes) {
  Facts facts;
  if (path_exists(folder + "/config.json")) {
    const JsonValue config = JsonValue::read(folder + "/config.json");
    add_facts(facts, config, {});
    if (const JsonValue* settings = config.find("settings"))
      add_facts(facts, *settings, {"run_dir", "device"});
  }
  // What the configuration does not know: build, machine, and what the environment asked for.
  if (hashes)
    add_facts(facts, hashes->run(), {"format", "version", "every", "recipe", "seed", "device", "autotune"});
  return facts;
}

const std::string* find(const Facts& facts, const std::string& key) {
  for (const auto& [k, v] : facts)
    if (k == key) return &v;
  return nullptr;
}

std::vector<ConfigDifference> compare_facts(const Facts& a, const Facts& b) {
  std::vector<ConfigDifference> out;
  for (const auto& [key, value] : a) {
    const std::string* other = find(b, key);
    if (!other || *other != value) out.push_back({key, value, other ? *other : ""});
  }
  for (const auto& [key, value] : b)
    if (!find(a, key)) out.push_back({key, "", value});
  return out;
}

using HashOf = std::map<std::string_view, std::uint64_t>;

HashOf hashes_by_name(const std::vector<StepHashes::Entry>& entries) {
  HashOf out;
  for (const StepHashes::Entry& entry : entries) out[entry.name] = entry.hash;
  return out;
}

// The first difference of a step in the order of computation, with counts for every part.
std::optional<StepDifference> compare_step(const StepHashes& a, const StepHashes& b) {
  StepDifference out;
  bool found = false;
  for (std::size_t i = 0; i < kHashedParts.size(); ++i) {
    PartCount count{kHashedParts[i], 0, 0};
    const auto differs = [&](const std::string& name, bool in_a, bool in_b) {
      ++count.different;
      if (found) return;
      found = true;
      out.part = kHashedParts[i], out.name = name;
      out.missing_in_a = !in_a, out.missing_in_b = !in_b;
    };
    const HashOf of_a = hashes_by_name(a.parts[i]), of_b = hashes_by_name(b.parts[i]);
    for (const StepHashes::Entry& entry : a.parts[i]) {
      const auto other = of_b.find(entry.name);
      ++count.total;
      if (other == of_b.end() || other->second != entry.hash) differs(entry.name, true, other != of_b.end());
    }
    for (const StepHashes::Entry& entry : b.parts[i]) {
      if (of_a.count(entry.name) > 0) continue;
      ++count.total;
      differs(entry.name, false, true);
    }
    if (count.total > 0) out.counts.push_back(count);
  }
  if (!found) return std::nullopt;
  out.step = a.step;
  out.loss_a = a.loss, out.loss_b = b.loss;
  return out;
}

// Steps that only one of them recorded are passed over. Both files are read to their ends: damage behind
// the first difference is damage all the same.
HashComparison compare_hashes(StepHashReader& reader_a, StepHashReader& reader_b) {
  HashComparison out;
  std::optional<StepHashes> a = reader_a.next(), b = reader_b.next();
  while (a || b) {
    if (a) out.last_a = a->step;
    if (b) out.last_b = b->step;
    const bool both = a && b && a->step == b->step;
    if (both && !out.first) {
      out.first = compare_step(*a, *b);
      if (out.first) out.first->equal_step = out.last;
      out.last = a->step;
      ++out.steps;
    }
    const bool next_a = a && (!b || a->step <= b->step), next_b = b && (!a || b->step <= a->step);
    if (next_a) a = reader_a.next();
    if (next_b) b = reader_b.next();
  }
  return out;
}

bool same(double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); }

// Where the losses of the steps are compared, those of epochs say nothing more.
MetricComparison compare_metrics(const std::string& a, const std::string& b, bool train_loss) {
  const std::vector<EpochRecord> of_a = read_history(a), of_b = read_history(b);
  MetricComparison out;
  for (const EpochRecord& x : of_a) {
    const auto y = std::find_if(of_b.begin(), of_b.end(), [&](const EpochRecord& r) {
      return r.epoch == x.epoch && r.steps == x.steps;
    });
    if (y == of_b.end()) continue;
    ++out.epochs;
    const auto check = [&](const char* key, double value, double other) {
      if (!out.first && !same(value, other)) out.first = {x.epoch, key, value, other};
    };
    if (train_loss) check("train_loss", x.train_loss, y->train_loss);
    if (!x.test || !y->test) continue;
    check("test_loss", x.test->loss, y->test->loss);
    if (x.test->accuracy && y->test->accuracy) check("test_accuracy", *x.test->accuracy, *y->test->accuracy);
  }
  return out;
}

TensorDifference compare_values(const std::string& name, const Tensor& a, const Tensor& b) {
  TensorDifference out{.name = name, .problem = {}};
  out.elements = a.numel();
  const Tensor x = a.to(DType::f64).contiguous(), y = b.to(DType::f64).contiguous();
  const auto* p = static_cast<const double*>(x.data());
  const auto* q = static_cast<const double*>(y.data());
  for (std::int64_t i = 0; i < out.elements; ++i) {
    if (same(p[i], q[i]) && std::signbit(p[i]) == std::signbit(q[i])) continue;
    ++out.different;
    const double apart = std::abs(p[i] - q[i]), size = std::max(std::abs(p[i]), std::abs(q[i]));
    const bool finite = std::isfinite(apart);
    const double infinite = std::numeric_limits<double>::infinity();
    out.max_abs = std::max(out.max_abs, finite ? apart : infinite);
    out.max_rel = std::max(out.max_rel, !finite ? infinite : size > 0 ? apart / size : 0);
  }
  return out;
}

TensorComparison compare_files(const SafetensorsFile& a, const SafetensorsFile& b) {
  TensorComparison out;
  for (const std::string& name : a.names()) {
    ++out.tensors;
    if (!b.contains(name)) {
      out.different.push_back({.name = name, .problem = "is not in B"});
      continue;
    }
    const Tensor x = a.load(name), y = b.load(name);
    if (x.dtype() != y.dtype() || x.shape() != y.shape()) {
      out.different.push_back({.name = name, .problem = "has another shape or dtype"});
      continue;
    }
    const TensorDifference difference = compare_values(name, x, y);
    if (difference.different > 0) out.different.push_back(difference);
  }
  for (const std::string& name : b.names()) {
    if (a.contains(name)) continue;
    ++out.tensors;
    out.different.push_back({.name = name, .problem = "is not in A"});
  }
  return out;
}

// Steps after which a file of weights was written; -1 when nothing says so.
std::int64_t step_of_weights(const std::string& folder) {
  const std::string result = folder + "/result.json";
  return path_exists(result) ? JsonValue::read(result).at("steps").as_int() : -1;
}
std::int64_t step_of_checkpoint(const SafetensorsFile& file) {
  std::int64_t step = -1;
  for (const auto& [key, value] : file.metadata())
    if (key == "steps") std::from_chars(value.data(), value.data() + value.size(), step);
  return step;
}

void compare_tensors(const std::string& a, const std::string& b, RunComparison& out) {
  for (const std::string name : {"/checkpoint.safetensors", "/weights.safetensors"}) {
    if (!path_exists(a + name) || !path_exists(b + name)) continue;
    const SafetensorsFile file_a = SafetensorsFile::open(a + name), file_b = SafetensorsFile::open(b + name);
    const bool checkpoint = name[1] == 'c';
    const std::int64_t step_a = checkpoint ? step_of_checkpoint(file_a) : step_of_weights(a);
    const std::int64_t step_b = checkpoint ? step_of_checkpoint(file_b) : step_of_weights(b);
    if (step_a != step_b) continue;
    TensorComparison compared = compare_files(file_a, file_b);
    compared.file = name.substr(1);
    compared.step = step_a;
    out.tensors.push_back(std::move(compared));
  }
}

void check_same_recipe(const RunComparison& run) {
  for (const ConfigDifference& d : run.config)
    if (d.key == "recipe" && !d.a.empty() && !d.b.empty())
      throw DataError("cannot compare runs of different recipes: " + run.a + " is of " + d.a + ", " + run.b +
                      " of " + d.b);
}

}  // namespace

bool RunComparison::equal() const {
  const auto differ = [](const TensorComparison& c) { return !c.different.empty(); };
  return !(hashes && hashes->first) && !(metrics && metrics->first) &&
         std::none_of(tensors.begin(), tensors.end(), differ);
}

RunComparison compare_runs(const std::string& a, const std::string& b) {
  RunComparison out;
  out.a = a, out.b = b;
  for (const std::string& folder : {a, b})
    if (!path_exists(folder)) throw DataError("there is no run folder " + folder);
  std::optional<StepHashReader> hashes_a, hashes_b;
  if (path_exists(a + kHashes)) hashes_a.emplace(a + kHashes);
  if (path_exists(b + kHashes)) hashes_b.emplace(b + kHashes);
  const bool both = hashes_a && hashes_b;
  out.config =
      compare_facts(facts_of(a, both ? &*hashes_a : nullptr), facts_of(b, both ? &*hashes_b : nullptr));
  check_same_recipe(out);
  if (both) {
    out.hashes = compare_hashes(*hashes_a, *hashes_b);
    if (out.hashes->steps == 0) {
      out.no_hashes = "they recorded no step in common";
      out.hashes.reset();
    }
  } else {
    out.no_hashes = hashes_a ? b + " has none" : hashes_b ? a + " has none" : "neither run has any";
  }
  if (path_exists(a + "/metrics.jsonl") && path_exists(b + "/metrics.jsonl"))
    out.metrics = compare_metrics(a + "/metrics.jsonl", b + "/metrics.jsonl", !out.hashes);
  compare_tensors(a, b, out);
  if (!out.hashes && out.tensors.empty() && (!out.metrics || out.metrics->epochs == 0))
    throw DataError("nothing to compare in " + a + " and " + b + ": no hashes, epochs or weights in common");
  return out;
}

std::string describe(const std::string& part, const std::string& name) {
  if (part == "loss") return "loss";
  if (part == "batch") return "batch (its " + name + ")";
  if (part == "optimizer")
    return name.rfind("lr.", 0) == 0 ? "learning rate (" + name + ")" : "optimizer state " + name;
  const std::string one = part == "buffers" ? "buffer " : part == "gradients" ? "gradient of " : "parameter ";
  return one + name;
}

}  // namespace gpunn::tool
