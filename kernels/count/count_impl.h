#pragma once
// Problems and entry points of counting.
#include <cstdint>
#include <vector>

#include "gpunn/core/hd.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// Elements per bin, or the bin of each element. Without edges an element is the number of its bin.
struct BinProblem {
  DType dtype;  // of x: with edges floating, without an integer (f64 for the truth of a test)
  bool finds;   // y is each element's bin
  bool with_edges;
  bool uniform;          // edges are evenly spaced, to rounding: a division gives the first guess
  const void* x;         // [n]
  const void* edges;     // [bins + 1], rising, edge_dtype(); null without
  std::int64_t* y;       // counting: [bins]; finding: [n], -1 for what lies in no bin
  std::int64_t n, bins;  // bins >= 1
};

/// Halves are compared with edges in f32.
inline DType edge_dtype(const BinProblem& p) { return p.dtype == DType::f64 ? DType::f64 : DType::f32; }

/// y[r, j] = elements of sequence[r] less than values[r, j]; right: not greater.
struct SearchProblem {
  DType dtype;
  bool right;
  bool one_sequence;     // all rows search in the same
  const void* sequence;  // [rows, length], or [length]
  const void* values;    // [rows, n]
  std::int64_t* y;       // [rows, n]
  std::int64_t rows, length, n;
};

/// The order that sorts rows as words are sorted: by the first element, ties by the second, and so on. Equal
/// rows keep their order. Elements are ordered as by sort().
struct RowOrderProblem {
  DType dtype;
  const void* x;        // [rows, width]
  std::int64_t* order;  // [rows]: which row comes k-th
  std::int64_t rows, width;
};

/// The bin of v among `bins` of them: edges[b] <= v < edges[b + 1], the last one v <= edges[bins] too; -1 for
/// NaN and what lies outside. The answer is the same with a guess as without.
template <class E>
GPUNN_HD std::int64_t bin_of(E v, const E* edges, std::int64_t bins, bool uniform) {
  const E low = edges[0], high = edges[bins];
  if (!(v >= low && v <= high)) return -1;
  std::int64_t first = 0, last = bins;  // the bin is in [first, last)
  if (uniform) {
    const E guess = (v - low) / (high - low) * static_cast<E>(bins);
    // Comparisons that NaN fails: an infinite range leads to bin 0, and up from there.
    std::int64_t b =
        guess > 0 ? (guess < static_cast<E>(bins) ? static_cast<std::int64_t>(guess) : bins - 1) : 0;
    if (b >= bins) b = bins - 1;
    while (b > 0 && v < edges[b]) --b;
    while (b + 1 < bins && v >= edges[b + 1]) ++b;
    return b;
  }
  while (last - first > 1) {
    const std::int64_t middle = first + (last - first) / 2;
    if (edges[middle] <= v)
      first = middle;
    else
      last = middle;
  }
  return first;
}

/// Where v belongs among `length` sorted elements, load(i) being the i-th; NaN belongs behind everything.
template <class E, class Load>
GPUNN_HD std::int64_t place_of(E v, const Load& load, std::int64_t length, bool right) {
  std::int64_t first = 0, last = length;
  while (first < last) {
    const std::int64_t middle = first + (last - first) / 2;
    const E at = load(middle);
    if (right ? at > v : at >= v)
      last = middle;
    else
      first = middle + 1;
  }
  return first;
}

std::vector<Operand> operands(BinProblem& p);
std::vector<Operand> operands(SearchProblem& p);
std::vector<Operand> operands(RowOrderProblem& p);
Cost cost(const BinProblem& p);
Cost cost(const SearchProblem& p);
Cost cost(const RowOrderProblem& p);

void bin_count_ref(const BinProblem& p, const Exec& exec);
void bin_count_cpu(const BinProblem& p, const Exec& exec);
void bin_count_cuda(const BinProblem& p, const Exec& exec);
std::size_t bin_count_cpu_workspace(const BinProblem& p);
void bin_find_ref(const BinProblem& p, const Exec& exec);
void bin_find_cuda(const BinProblem& p, const Exec& exec);
void search_ref(const SearchProblem& p, const Exec& exec);
void search_cpu(const SearchProblem& p, const Exec& exec);
void search_cuda(const SearchProblem& p, const Exec& exec);
void row_order_ref(const RowOrderProblem& p, const Exec& exec);
void row_order_cuda(const RowOrderProblem& p, const Exec& exec);
std::size_t row_order_cuda_workspace(const RowOrderProblem& p);

extern const ImplementationList<BinProblem> kBinCount;
extern const ImplementationList<BinProblem> kBinFind;
extern const ImplementationList<SearchProblem> kSearch;
extern const ImplementationList<RowOrderProblem> kRowOrder;

}  // namespace gpunn
