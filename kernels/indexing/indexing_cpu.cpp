// Indexing on the CPU: rows as runs of memory, sums by row, on the pool. Every
// chunk writes elements of its own, in an order that sizes and indices decide.
#include <algorithm>
#include <cstring>
#include <utility>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/common/row_chunks.h"
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/movement/element_bits_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kGrain = 1 << 15;

bool inside(std::int64_t i, std::int64_t extent) { return i >= 0 && i < extent; }

template <class T>
void add_to(T* y, const T* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}

/// y = base, or zeros.
void initialise(const ScatterProblem& p, const Exec& exec) {
  const auto size = static_cast<std::int64_t>(size_of(p.dtype));
  char* y = static_cast<char*>(p.y);
  const char* base = static_cast<const char*>(p.base);
  parallel_for(*exec.pool, p.y_elements, kGrain, [&](std::int64_t begin, std::int64_t end) {
    const auto bytes = static_cast<std::size_t>((end - begin) * size);
    if (p.with_base)
      std::memcpy(y + begin * size, base + begin * size, bytes);
    else
      std::memset(y + begin * size, 0, bytes);
  });
}

/// write(e, y) for every element of the index and its destination. Runs of
/// columns that lie side by side are walked together, so that each line of
/// memory is used whole.
template <class F>
void for_each_destination(const ScatterProblem& p, const Exec& exec, F write) {
  const std::int64_t se = p.index_strides[p.rank - 1], sy = p.y_strides[p.rank - 1];
  const auto element = [&](std::int64_t e, std::int64_t y) {
    if (inside(p.index[e], p.extent)) write(e, y + p.index[e] * p.step);
  };
  parallel_for(*exec.pool, columns_of(p), rows_per_chunk(p.n), [&](std::int64_t begin, std::int64_t end) {
    detail::walk<2>(p.rank, p.shape, {p.index_strides, p.y_strides}, begin, end,
                    [&](std::int64_t columns, const std::int64_t(&at)[2]) {
                      if (p.index_step == 1) {
                        for (std::int64_t c = 0; c < columns; ++c)
                          for (std::int64_t j = 0; j < p.n; ++j) element(at[0] + c * se + j, at[1] + c * sy);
                      } else {
                        for (std::int64_t j = 0; j < p.n; ++j)
                          for (std::int64_t c = 0; c < columns; ++c)
                            element(at[0] + c * se + j * p.index_step, at[1] + c * sy);
                      }
                    });
  });
}

}  // namespace

void select_rows_cpu(const SelectRowsProblem& p, const Exec& exec) {
  const std::uint64_t bits = outside_bits(p.dtype);
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    parallel_for(*exec.pool, p.outer * p.n, rows_per_chunk(p.inner),
                 [&](std::int64_t begin, std::int64_t end) {
                   for (std::int64_t at = begin; at < end; ++at) {
                     const std::int64_t row = p.index[at % p.n];
                     T* const to = y + at * p.inner;
                     if (!inside(row, p.extent))
                       std::fill_n(to, p.inner, static_cast<T>(bits));
                     else if (row == p.skip)
                       std::fill_n(to, p.inner, T{});
                     else
                       std::memcpy(to, x + (at / p.n * p.extent + row) * p.inner,
                                   static_cast<std::size_t>(p.inner) * sizeof(T));
                   }
                 });
  });
}

std::size_t add_rows_cpu_workspace(const AddRowsProblem& p) {
  return static_cast<std::size_t>(p.extent + 1 + p.n) * sizeof(std::int64_t);
}

// The terms of each row are listed in order (a counting sort), then every row
// is summed by one thread.
void add_rows_cpu(const AddRowsProblem& p, const Exec& exec) {
  auto* starts = static_cast<std::int64_t*>(exec.workspace);  // [extent + 1]
  std::int64_t* terms = starts + p.extent + 1;                // [n]
  const auto counts = [&](std::int64_t row) { return inside(row, p.extent) && row != p.skip; };
  std::fill_n(starts, p.extent + 1, std::int64_t{0});
  for (std::int64_t j = 0; j < p.n; ++j)
    if (counts(p.index[j])) ++starts[p.index[j]];
  std::int64_t total = 0;
  for (std::int64_t row = 0; row <= p.extent; ++row) total += std::exchange(starts[row], total);
  // Each start moves on to the next row's start as its terms are written.
  for (std::int64_t j = 0; j < p.n; ++j)
    if (counts(p.index[j])) terms[starts[p.index[j]]++] = j;
  const float* base = static_cast<const float*>(p.base);
  const float* src = static_cast<const float*>(p.src);
  float* y = static_cast<float*>(p.y);
  parallel_for(*exec.pool, p.outer * p.extent, rows_per_chunk(p.inner),
               [&](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t at = begin; at < end; ++at) {
                   const std::int64_t o = at / p.extent, row = at - o * p.extent;
                   float* const to = y + at * p.inner;
                   if (p.with_base)
                     std::memcpy(to, base + at * p.inner, static_cast<std::size_t>(p.inner) * sizeof(float));
                   else
                     std::fill_n(to, p.inner, 0.0f);
                   for (std::int64_t k = row == 0 ? 0 : starts[row - 1]; k < starts[row]; ++k)
                     add_to(to, src + (o * p.n + terms[k]) * p.inner, p.inner);
                 }
               });
}

