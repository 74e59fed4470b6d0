#pragma once
// The harness of the op benchmarks: a row is a problem with sizes; every implementation that accepts it is
// timed.
//
// Rules: random inputs; buffers rotate through more memory than the last cache holds, unless the row's own
// working set is meant to stay in cache; warm-up; the implementations of a row take turns; medians. A row's
// fraction compares with the machine's own ceilings, measured in the same run: copy bandwidth and
// multiply-add rate, whichever binds. An implementation that is slow for the time given takes fewer turns, at
// least one.
//
// A row whose name begins with a letter and a number ("G6 16384x3072x768 ...") has its sizes from the table
// of that id: A attention, B batch norms, C convolutions, G products, L classifiers with their loss, R row
// reductions, S recurrent layers, P sizes for a CPU, MEM-5 the optimizer of a 124 M model.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tuning.h"

namespace gpunn::bench {

/// What a machine can do at most, on the threads the Runtime uses.
struct Ceilings {
  double bytes_per_second = 0;  // read plus written by a copy of 64 MiB
  double flops_per_second = 0;  // f32 multiply-adds, operands in registers; 0 where it is not measured
};
Ceilings measure_ceilings(DeviceContext& context);

struct Result {
  std::string op, direction, row, implementation;
  DType dtype;
  double seconds;    // median of the turns
  double low, high;  // the turns' lower and upper quartile, for comparisons
  Cost cost;
  double fraction;  // of the binding ceiling; 1 is the most the machine could do
};

/// Where a row is worth its time. The reference would need minutes on some; some need a GPU's memory and
/// speed (an emulated one will not do).
enum class RunsOn : std::uint8_t { everything, all_but_reference, gpu };

/// A row as --list shows it.
struct Listed {
  std::string op, direction, row;
  DType dtype;
  RunsOn runs_on;
  const char* skipped = nullptr;  // why it was not timed
};

struct Options {
  std::string op{};              // empty: all
  std::string row{};             // empty: all; a name, or its first words ("G6")
  double seconds_per_row = 0.2;  // per implementation
  double budget = 0;             // seconds after which no row is begun; 0: none
  bool best_only = false;        // the implementation that a call would run, no others
  bool names_only = false;       // time nothing, only learn which rows there are
  bool issues_only = false;      // time nothing, but ask for each row's order as its op does (core/tuning.h)
};

/// One implementation on one problem, ready to run again and again.
struct Candidate {
  const char* name;
  std::function<void(int rotation)> run;
};

class Bench {
 public:
  Bench(DeviceContext& context, Options options);

  /// Times `problem` (null pointers; sizes and dtype set) with every implementation of `list` for this
  /// device, unless it `runs_on` others only. Integer operands are drawn from [0, integers_below); operands
  /// named in `absent` stay null.
  template <class P>
  void row(const ImplementationList<P>& list, const std::string& name, P problem,
           std::int64_t integers_below = 2, RunsOn runs_on = RunsOn::everything,
           std::initializer_list<std::string_view> absent = {}) {
    known_ops_.insert(list.op);
    if (!wanted(list.op, name)) return;
    Listed listed{list.op, list.direction, name, problem.dtype, runs_on};
    if (options_.names_only) {
      listed_.push_back(listed);
      return;
    }
    if (runs_on == RunsOn::gpu && !on_gpu()) listed.skipped = "GPU only";
    if (late()) listed.skipped = "not reached in the time given";
    if (listed.skipped) {
      skipped_.push_back(listed);
      return;
    }
    std::vector<P> copies(
        options_.issues_only ? 1 : static_cast<std::size_t>(rotations(present(problem, absent))), problem);
    const Buffers buffers(*this);
    for (P& copy : copies) fill(present(copy, absent), integers_below);
    if (options_.issues_only) {
      listed_.push_back(listed);
      return ask(list, copies.front());
    }
    std::vector<Candidate> candidates;
    for (const auto& entry : list.entries) {
      if (entry.device != context_.type() || (entry.accepts && entry.accepts(problem))) continue;
      if (runs_on != RunsOn::everything && std::string_view(entry.name) == "ref") continue;
      const std::size_t workspace = workspace_of(entry, problem);
      candidates.push_back({entry.name, [this, &entry, &copies, workspace](int i) {
                              entry.run(copies[static_cast<std::size_t>(i) % copies.size()], exec(workspace));
                            }});
      if (options_.best_only) break;
    }
    time(list.op, list.direction, name, problem.dtype, cost(copies.front()), candidates);
  }

