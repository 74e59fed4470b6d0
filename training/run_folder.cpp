#include "gpunn/training/run_folder.h"

#include <cstdio>
#include <ctime>

#include "gpunn/io/file.h"
#include "gpunn/io/safetensors.h"
#include "gpunn/io/sha256.h"

namespace gpunn {

RunFolder::RunFolder(std::string path, bool continues) : path_(std::move(path)) {
  GPUNN_CHECK(!path_.empty(), "expected a run folder, got an empty path");
  while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  create_directories(path_);
  // A file that is begun and given up: the folder can be written to, and nothing in it changed.
  {
    AtomicFile probe(file("config.json"));
  }
  // Hashes of an earlier run in this folder would be taken for this one's.
  if (!continues) std::remove(hashes_path().c_str());
  const std::string metrics = file("metrics.jsonl");
  if (continues && path_exists(metrics)) {
    // A machine that went down while writing may have left half a line.
    const std::string text = read_text_file(metrics);
    const std::size_t whole = text.rfind('\n') + 1;  // 0 when there is no line at all
    if (whole < text.size()) write_file_atomic(metrics, std::string_view(text).substr(0, whole));
  }
  metrics_ = std::make_unique<AppendFile>(metrics, !continues);
}

RunFolder::~RunFolder() = default;
RunFolder::RunFolder(RunFolder&&) noexcept = default;

std::string RunFolder::default_path(std::string_view name) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  char stamp[32];
  std::strftime(stamp, sizeof stamp, "%Y%m%d-%H%M%S", &local);
  const std::string first = "runs/" + std::string(name) + "-" + stamp;
  std::string path = first;
  for (int n = 2; path_exists(path); ++n) path = first + "-" + std::to_string(n);
  return path;
}

void RunFolder::write_config(std::string_view json) { write_file_atomic(file("config.json"), json); }

void RunFolder::append_metrics(std::string_view json_line) {
  metrics_->append(std::string(json_line) + "\n");
}

void RunFolder::write_weights(const StateDict& state) {
  write_safetensors(file("weights.safetensors"), state, {{"format", "pt"}});
}

void RunFolder::write_result(std::string_view json) { write_file_atomic(file("result.json"), json); }

void RunFolder::write_memory(std::string_view json) { write_file_atomic(file("memory.json"), json); }

void RunFolder::write_report(std::string_view html) { write_file_atomic(report_path(), html); }

std::string weights_sha256(const StateDict& state) {
  Sha256 hash;
  for (const auto& [name, tensor] : state) {
    const Tensor host = tensor.detach().to(Device::cpu()).contiguous();
    hash.update({static_cast<const std::uint8_t*>(host.data()), host.nbytes()});
  }
  return hash.hex();
}

}  // namespace gpunn
