#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "gpunn/kernels/matmul/matmul_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

struct Product {
  std::int64_t M, N, K;
  bool trans_a = false, trans_b = false;
  bool has_bias = false;
  Activation activation = Activation::none;
  bool accumulate = false;
  std::int64_t batch = 1;
  bool broadcast_a = false, broadcast_b = false;
  std::int64_t gap = 0;  // elements between the rows of a and b
  bool tf32 = false;
  std::vector<DType> dtypes{};  // empty: all
  bool save_pre = false;
  bool residual = false;
  bool orders = false;  // repeat under thread orders of the emulator
};

constexpr Activation kActivations[] = {Activation::none, Activation::relu, Activation::sigmoid,
                                       Activation::tanh, Activation::gelu, Activation::gelu_tanh};

std::string name_of(const Product& q) {
  std::string name = std::to_string(q.M) + "x" + std::to_string(q.N) + "x" + std::to_string(q.K) + " " +
                     (q.trans_a ? "T" : "N") + (q.trans_b ? "T" : "N");
  if (q.batch != 1) name += " batch " + std::to_string(q.batch);
  if (q.broadcast_a) name += " one a";
  if (q.broadcast_b) name += " one b";
  if (q.gap > 0) name += " gap " + std::to_string(q.gap);
  if (q.has_bias) name += " bias";
  if (q.activation != Activation::none) name += std::string(" ") + name_of(q.activation);
  if (q.accumulate) name += " accumulate";
  if (q.tf32) name += " tf32";
  if (q.save_pre) name += " pre";
  if (q.residual) name += " residual";
  return name;
}

MatmulProblem problem_of(const Product& q) {
  MatmulProblem p{};
  p.M = q.M, p.N = q.N, p.K = q.K, p.batch = q.batch;
  p.trans_a = q.trans_a, p.trans_b = q.trans_b;
  p.lda = (q.trans_a ? q.M : q.K) + q.gap, p.ldb = (q.trans_b ? q.K : q.N) + q.gap, p.ldc = q.N;
  p.a_batch = q.broadcast_a ? 0 : p.lda * (q.trans_a ? q.K : q.M);
  p.b_batch = q.broadcast_b ? 0 : p.ldb * (q.trans_b ? q.N : q.K);
  p.c_batch = q.M * q.N;
  p.has_bias = q.has_bias, p.activation = q.activation, p.accumulate = q.accumulate, p.tf32 = q.tf32;
  p.save_pre = q.save_pre, p.has_residual = q.residual;
  p.ldr = q.N + q.gap, p.r_batch = q.broadcast_b ? 0 : p.ldr * q.M;  // as b, and with the gap between rows
  return p;
}

CaseOptions options_of(const Product& q) {
  CaseOptions o;
  o.k = static_cast<double>(q.K) + 2;
  o.scale = Scale::absolute;
  o.dtypes = q.dtypes;
  if (q.activation != Activation::none && q.activation != Activation::relu) {
    // Preactivations of about 1: a bounded function, and GELU where it falls to zero, hide their scale, so
    // the bound is that of a sum of K terms of size 1/sqrt(K), measured 5e-7 at K = 100.
    const double size = 1 / std::sqrt(static_cast<double>(q.K) + 1);
    o.fills = {{"a", fill::normal(0, 1)}, {"b", fill::normal(0, size)}};
    o.c = 8;
  }
  if (q.activation == Activation::relu || (q.K == 0 && !q.has_bias)) o.zeros_ok = {"c"};
  if (q.tf32) {
    // Operands lose 13 bits: two rounding errors of 2^-11 a product, 2^13 units of f32; measured 2.4e-4 of
    // the scale.
    o.c = 8192;
    o.dtypes = {DType::f32};
  }
  o.small = q.orders;
  return o;
}

void add(Suite& suite, const Product& q) {
  suite.add(kMatmul, name_of(q), [q] { return problem_of(q); }, options_of(q));
}

