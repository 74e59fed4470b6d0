// gather and scatter on a GPU.
//
// A scatter's column (the elements that differ along the scattered dimension
// only) is written by one thread, term after term: nothing is shared between
// threads, repeated indices need no atomics. Few long columns would leave the
// GPU idle; they are sorted by destination instead.
#include "gpunn/kernels/indexing/indexing_impl.h"
#include "gpunn/kernels/indexing/segment_sum.cuh"
#include "gpunn/kernels/movement/element_bits_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kFewColumns = 4096, kLongColumn = 64;

template <class T, int kRank>
struct Gather {
  const T* x;
  const std::int64_t* index;
  const std::int64_t* owner;
  T* y;
  std::int64_t n, extent, step;
  T outside;
  Strided<kRank> at;
};

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kIndexBlock) gather_fwd_kernel(const __grid_constant__ Gather<T, kRank> g) {
  for (std::int64_t e = first_element(); e < g.n; e += element_stride()) {
    std::int64_t x, unused;
    offsets_of(g.at, e, x, unused);
    const std::int64_t i = g.index[e];
    if (i < 0 || i >= g.extent) {
      g.y[e] = g.outside;
      continue;
    }
    x += i * g.step;
    g.y[e] = g.owner && g.owner[x] != e ? T{} : g.x[x];
  }
}

/// T: of src, A: of what is written (float when half sums are accumulated
/// apart).
template <class T, class A, int kRank>
struct Scatter {
  const std::int64_t* index;
  const T* src;  // null: the element's own number
  A* y;
  std::int64_t columns, n, index_step, extent, step;
  Strided<kRank> at;  // a: index and src, b: y
};

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    scatter_fwd_kernel(const __grid_constant__ Scatter<T, T, kRank> s) {
  for (std::int64_t c = first_element(); c < s.columns; c += element_stride()) {
    std::int64_t e, y;
    offsets_of(s.at, c, e, y);
    for (std::int64_t j = 0; j < s.n; ++j, e += s.index_step) {
      const std::int64_t i = s.index[e];
      if (i >= 0 && i < s.extent) s.y[y + i * s.step] = s.src ? s.src[e] : static_cast<T>(e);
    }
  }
}

template <class T, int kRank>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    scatter_add_kernel(const __grid_constant__ Scatter<T, float, kRank> s) {
  for (std::int64_t c = first_element(); c < s.columns; c += element_stride()) {
    std::int64_t e, y;
    offsets_of(s.at, c, e, y);
    for (std::int64_t j = 0; j < s.n; ++j, e += s.index_step) {
      const std::int64_t i = s.index[e];
      if (i >= 0 && i < s.extent) s.y[y + i * s.step] += to_float(s.src[e]);
    }
  }
}

/// to[i] = from[i], or 0 without `from`; between a half type and the float it
/// is accumulated in, too.
template <class From, class To>
GPUNN_KERNEL __launch_bounds__(kIndexBlock) scatter_convert_kernel(const From* from, To* to, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride())
    to[i] = from_float<To>(from ? to_float(from[i]) : 0.0f);
}
template <class T>
GPUNN_KERNEL __launch_bounds__(kIndexBlock) scatter_init_kernel(const T* base, T* y, std::int64_t n) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) y[i] = base ? base[i] : T{};
}

/// Elements of the index in row-major order of (columns, j); the sort's keys:
/// destinations, or y_elements for what is dropped.
template <int kRank>
struct Destinations {
  const std::int64_t* index;
  std::uint32_t* keys;
  std::int64_t columns, n, index_step, extent, step, y_elements;
  Strided<kRank> at;
};

template <int kRank>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    scatter_keys_kernel(const __grid_constant__ Destinations<kRank> d) {
  for (std::int64_t i = first_element(); i < d.columns * d.n; i += element_stride()) {
    const std::int64_t c = i / d.n, j = i - c * d.n;
    std::int64_t e, y;
    offsets_of(d.at, c, e, y);
    e += j * d.index_step;
    const std::int64_t to = d.index[e];
    // Written by the element's own number, which is where a sum looks for its
    // term.
    d.keys[e] = static_cast<std::uint32_t>(to < 0 || to >= d.extent ? d.y_elements : y + to * d.step);
  }
}

/// Of equal destinations the last element wins.
template <class T>
GPUNN_KERNEL __launch_bounds__(kIndexBlock)
    scatter_last_kernel(const std::uint32_t* keys, const std::uint32_t* positions, const T* src, T* y,
                        std::int64_t n, std::int64_t y_elements) {
  for (std::int64_t i = first_element(); i < n; i += element_stride()) {
    const std::uint32_t key = keys[i];
    if (key < y_elements && (i + 1 == n || keys[i + 1] != key))
      y[key] = src ? src[positions[i]] : static_cast<T>(positions[i]);
  }
}

