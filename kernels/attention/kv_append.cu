// Rows into a cache: every thread moves one piece of a row, as large as all rows allow.
#include "gpunn/core/launch.cuh"
#include "gpunn/kernels/attention/kv_append_impl.h"
#include "gpunn/kernels/common/vec.cuh"

namespace gpunn {
namespace {

constexpr unsigned kThreads = 256;

/// Strides and D count elements, of which a Piece holds `width`.
template <class Piece>
GPUNN_KERNEL __launch_bounds__(kThreads)
    kv_append_kernel(const __grid_constant__ KvAppendProblem p, std::int64_t width) {
  const std::int64_t pieces = p.D / width, all = p.B * p.T * p.H * pieces;
  const std::int64_t index = std::int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (index >= all) return;
  const std::int64_t c = index % pieces, h = index / pieces % p.H;
  const std::int64_t t = index / pieces / p.H % p.T, b = index / pieces / p.H / p.T;
  const std::int64_t to = kv_append_place(p, b, t, h);
  if (to < 0) return;
  const std::int64_t from = b * p.x_batch + t * p.x_time + h * p.x_head;
  static_cast<Piece*>(p.cache)[to / width + c] = static_cast<const Piece*>(p.x)[from / width + c];
}

using Bytes16 = Vec<std::uint32_t, 4>;

/// Whether rows of both sides start at multiples of `bytes` and are as long as some.
bool moves_at_a_time(const KvAppendProblem& p, std::int64_t size, std::int64_t bytes) {
  const std::int64_t elements =
      p.D | p.x_batch | p.x_time | p.x_head | p.cache_batch | p.cache_time | p.cache_head;
  const auto addresses = reinterpret_cast<std::uintptr_t>(p.x) | reinterpret_cast<std::uintptr_t>(p.cache);
  return bytes % size == 0 && (elements * size | static_cast<std::int64_t>(addresses)) % bytes == 0;
}

}  // namespace

void kv_append_cuda(const KvAppendProblem& p, const Exec& exec) {
  const auto size = static_cast<std::int64_t>(size_of(p.dtype));
  const auto start = [&](auto piece) {
    using Piece = decltype(piece);
    const std::int64_t width = static_cast<std::int64_t>(sizeof(Piece)) / size;
    const std::int64_t all = p.B * p.T * p.H * (p.D / width);
    launch("kv_append_kernel", kv_append_kernel<Piece>,
           {dim3(static_cast<unsigned>((all + kThreads - 1) / kThreads)), dim3(kThreads)}, exec, p, width);
  };
  if (moves_at_a_time(p, size, 16)) return start(Bytes16{});
  switch (size) {
    case 1:
      return start(std::uint8_t{});
    case 2:
      return start(std::uint16_t{});
    case 4:
      return start(std::uint32_t{});
    default:
      return start(std::uint64_t{});
  }
}

}  // namespace gpunn