void add_products(Suite& suite) {
  for (const Product& q : std::vector<Product>{{0, 5, 3},
                                               {5, 0, 3},
                                               {4, 6, 0},
                                               {1, 1, 1},
                                               {1, 1, 33},
                                               {1, 40, 20},
                                               {40, 1, 20},
                                               {3, 50, 129},
                                               {31, 32, 33},
                                               {33, 31, 32},
                                               {64, 10, 64},
                                               {97, 13, 101},
                                               {32, 33, 31},
                                               {64, 64, 64},
                                               {129, 72, 40},
                                               {128, 136, 300}}) {
    const bool large = q.M * q.N * q.K > 1000000;
    for (int t = 0; t < (large ? 1 : 4); ++t) {
      Product turned = q;
      turned.trans_a = t % 2 == 1, turned.trans_b = t >= 2;
      turned.orders = q.K <= 33 && q.M * q.N <= 24;
      add(suite, turned);
    }
  }
  add(suite, {.M = 330, .N = 33, .K = 70, .trans_b = true});
  add(suite, {.M = 20, .N = 70, .K = 530, .trans_a = true, .trans_b = true});
  add(suite, {.M = 8, .N = 270, .K = 150, .trans_a = true});
  add(suite, {.M = 14, .N = 30, .K = 600, .trans_b = true});
  add(suite, {.M = 70000, .N = 3, .K = 2, .dtypes = {DType::f32}});  // one dtype: a thousand emulated blocks
  add(suite, {.M = 1100, .N = 3, .K = 2, .dtypes = {DType::bf16}});  // more than one band of tile rows
  // Enough tiles of 128 x 128 for the kernels' large ones: f32 for the one, bf16 for the other.
  for (const bool turned : {false, true})
    add(suite, {.M = 129,
                .N = 65,
                .K = 3,
                .trans_a = turned,
                .trans_b = turned,
                .batch = 132,
                .dtypes = {turned ? DType::bf16 : DType::f32}});
}

void add_epilogues(Suite& suite) {
  for (const Activation activation : kActivations) {
    // On the CPU, in this order: in place, through a scratch block, by dots.
    add(suite, {.M = 64, .N = 64, .K = 20, .activation = activation});
    add(suite, {.M = 37, .N = 70, .K = 20, .trans_b = true, .has_bias = true, .activation = activation});
    add(suite, {.M = 3, .N = 19, .K = 17, .has_bias = true, .activation = activation, .accumulate = true});
    if (activation == Activation::none) continue;
    add(suite,
        {.M = 64, .N = 64, .K = 20, .activation = activation, .gap = 8, .save_pre = true, .residual = true});
    add(suite, {.M = 37,
                .N = 70,
                .K = 20,
                .trans_b = true,
                .has_bias = true,
                .activation = activation,
                .accumulate = activation == Activation::relu,
                .save_pre = true});
    add(suite, {.M = 3,
                .N = 19,
                .K = 17,
                .trans_b = true,
                .has_bias = true,
                .activation = activation,
                .gap = 1,
                .save_pre = activation != Activation::tanh,
                .residual = true});
  }
  add(suite, {.M = 3, .N = 19, .K = 65, .trans_b = true, .has_bias = true, .orders = true});
  add(suite, {.M = 64, .N = 64, .K = 33, .trans_b = true, .has_bias = true, .residual = true});
  add(suite, {.M = 33, .N = 9, .K = 20, .has_bias = true, .accumulate = true, .gap = 3, .residual = true});
  add(suite, {.M = 12, .N = 20, .K = 16, .batch = 3, .gap = 2, .save_pre = true, .residual = true});
  add(suite, {.M = 12, .N = 20, .K = 16, .batch = 3, .broadcast_b = true, .residual = true});
  add(suite, {.M = 40, .N = 24, .K = 0, .has_bias = true});
  add(suite, {.M = 40,
              .N = 24,
              .K = 0,
              .has_bias = true,
              .activation = Activation::gelu,
              .save_pre = true,
              .residual = true});
  add(suite, {.M = 64, .N = 96, .K = 33, .trans_b = true, .accumulate = true});
}

/// Few tiles and a k that the GPU's kernels cut into pieces, and the nearest ones that stay whole. In f32 a
/// case costs seconds in the emulator.
void add_pieces(Suite& suite) {
  const std::vector<DType> halves{DType::f16, DType::bf16};
  add(suite, {.M = 5,
              .N = 33,
              .K = 1030,
              .trans_a = true,
              .has_bias = true,
              .activation = Activation::gelu_tanh,
              .accumulate = true,
              .gap = 1,
              .dtypes = {DType::f32, DType::bf16},
              .save_pre = true,
              .residual = true});
  add(suite, {.M = 1, .N = 1, .K = 1100, .trans_b = true, .dtypes = halves});
  add(suite, {.M = 1, .N = 70, .K = 1024, .has_bias = true, .dtypes = halves});
  add(suite, {.M = 66, .N = 1, .K = 1023, .trans_b = true, .dtypes = halves});
  add(suite, {.M = 3, .N = 5, .K = 1056, .trans_a = true, .trans_b = true, .batch = 2, .dtypes = halves});
}

