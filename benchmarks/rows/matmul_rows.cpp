#include <string>
#include <utility>

#include "benchmarks/op_bench.h"
#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn::bench {
namespace {

enum class Form { forward, weights, input };  // x w^T + b, dy^T x, dy w

/// One of the three products of a linear layer with `batch` rows.
MatmulProblem product(Form form, std::int64_t batch, std::int64_t in, std::int64_t out) {
  MatmulProblem p{};
  p.dtype = DType::f32;
  p.batch = 1;
  p.M = form == Form::weights ? out : batch;
  p.N = form == Form::forward ? out : in;
  p.K = form == Form::forward ? in : form == Form::weights ? batch : out;
  p.trans_a = form == Form::weights;
  p.trans_b = form == Form::forward;
  p.lda = p.trans_a ? p.M : p.K;
  p.ldb = p.trans_b ? p.K : p.N;
  p.ldc = p.N;
  p.has_bias = form == Form::forward;
  p.activation = form == Form::forward ? Activation::relu : Activation::none;
  return p;
}

/// A layer of a transformer's block: the first saves what its GELU is applied to, the second adds a residual.
MatmulProblem block_layer(std::int64_t rows, std::int64_t in, std::int64_t out, bool first) {
  MatmulProblem p = product(Form::forward, rows, in, out);
  p.activation = first ? Activation::gelu : Activation::none;
  p.save_pre = first;
  p.has_residual = !first;
  p.ldr = p.ldc;
  return p;
}

/// The gradient through GELU, from the saved preactivation.
BiasGradProblem gelu_grad(std::int64_t rows, std::int64_t cols) {
  BiasGradProblem p{};
  p.dtype = DType::f32;
  p.rows = rows;
  p.cols = cols;
  p.activation = Activation::gelu;
  p.from_pre = p.want_dz = p.want_db = true;
  return p;
}

BiasGradProblem bias_grad(std::int64_t rows, std::int64_t cols) {
  BiasGradProblem p{};
  p.dtype = DType::f32;
  p.rows = rows;
  p.cols = cols;
  p.activation = Activation::relu;
  p.want_dz = p.want_db = true;
  return p;
}

/// x w^T for x [M, K] and w [N, K], nothing applied.
MatmulProblem plain(std::int64_t M, std::int64_t N, std::int64_t K, DType dtype) {
  MatmulProblem p = product(Form::forward, M, K, N);
  p.dtype = dtype;
  p.has_bias = false;
  p.activation = Activation::none;
  return p;
}

std::string name_of(const char* id, const MatmulProblem& p, const char* what) {
  const auto text = [](std::int64_t n) { return std::to_string(n); };
  return std::string(id) + " " + text(p.M) + "x" + text(p.N) + "x" + text(p.K) + " " + what;
}

/// bf16 products M x N x K of a GPU, "TN" as BLAS calls x w^T: squares, GPT-2's layers over 16384 tokens,
/// few rows.
void add_gpu_rows(Bench& bench) {
  constexpr DType bf16 = DType::bf16;
  const auto row = [&](const char* id, const MatmulProblem& p, const char* what,
                       RunsOn runs_on = RunsOn::gpu) {
    bench.row(kMatmul, name_of(id, p, what), p, 2, runs_on);
  };
  row("G1", plain(8192, 8192, 8192, bf16), "TN");
  row("G2", plain(4096, 4096, 4096, bf16), "TN");
  row("G3", plain(2048, 2048, 2048, bf16), "TN");
  row("G4", plain(1024, 1024, 1024, bf16), "TN", RunsOn::all_but_reference);
  constexpr std::int64_t kTokens = 16384, kWidth = 768;
  MatmulProblem p = plain(kTokens, 3 * kWidth, kWidth, bf16);
  p.has_bias = true;
  row("G5", p, "bias");
  p = block_layer(kTokens, kWidth, 4 * kWidth, true);
  p.dtype = bf16;
  row("G6", p, "bias gelu saved");
  p = block_layer(kTokens, 4 * kWidth, kWidth, false);
  p.dtype = bf16;
  row("G7", p, "bias residual");
  row("G8", plain(kTokens, 50304, kWidth, bf16), "TN");
  p = product(Form::weights, kTokens, 4 * kWidth, kWidth);
  p.dtype = bf16;
  row("G9", p, "dw");
  row("G10", plain(4096, 7168, 16384, bf16), "TN");
  row("G11", plain(128, 4096, 7168, bf16), "TN", RunsOn::all_but_reference);
  row("G12", plain(16, 4096, 4096, bf16), "TN", RunsOn::all_but_reference);
  for (const auto& [id, n] : {std::pair{"G1", 8192}, std::pair{"G2", 4096}, std::pair{"G3", 2048}}) {
    p = plain(n, n, n, DType::f32);
    p.tf32 = true;
    row(id, p, "TN tf32");
  }
}

/// Squares (both operands plain) and layers of few rows for a CPU.
void add_cpu_rows(Bench& bench) {
  constexpr struct {
    const char* id;
    std::int64_t n;
  } kSquares[] = {{"P1", 64}, {"P1", 128}, {"P1", 256}, {"P2", 512}, {"P2", 1024}, {"P2", 2048}};
  for (const auto& s : kSquares) {
    MatmulProblem p = product(Form::input, s.n, s.n, s.n);
    bench.row(kMatmul, name_of(s.id, p, "NN"), p, 2,
              s.n > 512 ? RunsOn::all_but_reference : RunsOn::everything);
  }
  constexpr struct {
    std::int64_t M, N, K;
  } kSkinny[] = {{1, 4096, 4096}, {8, 1024, 1024}, {128, 10, 784}};
  for (const auto& s : kSkinny) {
    const MatmulProblem p = plain(s.M, s.N, s.K, DType::f32);
    bench.row(kMatmul, name_of("P3", p, "TN"), p);
  }
  for (const std::int64_t n : {256, 1024, 2048}) {
    const MatmulProblem p = plain(n, n, n, DType::bf16);
    bench.row(kMatmul, name_of("P4", p, "TN"), p, 2, RunsOn::all_but_reference);
  }
}

}  // namespace