void gather_cpu(const GatherProblem& p, const Exec& exec) {
  const std::uint64_t bits = outside_bits(p.dtype);
  const std::int64_t stride = p.x_strides[p.rank - 1], extent = p.extent, step = p.step;
  const std::int64_t* const index = p.index;
  const std::int64_t* const owner = p.owner;
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    const T* const x = static_cast<const T*>(p.x);
    T* const y = static_cast<T*>(p.y);
    const T missing = static_cast<T>(bits);
    parallel_for(
        *exec.pool, elements_of(p), kGrain, [&, extent, step, stride](std::int64_t begin, std::int64_t end) {
          std::int64_t e = begin;
          detail::walk<1>(
              p.rank, p.shape, {p.x_strides}, begin, end, [&](std::int64_t n, const std::int64_t(&at)[1]) {
                const T* from = x + at[0];
                const std::int64_t last = e + n;
                if (owner) {
                  for (; e < last; ++e, from += stride) {
                    const std::int64_t i = index[e];
                    const bool good = inside(i, extent);
                    y[e] = !good ? missing : owner[from - x + i * step] == e ? from[i * step] : T{};
                  }
                } else {
                  for (; e < last; ++e, from += stride) {
                    const std::int64_t i = index[e];
                    y[e] = inside(i, extent) ? from[i * step] : missing;
                  }
                }
              });
        });
  });
}

void scatter_cpu(const ScatterProblem& p, const Exec& exec) {
  initialise(p, exec);
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    const T* src = static_cast<const T*>(p.src);
    T* y = static_cast<T*>(p.y);
    for_each_destination(p, exec,
                         [&](std::int64_t e, std::int64_t to) { y[to] = src ? src[e] : static_cast<T>(e); });
  });
}

void scatter_add_cpu(const ScatterProblem& p, const Exec& exec) {
  initialise(p, exec);
  const float* src = static_cast<const float*>(p.src);
  float* y = static_cast<float*>(p.y);
  for_each_destination(p, exec, [&](std::int64_t e, std::int64_t to) { y[to] += src[e]; });
}

void masked_fill_cpu(const MaskedFillProblem& p, const Exec& exec) {
  const std::uint64_t bits = element_bits(p.dtype, p.value);
  const std::int64_t stride = p.mask_strides[p.rank - 1];
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    const T* x = static_cast<const T*>(p.x);
    T* y = static_cast<T*>(p.y);
    const T value = static_cast<T>(bits);
    parallel_for(*exec.pool, detail::numel_of(p.rank, p.shape), kGrain,
                 [&](std::int64_t begin, std::int64_t end) {
                   std::int64_t e = begin;
                   detail::walk<1>(p.rank, p.shape, {p.mask_strides}, begin, end,
                                   [&](std::int64_t n, const std::int64_t(&at)[1]) {
                                     const bool* mask = p.mask + at[0];
                                     for (std::int64_t i = 0; i < n; ++i)
                                       y[e + i] = mask[i * stride] ? value : x[e + i];
                                     e += n;
                                   });
                 });
  });
}

void one_hot_cpu(const OneHotProblem& p, const Exec& exec) {
  const std::uint64_t one = element_bits(p.dtype, 1);
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    T* y = static_cast<T*>(p.y);
    parallel_for(*exec.pool, p.n, rows_per_chunk(p.classes), [&](std::int64_t begin, std::int64_t end) {
      std::fill_n(y + begin * p.classes, (end - begin) * p.classes, T{});
      for (std::int64_t e = begin; e < end; ++e)
        if (inside(p.index[e], p.classes)) y[e * p.classes + p.index[e]] = static_cast<T>(one);
    });
  });
}

}  // namespace gpunn
