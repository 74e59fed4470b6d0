#include "tests/support/parity.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <optional>
#include <tuple>

#include "gpunn/core/device_api.h"
#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/stream.h"
#include "tests/support/guarded_buffers.h"
#include "tests/support/parity_truth.h"
#include "tests/support/thread_orders.h"

namespace gpunn::parity {

BoundProblem::~BoundProblem() = default;

const char* name_of(FailureKind kind) noexcept {
  constexpr const char* names[] = {"value",          "zeros",        "guard", "input_changed",
                                   "not_repeatable", "not_portable", "error", "never_run"};
  return names[static_cast<int>(kind)];
}

const char* name_of(Determinism level) noexcept {
  constexpr const char* names[] = {"portable", "bitwise", "varies"};
  return names[static_cast<int>(level)];
}

namespace {

constexpr double kMostZeros = 0.3;

using gpunn::detail::concat;

bool is_output(const Operand& o) { return o.role != Role::in; }

/// One case on one implementation: the runs and their judgement.
class Trial {
 public:
  Trial(const Case& c, Prepared& prepared, std::size_t entry, DType dtype, const Options& options,
        Report& report, Row& row)
      : case_(c), p_(prepared), entry_(entry), dtype_(dtype), options_(options), report_(report), row_(row) {}

  void run() {
    try {
      const std::optional<Contents> first = once(nullptr);
      if (!first) return;
      judge_values(*first);
      if (!failed_ && level() == Determinism::portable) judge_bits(*first);
      if (failed_) return;
      repeat(*first);
      if (!failed_ && !options_.device.is_cpu()) on_four_streams(*first);
    } catch (const std::exception& e) {
      fail(FailureKind::error, {}, concat("threw: ", e.what()));
      recover_emulation();
    }
  }
  bool failed() const noexcept { return failed_; }
  bool skipped() const noexcept { return skipped_; }

 private:
  /// Issues the run and returns what it left; nothing when the entry does not accept the problem.
  std::optional<Contents> once(CpuPool* pool) {
    DeviceContext& context = options_.device.context();
    GuardedBuffers buffers(context, p_.operands, p_.initial, p_.shared, case_.options.shift,
                           options_.poison_guards);
    if (p_.problem->accepts(entry_)) {
      skipped_ = true;
      return std::nullopt;
    }
    issue(buffers, pool);
    options_.device.synchronize();
    std::ptrdiff_t broken = -1;
    Contents contents = buffers.read_back(broken);
    if (broken >= 0) {
      const auto i = static_cast<std::size_t>(broken);
      fail(FailureKind::guard, i < p_.operands.size() ? p_.operands[i].name : "workspace",
           "was written outside its bounds");
    }
    check_inputs(contents);
    return contents;
  }

  void issue(GuardedBuffers& buffers, CpuPool* pool) {
    const std::size_t workspace_bytes = p_.problem->workspace(entry_);
    void* const workspace = buffers.add_workspace(workspace_bytes);
    gpunn::detail::OpIssue issue(options_.device.context(), buffers.storages(), buffers.storages(), 0,
                                 case_.entries[entry_].name.c_str());
    Exec exec = issue.exec();
    exec.workspace = workspace;
    exec.workspace_bytes = workspace_bytes;
    if (pool) exec.pool = pool;
    p_.problem->run(entry_, exec);
    issue.commit();
  }

  void check_inputs(const Contents& after) {
    for (std::size_t i = 0; i < after.size(); ++i) {
      const bool written = std::any_of(p_.operands.begin(), p_.operands.end(), [&](const Operand& o) {
        return is_output(o) && p_.shared[static_cast<std::size_t>(&o - p_.operands.data())] == i;
      });
      if (p_.operands[i].role == Role::in && !written && after[i] != p_.initial[i])
        fail(FailureKind::input_changed, p_.operands[i].name, "is an input and was changed");
    }
  }

