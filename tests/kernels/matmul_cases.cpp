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
};

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
  return p;
}

CaseOptions options_of(const Product& q) {
  CaseOptions o;
  o.k = static_cast<double>(q.K) + 2;
  o.scale = Scale::absolute;
  o.dtypes = q.dtypes;
  if (q.activation == Activation::sigmoid || q.activation == Activation::tanh) {
    // Preactivations of about 1: a bounded function hides its scale, so the bound is that of a sum of K terms
    // of size 1/sqrt(K), measured 5e-7 at K = 100.
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
  o.small = q.batch * q.M * q.N * q.K <= 4000;
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
                                               {1, 40, 64},
                                               {40, 1, 64},
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
      add(suite, turned);
    }
  }
  add(suite, {.M = 330, .N = 33, .K = 70, .trans_b = true});
  add(suite, {.M = 20, .N = 70, .K = 1000, .trans_a = true, .trans_b = true});
  add(suite, {.M = 8, .N = 270, .K = 150, .trans_a = true});
  add(suite, {.M = 14, .N = 30, .K = 600, .trans_b = true});
  // Many blocks cost minutes in the emulator: f32 for the one kernel, bf16 for the other.
  add(suite, {.M = 70000, .N = 3, .K = 2, .dtypes = {DType::f32}});
  // Enough tiles of 128 x 128 for the kernels' large ones.
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
  for (const Activation activation :
       {Activation::none, Activation::relu, Activation::sigmoid, Activation::tanh})
    for (const auto& [M, N, K] : {std::array<std::int64_t, 3>{64, 64, 100}, {37, 70, 45}, {3, 19, 65}}) {
      add(suite, {.M = M, .N = N, .K = K, .trans_b = true, .has_bias = true, .activation = activation});
      add(suite, {.M = M, .N = N, .K = K, .activation = activation});
      add(suite, {.M = M, .N = N, .K = K, .has_bias = true, .activation = activation, .accumulate = true});
    }
  add(suite, {.M = 40, .N = 24, .K = 0, .has_bias = true});
  add(suite, {.M = 64, .N = 96, .K = 33, .trans_b = true, .accumulate = true});
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
  add(suite, {.M = 2, .N = 3, .K = 4, .batch = 300});
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
                   const char* what = "", CaseOptions o = {}) {
  o.k = static_cast<double>(rows) + 2;
  o.c = 16;  // 1 - y^2 for |y| up to 0.95 amplifies a rounding tenfold
  o.scale = Scale::absolute;
  o.fills = {{"y", activation == Activation::relu ? fill::normal(0, 1) : fill::uniform(0.05, 0.95)}};
  if (activation == Activation::relu) o.zeros_ok = {"dz", "db"};
  o.small = rows * cols <= 4000;
  suite.add(
      kBiasGrad,
      std::to_string(rows) + "x" + std::to_string(cols) + " " + name_of(activation) + (want_db ? " db" : "") +
          what,
      [=] {
        BiasGradProblem p{};
        p.rows = rows, p.cols = cols, p.activation = activation;
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
  CaseOptions in_place;
  in_place.alias = {{"dz", "dy"}};
  add_bias_grad(suite, 65, 33, Activation::tanh, true, " in place", in_place);
  CaseOptions shifted;
  shifted.shift = 1;
  add_bias_grad(suite, 65, 64, Activation::sigmoid, true, " unaligned", shifted);
}

}  // namespace gpunn::parity
