#pragma once
// One op, many implementations, one ordered list: dispatch, parity tests, benchmarks and the support table
// walk it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/dtype.h"
#include "gpunn/core/exec.h"
#include "gpunn/core/issue.h"
#include "gpunn/core/storage.h"

namespace gpunn {

/// When does the same input give the same bits? portable: on every device and machine; bitwise: run after run
/// on one machine type; varies: not even that.
enum class Determinism : std::uint8_t { portable, bitwise, varies };

/// How an operand is used.
enum class Role : std::uint8_t { in, out, inout };

/// One pointer of a problem, described for code that handles every op alike: parity, shadow execution,
/// benchmarks.
struct Operand {
  const char* name;
  void** pointer;  // the member of the problem
  DType dtype;
  std::int64_t
      elements;  // extent of the buffer from *pointer, strides included; 0 when the operand is absent
  Role role;
};

/// What a run costs, for predictions and benchmarks: each byte counted once, a multiply-add as two
/// operations.
struct Cost {
  double bytes = 0;
  double flops = 0;
};

/// An entry of an op's list. P is the op's problem struct: plain pointers, sizes and strides.
template <class P>
struct Implementation {
  const char* name;  // "cublaslt", "cuda", "onednn", "cpu", "ref"
  DeviceType device;
  /// Null when it can run the problem, else a static sentence saying why not. Null pointer: takes everything.
  const char* (*accepts)(const P&);
  /// Bytes of scratch memory the caller brings. Null pointer: none.
  std::size_t (*workspace)(const P&);
  Determinism determinism;
  /// Issues the work (asynchronously on a GPU).
  void (*run)(const P&, const Exec&);
};

/// The ordered list of an op, best first, reference last.
///
/// P offers `std::vector<Operand> operands(P&)` and `Cost cost(const P&)` by argument-dependent look-up, and
/// a member `DType dtype`: setting it to f64 and widening the floating operands gives the problem that the
/// reference solves as truth.
template <class P>
struct ImplementationList {
  const char* op;         // "softmax"
  const char* direction;  // "forward" or "backward"
  std::span<const Implementation<P>> entries;
};

namespace detail {

/// One candidate as the chooser sees it.
struct Candidate {
  const char* name;
  DeviceType device;
  Determinism determinism;
  const char* reason;  // null: accepts
};

/// Index of the entry to run, by GPUNN_IMPL, determinism and acceptance. The reference never serves a device
/// silently: `reference_on_device` tells that it was forced for device operands. Throws Unsupported with
/// every reason.
struct Choice {
  std::size_t index;
  bool reference_on_device;
};
GPUNN_API Choice choose(const char* op, std::span<const Candidate> candidates, const DeviceContext& context);
/// True when nothing is forced and nothing non-deterministic may be listed: the first accepting entry is the
/// answer.
GPUNN_API bool plain_choice(const DeviceContext& context) noexcept;
GPUNN_API DeviceType device_type(const DeviceContext& context) noexcept;

/// Type-erased view of a problem for the slow paths (forced reference on a device, shadow execution).
struct ErasedRun {
  void* problem;
  std::size_t (*workspace)(const void* problem, const void* entry);
  void (*run)(const void* problem, const void* entry, const Exec&);
  const void* entry;
};

/// Runs `erased` with every operand copied to host memory first and back afterwards; waits for the device.
GPUNN_API void run_on_host_copies(DeviceContext& context, std::span<Operand> operands,
                                  const ErasedRun& erased);

/// Shadow execution: compares what was computed with the reference's answer on copies of the inputs taken
/// before the run; throws Error naming layer, op, operand, element and both values at the first difference
/// beyond the bound.
class GPUNN_API Shadow {
 public:
  Shadow(DeviceContext& context, std::span<Operand> operands);
  ~Shadow();
  void compare(const char* op, const char* implementation, const ErasedRun& reference);