  void judge_values(const Contents& after) {
    const CaseOptions& o = case_.options;
    for (std::size_t i = 0; i < after.size(); ++i) {
      const Operand& operand = p_.operands[i];
      if (!is_output(operand) || operand.elements == 0) continue;
      const Comparison c = compare(after[i].data(), operand.dtype, p_.truth[i], p_.rounded[i], p_.scale[i],
                                   {o.c, o.k, o.half_factor});
      const bool nearest = row_.bound == 0 || c.error * row_.bound >= row_.worst_error * c.bound;
      if (c.bound > 0 && nearest) row_.worst_error = c.error, row_.bound = c.bound;
      const bool may_be_zero = std::count(o.zeros_ok.begin(), o.zeros_ok.end(), operand.name) > 0;
      if (is_floating(operand.dtype) && c.zero_fraction > kMostZeros && !may_be_zero)
        fail(FailureKind::zeros, operand.name, concat("is ", 100 * c.zero_fraction, " % exact zeros"));
      if (!c.ok) fail_value(operand, c);
    }
  }

  Determinism level() const { return case_.entries[entry_].determinism; }

  /// The bits of the reference, which any device must give. Which NaN a device makes is not promised.
  void judge_bits(const Contents& after) {
    for (std::size_t i = 0; i < after.size() && !failed_; ++i) {
      const Operand& operand = p_.operands[i];
      if (!is_output(operand) || after[i] == p_.reference[i]) continue;
      const std::size_t width = size_of(operand.dtype);
      for (std::int64_t e = 0; e < operand.elements && !failed_; ++e) {
        const std::size_t at = static_cast<std::size_t>(e) * width;
        if (std::memcmp(&after[i][at], &p_.reference[i][at], width) == 0) continue;
        const double got = load_element(after[i].data(), operand.dtype, e);
        const double expected = load_element(p_.reference[i].data(), operand.dtype, e);
        if (std::isnan(got) && std::isnan(expected)) continue;
        fail(FailureKind::not_portable, operand.name,
             concat("[", e, "] is ", got, ", where the reference makes ", expected,
                    ": other bits, but it is declared portable"));
      }
    }
  }

  /// Runs again: same bits for what declares itself bitwise or portable, within bounds for the rest.
  void repeat(const Contents& first) {
    const auto again = [&](CpuPool* pool, const std::string& how) {
      const std::optional<Contents> second = once(pool);
      if (!second || failed_) return;
      if (level() == Determinism::varies) return judge_values(*second);
      same_bits(first, *second, how);
    };
    CpuPool three_threads(3);
    again(options_.device.is_cpu() ? &three_threads : nullptr, "(on the CPU: with three threads)");
    if (!case_.options.small) return;
    ThreadOrders orders(options_.device, options_.seed, options_.orders);
    while (!failed_ && orders.next()) again(nullptr, "under thread order " + orders.description());
  }

  /// Four copies of the problem beside each other: what they share (workspace of another stream, a static
  /// buffer) shows. On an emulated GPU only where it is cheap.
  void on_four_streams(const Contents& first) {
    DeviceContext& context = options_.device.context();
    if (!case_.options.small && context.api().info().emulated) return;
    std::vector<Stream> streams;
    std::deque<GuardedBuffers> buffers;
    for (int i = 0; i < 4; ++i) {
      streams.emplace_back(options_.device);
      const StreamScope scope(streams.back());
      buffers.emplace_back(context, p_.operands, p_.initial, p_.shared, case_.options.shift,
                           options_.poison_guards);
      if (!p_.problem->accepts(entry_)) issue(buffers.back(), nullptr);
    }
    options_.device.synchronize();
    for (GuardedBuffers& one : buffers) {
      std::ptrdiff_t broken = -1;
      same_bits(first, one.read_back(broken), "beside three others on streams of their own");
    }
  }

  void same_bits(const Contents& first, const Contents& second, const std::string& how) {
    for (std::size_t i = 0; i < first.size() && !failed_; ++i)
      if (first[i] != second[i])
        fail(FailureKind::not_repeatable, p_.operands[i].name, "has other bits when run again " + how);
  }

  void fail_value(const Operand& operand, const Comparison& c) {
    Failure f =
        failure(FailureKind::value, operand.name,
                concat("[", c.element, "] is ", c.got, ", expected ", c.expected, ": error ", c.error,
                       " beyond ", c.bound, " (", c.wrong, " of ", operand.elements, " elements wrong)"));
    f.element = c.element;
    f.got = c.got;
    f.expected = c.expected;
    f.bound = c.bound;
    report_.failures.push_back(std::move(f));
  }

