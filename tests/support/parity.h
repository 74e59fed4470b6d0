#pragma once
// Parity: every implementation of an op against its reference in double, for tests and for `gpunn parity`.
//
// A case is a problem with sizes and flags set and null pointers, plus how its inputs are filled. For every
// implementation of the list on the asked device and every dtype, run() draws inputs (rounded to the dtype),
// solves the problem with the reference in f64 (the truth) and in the dtype, runs the implementation between
// guards on poisoned outputs, and checks
//   values    f32:   |error| <= c * eps * sqrt(k) * scale
//             f16, bf16: |error| <= 2 * the rounded reference's error + the same
//   guards    256 bytes before and after every operand and the workspace are untouched
//   inputs    are untouched
//   zeros     an output is at most 30 % exact zeros, unless the case says so
//   repeats   a second run gives the same bits (Determinism::bitwise and portable): on the CPU with another
//             number of threads, on a GPU on four streams at once, on an emulated one under other thread
//             orders
//   portable  what is declared so gives the bits of the reference in the dtype, any NaN for NaN
// An implementation that accepted no case at all is a failure too.
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "gpunn/core/device.h"
#include "gpunn/core/implementation.h"
#include "tests/support/compare.h"
#include "tests/support/fill.h"

namespace gpunn::parity {

struct CaseOptions {
  double k = 1;                  // terms that are added up for one output element
  double c = 4;                  // factor of the f32 bound; above 16 wants a comment with the measured error
  double half_factor = 2;        // factor on the rounded reference's error
  Scale scale = Scale::element;  // what the f32 bound is relative to
  std::vector<std::pair<std::string, Fill>> fills{};         // by operand; others: normal(0, 1), integers 0
  std::vector<std::pair<std::string, std::string>> alias{};  // {output, input}: one buffer for both
  std::vector<std::string> zeros_ok{};                       // outputs that may be mostly zero, if there
  std::vector<DType> dtypes{};                               // empty: f32, f16 and bf16
  std::int64_t shift = 0;   // elements by which every operand starts after a 256-byte boundary
  bool small = false;       // cheap enough to repeat under 16 thread orders on an emulated GPU
  bool cpu_blocks = false;  // sizes about the CPU's blocks, too large for an emulated GPU: left out there
};

/// A problem with its entries, whatever its type.
class BoundProblem {
 public:
  virtual ~BoundProblem();
  virtual std::vector<Operand> operands() = 0;
  virtual const char* accepts(std::size_t entry) const = 0;
  virtual std::size_t workspace(std::size_t entry) const = 0;
  virtual void run(std::size_t entry, const Exec& exec) const = 0;
  /// Fills in inputs that follow from others (saved statistics); pointers are host memory.
  virtual void prepare() = 0;
};

struct EntryInfo {
  std::string name;
  DeviceType device;
  Determinism determinism;
};

struct Case {
  std::string op, direction, name;
  CaseOptions options;
  std::vector<EntryInfo> entries;  // the list's, the reference last
  std::function<std::unique_ptr<BoundProblem>(DType)> bind;
};

namespace detail {

// Outside the class, whose member of the same name would hide what argument-dependent look-up finds.
template <class P>
std::vector<Operand> operands_of(P& problem) {
  return operands(problem);
}

template <class P>
class Bound final : public BoundProblem {
 public:
  Bound(const ImplementationList<P>& list, P problem, std::function<void(P&)> prepare)
      : list_(list), problem_(problem), prepare_(std::move(prepare)) {}
  std::vector<Operand> operands() override { return operands_of(problem_); }
  const char* accepts(std::size_t i) const override {
    const auto& e = list_.entries[i];
    return e.accepts ? e.accepts(problem_) : nullptr;
  }
  std::size_t workspace(std::size_t i) const override { return workspace_of(list_.entries[i], problem_); }
  void run(std::size_t i, const Exec& exec) const override { list_.entries[i].run(problem_, exec); }
  void prepare() override {
    if (prepare_) prepare_(problem_);
  }

 private:
  const ImplementationList<P>& list_;
  P problem_;
  std::function<void(P&)> prepare_;
};

}  // namespace detail

/// The cases of one or many ops.
class Suite {
 public:
  /// `make()` returns the problem; its dtype and pointers are set by the harness. `prepare(problem)` may
  /// compute inputs from other inputs, in host memory of the case's dtype. `list` must outlive the suite.
  template <class P, class Make>
  void add(const ImplementationList<P>& list, std::string name, Make make, CaseOptions options = {},
           std::type_identity_t<std::function<void(P&)>> prepare = {}) {
    Case c{list.op, list.direction, std::move(name), std::move(options), {}, {}};
    for (const auto& e : list.entries) c.entries.push_back({e.name, e.device, e.determinism});
    c.bind = [&list, make, prepare](DType dtype) -> std::unique_ptr<BoundProblem> {
      P problem = make();
      problem.dtype = dtype;
      return std::make_unique<detail::Bound<P>>(list, problem, prepare);
    };
    cases_.push_back(std::move(c));
  }
  const std::vector<Case>& cases() const noexcept { return cases_; }

 private:
  std::vector<Case> cases_;
};

struct Options {
  Device device = Device::cpu();
  std::string op{};              // "" for all
  std::string implementation{};  // "" for all
  std::vector<DType> dtypes{};   // empty for all that a case asks for
  std::uint64_t seed = 1;
  int orders = 0;                  // thread orders of an emulated GPU for small cases, up to 16
  std::int64_t most_elements = 0;  // larger cases (operands added up) are skipped; 0: none
  bool poison_guards = true;       // AddressSanitizer reports what touches a guard, at the access
};

/// One line of the result: an implementation in a dtype, over all its cases. `worst_error` and `bound` belong
/// to the element that came nearest to its bound (or went furthest beyond).
struct Row {
  std::string op, implementation, direction;
  DType dtype = DType::f32;
  Determinism determinism = Determinism::varies;
  int cases = 0, skipped = 0, failed = 0;
  double worst_error = 0, bound = 0;
};

enum class FailureKind : std::uint8_t {
  value,
  zeros,
  guard,
  input_changed,
  not_repeatable,
  not_portable,
  error,
  never_run
};
const char* name_of(FailureKind kind) noexcept;
/// "portable", "bitwise" or "varies".
const char* name_of(Determinism level) noexcept;

struct Failure {
  FailureKind kind = FailureKind::value;
  std::string op, implementation, direction, case_name, operand;
  DType dtype = DType::f32;
  std::int64_t element = -1;
  double got = 0, expected = 0, bound = 0;
  std::uint64_t seed = 0;
  std::string message;  // the whole of it, for people
};

struct Report {
  std::vector<Row> rows;
  std::vector<Failure> failures;
  bool ok() const noexcept { return failures.empty(); }
};

/// Runs what `options` selects. Throws nothing for a failing implementation: that is a Failure. Takes one
/// device at a time; the emulator's settings are put back afterwards.
Report run(const Suite& suite, const Options& options);

}  // namespace gpunn::parity
