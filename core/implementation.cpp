// Choosing an entry of an op's list, and running it: ordering, workspace, versions.
#include "gpunn/core/implementation.h"

#include <cstring>

#include "gpunn/core/detail/profile_hooks.h"
#include "gpunn/core/error.h"
#include "gpunn/core/memory.h"
#include "gpunn/core/memory_usage.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/scheduler.h"

namespace gpunn::detail {

DeviceType device_type(const DeviceContext& context) noexcept { return context.type(); }

bool plain_choice(const DeviceContext& context) noexcept {
  const RuntimeOptions& o = context.runtime().options();
  return o.deterministic && !o.shadow && o.forced.empty();
}

bool shadow_enabled(const DeviceContext& context) noexcept { return context.runtime().options().shadow; }

namespace {

/// The entry that GPUNN_IMPL ("softmax=ref,matmul=cpu") forces for `op`, or "".
std::string_view forced_name(std::string_view setting, std::string_view op) {
  while (!setting.empty()) {
    const std::size_t comma = setting.find(',');
    const std::string_view item = setting.substr(0, comma);
    const std::size_t equals = item.find('=');
    GPUNN_CHECK(equals != std::string_view::npos,
                "expected GPUNN_IMPL like \"softmax=ref,matmul=cpu\", got \"", item, "\"");
    if (item.substr(0, equals) == op) return item.substr(equals + 1);
    setting = comma == std::string_view::npos ? std::string_view() : setting.substr(comma + 1);
  }
  return {};
}

bool is_reference(const Candidate& c) { return std::string_view(c.name) == "ref"; }

}  // namespace

Choice choose(const char* op, std::span<const Candidate> candidates, const DeviceContext& context) {
  const RuntimeOptions& options = context.runtime().options();
  const std::string_view forced = forced_name(options.forced, op);
  std::string reasons;
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    const bool on_device = c.device == context.type();
    const bool wanted = forced.empty() ? on_device : forced == c.name && (on_device || is_reference(c));
    const char* reason = c.reason;
    if (!wanted)
      reason = forced.empty() ? "is for another device" : "is not the one GPUNN_IMPL forces";
    else if (options.deterministic && c.determinism == Determinism::varies && forced.empty())
      reason = "is not deterministic";
    if (!reason) return {i, !on_device};
    reasons += concat(reasons.empty() ? "" : "; ", c.name, " ", reason);
  }
  throw_unsupported(concat("no implementation of ", op, " for ", name_of(context.type()), ": ", reasons));
}

namespace {

// In stream order after the work that uses it, so it can be handed out again at once.
void return_workspace(const Exec& exec) noexcept {
  if (exec.workspace)
    give_memory(*exec.device, exec.workspace, exec.workspace_bytes, exec.stream, MemoryTag::workspace);
}

// Pinned host memory may still be in use by a device copy.
void wait_for_copies(std::span<Storage* const> reads, std::span<Storage* const> writes) {
  for (Storage* s : reads)
    if (s->place() == Storage::Place::pinned_host) [[unlikely]]
      s->context().scheduler().wait_readable(*s);
  for (Storage* s : writes)
    if (s->place() == Storage::Place::pinned_host) [[unlikely]]
      s->context().scheduler().wait_writable(*s);
}

}  // namespace

OpIssue::OpIssue(DeviceContext& context, std::span<Storage* const> reads, std::span<Storage* const> writes,
                 std::size_t workspace_bytes, const char* entry)
    : writes_(writes) {
  exec_.device = &context;
  exec_.pool = &context.runtime().pool();
  if (!context.is_cpu()) exec_.stream = context.current_stream();
  const auto begin = [&] {
    if (context.is_cpu()) wait_for_copies(reads, writes);
    // Before the issue: until that begins, a failure leaves what is written as it was.
    if (workspace_bytes > 0) {
      exec_.workspace = take_memory(context, workspace_bytes, exec_.stream, MemoryTag::workspace);
      exec_.workspace_bytes = workspace_bytes;
    }
    if (context.is_cpu()) return;
    try {
      issue_.emplace(context.scheduler(), exec_.stream, reads, writes);
    } catch (...) {
      return_workspace(exec_);
      throw;
    }
  };
  if (!profiling()) [[likely]] {
    begin();
    return;
  }
  profile_open(this, {context, exec_.stream, reads, writes, entry});
  try {
    begin();
  } catch (...) {
    profile_drop(this);
    throw;
  }
  profile_work(this);
}

OpIssue::~OpIssue() {
  if (profiling()) [[unlikely]]
    profile_drop(this);  // of an issue that was not committed
  // After an exception, too: a part of what is written may have changed.
  for (Storage* s : writes_) s->bump_version();
  return_workspace(exec_);
}

void OpIssue::commit() noexcept {
  if (!profiling()) [[likely]] {
    if (issue_) issue_->commit();
    return;
  }
  profile_worked(this, skipped());
  if (issue_) issue_->commit();
  profile_close(this);
}

}  // namespace gpunn::detail