  void fail(FailureKind kind, const std::string& operand, const std::string& what) {
    report_.failures.push_back(failure(kind, operand, what));
  }

  Failure failure(FailureKind kind, const std::string& operand, const std::string& what) {
    failed_ = true;
    const std::string& implementation = case_.entries[entry_].name;
    Failure f;
    f.kind = kind;
    f.op = case_.op;
    f.direction = case_.direction;
    f.implementation = implementation;
    f.case_name = case_.name;
    f.operand = operand;
    f.dtype = dtype_;
    f.seed = options_.seed;
    f.message =
        concat(f.op, " ", f.direction, ", ", implementation, " ", dtype_, ", case ", f.case_name, ", seed ",
               f.seed, ": ", operand, kind == FailureKind::value || operand.empty() ? "" : " ", what);
    return f;
  }

  const Case& case_;
  Prepared& p_;
  std::size_t entry_;
  DType dtype_;
  const Options& options_;
  Report& report_;
  Row& row_;
  bool failed_ = false, skipped_ = false;
};

/// The rows of a report by what they are about, in order of appearance.
class Rows {
 public:
  explicit Rows(Report& report) : report_(report) {}
  Row& at(const Case& c, const EntryInfo& e, DType dtype) {
    const auto key = std::make_tuple(c.op, c.direction, e.name, dtype);
    const auto [it, fresh] = index_.try_emplace(key, report_.rows.size());
    if (fresh) {
      report_.rows.push_back({});
      Row& row = report_.rows.back();
      row.op = c.op, row.direction = c.direction, row.implementation = e.name, row.dtype = dtype;
      row.determinism = e.determinism;
    }
    return report_.rows[it->second];
  }

 private:
  Report& report_;
  std::map<std::tuple<std::string, std::string, std::string, DType>, std::size_t> index_;
};

std::vector<DType> dtypes_of(const Case& c) {
  if (!c.options.dtypes.empty()) return c.options.dtypes;
  return {DType::f32, DType::f16, DType::bf16};
}

std::int64_t elements_of(const Case& c, DType dtype) {
  std::int64_t sum = 0;
  for (const Operand& o : c.bind(dtype)->operands()) sum += o.elements;
  return sum;
}

void report_never_run(Report& report) {
  std::map<std::tuple<std::string, std::string, std::string>, int> runs;
  for (const Row& r : report.rows) runs[{r.op, r.direction, r.implementation}] += r.cases;
  for (const auto& [key, cases] : runs) {
    if (cases > 0) continue;
    Failure f;
    f.kind = FailureKind::never_run;
    std::tie(f.op, f.direction, f.implementation) = key;
    f.message = concat(f.op, " ", f.direction, ", ", f.implementation, ": accepted none of the cases");
    report.failures.push_back(std::move(f));
  }
}

}  // namespace

Report run(const Suite& suite, const Options& options) {
  Report report;
  Rows rows(report);
  const bool emulated = options.device.context().api().info().emulated;
  for (const Case& c : suite.cases()) {
    if (!options.op.empty() && c.op != options.op) continue;
    for (const DType dtype : dtypes_of(c)) {
      if (!options.dtypes.empty() && !std::count(options.dtypes.begin(), options.dtypes.end(), dtype))
        continue;
      const bool too_large = (emulated && c.options.cpu_blocks) ||
                             (options.most_elements > 0 && elements_of(c, dtype) > options.most_elements);
      std::optional<Prepared> prepared;
      for (std::size_t i = 0; i < c.entries.size(); ++i) {
        const EntryInfo& e = c.entries[i];
        if (e.device != options.device.type() ||
            (!options.implementation.empty() && e.name != options.implementation))
          continue;
        Row& row = rows.at(c, e, dtype);
        if (too_large) {
          ++row.skipped;
          continue;
        }
        if (!prepared) prepared = prepare(c, dtype, options.seed);
        Trial trial(c, *prepared, i, dtype, options, report, row);
        trial.run();
        ++(trial.skipped() ? row.skipped : row.cases);
        row.failed += trial.failed();
      }
    }
  }
  if (options.dtypes.empty()) report_never_run(report);
  return report;
}

}  // namespace gpunn::parity
