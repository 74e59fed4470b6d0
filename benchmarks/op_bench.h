#pragma once
// The harness of the op benchmarks: a row is a problem with sizes; every implementation that accepts it is
// timed.
//
// Rules: random inputs; buffers rotate through more memory than the last cache holds, unless the row's own
// working set is meant to stay in cache; warm-up; the implementations of a row take turns; medians. A row's
// fraction compares with the machine's own ceilings, measured in the same run: copy bandwidth and
// multiply-add rate, whichever binds.
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/runtime.h"

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

struct Options {
  std::string op{};              // empty: all
  std::string row{};             // empty: all
  double seconds_per_row = 0.2;  // per implementation
  bool best_only = false;        // the implementation that a call would run, no others
  bool names_only = false;       // time nothing, only learn which ops have rows
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
  /// device. Integer operands are drawn from [0, integers_below).
  template <class P>
  void row(const ImplementationList<P>& list, const std::string& name, P problem,
           std::int64_t integers_below = 2) {
    known_ops_.insert(list.op);
    if (options_.names_only || (!options_.op.empty() && options_.op != list.op)) return;
    if (!options_.row.empty() && options_.row != name) return;
    std::vector<P> copies(static_cast<std::size_t>(rotations(operands(problem))), problem);
    const Buffers buffers(*this);
    for (P& copy : copies) fill(operands(copy), integers_below);
    std::vector<Candidate> candidates;
    for (const auto& entry : list.entries) {
      if (entry.device != context_.type() || (entry.accepts && entry.accepts(problem))) continue;
      const std::size_t workspace = workspace_of(entry, problem);
      candidates.push_back({entry.name, [this, &entry, &copies, workspace](int i) {
                              entry.run(copies[static_cast<std::size_t>(i) % copies.size()], exec(workspace));
                            }});
      if (options_.best_only) break;
    }
    time(list.op, list.direction, name, problem.dtype, cost(problem), candidates);
  }

  const std::vector<Result>& results() const noexcept { return results_; }
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

  static int rotations(const std::vector<Operand>& operands);
  void fill(const std::vector<Operand>& operands, std::int64_t integers_below);
  void release();
  Exec exec(std::size_t workspace_bytes);
  void time(const char* op, const char* direction, const std::string& row, DType dtype, Cost cost,
            const std::vector<Candidate>& candidates);
  double fraction(Cost cost, double seconds) const;

  DeviceContext& context_;
  Options options_;
  Ceilings ceilings_;
  std::vector<std::pair<void*, std::size_t>> buffers_;
  Ref<Storage> workspace_;
  std::vector<Result> results_;
  std::set<std::string> known_ops_;
  std::uint64_t seed_ = 0;
};

/// The rows of each op, in benchmarks/rows/.
void add_chain_rows(Bench& bench);
void add_count_rows(Bench& bench);
void add_ctc_rows(Bench& bench);
void add_elementwise_rows(Bench& bench);
void add_indexing_rows(Bench& bench);
void add_loss_rows(Bench& bench);
void add_matmul_rows(Bench& bench);
void add_movement_rows(Bench& bench);
void add_optim_rows(Bench& bench);
void add_primitive_rows(Bench& bench);
void add_random_rows(Bench& bench);
void add_reduce_rows(Bench& bench);
void add_scan_rows(Bench& bench);
void add_softmax_rows(Bench& bench);
void add_sort_rows(Bench& bench);

/// All of them.
void add_all_rows(Bench& bench);

/// A table for people, with the machine's ceilings above it.
std::string to_table(const Bench& bench);
/// {"device","threads","commit","copy_bytes_per_second","multiply_add_flops_per_second","rows":[{"op",
/// "direction","case","implementation","dtype","seconds","seconds_low","seconds_high","flops","bytes",
/// "fraction_of_ceiling"}]}
std::string to_json(const Bench& bench);

}  // namespace gpunn::bench