void add_matmul_rows(Bench& bench) {
  constexpr struct {
    std::int64_t in, out;
  } kLayers[] = {{784, 256}, {256, 128}, {128, 64}, {64, 10}, {784, 128}};
  for (const auto& l : kLayers) {
    const std::string name = "64x" + std::to_string(l.in) + "x" + std::to_string(l.out);
    bench.row(kMatmul, name + " y", product(Form::forward, 64, l.in, l.out));
    bench.row(kMatmul, name + " dw", product(Form::weights, 64, l.in, l.out));
    bench.row(kMatmul, name + " dx", product(Form::input, 64, l.in, l.out));
    bench.row(kBiasGrad, "64x" + std::to_string(l.out), bias_grad(64, l.out));
  }
  // A block of width 256 over 512 tokens.
  bench.row(kMatmul, "512x256x1024 gelu saved", block_layer(512, 256, 1024, true));
  bench.row(kMatmul, "512x1024x256 residual", block_layer(512, 1024, 256, false));
  bench.row(kBiasGrad, "512x1024 gelu", gelu_grad(512, 1024));
  // Few rows of large weights (bytes bound), and few elements of a long k.
  for (const std::int64_t rows : {1, 16})
    bench.row(kMatmul, std::to_string(rows) + "x1024x1024 y", product(Form::forward, rows, 1024, 1024));
  bench.row(kMatmul, "4x65536x16 y", product(Form::forward, 4, 65536, 16));
  bench.row(kMatmul, "32768x64x16 dw", product(Form::weights, 32768, 64, 16));
  add_gpu_rows(bench);
  add_cpu_rows(bench);
}

}  // namespace gpunn::bench
