#include "gpunn/kernels/matmul/contract.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <string>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {
namespace {

// A dimension's name: a letter, or -k for the k-th dimension from the right under "...".
using Label = int;
using Labels = std::vector<Label>;

bool has(const Labels& labels, Label l) { return std::find(labels.begin(), labels.end(), l) != labels.end(); }

std::string text_of(Label l) { return l < 0 ? "..." : std::string(1, static_cast<char>(l)); }

/// One side of an equation: letters, and where "..." stands (-1: nowhere).
struct Term {
  std::string letters;
  int dots = -1;
};

Term parse_term(std::string_view text, std::string_view equation) {
  Term term;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == ' ') continue;
    if (text.substr(i, 3) == "..." && term.dots < 0) {
      term.dots = static_cast<int>(term.letters.size());
      i += 2;
      continue;
    }
    GPUNN_CHECK(std::isalpha(static_cast<unsigned char>(c)),
                "expected letters, commas, '->' and one '...' a term, got '", equation, "'");
    GPUNN_CHECK(term.letters.find(c) == std::string::npos, "expected each letter once in a term, got '", c,
                "' twice in '", equation, "'");
    term.letters += c;
  }
  return term;
}

/// The names of a tensor's dimensions.
Labels labels_of(const Term& term, int rank, std::string_view equation) {
  const int letters = static_cast<int>(term.letters.size()), hidden = rank - letters;
  GPUNN_CHECK(term.dots >= 0 ? hidden >= 0 : hidden == 0, "expected an operand of ", letters,
              term.dots >= 0 ? " or more" : "", " dimensions for '", equation, "', got ", rank);
  Labels labels;
  for (int i = 0; i <= letters; ++i) {
    if (i == term.dots)
      for (int k = hidden; k >= 1; --k) labels.push_back(-k);
    if (i < letters) labels.push_back(term.letters[static_cast<std::size_t>(i)]);
  }
  return labels;
}

struct Equation {
  std::vector<Term> operands;
  std::optional<Term> result;
};

Equation parse(std::string_view text) {
  Equation equation;
  const std::size_t arrow = text.find("->");
  if (arrow != std::string_view::npos) equation.result = parse_term(text.substr(arrow + 2), text);
  std::string_view left = text.substr(0, arrow);
  for (;;) {
    const std::size_t comma = left.find(',');
    equation.operands.push_back(parse_term(left.substr(0, comma), text));
    if (comma == std::string_view::npos) return equation;
    left.remove_prefix(comma + 1);
  }
}

/// The result's dimensions, checked against those of the operands.
Labels result_labels(const Equation& equation, const std::vector<Labels>& operands, std::string_view text) {
  Labels dots, once;
  for (const Labels& labels : operands)
    for (const Label l : labels) {
      if (l < 0 && !has(dots, l)) dots.push_back(l);
      const auto occurrences =
          std::count_if(operands.begin(), operands.end(), [l](const Labels& o) { return has(o, l); });
      if (l >= 0 && occurrences == 1) once.push_back(l);
    }
  std::sort(dots.begin(), dots.end());
  if (!equation.result) {
    std::sort(once.begin(), once.end());
    dots.insert(dots.end(), once.begin(), once.end());
    return dots;
  }
  GPUNN_CHECK(dots.empty() || equation.result->dots >= 0, "expected '...' in the result of '", text, "' too");
  const int rank = static_cast<int>(equation.result->letters.size() + dots.size());
  const Labels labels = labels_of(*equation.result, rank, text);
  for (const Label l : labels)
    GPUNN_CHECK(std::any_of(operands.begin(), operands.end(), [l](const Labels& o) { return has(o, l); }),
                "expected '", text_of(l), "' of the result of '", text, "' in an operand too");
  return labels;
}

/// `x` without the dimensions that occur neither in `kept` nor in `other`.
Tensor sum_out(const Tensor& x, Labels& labels, const Labels& kept, const Labels& other) {
  Dims dims;
  Labels left;
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (has(kept, labels[i]) || has(other, labels[i]))
      left.push_back(labels[i]);
    else
      dims.push_back(static_cast<std::int64_t>(i));
  }
  if (dims.rank() == 0) return x;
  labels = left;
  return sum(x, dims);
}

Tensor permute_to(const Tensor& x, const Labels& from, const Labels& to) {
  Dims order;
  for (const Label l : to) order.push_back(std::find(from.begin(), from.end(), l) - from.begin());
  return x.permute(order);
}

std::int64_t extent_of(const Tensor& x, const Labels& labels, Label l) {
  return x.size(static_cast<int>(std::find(labels.begin(), labels.end(), l) - labels.begin()));
}

Labels joined(std::initializer_list<const Labels*> parts) {
  Labels all;
  for (const Labels* part : parts) all.insert(all.end(), part->begin(), part->end());
  return all;
}

