// Fill, copy and add on the GPU. Contiguous work moves in 16-byte words, transposes through shared tiles,
// everything else element by element with the position computed from the flat index.
#include "gpunn/core/launch.cuh"
#include "gpunn/core/primitives_impl.h"

namespace gpunn {

namespace {

constexpr int kBlock = 256;
constexpr int kTile = 32, kTileRows = 8;
constexpr std::int64_t kMaxBlocks = 1 << 16;  // beyond it, threads take several elements

struct alignas(16) Word {
  unsigned char bytes[16];
};

/// Shape and strides of up to two operands, by value in kernel parameters.
struct Walk {
  int rank;
  std::int64_t n;
  std::int64_t shape[kMaxRank], x_strides[kMaxRank], y_strides[kMaxRank];
};

template <class Index>
GPUNN_DEVICE void locate(const Walk& w, std::int64_t flat, std::int64_t& x, std::int64_t& y) {
  Index rest = static_cast<Index>(flat);
  x = y = 0;
  for (int i = w.rank - 1; i > 0; --i) {
    const Index extent = static_cast<Index>(w.shape[i]);
    const Index quotient = rest / extent;
    const auto index = static_cast<std::int64_t>(rest - quotient * extent);
    x += index * w.x_strides[i];
    y += index * w.y_strides[i];
    rest = quotient;
  }
  x += static_cast<std::int64_t>(rest) * w.x_strides[0];
  y += static_cast<std::int64_t>(rest) * w.y_strides[0];
}

/// Offsets of element `flat`; 32-bit division, which is several times faster, where the size allows it.
GPUNN_DEVICE void offsets_of(const Walk& w, std::int64_t flat, std::int64_t& x, std::int64_t& y) {
  if (w.n <= 0x7fffffff)
    locate<unsigned>(w, flat, x, y);
  else
    locate<std::uint64_t>(w, flat, x, y);
}

GPUNN_DEVICE std::int64_t first_element() {
  return static_cast<std::int64_t>(blockIdx.x) * kBlock + static_cast<std::int64_t>(threadIdx.x);
}
GPUNN_DEVICE std::int64_t element_step() { return static_cast<std::int64_t>(gridDim.x) * kBlock; }

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock) fill_fwd_words_kernel(T* y, std::int64_t n, T value) {
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  struct alignas(16) Values {
    T v[kWidth];
  };
  Values word;
  GPUNN_UNROLL
  for (int j = 0; j < kWidth; ++j) word.v[j] = value;
  const std::int64_t words = n / kWidth;
  for (std::int64_t i = first_element(); i < words; i += element_step())
    reinterpret_cast<Values*>(y)[i] = word;
  for (std::int64_t i = words * kWidth + first_element(); i < n; i += element_step()) y[i] = value;
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    fill_fwd_strided_kernel(T* y, const __grid_constant__ Walk w, T value) {
  for (std::int64_t i = first_element(); i < w.n; i += element_step()) {
    std::int64_t unused, at;
    offsets_of(w, i, unused, at);
    y[at] = value;
  }
}

GPUNN_KERNEL __launch_bounds__(kBlock) copy_fwd_words_kernel(const Word* x, Word* y, std::int64_t bytes) {
  const std::int64_t words = bytes / 16;
  for (std::int64_t i = first_element(); i < words; i += element_step()) y[i] = x[i];
  const unsigned char* from = reinterpret_cast<const unsigned char*>(x);
  unsigned char* to = reinterpret_cast<unsigned char*>(y);
  for (std::int64_t i = words * 16 + first_element(); i < bytes; i += element_step()) to[i] = from[i];
}

template <class To>
GPUNN_DEVICE To load_as(const void* x, DType dtype, std::int64_t i) {
  switch (dtype) {
    case DType::f32:
      return detail::convert_value<To>(static_cast<const float*>(x)[i]);
    case DType::f64:
      return detail::convert_value<To>(static_cast<const double*>(x)[i]);
    case DType::f16:
      return detail::convert_value<To>(static_cast<const Half*>(x)[i]);
    case DType::bf16:
      return detail::convert_value<To>(static_cast<const BFloat16*>(x)[i]);
    case DType::i32:
      return detail::convert_value<To>(static_cast<const std::int32_t*>(x)[i]);
    case DType::i64:
      return detail::convert_value<To>(static_cast<const std::int64_t*>(x)[i]);
    case DType::u8:
      return detail::convert_value<To>(static_cast<const std::uint8_t*>(x)[i]);
    default:
      return detail::convert_value<To>(static_cast<const bool*>(x)[i]);
  }
}

template <class To>
GPUNN_KERNEL __launch_bounds__(kBlock)
    copy_fwd_strided_kernel(const void* x, DType x_dtype, To* y, const __grid_constant__ Walk w) {
  for (std::int64_t i = first_element(); i < w.n; i += element_step()) {
    std::int64_t from, to;
    offsets_of(w, i, from, to);
    y[to] = load_as<To>(x, x_dtype, from);
  }
}

/// The plane of a transpose: x runs along `height`, y along `width`; `outer` walks the other dimensions.
struct Transpose {
  std::int64_t height, width, x_row, y_row;  // x_row: x's stride along width, y_row: y's stride along height
  Walk outer;
};

template <class T>
GPUNN_KERNEL __launch_bounds__(kTile* kTileRows)
    copy_fwd_transpose_kernel(const T* x, T* y, const __grid_constant__ Transpose t) {
  GPUNN_SHARED(tile, T[kTile][kTile + 1]);  // [width, height]; one more column against bank conflicts
  const int lane = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const std::int64_t h0 = static_cast<std::int64_t>(blockIdx.x) * kTile;
  const std::int64_t w0 = static_cast<std::int64_t>(blockIdx.y) * kTile;
  for (std::int64_t plane = blockIdx.z; plane < t.outer.n; plane += gridDim.z) {
    std::int64_t from, to;
    offsets_of(t.outer, plane, from, to);
    for (int r = row; r < kTile; r += kTileRows)
      if (w0 + r < t.width && h0 + lane < t.height) tile[r][lane] = x[from + (w0 + r) * t.x_row + h0 + lane];
    __syncthreads();  // the tile is whole before it is read across
    for (int r = row; r < kTile; r += kTileRows)
      if (h0 + r < t.height && w0 + lane < t.width) y[to + (h0 + r) * t.y_row + w0 + lane] = tile[lane][r];
    __syncthreads();  // all have read before the next plane overwrites it
  }
}

template <class T>
GPUNN_KERNEL __launch_bounds__(kBlock)
    accumulate_fwd_kernel(const T* a, const T* b, T* y, std::int64_t n, bool in_words) {
  constexpr int kWidth = 16 / static_cast<int>(sizeof(T));
  using Compute = std::conditional_t<std::is_same_v<T, double>, double, float>;
  struct alignas(16) Values {
    T v[kWidth];
  };
  const std::int64_t words = in_words ? n / kWidth : 0;
  for (std::int64_t i = first_element(); i < words; i += element_step()) {
    Values left = reinterpret_cast<const Values*>(a)[i];
    const Values right = reinterpret_cast<const Values*>(b)[i];
    GPUNN_UNROLL
    for (int j = 0; j < kWidth; ++j)
      left.v[j] = static_cast<T>(static_cast<Compute>(left.v[j]) + static_cast<Compute>(right.v[j]));
    reinterpret_cast<Values*>(y)[i] = left;
  }
  for (std::int64_t i = words * kWidth + first_element(); i < n; i += element_step())
    y[i] = static_cast<T>(static_cast<Compute>(a[i]) + static_cast<Compute>(b[i]));
}

Grid grid_for(std::int64_t items) {
  const std::int64_t blocks = (items + kBlock - 1) / kBlock;
  return {dim3(static_cast<unsigned>(blocks < kMaxBlocks ? blocks : kMaxBlocks)), dim3(kBlock)};
}

bool aligned(const void* p) { return reinterpret_cast<std::uintptr_t>(p) % 16 == 0; }

Walk walk_of(const CopyProblem& p) {
  Walk w{};
  w.rank = p.rank;
  w.n = detail::numel_of(p.rank, p.shape);
  for (int i = 0; i < p.rank; ++i) {
    w.shape[i] = p.shape[i];
    w.x_strides[i] = p.x_strides[i];
    w.y_strides[i] = p.y_strides[i];
  }
  return w;
}

/// Dimension along which x is contiguous while y is along the last one, or -1.
int transposed_dim(const CopyProblem& p) {
  const int last = p.rank - 1;
  if (p.src_dtype != p.dtype || p.y_strides[last] != 1 || p.x_strides[last] <= 1 || p.shape[last] < kTile / 2)
    return -1;
  for (int i = 0; i < last; ++i)
    if (p.x_strides[i] == 1 && p.shape[i] >= kTile / 2) return i;
  return -1;
}

template <class T>
void transpose(const CopyProblem& p, int across, const Exec& exec) {
  const int last = p.rank - 1;
  Transpose t{p.shape[across], p.shape[last], p.x_strides[last], p.y_strides[across], {}};
  t.outer.n = 1;
  for (int i = 0; i < last; ++i) {
    if (i == across) continue;
    Walk& o = t.outer;
    o.shape[o.rank] = p.shape[i], o.x_strides[o.rank] = p.x_strides[i],
    o.y_strides[o.rank++] = p.y_strides[i];
    o.n *= p.shape[i];
  }
  if (t.outer.rank == 0) t.outer.shape[t.outer.rank++] = 1;
  const auto tiles = [](std::int64_t extent) { return static_cast<unsigned>((extent + kTile - 1) / kTile); };
  const auto planes = static_cast<unsigned>(t.outer.n < 65535 ? t.outer.n : 65535);
  launch("copy_fwd_transpose_kernel", copy_fwd_transpose_kernel<T>,
         {dim3(tiles(t.height), tiles(t.width), planes), dim3(kTile, kTileRows)}, exec,
         static_cast<const T*>(p.x), static_cast<T*>(p.y), t);
}

}  // namespace

void fill_cuda(const FillProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T value = detail::convert_value<T>(p.value);
    T* y = static_cast<T*>(p.y);
    Walk w{};
    w.rank = p.rank;
    w.n = detail::numel_of(p.rank, p.shape);
    for (int i = 0; i < p.rank; ++i) w.shape[i] = p.shape[i], w.y_strides[i] = p.strides[i];
    if (p.rank == 1 && p.strides[0] == 1 && aligned(y))
      launch("fill_fwd_words_kernel", fill_fwd_words_kernel<T>, grid_for(w.n * sizeof(T) / 16 + 1), exec, y,
             w.n, value);
    else
      launch("fill_fwd_strided_kernel", fill_fwd_strided_kernel<T>, grid_for(w.n), exec, y, w, value);
  });
}

