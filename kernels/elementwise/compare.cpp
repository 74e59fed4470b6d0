// Argument checks and gradients of comparisons and selection.
#include "gpunn/kernels/elementwise/compare.h"

#include <cmath>

#include "gpunn/kernels/elementwise/map_op_impl.h"
#include "gpunn/kernels/reduce/reduce.h"

namespace gpunn {

namespace {

Tensor compare(const char* name, CompareFunction f, const Tensor& a, const Tensor& b) {
  OpScope scope(name);
  return elementwise::map(f, a, b);
}

/// The scalar must be a value of the tensor's dtype, else the comparison would be with another number.
Tensor compare(const char* name, Predicate f, const Tensor& a, double b) {
  OpScope scope(name);
  GPUNN_CHECK(a.defined(), "expected a tensor, got an undefined one");
  if (!is_floating(a.dtype())) {
    const DType dtype = a.dtype();
    const double low = dtype == DType::i32 ? -0x1p31 : dtype == DType::i64 ? -0x1p63 : 0;
    const double high = dtype == DType::i32   ? 0x1p31
                        : dtype == DType::i64 ? 0x1p63
                        : dtype == DType::u8  ? 256
                                              : 2;
    GPUNN_CHECK(b >= low && b < high && b == std::trunc(b), "expected a value of ", dtype, ", got ", b,
                "; convert the tensor with .to()");
  }
  return elementwise::map(f, a, b);
}

Tensor predicate(const char* name, Predicate f, const Tensor& x) {
  OpScope scope(name);
  return elementwise::map(f, x);
}

/// A single element beside `t`, for broadcasting.
Tensor scalar_like(const Tensor& t, double value) {
  return full({}, value, {.dtype = t.dtype(), .device = t.device()});
}

}  // namespace

Tensor eq(const Tensor& a, const Tensor& b) { return compare("eq", CompareFunction::eq, a, b); }
Tensor ne(const Tensor& a, const Tensor& b) { return compare("ne", CompareFunction::ne, a, b); }
Tensor lt(const Tensor& a, const Tensor& b) { return compare("lt", CompareFunction::lt, a, b); }
Tensor le(const Tensor& a, const Tensor& b) { return compare("le", CompareFunction::le, a, b); }
Tensor gt(const Tensor& a, const Tensor& b) { return compare("gt", CompareFunction::gt, a, b); }
Tensor ge(const Tensor& a, const Tensor& b) { return compare("ge", CompareFunction::ge, a, b); }
Tensor eq(const Tensor& a, double b) { return compare("eq", Predicate::eq_scalar, a, b); }
Tensor ne(const Tensor& a, double b) { return compare("ne", Predicate::ne_scalar, a, b); }
Tensor lt(const Tensor& a, double b) { return compare("lt", Predicate::lt_scalar, a, b); }
Tensor le(const Tensor& a, double b) { return compare("le", Predicate::le_scalar, a, b); }
Tensor gt(const Tensor& a, double b) { return compare("gt", Predicate::gt_scalar, a, b); }
Tensor ge(const Tensor& a, double b) { return compare("ge", Predicate::ge_scalar, a, b); }

Tensor logical_and(const Tensor& a, const Tensor& b) {
  return compare("logical_and", CompareFunction::logical_and, a, b);
}
Tensor logical_or(const Tensor& a, const Tensor& b) {
  return compare("logical_or", CompareFunction::logical_or, a, b);
}
Tensor logical_xor(const Tensor& a, const Tensor& b) {
  return compare("logical_xor", CompareFunction::logical_xor, a, b);
}
Tensor logical_not(const Tensor& x) { return predicate("logical_not", Predicate::logical_not, x); }
Tensor isnan(const Tensor& x) { return predicate("isnan", Predicate::isnan, x); }
Tensor isinf(const Tensor& x) { return predicate("isinf", Predicate::isinf, x); }
Tensor isfinite(const Tensor& x) { return predicate("isfinite", Predicate::isfinite, x); }

Tensor where(const Tensor& condition, const Tensor& a, const Tensor& b) {
  OpScope scope("where");
  GPUNN_CHECK(condition.defined(), "expected a tensor, got an undefined one");
  GPUNN_CHECK(condition.dtype() == DType::boolean, "expected a condition of bool, got ", condition.dtype(),
              "; compare it with 0 by ne()");
  elementwise::check_map_dtype(Selection::where, a);
  check_same(a, "a", b, "b");
  GPUNN_CHECK(condition.device() == a.device(), "expected the condition on ", a.device(), ", got it on ",
              condition.device(), "; move it with .to()");
  Tensor y =
      elementwise::map_checked(Selection::where, 0, 0, std::index_sequence<0, 1, 2>(), condition, a, b);
  if (autograd::wanted(a, b))
    autograd::record(
        y, "where", {&a, &b},
        [condition = Saved(condition), sa = a.shape(), sb = b.shape()](const Backward& g) -> Gradients {
          const Tensor chosen = condition(g);
          return {g.needs(0) ? sum_to(where(chosen, g.grad(), 0), sa) : Tensor(),
                  g.needs(1) ? sum_to(where(chosen, 0, g.grad()), sb) : Tensor()};
        });
  return y;
}

Tensor where(const Tensor& condition, const Tensor& a, double b) {
  OpScope scope("where");
  GPUNN_CHECK(a.defined(), "expected a tensor, got an undefined one");
  return where(condition, a, scalar_like(a, b));
}

Tensor where(const Tensor& condition, double a, const Tensor& b) {
  OpScope scope("where");
  GPUNN_CHECK(b.defined(), "expected a tensor, got an undefined one");
  return where(condition, scalar_like(b, a), b);
}

}  // namespace gpunn
