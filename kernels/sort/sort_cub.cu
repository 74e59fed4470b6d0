// Long rows, one after another, by CUB's radix sort of a whole device. Stable, and by the keys of our own
// kernels: the same bits.
#include <cub/device/device_radix_sort.cuh>

#include "gpunn/kernels/sort/sort_keys.cuh"

namespace gpunn {

namespace {

/// One row; `sorted` becomes the number of the pair that holds the result. Without a workspace, the bytes.
template <class T>
auto row_sort(cub::DoubleBuffer<SortKey<T>>& keys, cub::DoubleBuffer<std::uint32_t>& positions,
              std::int64_t length) {
  return [&keys, &positions, length](void* temporary, std::size_t& bytes, cudaStream_t stream) {
    constexpr KeyBits bits = key_bits<T>();
    return cub::DeviceRadixSort::SortPairs(temporary, bytes, keys, positions, length, bits.begin, bits.end,
                                           stream);
  };
}

}  // namespace

std::size_t sort_cub_workspace(const SortProblem& p) {
  std::size_t bytes = 0;
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {
      cub::DoubleBuffer<SortKey<T>> keys;
      cub::DoubleBuffer<std::uint32_t> positions;
      bytes = SortArrays<T>::bytes(p.outer * p.length * p.inner) +
              vendor_bytes("cub radix sort", row_sort<T>(keys, positions, p.length));
    }
  });
  return bytes;
}

void sort_cub(const SortProblem& p, const Exec& exec) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    if constexpr (!std::is_same_v<T, double>) {  // f64 is refused by accepts()
      sort_by_keys<T>(p, exec, [&](const SortArrays<T>& a) {
        int sorted = 0;  // the same for all rows: it follows from the length
        for (std::int64_t at = 0; at < p.outer * p.inner * p.length; at += p.length) {
          cub::DoubleBuffer<SortKey<T>> keys(a.keys[0] + at, a.keys[1] + at);
          cub::DoubleBuffer<std::uint32_t> positions(a.positions[0] + at, a.positions[1] + at);
          vendor_run("cub radix sort", a.temporary, a.temporary_bytes, exec,
                     row_sort<T>(keys, positions, p.length));
          sorted = positions.selector;
        }
        return sorted;
      });
    }
  });
}

}  // namespace gpunn
