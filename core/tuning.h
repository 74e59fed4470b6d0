#pragma once
// Stored orders of implementations: what `gpunn autotune` measured on a machine, asked for by key when an op
// is issued.
//
// An op whose list has more than one entry for a device (besides the reference) issues through Tuned. Without
// a table in use that costs one atomic load. With one, the list is put into the stored order, and execute()
// chooses from it by its usual rules: an entry that is not there, is for another device, is not deterministic
// enough or refuses the problem is passed over, and GPUNN_IMPL still wins. The reference is never moved.
//
// Implementations of an op may differ in rounding, so a table can change bits; with the same table they stay
// the same.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/dtype.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// Everything that the order of an op's implementations may depend on, as text: op, direction, dtype, then
/// what the op adds, sizes, strides and flags: "matmul forward f32 M=64 N=10 K=128 lda=128 trans_b=1". Not
/// the elements, and of an address only whether it is aligned: problems of equal text may trade places.
class GPUNN_API TuningKey {
 public:
  TuningKey(const char* op, const char* direction, DType dtype);
  /// Zeros are left out. Names must differ, and come in a fixed order.
  TuningKey& add(std::string_view name, std::int64_t value);
  /// Whether every address (null counts) is a multiple of 16, what wide loads need.
  TuningKey& add_alignment(std::initializer_list<const void*> pointers);
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
};

struct TuningTime {
  std::string implementation;
  double seconds;
};
struct TuningRow {
  std::string key;                // TuningKey::text()
  std::vector<TuningTime> order;  // first choice first
};

/// Rows by key.
class GPUNN_API TuningTable {
 public:
  /// Adds the row, or replaces the one with its key.
  void set(TuningRow row);
  /// Null when there is none.
  const TuningRow* find(std::string_view key) const;
  std::size_t size() const noexcept { return rows_.size(); }
  /// In the order of their keys.
  std::vector<const TuningRow*> rows() const;

 private:
  std::map<std::string, TuningRow, std::less<>> rows_;
};

/// From now on ops issued to `context` follow `table`; it takes the place of the one before, of whatever
/// device. `digest` names it in records. Thread-safe, also while other threads issue ops: a table stays in
/// memory until the process ends.
GPUNN_API void install_tuning(DeviceContext& context, TuningTable table, std::string digest);
GPUNN_API void remove_tuning() noexcept;
/// Digest of the table in use; "" when there is none.
GPUNN_API std::string tuning_digest();

/// While it lives, every problem that is new to it and that several implementations on `context` could run is
/// timed with each of them, on the live operands, before it is run as without tuning. One at a time in a
/// process, and no op may be running on another thread when it ends.
class GPUNN_API TuningRecorder {
 public:
  /// `seconds` for each problem and implementation.
  TuningRecorder(DeviceContext& context, double seconds);
  ~TuningRecorder();
  TuningRecorder(const TuningRecorder&) = delete;
  TuningRecorder& operator=(const TuningRecorder&) = delete;
  /// What was measured so far. An implementation that is not 3 % faster than the list's own first does not
  /// come before it.
  TuningTable table() const;
  /// Different problems that asked, those with one implementation included; their keys, in order.
  std::size_t problems() const;
  std::vector<std::string> keys() const;

  struct State;

 private:
  std::unique_ptr<State> state_;
};

namespace detail {

struct TuningState;
/// What is in use for `context`; null: nothing.
GPUNN_API const TuningState* tuning_state(const DeviceContext& context) noexcept;

/// Indices of the entries in the order in which they are to be asked. `runs` belongs to `candidates`.
GPUNN_API std::vector<std::size_t> tuned_order(const TuningState& state, const TuningKey& key,
                                               DeviceContext& context, std::span<const Candidate> candidates,
                                               std::span<const ErasedRun> runs,
                                               std::span<const Operand> operands);

}  // namespace detail

/// A list in the order that is best for a problem, for one execute():
///
///   execute(Tuned(kMatmul, p, c.context(), describe).list(), p, {&a, &b}, {&c});
///
/// `describe` adds to the key what the speed of the problem depends on.
template <class P>
class Tuned {
 public:
  using Describe = void (*)(const P& problem, TuningKey& key);

  Tuned(const ImplementationList<P>& list, P& problem, DeviceContext& context, Describe describe)
      : list_(list) {
    if (const detail::TuningState* state = detail::tuning_state(context)) [[unlikely]]
      reorder(*state, problem, context, describe);
  }
  Tuned(const Tuned&) = delete;
  Tuned& operator=(const Tuned&) = delete;
  const ImplementationList<P>& list() const noexcept { return list_; }

 private:
  void reorder(const detail::TuningState& state, P& problem, DeviceContext& context, Describe describe) {
    TuningKey key(list_.op, list_.direction, problem.dtype);
    describe(problem, key);
    std::vector<detail::Candidate> candidates;
    std::vector<detail::ErasedRun> runs;
    for (const auto& e : list_.entries) {
      candidates.push_back({e.name, e.device, e.determinism, e.accepts ? e.accepts(problem) : nullptr});
      runs.push_back(detail::erase(problem, e));
    }
    for (const std::size_t i : detail::tuned_order(state, key, context, candidates, runs, operands(problem)))
      entries_.push_back(list_.entries[i]);
    list_.entries = entries_;
  }

  ImplementationList<P> list_;
  std::vector<Implementation<P>> entries_;  // empty without a table
};

}  // namespace gpunn
