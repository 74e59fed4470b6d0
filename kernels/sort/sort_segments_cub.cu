// Many rows by CUB's segmented radix sort, a block per row. Stable, and by the keys of our own kernels: the
// same bits.
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

#include <cub/device/device_segmented_radix_sort.cuh>

#include "gpunn/kernels/sort/sort_keys.cuh"

namespace gpunn {

namespace {

struct RowStart {
  int length;
  GPUNN_HD int operator()(int row) const { return row * length; }
};

template <class T>
auto rows_sort(cub::DoubleBuffer<SortKey<T>>& keys, cub::DoubleBuffer<std::uint32_t>& positions,
               const SortProblem& p) {
  const auto rows = static_cast<int>(p.outer * p.inner), length = static_cast<int>(p.length);
  return [&keys, &positions, rows, length](void* temporary, std::size_t& bytes, cudaStream_t stream) {
    constexpr KeyBits bits = key_bits<T>();
    const auto starts = thrust::make_transform_iterator(thrust::counting_iterator<int>(0), RowStart{length});
    return cub::DeviceSegmentedRadixSort::SortPairs(temporary, bytes, keys, positions, rows * length, rows,
                                                    starts, starts + 1, bits.begin, bits.end, stream);
  };
}

}  // namespace

std::size_t sort_segments_cub_workspace(const SortProblem& p) {
  std::size_t bytes = 0;
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      cub::DoubleBuffer<SortKey<T>> keys;
      cub::DoubleBuffer<std::uint32_t> positions;
      bytes = SortArrays<T>::bytes(p.outer * p.length * p.inner) +
              vendor_bytes("cub segmented sort", rows_sort<T>(keys, positions, p));
    }
  });
  return bytes;
}

void sort_segments_cub(const SortProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {  // f64 is refused by accepts()
      sort_by_keys<T>(p, exec, [&](const SortArrays<T>& a) {
        cub::DoubleBuffer<SortKey<T>> keys(a.keys[0], a.keys[1]);
        cub::DoubleBuffer<std::uint32_t> positions(a.positions[0], a.positions[1]);
        vendor_run("cub segmented sort", a.temporary, a.temporary_bytes, exec,
                   rows_sort<T>(keys, positions, p));
        return positions.selector;
      });
    }
  });
}

}  // namespace gpunn