 private:
  struct State;
  std::unique_ptr<State> state_;
};
GPUNN_API bool shadow_enabled(const DeviceContext& context) noexcept;

/// Brackets an issue: orders it after what it depends on (GPU), brings workspace, bumps the versions of what
/// it writes.
class GPUNN_API OpIssue {
 public:
  /// `entry`: name of the implementation, a literal.
  OpIssue(DeviceContext& context, std::span<Storage* const> reads, std::span<Storage* const> writes,
          std::size_t workspace_bytes, const char* entry);
  ~OpIssue();
  OpIssue(const OpIssue&) = delete;
  OpIssue& operator=(const OpIssue&) = delete;
  const Exec& exec() const noexcept { return exec_; }
  /// An input has failed: nothing is to be run.
  bool skipped() const noexcept { return issue_ && issue_->skipped(); }
  /// The work was issued without an exception.
  void commit() noexcept;

 private:
  Exec exec_{};
  std::span<Storage* const> writes_;
  std::optional<Issue> issue_;  // only on devices with streams
};

}  // namespace detail

/// The entry of that name, or null.
template <class P>
const Implementation<P>* find_implementation(const ImplementationList<P>& list, const char* name) {
  for (const auto& e : list.entries)
    if (std::string_view(e.name) == name) return &e;
  return nullptr;
}

template <class P>
std::size_t workspace_of(const Implementation<P>& entry, const P& problem) {
  return entry.workspace ? entry.workspace(problem) : 0;
}

namespace detail {

template <class P>
ErasedRun erase(P& problem, const Implementation<P>& entry) {
  return {&problem,
          [](const void* p, const void* e) {
            return workspace_of(*static_cast<const Implementation<P>*>(e), *static_cast<const P*>(p));
          },
          [](const void* p, const void* e, const Exec& exec) {
            static_cast<const Implementation<P>*>(e)->run(*static_cast<const P*>(p), exec);
          },
          &entry};
}

template <class P>
void execute_slow(const ImplementationList<P>& list, P& problem, DeviceContext& context,
                  std::span<Storage* const> reads, std::span<Storage* const> writes) {
  std::vector<Candidate> candidates;
  for (const auto& e : list.entries)
    candidates.push_back({e.name, e.device, e.determinism, e.accepts ? e.accepts(problem) : nullptr});
  const Choice choice = choose(list.op, candidates, context);
  const auto& entry = list.entries[choice.index];
  auto described = operands(problem);
  if (choice.reference_on_device) {
    OpIssue issue(context, reads, writes, 0, entry.name);
    if (!issue.skipped()) run_on_host_copies(context, described, erase(problem, entry));
    issue.commit();
    return;
  }
  const auto run = [&] {
    OpIssue issue(context, reads, writes, workspace_of(entry, problem), entry.name);
    if (!issue.skipped()) entry.run(problem, issue.exec());
    issue.commit();
  };
  if (!shadow_enabled(context)) return run();
  Shadow shadow(context, described);
  run();
  shadow.compare(list.op, entry.name, erase(problem, list.entries.back()));
}

}  // namespace detail

/// Runs `problem` on `context` with the first suitable entry of `list`. `reads` and `writes` are the storages
/// behind the problem's pointers. Throws Unsupported with every entry's reason when none accepts.
template <class P>
void execute(const ImplementationList<P>& list, P& problem, DeviceContext& context,
             std::span<Storage* const> reads, std::span<Storage* const> writes) {
  if (detail::plain_choice(context)) [[likely]] {
    const DeviceType type = detail::device_type(context);
    for (const auto& e : list.entries) {
      if (e.device != type || e.determinism == Determinism::varies || (e.accepts && e.accepts(problem)))
        continue;
      detail::OpIssue issue(context, reads, writes, workspace_of(e, problem), e.name);
      if (!issue.skipped()) [[likely]]
        e.run(problem, issue.exec());
      issue.commit();
      return;
    }
  }
  detail::execute_slow(list, problem, context, reads, writes);
}

}  // namespace gpunn
