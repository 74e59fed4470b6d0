#pragma once
// Problems and entry points of the ops that read or write by index or mask.
//
// Indices and what is gathered or scattered are contiguous. An index outside
// its range is never used as an address: what would be read is NaN (0 for
// integers), what would be written is dropped.
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/shape.h"

namespace gpunn {

/// First position whose index is not in [0, extent).
struct IndexCheckProblem {
  DType dtype;                // of nothing: every list's problem has one
  const std::int64_t* index;  // [n]
  std::int64_t* bad;          // [1]: the position, or -1
  std::int64_t n, extent;
};

/// y[o, j, i] = x[o, index[j], i]; zeros where index[j] = skip. Any dtype.
struct SelectRowsProblem {
  DType dtype;
  const void* x;                         // [outer, extent, inner]
  const std::int64_t* index;             // [n]
  void* y;                               // [outer, n, inner], not x
  std::int64_t outer, extent, inner, n;  // all >= 1
  std::int64_t skip;                     // -1: none
};

/// y[o, r, i] = base[o, r, i] + sum of src[o, j, i] over index[j] = r, r !=
/// skip. Floating dtypes. The order depends on the number of terms only.
struct AddRowsProblem {
  DType dtype;
  const void* base;                      // [outer, extent, inner]; null: zeros
  const std::int64_t* index;             // [n]
  const void* src;                       // [outer, n, inner]
  void* y;                               // [outer, extent, inner], not base
  std::int64_t outer, extent, inner, n;  // all >= 1
  std::int64_t skip;                     // -1: none
  bool with_base;                        // base is there
};

/// y[e] = x[offset(e) + index[e] * step] over the elements e of the index, in
/// row-major order. Any dtype.
struct GatherProblem {
  DType dtype;
  const void* x;              // extent: see gather_x_elements()
  const std::int64_t* index;  // [shape]
  const std::int64_t* owner;  // like x: only the element e that is named here
                              // gets x, others 0; null: all do
  void* y;                    // [shape], not x
  int rank;                   // >= 1; dimensions coalesced
  std::int64_t shape[kMaxRank],
      x_strides[kMaxRank];    // x's stride is 0 along the gathered dimension
  std::int64_t extent, step;  // of x along the gathered dimension
  bool with_owner;            // owner is there
};

/// y = base, then y[offset(c) + index[e] * step] = src[e] (or += src[e]) with e
/// = offset'(c) + j * index_step, for every column c and j = 0, 1, ... in turn.
/// Assigning takes any dtype, adding floating ones.
struct ScatterProblem {
  DType dtype;
  const void* base;           // [y_elements]; null: zeros
  const std::int64_t* index;  // [columns of shape] x n
  const void* src;            // like index; null when assigning i64: e itself is written
  void* y;                    // [y_elements], contiguous, not base
  int rank;                   // >= 1; dimensions other than the scattered one, coalesced
  std::int64_t shape[kMaxRank], index_strides[kMaxRank], y_strides[kMaxRank];
  std::int64_t n, index_step;  // of index along the scattered dimension
  std::int64_t extent, step;   // of y along it
  std::int64_t y_elements;
  bool with_base, with_src;
};

/// y = mask ? value : x. Any dtype.
struct MaskedFillProblem {
  DType dtype;
  const void* x;     // [shape], contiguous
  const bool* mask;  // [shape] with mask_strides
  void* y;           // [shape], may be x
  int rank;          // >= 1; dimensions coalesced
  std::int64_t shape[kMaxRank], mask_strides[kMaxRank];
  double value;
};

/// positions = indices of true elements, ascending, then -1; count = how many.
struct MaskPositionsProblem {
  DType dtype;              // of nothing
  const bool* mask;         // [n]
  std::int64_t* positions;  // [n]
  std::int64_t* count;      // [1]
  std::int64_t n;           // >= 1
};

/// y[e, c] = index[e] == c. Any dtype.
struct OneHotProblem {
  DType dtype;
  const std::int64_t* index;  // [n]
  void* y;                    // [n, classes]
  std::int64_t n, classes;    // >= 1
};

/// Elements of index, y and owner's x that a problem spans.
std::int64_t columns_of(const ScatterProblem& p);
std::int64_t elements_of(const GatherProblem& p);
std::int64_t gather_x_elements(const GatherProblem& p);

std::vector<Operand> operands(IndexCheckProblem& p);
std::vector<Operand> operands(SelectRowsProblem& p);
std::vector<Operand> operands(AddRowsProblem& p);
std::vector<Operand> operands(GatherProblem& p);
std::vector<Operand> operands(ScatterProblem& p);
std::vector<Operand> operands(MaskedFillProblem& p);
std::vector<Operand> operands(MaskPositionsProblem& p);
std::vector<Operand> operands(OneHotProblem& p);
Cost cost(const IndexCheckProblem& p);
Cost cost(const SelectRowsProblem& p);
Cost cost(const AddRowsProblem& p);
Cost cost(const GatherProblem& p);
Cost cost(const ScatterProblem& p);
Cost cost(const MaskedFillProblem& p);
Cost cost(const MaskPositionsProblem& p);
Cost cost(const OneHotProblem& p);

extern const ImplementationList<IndexCheckProblem> kIndexCheck;
extern const ImplementationList<SelectRowsProblem> kSelectRows;
extern const ImplementationList<AddRowsProblem> kAddRows;
extern const ImplementationList<GatherProblem> kGather;
extern const ImplementationList<ScatterProblem> kScatter;
extern const ImplementationList<ScatterProblem> kScatterAdd;
extern const ImplementationList<MaskedFillProblem> kMaskedFill;
extern const ImplementationList<MaskPositionsProblem> kMaskPositions;
extern const ImplementationList<OneHotProblem> kOneHot;

// Host memory.
void index_check_ref(const IndexCheckProblem& p, const Exec& exec);
void select_rows_ref(const SelectRowsProblem& p, const Exec& exec);
void add_rows_ref(const AddRowsProblem& p, const Exec& exec);
void gather_ref(const GatherProblem& p, const Exec& exec);
void scatter_ref(const ScatterProblem& p, const Exec& exec);
void scatter_add_ref(const ScatterProblem& p, const Exec& exec);
void masked_fill_ref(const MaskedFillProblem& p, const Exec& exec);
void mask_positions_ref(const MaskPositionsProblem& p, const Exec& exec);
void one_hot_ref(const OneHotProblem& p, const Exec& exec);
void select_rows_cpu(const SelectRowsProblem& p, const Exec& exec);
void add_rows_cpu(const AddRowsProblem& p, const Exec& exec);  // f32
void gather_cpu(const GatherProblem& p, const Exec& exec);
void scatter_cpu(const ScatterProblem& p, const Exec& exec);
void scatter_add_cpu(const ScatterProblem& p, const Exec& exec);  // f32
void masked_fill_cpu(const MaskedFillProblem& p, const Exec& exec);
void one_hot_cpu(const OneHotProblem& p, const Exec& exec);
// Device memory; sums take f32, f16 and bf16.
void index_check_cuda(const IndexCheckProblem& p, const Exec& exec);
void select_rows_cuda(const SelectRowsProblem& p, const Exec& exec);
void add_rows_cuda(const AddRowsProblem& p, const Exec& exec);
void gather_cuda(const GatherProblem& p, const Exec& exec);
void scatter_cuda(const ScatterProblem& p, const Exec& exec);
void scatter_add_cuda(const ScatterProblem& p, const Exec& exec);
void masked_fill_cuda(const MaskedFillProblem& p, const Exec& exec);
void mask_positions_cuda(const MaskPositionsProblem& p, const Exec& exec);
void one_hot_cuda(const OneHotProblem& p, const Exec& exec);

// By CUB, in builds with nvcc only.
void mask_positions_cub(const MaskPositionsProblem& p, const Exec& exec);
std::size_t mask_positions_cub_workspace(const MaskPositionsProblem& p);

std::size_t index_check_cuda_workspace(const IndexCheckProblem& p);
std::size_t add_rows_cpu_workspace(const AddRowsProblem& p);
std::size_t add_rows_cuda_workspace(const AddRowsProblem& p);
std::size_t scatter_cuda_workspace(const ScatterProblem& p);
std::size_t scatter_add_cuda_workspace(const ScatterProblem& p);
std::size_t mask_positions_cuda_workspace(const MaskPositionsProblem& p);

}  // namespace gpunn