void add_layouts(Suite& suite) {
  for (int t = 0; t < 4; ++t) {
    const bool trans_a = t % 2 == 1, trans_b = t >= 2;
    for (const std::int64_t gap : {1, 8})
      add(suite, {.M = 40, .N = 48, .K = 56, .trans_a = trans_a, .trans_b = trans_b, .gap = gap});
    add(suite, {.M = 12, .N = 20, .K = 16, .trans_a = trans_a, .trans_b = trans_b, .batch = 5});
    add(suite,
        {.M = 33, .N = 65, .K = 17, .trans_a = trans_a, .trans_b = trans_b, .batch = 3, .broadcast_a = true});
    add(suite, {.M = 16,
                .N = 8,
                .K = 40,
                .trans_a = trans_a,
                .trans_b = trans_b,
                .has_bias = true,
                .batch = 2,
                .broadcast_b = true});
  }
  add(suite, {.M = 2, .N = 3, .K = 4, .batch = 20});
  const Product q{.M = 24, .N = 40, .K = 32, .has_bias = true};
  CaseOptions shifted = options_of(q);
  shifted.shift = 1;
  suite.add(kMatmul, name_of(q) + " unaligned", [q] { return problem_of(q); }, shifted);
}

void add_tf32(Suite& suite) {
  for (int t = 0; t < 4; ++t) {
    const bool trans_a = t % 2 == 1, trans_b = t >= 2;
    add(suite, {.M = 64, .N = 72, .K = 48, .trans_a = trans_a, .trans_b = trans_b, .tf32 = true});
    add(suite, {.M = 33,
                .N = 31,
                .K = 37,
                .trans_a = trans_a,
                .trans_b = trans_b,
                .has_bias = true,
                .gap = 3,
                .tf32 = true});
  }
  add(suite, {.M = 130, .N = 140, .K = 20, .tf32 = true});
  add(suite, {.M = 7, .N = 9, .K = 0, .tf32 = true});
}

void add_bias_grad(Suite& suite, std::int64_t rows, std::int64_t cols, Activation activation, bool want_db,
                   const char* what = "", CaseOptions o = {}, bool from_pre = false) {
  o.k = static_cast<double>(rows) + 2;
  o.c = 16;  // 1 - y^2 for |y| up to 0.95 amplifies a rounding tenfold
  o.scale = Scale::absolute;
  o.fills = {{"y", activation == Activation::relu ? fill::normal(0, 1) : fill::uniform(0.05, 0.95)},
             {"pre", fill::normal(0, 2)}};
  if (activation == Activation::relu) o.zeros_ok = {"dz", "db"};
  o.small = rows * cols <= 1100;
  suite.add(
      kBiasGrad,
      std::to_string(rows) + "x" + std::to_string(cols) + " " + name_of(activation) +
          (from_pre ? " pre" : "") + (want_db ? " db" : "") + what,
      [=] {
        BiasGradProblem p{};
        p.rows = rows, p.cols = cols, p.activation = activation, p.from_pre = from_pre;
        p.want_dz = activation != Activation::none, p.want_db = want_db;
        return p;
      },
      o);
}

}  // namespace

void add_matmul_cases(Suite& suite) {
  add_products(suite);
  add_epilogues(suite);
  add_layouts(suite);
  add_tf32(suite);
  add_pieces(suite);
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh})
    for (const auto& [rows, cols] : {std::array<std::int64_t, 2>{1, 1},
                                     {64, 10},
                                     {33, 31},
                                     {7, 130},
                                     {300, 97},
                                     {1031, 20},
                                     {3, 1100}}) {
      add_bias_grad(suite, rows, cols, activation, true);
      if (activation != Activation::none) add_bias_grad(suite, rows, cols, activation, false);
    }
  for (const Activation activation : kActivations)
    for (const auto& [rows, cols] : {std::array<std::int64_t, 2>{1, 1}, {33, 31}, {300, 97}, {3, 520}}) {
      if (activation == Activation::none) continue;
      add_bias_grad(suite, rows, cols, activation, true, "", {}, true);
      if (rows == 33) add_bias_grad(suite, rows, cols, activation, false, "", {}, true);
    }
  CaseOptions in_place;
  in_place.alias = {{"dz", "dy"}};
  add_bias_grad(suite, 65, 33, Activation::tanh, true, " in place", in_place);
  CaseOptions shifted;
  shifted.shift = 1;
  add_bias_grad(suite, 65, 64, Activation::sigmoid, true, " unaligned", shifted);
}

}  // namespace gpunn::parity
