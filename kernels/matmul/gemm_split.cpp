// Products of few elements and a long k: pieces of k are multiplied apart, each into its own part of the
// workspace, and their sums added in ascending order. Without that one thread would do all of it, and a sum
// of very many terms would lose more digits. Where k is cut depends on sizes only.
#include <algorithm>

#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace gpunn {
namespace {

constexpr std::int64_t kLeastK = 4096;  // of a piece
constexpr std::int64_t kMostPieces = 16;
constexpr std::int64_t kMostElements = 4096;  // of c: 16 pieces take 256 KiB
constexpr std::int64_t kEnoughChunks = 4;     // without cutting k
constexpr double kPieceFlops = 2.5e6;         // least work of a piece, 12 us of one core,
constexpr double kPieceBytes = 1 << 18;       // or what the operands' bytes cost instead

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
std::int64_t whole_lines(std::int64_t floats) { return ceil_div(floats, 16) * 16; }

struct Pieces {
  std::int64_t count = 1, k = 0;  // each of k, the last of what is left
};

Pieces pieces_of(const GemmArgs& g) {
  if (g.batch != 1 || g.K < 2 * kLeastK || g.M == 0 || g.N == 0 || g.M > kMostElements / g.N) return {1, g.K};
  if (detail::gemm_whole_chunks(g) >= kEnoughChunks) return {1, g.K};
  const double k = static_cast<double>(g.K), m = static_cast<double>(g.M), n = static_cast<double>(g.N);
  const double work = std::max(2 * m * n * k / kPieceFlops, 4 * (m + n) * k / kPieceBytes);
  const std::int64_t wanted = std::min({kMostPieces, g.K / kLeastK, static_cast<std::int64_t>(work)});
  if (wanted < 2) return {1, g.K};
  const std::int64_t size = whole_lines(ceil_div(g.K, wanted));
  return {ceil_div(g.K, size), size};
}

/// Piece `i` as a product of its own, into `c` [M, N].
GemmArgs piece(const GemmArgs& g, const Pieces& pieces, std::int64_t i, float* c) {
  const std::int64_t k = i * pieces.k;
  GemmArgs part = g;
  part.K = std::min(pieces.k, g.K - k);
  part.a = g.a + (g.trans_a ? k * g.lda : k);
  part.b = g.b + (g.trans_b ? k : k * g.ldb);
  part.c = c;
  part.ldc = g.N;
  part.bias = part.residual = nullptr;
  part.pre = nullptr;
  part.activation = Activation::none;
  part.accumulate = false;
  return part;
}

/// Floats of a piece's share of the workspace: its sums, then what its product wants.
std::int64_t share_of(const GemmArgs& g, const Pieces& pieces) {
  std::size_t bytes = 0;  // the last piece is shorter and may be planned otherwise
  for (const std::int64_t i : {std::int64_t{0}, pieces.count - 1})
    bytes = std::max(bytes, detail::gemm_whole_workspace(piece(g, pieces, i, nullptr)));
  return whole_lines(g.M * g.N) + whole_lines(static_cast<std::int64_t>(bytes / sizeof(float)));
}

/// Row m of c from the pieces' sums.
void add_row(const GemmArgs& g, const Pieces& pieces, const float* sums, std::int64_t share, std::int64_t m) {
  float* const row = g.c + m * g.ldc;
  for (std::int64_t n = 0; n < g.N; ++n)
    row[n] = (g.accumulate ? row[n] : 0.0f) + (g.bias ? g.bias[n] : 0.0f);
  for (std::int64_t i = 0; i < pieces.count; ++i)
    detail::gemm_kernels().add(sums + i * share + m * g.N, g.N, 1, g.N, row, g.ldc);
  detail::gemm_finish(g, 0, m, 0, 1, g.N, g.activation);
}

}  // namespace

std::size_t gemm_cpu_workspace(const GemmArgs& args) {
  const Pieces pieces = pieces_of(args);
  if (pieces.count == 1) return detail::gemm_whole_workspace(args);
  return static_cast<std::size_t>(pieces.count * share_of(args, pieces)) * sizeof(float);
}

void gemm_cpu(const GemmArgs& args, void* workspace, CpuPool& pool) {
  const Pieces pieces = pieces_of(args);
  if (pieces.count == 1) return detail::gemm_whole(args, workspace, &pool);
  auto* const sums = static_cast<float*>(workspace);
  const std::int64_t share = share_of(args, pieces);
  pool.run(pieces.count, [&](std::int64_t i) {
    float* const own = sums + i * share;
    detail::gemm_whole(piece(args, pieces, i, own), own + whole_lines(args.M * args.N), nullptr);
  });
  for (std::int64_t m = 0; m < args.M; ++m) add_row(args, pieces, sums, share, m);
}

}  // namespace gpunn
