#pragma once
// Argument checks that the normalisations share.
#include <cmath>
#include <initializer_list>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/reduction.h"

namespace gpunn::detail {

/// A vector with an element per channel, or none.
struct ChannelVector {
  const Tensor& tensor;
  const char* name;
};

/// Throws InvalidArgument unless those that are defined have `shape`, x's device, and one dtype: x's, or that
/// of its statistics. Returns whether it is the latter and differs from x's.
inline bool check_weights(const Tensor& x, const Shape& shape, std::initializer_list<ChannelVector> vectors) {
  const DType wide = accumulator_of(x.dtype());
  const ChannelVector* first = nullptr;
  for (const ChannelVector& v : vectors) {
    if (!v.tensor.defined()) continue;
    GPUNN_CHECK(v.tensor.shape() == shape, "expected ", v.name, " ", shape, ", got ", v.tensor.shape());
    GPUNN_CHECK(v.tensor.dtype() == x.dtype() || v.tensor.dtype() == wide, "expected ", v.name, " of dtype ",
                x.dtype(), " like x, or ", wide, ", got ", v.tensor.dtype());
    GPUNN_CHECK(&v.tensor.context() == &x.context(), "expected ", v.name, " on ", to_string(x.device()),
                " like x, got ", to_string(v.tensor.device()));
    if (!first) first = &v;
    GPUNN_CHECK(v.tensor.dtype() == first->tensor.dtype(), "expected ", v.name, " of dtype ",
                first->tensor.dtype(), " like ", first->name, ", got ", v.tensor.dtype());
  }
  return first && first->tensor.dtype() != x.dtype();
}

inline void check_eps(double eps) {
  GPUNN_CHECK(eps >= 0 && std::isfinite(eps), "expected eps >= 0, got ", eps);
}

inline const void* data_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
inline void* writable_or_null(const Tensor& t) { return t.defined() ? t.data() : nullptr; }
inline Tensor contiguous_or_none(const Tensor& t) { return t.defined() ? t.contiguous() : Tensor(); }

}  // namespace gpunn::detail
