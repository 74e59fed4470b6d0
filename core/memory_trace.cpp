#include "gpunn/core/memory_trace.h"

#include <algorithm>
#include <atomic>
#include <string_view>

#include "gpunn/core/detail/memory_recorder.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"

namespace gpunn {

namespace {

std::atomic<std::uint64_t> next_block{1};
std::atomic<int> next_thread{0};

int this_thread() noexcept {
  constinit static thread_local int number = -1;
  if (number < 0) number = next_thread.fetch_add(1, std::memory_order_relaxed);
  return number;
}

void append_cell(std::string& out, std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

namespace detail {

void MemoryRecorder::start(const std::string& device, std::shared_ptr<TraceFile> file) {
  const std::lock_guard lock(mutex_);
  device_ = device;
  if (file) files_.push_back(std::move(file));
  ++users_;
  usage_.recording_.store(true, std::memory_order_relaxed);
}

void MemoryRecorder::stop(const std::shared_ptr<TraceFile>& file) noexcept {
  const std::lock_guard lock(mutex_);
  if (const auto found = std::find(files_.begin(), files_.end(), file); found != files_.end())
    files_.erase(found);
  if (--users_ > 0) return;
  usage_.recording_.store(false, std::memory_order_relaxed);
  blocks_.clear();
  streams_.clear();
}

int MemoryRecorder::number_of(RawStream stream) {
  if (!stream) return 0;  // the CPU has one stream, and not everybody names it
  const auto found = std::find(streams_.begin(), streams_.end(), stream);
  const auto number = static_cast<int>(found - streams_.begin());
  if (found == streams_.end()) streams_.push_back(stream);
  return number;
}

void MemoryRecorder::write(const char* event, const BlockRecord& block) {
  if (files_.empty()) return;
  line_.clear();
  for (const std::string_view part : {std::string_view(event), std::string_view(",")}) line_ += part;
  append(line_, block.id);
  line_ += ',';
  append(line_, block.bytes);
  line_ += ',';
  line_ += name_of(block.tag);
  line_ += ',';
  append(line_, block.stream);
  line_ += ',';
  append(line_, this_thread());
  line_ += ',';
  append_cell(line_, device_);
  line_ += ',';
  append_cell(line_, block.layer);
  line_ += ',';
  append_cell(line_, block.op);
  line_ += '\n';
  for (std::size_t i = 0; i < files_.size(); ++i)
    if (std::find(files_.begin(), files_.begin() + static_cast<std::ptrdiff_t>(i), files_[i]) ==
        files_.begin() + static_cast<std::ptrdiff_t>(i))
      files_[i]->write(line_);
}

void MemoryRecorder::allocated(const void* pointer, std::size_t bytes, MemoryTag tag,
                               RawStream stream) noexcept {
  try {
    std::string layer = layer_path();
    const std::lock_guard lock(mutex_);
    if (users_ == 0) return;  // the last one left a moment ago
    Block& block = blocks_[pointer];
    block.record = {.id = next_block.fetch_add(1, std::memory_order_relaxed),
                    .bytes = bytes,
                    .tag = tag,
                    .layer = std::move(layer),
                    .op = current_op(),
                    .stream = number_of(stream),
                    .thread = this_thread(),
                    .age_seconds = 0};
    block.made = Clock::now();
    write("alloc", block.record);
  } catch (...) {
    // No memory to note it: the block goes unrecorded.
  }
}

void MemoryRecorder::freed(const void* pointer) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    const auto node = blocks_.extract(pointer);
    if (!node.empty()) write("free", node.mapped().record);
  } catch (...) {
    // The line is lost; the block is forgotten, as it should be.
  }
}

void MemoryRecorder::retagged(const void* pointer, MemoryTag tag) noexcept {
  try {
    const std::lock_guard lock(mutex_);
    const auto found = blocks_.find(pointer);
    if (found == blocks_.end()) return;
    found->second.record.tag = tag;
    write("retag", found->second.record);
  } catch (...) {
    // The line is lost.
  }
}

std::vector<BlockRecord> MemoryRecorder::blocks() const {
  std::vector<BlockRecord> out;
  {
    const std::lock_guard lock(mutex_);
    const Clock::time_point now = Clock::now();
    out.reserve(blocks_.size());
    for (const auto& [pointer, block] : blocks_) {
      out.push_back(block.record);
      out.back().age_seconds = std::chrono::duration<double>(now - block.made).count();
    }
  }
  std::sort(out.begin(), out.end(), [](const BlockRecord& a, const BlockRecord& b) { return a.id < b.id; });
  return out;
}

}  // namespace detail

MemoryTrace::MemoryTrace(Device device, const std::string& path)
    : usage_(device.context().usage()),
      file_(path.empty() ? nullptr : detail::TraceFile::open(path, detail::TraceFile::Complaint::kept)) {
  usage_.recorder().start(to_string(device), file_);
}

MemoryTrace::~MemoryTrace() { usage_.recorder().stop(file_); }

void MemoryTrace::flush() {
  if (!file_) return;
  file_->flush();
  if (const std::string error = file_->error(); !error.empty()) throw Error(error);
}

}  // namespace gpunn
