#pragma once
// The folder a run writes: config.json, metrics.jsonl, weights.safetensors, report.html, result.json,
// memory.json (the device's memory at the end, with its peaks; io/memory_json.h), hashes.jsonl when asked for
// (step_hashes.h), and of text models vocabulary.txt (its vocabulary's state()).
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "gpunn/core/api.h"
#include "gpunn/layers/module.h"

namespace gpunn {

class AppendFile;

/// Whole files are replaced atomically, metrics grow by whole lines: whatever ends a run, what was written
/// stays readable.
class GPUNN_API RunFolder {
 public:
  /// Makes `path` and proves that it can be written to. Throws Error naming it, before any work was done. A
  /// run that `continues` another one appends to its metrics.
  explicit RunFolder(std::string path, bool continues = false);
  /// runs/<name>-<date>-<time>, with a number when that exists, below the current folder.
  static std::string default_path(std::string_view name);
  ~RunFolder();
  RunFolder(RunFolder&&) noexcept;

  const std::string& path() const noexcept { return path_; }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

  /// All throw Error when the disk refuses.
  void write_config(std::string_view json);
  void append_metrics(std::string_view json_line);
  void write_weights(const StateDict& state);
  /// The run's final figures, result.json.
  void write_result(std::string_view json);
  void write_memory(std::string_view json);
  void write_report(std::string_view html);
  std::string report_path() const { return file("report.html"); }
  std::string hashes_path() const { return file("hashes.jsonl"); }

 private:
  std::string path_;
  std::unique_ptr<AppendFile> metrics_;
};

/// SHA-256 over the raw bytes of the tensors in order (values on the CPU, little-endian): equal weights,
/// equal text.
GPUNN_API std::string weights_sha256(const StateDict& state);

}  // namespace gpunn