  const std::vector<Result>& results() const noexcept { return results_; }
  /// With names_only or issues_only, every row that was asked for.
  const std::vector<Listed>& listed() const noexcept { return listed_; }
  /// Rows that were asked for, but not timed, with the reason.
  const std::vector<Listed>& skipped() const noexcept { return skipped_; }
  const Ceilings& ceilings() const noexcept { return ceilings_; }
  const Options& options() const noexcept { return options_; }
  DeviceContext& context() const noexcept { return context_; }
  /// Ops that have rows, whether they were timed or not.
  const std::set<std::string>& known_ops() const noexcept { return known_ops_; }

 private:
  /// Frees what fill() allocated.
  struct Buffers {
    explicit Buffers(Bench& bench) : owner(bench) {}
    ~Buffers() { owner.release(); }
    Bench& owner;
  };

  /// The operands that a row has.
  template <class P>
  static std::vector<Operand> present(P& problem, std::initializer_list<std::string_view> absent) {
    std::vector<Operand> list = operands(problem);
    std::erase_if(list, [&](const Operand& o) {
      return std::find(absent.begin(), absent.end(), o.name) != absent.end();
    });
    return list;
  }
  /// As execute() of an op that is issued through Tuned, without running it.
  template <class P>
  void ask(const ImplementationList<P>& list, P& problem) {
    if constexpr (requires(TuningKey& key) { describe(std::as_const(problem), key); })
      const Tuned<P> asked(list, problem, context_, [](const P& p, TuningKey& key) { describe(p, key); });
  }

  bool wanted(const std::string& op, const std::string& row) const;
  bool on_gpu() const;
  bool late() const;
  int rotations(const std::vector<Operand>& operands) const;
  void fill(const std::vector<Operand>& operands, std::int64_t integers_below);
  const std::vector<char>& drawn(DType dtype, std::int64_t integers_below);
  void release();
  Exec exec(std::size_t workspace_bytes);
  void time(const char* op, const char* direction, const std::string& row, DType dtype, Cost cost,
            const std::vector<Candidate>& candidates);
  double fraction(Cost cost, double seconds) const;

  DeviceContext& context_;
  Options options_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  Ceilings ceilings_;
  std::vector<std::pair<void*, std::size_t>> buffers_;
  Ref<Storage> workspace_;
  std::vector<Result> results_;
  std::vector<Listed> listed_, skipped_;
  std::set<std::string> known_ops_;
  std::map<std::pair<DType, std::int64_t>, std::vector<char>> drawn_;  // by dtype and integers_below
  std::size_t buffers_filled_ = 0;
};

/// The rows of each op, in benchmarks/rows/.
void add_attention_rows(Bench& bench);
void add_chain_rows(Bench& bench);
void add_conv2d_rows(Bench& bench);
void add_count_rows(Bench& bench);
void add_ctc_rows(Bench& bench);
void add_elementwise_rows(Bench& bench);
void add_indexing_rows(Bench& bench);
void add_linear_cross_entropy_rows(Bench& bench);
void add_loss_rows(Bench& bench);
void add_matmul_rows(Bench& bench);
void add_movement_rows(Bench& bench);
void add_norm_rows(Bench& bench);
void add_optim_rows(Bench& bench);
void add_pool_rows(Bench& bench);
void add_primitive_rows(Bench& bench);
void add_random_rows(Bench& bench);
void add_reduce_rows(Bench& bench);
void add_resize_rows(Bench& bench);
void add_rnn_rows(Bench& bench);
void add_rotary_rows(Bench& bench);
void add_scan_rows(Bench& bench);
void add_softmax_rows(Bench& bench);
void add_sort_rows(Bench& bench);

/// All of them.
void add_all_rows(Bench& bench);
/// Names of the ops that have rows.
std::vector<std::string> ops_with_rows(DeviceContext& context);

/// A table for people, with the machine's ceilings above it.
std::string to_table(const Bench& bench);
/// {"device","threads","commit","copy_bytes_per_second","multiply_add_flops_per_second","rows":[{"op",
/// "direction","case","implementation","dtype","seconds","seconds_low","seconds_high","flops","bytes",
/// "fraction_of_ceiling"}],"skipped":[{"op","direction","case","dtype","runs_on","reason"}]}
std::string to_json(const Bench& bench);
/// The rows of a Bench with names_only: a line each, or [{"op","direction","case","dtype","runs_on"}].
std::string list_table(const Bench& bench);
std::string list_json(const Bench& bench);

}  // namespace gpunn::bench
