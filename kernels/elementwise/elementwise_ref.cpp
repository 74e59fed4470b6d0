// The reference: floating dtypes through double, one rounding at the store; integers exactly.
#include "gpunn/core/detail/strided.h"
#include "gpunn/kernels/common/ref_access.h"
#include "gpunn/kernels/elementwise/elementwise_functors_impl.h"

namespace gpunn {

namespace {

template <class T>
struct ExactIn {
  const T* data;
  T operator[](std::int64_t i) const { return data[i]; }
};
template <class T>
struct ExactOut {
  T* data;
  void set(std::int64_t i, T value) const { data[i] = value; }
};

template <class T, class In, class Out>
void run(const UnaryProblem& p, In x, Out y) {
  const T scalar = static_cast<T>(p.scalar);
  elementwise::visit<T>(p.function, [&]<class F>(F) {
    std::int64_t i = 0;
    detail::walk<1>(p.rank, p.shape, {p.x_strides}, 0, numel_of(p),
                    [&](std::int64_t n, const std::int64_t(&at)[1]) {
                      for (std::int64_t j = 0; j < n; ++j, ++i)
                        y.set(i, F::template apply<T>(x[at[0] + j * p.x_strides[p.rank - 1]], scalar));
                    });
  });
}

template <class T, class In, class Out>
void run(const BinaryProblem& p, In a, In b, Out y) {
  const std::int64_t sa = p.a_strides[p.rank - 1], sb = p.b_strides[p.rank - 1];
  elementwise::visit<T>(p.function, [&]<class F>(F) {
    std::int64_t i = 0;
    detail::walk<2>(p.rank, p.shape, {p.a_strides, p.b_strides}, 0, numel_of(p),
                    [&](std::int64_t n, const std::int64_t(&at)[2]) {
                      for (std::int64_t j = 0; j < n; ++j, ++i)
                        y.set(i, F::template apply<T>(a[at[0] + j * sa], b[at[1] + j * sb]));
                    });
  });
}

template <class T>
void run_exact(const UnaryProblem& p) {
  run<T>(p, ExactIn<T>{static_cast<const T*>(p.x)}, ExactOut<T>{static_cast<T*>(p.y)});
}

template <class T>
void run_exact(const BinaryProblem& p) {
  run<T>(p, ExactIn<T>{static_cast<const T*>(p.a)}, ExactIn<T>{static_cast<const T*>(p.b)},
         ExactOut<T>{static_cast<T*>(p.y)});
}

}  // namespace

void unary_ref(const UnaryProblem& p, const Exec&) {
  if (p.dtype == DType::i32) return run_exact<std::int32_t>(p);
  if (p.dtype == DType::i64) return run_exact<std::int64_t>(p);
  run<double>(p, RefIn(p.x, p.dtype), RefOut(p.y, p.dtype));
}

void binary_ref(const BinaryProblem& p, const Exec&) {
  if (p.dtype == DType::i32) return run_exact<std::int32_t>(p);
  if (p.dtype == DType::i64) return run_exact<std::int64_t>(p);
  run<double>(p, RefIn(p.a, p.dtype), RefIn(p.b, p.dtype), RefOut(p.y, p.dtype));
}

}  // namespace gpunn
