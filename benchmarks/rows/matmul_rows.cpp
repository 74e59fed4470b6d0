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
  for (const std::int64_t n : {128, 512, 1024}) {
    MatmulProblem p = product(Form::input, n, n, n);
    bench.row(kMatmul, std::to_string(n) + " cubed", p);
  }
}

}  // namespace gpunn::bench