void copy_cuda(const CopyProblem& p, const Exec& exec) {
  const Walk w = walk_of(p);
  const bool flat = p.rank == 1 && p.x_strides[0] == 1 && p.y_strides[0] == 1;
  if (flat && p.src_dtype == p.dtype && aligned(p.x) && aligned(p.y)) {
    const std::int64_t bytes = w.n * static_cast<std::int64_t>(size_of(p.dtype));
    launch("copy_fwd_words_kernel", copy_fwd_words_kernel, grid_for(bytes / 16 + 1), exec,
           static_cast<const Word*>(p.x), static_cast<Word*>(p.y), bytes);
    return;
  }
  if (const int across = transposed_dim(p); across >= 0) {
    switch (size_of(p.dtype)) {
      case 1:
        return transpose<std::uint8_t>(p, across, exec);
      case 2:
        return transpose<std::uint16_t>(p, across, exec);
      case 4:
        return transpose<std::uint32_t>(p, across, exec);
      default:
        return transpose<std::uint64_t>(p, across, exec);
    }
  }
  visit_dtype(p.dtype, [&]<class T>(T) {
    launch("copy_fwd_strided_kernel", copy_fwd_strided_kernel<T>, grid_for(w.n), exec, p.x, p.src_dtype,
           static_cast<T*>(p.y), w);
  });
}

void add_cuda(const AddProblem& p, const Exec& exec) {
  visit_floating(p.dtype, [&]<class T>(T) {
    const bool in_words = aligned(p.a) && aligned(p.b) && aligned(p.y);
    launch("accumulate_fwd_kernel", accumulate_fwd_kernel<T>,
           grid_for(in_words ? p.n * sizeof(T) / 16 + 1 : p.n), exec, static_cast<const T*>(p.a),
           static_cast<const T*>(p.b), static_cast<T*>(p.y), p.n, in_words);
  });
}

}  // namespace gpunn
