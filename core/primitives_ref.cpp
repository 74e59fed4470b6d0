// References of the three primitives: plain loops over any dtype and strides.
#include "gpunn/core/detail/strided.h"
#include "gpunn/core/primitives_impl.h"

namespace gpunn {

void fill_ref(const FillProblem& p, const Exec&) {
  visit_dtype(p.dtype, [&]<class T>(T) {
    const T value = detail::convert_value<T>(p.value);
    T* y = static_cast<T*>(p.y);
    detail::walk<1>(p.rank, p.shape, {p.strides}, 0, detail::numel_of(p.rank, p.shape),
                    [&](std::int64_t n, const std::int64_t(&at)[1]) {
                      for (std::int64_t i = 0; i < n; ++i) y[at[0] + i * p.strides[p.rank - 1]] = value;
                    });
  });
}

void copy_ref(const CopyProblem& p, const Exec&) {
  const std::int64_t sx = p.x_strides[p.rank - 1], sy = p.y_strides[p.rank - 1];
  visit_dtype(p.src_dtype, [&]<class From>(From) {
    visit_dtype(p.dtype, [&]<class To>(To) {
      const From* x = static_cast<const From*>(p.x);
      To* y = static_cast<To*>(p.y);
      detail::walk<2>(p.rank, p.shape, {p.x_strides, p.y_strides}, 0, detail::numel_of(p.rank, p.shape),
                      [&](std::int64_t n, const std::int64_t(&at)[2]) {
                        for (std::int64_t i = 0; i < n; ++i)
                          y[at[1] + i * sy] = detail::convert_value<To>(x[at[0] + i * sx]);
                      });
    });
  });
}

void add_ref(const AddProblem& p, const Exec&) {
  visit_floating(p.dtype, [&]<class T>(T) {
    const T* a = static_cast<const T*>(p.a);
    const T* b = static_cast<const T*>(p.b);
    T* y = static_cast<T*>(p.y);
    for (std::int64_t i = 0; i < p.n; ++i)
      y[i] =
          detail::convert_value<T>(detail::convert_value<double>(a[i]) + detail::convert_value<double>(b[i]));
  });
}

}  // namespace gpunn
