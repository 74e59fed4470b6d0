// bmm, outer, einsum and bilinear against sums written out term by term; derivatives; equations that do not
// fit.
#include "gpunn/kernels/matmul/contract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "gpunn/kernels/matmul/matmul.h"
#include "tests/support/devices.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// The definition: for each element of the result, the sum over all other letters. Letters only.
std::vector<double> defined(const std::vector<std::string>& terms, const std::string& result,
                            const std::vector<Tensor>& operands) {
  std::map<char, std::int64_t> extents;
  for (std::size_t i = 0; i < terms.size(); ++i)
    for (std::size_t d = 0; d < terms[i].size(); ++d)
      extents[terms[i][d]] = operands[i].size(static_cast<int>(d));
  std::string order = result;
  for (const auto& [letter, extent] : extents)
    if (result.find(letter) == std::string::npos) order += letter;
  std::vector<std::vector<double>> values;
  for (const Tensor& t : operands)
    values.push_back(t.contiguous().to(Device::cpu()).to(DType::f64).to_vector<double>());
  std::int64_t count = 1;
  for (const char c : result) count *= extents[c];
  std::vector<double> out(static_cast<std::size_t>(count));
  std::map<char, std::int64_t> at;
  const std::function<void(std::size_t)> walk = [&](std::size_t depth) {
    if (depth < order.size()) {
      for (at[order[depth]] = 0; at[order[depth]] < extents[order[depth]]; ++at[order[depth]])
        walk(depth + 1);
      return;
    }
    const auto position = [&](const std::string& letters) {
      std::int64_t p = 0;
      for (const char c : letters) p = p * extents[c] + at[c];
      return static_cast<std::size_t>(p);
    };
    double term = 1;
    for (std::size_t i = 0; i < terms.size(); ++i) term *= values[i][position(terms[i])];
    out[position(result)] += term;
  };
  walk(0);
  return out;
}

class Contract : public testing::DeviceTest {
 protected:
  Tensor draw(const Shape& shape) const { return randn(shape).to(device()); }
  static void expect_near(const Tensor& got, const std::vector<double>& expected, const std::string& what) {
    const std::vector<float> values = got.to_vector<float>();
    ASSERT_EQ(values.size(), expected.size()) << what;
    for (std::size_t i = 0; i < values.size(); ++i)
      EXPECT_NEAR(values[i], expected[i], 1e-5 * (1 + std::abs(expected[i]))) << what << ", element " << i;
  }
};

TEST_P(Contract, EinsumOfTwoEqualsTheDefinition) {
  manual_seed(11);
  const std::map<char, std::int64_t> extents{{'i', 3}, {'j', 4}, {'k', 5}, {'l', 2}, {'b', 2}, {'h', 3}};
  const auto shape = [&](const std::string& letters) {
    Shape s;
    for (const char c : letters) s.push_back(extents.at(c));
    return s;
  };
  const std::vector<std::vector<std::string>> equations{
      {"ij", "jk", "ik"},    {"ij", "jk", "ki"},       {"ij", "kj", "ik"},       {"ji", "jk", "ik"},
      {"bij", "bjk", "bik"}, {"bhik", "bhjk", "bhij"}, {"bijh", "bkjh", "hbik"}, {"i", "j", "ij"},
      {"i", "i", ""},        {"ij", "ij", ""},         {"ij", "ij", "i"},        {"ijk", "k", "ji"},
      {"ij", "kl", "lkji"},  {"ijk", "ikl", "jl"},     {"ijl", "k", "ik"},       {"bij", "jk", "bik"},
      {"ij", "j", "i"},      {"bi", "bj", "bij"},
  };
  for (const auto& e : equations) {
    const std::vector<Tensor> x{draw(shape(e[0])), draw(shape(e[1]))};
    const std::string text = e[0] + ", " + e[1] + " -> " + e[2];
    const Tensor y = einsum(text, x[0], x[1]);
    EXPECT_EQ(y.shape(), shape(e[2])) << text;
    expect_near(y, defined({e[0], e[1]}, e[2], x), text);
  }
}

TEST_P(Contract, EinsumOfOne) {
  const Tensor x = draw({2, 3, 4});
  for (const std::string result : {"ijk", "kji", "ki", "j", ""})
    expect_near(einsum("ijk->" + result, x), defined({"ijk"}, result, {x}), result);
  EXPECT_EQ(einsum("b...->...b", x).shape(), (Shape{3, 4, 2}));
}

TEST_P(Contract, EinsumWithoutAResultSortsItsLetters) {
  const Tensor a = draw({2, 3}), b = draw({3, 4});
  EXPECT_EQ(einsum("bj,ja", a, b.to(device())).shape(), (Shape{4, 2}));
  expect_near(einsum("bj,ja", a, b), defined({"bj", "ja"}, "ab", {a, b}), "ab");
  EXPECT_EQ(einsum("ba", a).shape(), (Shape{3, 2}));
}

TEST_P(Contract, DotsBroadcast) {
  const Tensor a = draw({2, 1, 3, 4}), b = draw({5, 4, 6});
  const Tensor y = einsum("...ij,...jk->...ik", a, b);
  EXPECT_EQ(y.shape(), (Shape{2, 5, 3, 6}));
  const Tensor expected = matmul(a, b);
  EXPECT_EQ(y.to_vector<float>(), expected.to_vector<float>());
  EXPECT_EQ(einsum("...i,i->...", a, draw({4})).shape(), (Shape{2, 1, 3}));
}