/// Two operands as one batched product: [batch, left, inner] x [batch, inner, right].
Tensor product(const Tensor& a, const Labels& la, const Tensor& b, const Labels& lb, const Labels& result,
               std::string_view text) {
  Labels batch, inner, left, right;
  for (const Label l : la) (!has(lb, l) ? left : has(result, l) ? batch : inner).push_back(l);
  for (const Label l : lb)
    if (!has(la, l)) right.push_back(l);
  Shape batch_a, batch_b, batches, split;
  std::int64_t rows = 1, terms = 1, columns = 1;
  for (const Label l : joined({&batch, &inner})) {
    const std::int64_t na = extent_of(a, la, l), nb = extent_of(b, lb, l);
    GPUNN_CHECK(na == nb || (l < 0 && (na == 1 || nb == 1)), "expected one extent for '", text_of(l),
                "' of '", text, "', got ", a.shape(), " and ", b.shape());
    if (has(inner, l)) {
      terms *= na;
      continue;
    }
    batch_a.push_back(na), batch_b.push_back(nb), batches.push_back(na == 1 ? nb : na);
  }
  split = batches;
  for (const Label l : left) split.push_back(extent_of(a, la, l)), rows *= split[split.rank() - 1];
  for (const Label l : right) split.push_back(extent_of(b, lb, l)), columns *= split[split.rank() - 1];
  batch_a.push_back(rows), batch_a.push_back(terms), batch_b.push_back(terms), batch_b.push_back(columns);
  const Tensor x = permute_to(a, la, joined({&batch, &left, &inner})).reshape(batch_a);
  const Tensor w = permute_to(b, lb, joined({&batch, &inner, &right})).reshape(batch_b);
  return permute_to(matmul(x, w).reshape(split), joined({&batch, &left, &right}), result);
}

}  // namespace

Tensor bmm(const Tensor& a, const Tensor& b) {
  OpScope scope("bmm");
  check_floating(a, "a");
  check_same(a, "a", b, "b");
  GPUNN_CHECK(a.dim() == 3 && b.dim() == 3 && a.size(0) == b.size(0) && a.size(2) == b.size(1),
              "expected [B, M, K] and [B, K, N], got ", a.shape(), " and ", b.shape());
  return matmul(a, b);
}

Tensor outer(const Tensor& a, const Tensor& b) {
  OpScope scope("outer");
  check_floating(a, "a");
  check_same(a, "a", b, "b");
  GPUNN_CHECK(a.dim() == 1 && b.dim() == 1, "expected two vectors, got ", a.shape(), " and ", b.shape());
  return mul(a.unsqueeze(1), b.unsqueeze(0));
}

Tensor einsum(std::string_view equation, std::span<const Tensor> operands) {
  OpScope scope("einsum");
  const Equation parsed = parse(equation);
  GPUNN_CHECK(operands.size() == parsed.operands.size() && operands.size() <= 2,
              "expected one or two operands, as many as '", equation, "' names, got ", operands.size());
  std::vector<Labels> labels;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    check_floating(operands[i], "an operand");
    labels.push_back(labels_of(parsed.operands[i], operands[i].dim(), equation));
  }
  const Labels result = result_labels(parsed, labels, equation);
  if (operands.size() == 1) {
    const Tensor x = sum_out(operands[0], labels[0], result, {});
    return permute_to(x, labels[0], result);
  }
  check_same(operands[0], "the first operand", operands[1], "the second");
  const Tensor a = sum_out(operands[0], labels[0], result, labels[1]);
  const Tensor b = sum_out(operands[1], labels[1], result, labels[0]);
  return product(a, labels[0], b, labels[1], result, equation);
}

Tensor einsum(std::string_view equation, const Tensor& a, const Tensor& b) {
  const Tensor operands[] = {a, b};
  return einsum(equation, std::span<const Tensor>(operands));
}

Tensor bilinear(const Tensor& x1, const Tensor& x2, const Tensor& w, const Tensor& b) {
  OpScope scope("bilinear");
  check_floating(x1, "x1");
  check_same(x1, "x1", x2, "x2");
  check_same(x1, "x1", w, "w");
  GPUNN_CHECK(w.dim() == 3 && x1.dim() >= 1 && x1.dim() == x2.dim() && x1.size(-1) == w.size(1) &&
                  x2.size(-1) == w.size(2),
              "expected x1 [*, I], x2 [*, J] and w [O, I, J], got ", x1.shape(), ", ", x2.shape(), " and ",
              w.shape());
  Shape rest = x1.shape(), other = x2.shape();
  const std::int64_t O = w.size(0), I = w.size(1), J = w.size(2);
  std::int64_t n = 1;
  for (int i = 0; i + 1 < x1.dim(); ++i) n *= x1.size(i);
  rest[x1.dim() - 1] = other[x2.dim() - 1] = O;
  GPUNN_CHECK(rest == other, "expected equal leading dimensions, got ", x1.shape(), " and ", x2.shape());
  if (b.defined()) {
    check_same(x1, "x1", b, "b");
    GPUNN_CHECK(b.shape() == Shape{O}, "expected a bias [", O, "], got ", b.shape());
  }
  // x1 w for all outputs at once, then a sum over J: n I O J multiply-adds in one product.
  const Tensor half = matmul(x1.reshape({n, I}), w.permute({1, 0, 2}).reshape({I, O * J})).reshape({n, O, J});
  Tensor y = matmul(half, x2.reshape({n, J, 1})).reshape(rest);
  return b.defined() ? add(y, b) : y;
}

}  // namespace gpunn