/// Few long columns, and numbers that fit the sort.
bool sorts(const ScatterProblem& p) {
  const std::int64_t columns = columns_of(p);
  return columns < kFewColumns && p.n >= kLongColumn && columns * p.n <= kMostSortedKeys &&
         p.y_elements < 0xffffffffll;
}

SortedKeys sort_destinations(const ScatterProblem& p, const Exec& exec) {
  const std::int64_t columns = columns_of(p);
  for_index_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
    launch(
        "scatter_keys_kernel", scatter_keys_kernel<kRank>, element_grid(columns * p.n), exec,
        Destinations<kRank>{p.index, sort_input(exec.workspace), columns, p.n, p.index_step, p.extent, p.step,
                            p.y_elements, strided_of<kRank>(p.rank, p.shape, p.index_strides, p.y_strides)});
  });
  return sort_keys_cuda(exec.workspace, columns * p.n, static_cast<std::uint32_t>(p.y_elements), exec);
}

template <class T, class A, int kRank>
Scatter<T, A, kRank> scatter_of(const ScatterProblem& p, A* y) {
  return {p.index,
          static_cast<const T*>(p.src),
          y,
          columns_of(p),
          p.n,
          p.index_step,
          p.extent,
          p.step,
          strided_of<kRank>(p.rank, p.shape, p.index_strides, p.y_strides)};
}

}  // namespace

void gather_cuda(const GatherProblem& p, const Exec& exec) {
  const std::int64_t n = elements_of(p);
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    for_index_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("gather_fwd_kernel", gather_fwd_kernel<T, kRank>, element_grid(n), exec,
             Gather<T, kRank>{static_cast<const T*>(p.x), p.index, p.owner, static_cast<T*>(p.y), n, p.extent,
                              p.step, static_cast<T>(outside_bits(p.dtype)),
                              strided_of<kRank>(p.rank, p.shape, p.x_strides, nullptr)});
    });
  });
}

std::size_t scatter_cuda_workspace(const ScatterProblem& p) {
  return sorts(p) ? sort_workspace(columns_of(p) * p.n) : 0;
}

void scatter_cuda(const ScatterProblem& p, const Exec& exec) {
  for_element_size(size_of(p.dtype), [&]<class T>(T) {
    T* y = static_cast<T*>(p.y);
    const T* src = static_cast<const T*>(p.src);
    launch("scatter_init_kernel", scatter_init_kernel<T>, element_grid(p.y_elements), exec,
           static_cast<const T*>(p.base), y, p.y_elements);
    if (sorts(p)) {
      const SortedKeys sorted = sort_destinations(p, exec);
      const std::int64_t n = columns_of(p) * p.n;
      launch("scatter_last_kernel", scatter_last_kernel<T>, element_grid(n), exec, sorted.keys,
             sorted.positions, src, y, n, p.y_elements);
      return;
    }
    for_index_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("scatter_fwd_kernel", scatter_fwd_kernel<T, kRank>, element_grid(columns_of(p)), exec,
             scatter_of<T, T, kRank>(p, y));
    });
  });
}

std::size_t scatter_add_cuda_workspace(const ScatterProblem& p) {
  if (sorts(p)) return sort_workspace(columns_of(p) * p.n);
  return p.dtype == DType::f32 ? 0 : static_cast<std::size_t>(p.y_elements) * sizeof(float);
}

void scatter_add_cuda(const ScatterProblem& p, const Exec& exec) {
  for_device_dtype(p.dtype, [&](auto zero) {
    using T = decltype(zero);
    const T* base = static_cast<const T*>(p.base);
    T* y = static_cast<T*>(p.y);
    if (sorts(p)) {
      const SortedKeys sorted = sort_destinations(p, exec);
      launch_segments<T>({sorted.keys, sorted.positions, base, static_cast<const T*>(p.src), y,
                          columns_of(p) * p.n, 1, p.y_elements, 1},
                         exec);
      return;
    }
    // Sums of halves would lose bits with every term: they are made in float
    // and rounded once.
    constexpr bool kApart = !std::is_same_v<T, float>;
    float* sums = static_cast<float*>(kApart ? exec.workspace : p.y);
    launch("scatter_convert_kernel", scatter_convert_kernel<T, float>, element_grid(p.y_elements), exec, base,
           sums, p.y_elements);
    for_index_rank(p.rank, [&]<int kRank>(std::integral_constant<int, kRank>) {
      launch("scatter_add_kernel", scatter_add_kernel<T, kRank>, element_grid(columns_of(p)), exec,
             scatter_of<T, float, kRank>(p, sums));
    });
    if constexpr (kApart)
      launch("scatter_convert_kernel", scatter_convert_kernel<float, T>, element_grid(p.y_elements), exec,
             static_cast<const float*>(sums), y, p.y_elements);
  });
}

}  // namespace gpunn