TEST_P(Contract, BmmOuterBilinear) {
  const Tensor a = draw({3, 2, 4}), b = draw({3, 4, 5}), u = draw({4}), v = draw({6});
  expect_near(bmm(a, b), defined({"bij", "bjk"}, "bik", {a, b}), "bmm");
  expect_near(outer(u, v), defined({"i", "j"}, "ij", {u, v}), "outer");
  const Tensor x1 = draw({2, 3, 4}), x2 = draw({2, 3, 5}), w = draw({6, 4, 5}), bias = draw({6});
  const Tensor y = bilinear(x1, x2, w, bias);
  EXPECT_EQ(y.shape(), (Shape{2, 3, 6}));
  // x1 and x2 share their leading dimensions, so the sum is one over pairs of them.
  std::vector<double> expected = defined({"bci", "oij", "bcj"}, "bco", {x1, w, x2});
  const std::vector<float> added = bias.to_vector<float>();
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += added[i % added.size()];
  expect_near(y, expected, "bilinear");
}

TEST_P(Contract, EmptyOperands) {
  EXPECT_EQ(einsum("ij,jk->ik", draw({2, 0}), draw({0, 3})).to_vector<float>(), std::vector<float>(6, 0.0f));
  EXPECT_EQ(bmm(draw({0, 2, 3}), draw({0, 3, 4})).shape(), (Shape{0, 2, 4}));
  EXPECT_EQ(outer(draw({0}), draw({3})).shape(), (Shape{0, 3}));
  EXPECT_EQ(bilinear(draw({2, 0}), draw({2, 3}), draw({4, 0, 3})).to_vector<float>(),
            std::vector<float>(8, 0.0f));
}

GPUNN_ON_EVERY_DEVICE(Contract);

const Fill kValues = fill::normal(0, 1);

TEST(ContractGradient, FirstAndSecondDerivatives) {
  const auto einsum_of = [](const char* equation) {
    return [equation](const Inputs& in) { return einsum(equation, in[0], in[1]); };
  };
  const auto outer_of = [](const Inputs& in) { return outer(in[0], in[1]); };
  const auto bmm_of = [](const Inputs& in) { return bmm(in[0], in[1]); };
  const auto bilinear_of = [](const Inputs& in) { return bilinear(in[0], in[1], in[2], in[3]); };
  for (const bool second : {false, true}) {
    const auto check = [second](const GradFunction& f, const std::vector<GradInput>& inputs) {
      return second ? gradgradcheck(f, inputs) : gradcheck(f, inputs);
    };
    EXPECT_TRUE(check(einsum_of("bij,bkj->kbi"), {{{2, 3, 4}, kValues}, {{2, 2, 4}, kValues}}));
    EXPECT_TRUE(check(einsum_of("ijl,k->ik"), {{{2, 3, 2}, kValues}, {{3}, kValues}}));
    EXPECT_TRUE(check(einsum_of("...i,i->..."), {{{2, 1, 3}, kValues}, {{3}, kValues}}));
    EXPECT_TRUE(check(outer_of, {{{3}, kValues}, {{4}, kValues}}));
    EXPECT_TRUE(check(bmm_of, {{{2, 2, 3}, kValues}, {{2, 3, 2}, kValues}}));
    EXPECT_TRUE(
        check(bilinear_of, {{{2, 3}, kValues}, {{2, 2}, kValues}, {{4, 3, 2}, kValues}, {{4}, kValues}}));
  }
}

TEST(ContractErrors, SayWhatDoesNotFit) {
  const Tensor a = ones({2, 3}), b = ones({3, 4}), v = ones({3});
  const auto refuse = [](const char* equation, const Tensor& x, const Tensor& y, const char* what) {
    EXPECT_THAT([&] { einsum(equation, x, y); }, ThrowsMessage<InvalidArgument>(HasSubstr(what))) << equation;
  };
  refuse("ij,jk->il", a, b, "'l' of the result");
  refuse("ij,ik->jk", a, b, "one extent for 'i'");
  refuse("ii,jk->ik", a, b, "each letter once");
  refuse("ij,jk->ikk", a, b, "each letter once");
  refuse("i1,jk->ik", a, b, "expected letters");
  refuse("ijk,jk->i", a, b, "an operand of 3 dimensions");
  refuse("...ijk,jk->...i", a, b, "3 or more dimensions");
  refuse("...j,jk->k", a, b, "'...' in the result");
  refuse("ij->i", a, b, "as many as");
  EXPECT_THROW(einsum("i,j,k->ijk", v, v), InvalidArgument);
  EXPECT_THROW(einsum("ij,jk->ik", a, b.to(DType::f16)), InvalidArgument);
  EXPECT_THROW(einsum("ij->ji", ones({2, 3}, {.dtype = DType::i32})), InvalidArgument);
  EXPECT_THROW(einsum("i,j->ij", Tensor(), v), InvalidArgument);
  EXPECT_THAT([&] { bmm(a, b); }, ThrowsMessage<InvalidArgument>(HasSubstr("[B, M, K] and [B, K, N]")));
  EXPECT_THROW(bmm(ones({2, 3, 4}), ones({3, 4, 5})), InvalidArgument);
  EXPECT_THAT([&] { outer(a, v); }, ThrowsMessage<InvalidArgument>(HasSubstr("two vectors")));
  EXPECT_THROW(bilinear(ones({2, 3}), ones({4, 5}), ones({6, 3, 5})), InvalidArgument);
  EXPECT_THROW(bilinear(ones({2, 3}), ones({2, 5}), ones({6, 5, 3})), InvalidArgument);
  EXPECT_THROW(bilinear(ones({2, 3}), ones({2, 5}), ones({6, 3, 5}), ones({5})), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
