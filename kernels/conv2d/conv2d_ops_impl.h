#pragma once
// The three ops on arguments that are checked already: what the public functions of this folder share.
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/conv2d/conv2d.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn::detail {

/// Throws InvalidArgument unless v is in [least, 2^31). No size of a convolution but N is larger, so that
/// positions in a picture fit 32 bits and sums of two products of sizes 64.
void check_extent(std::int64_t v, std::int64_t least, const char* name);
/// Throws InvalidArgument unless `t` is floating, has `rank` dimensions, and all but the first are extents of
/// at least 1. `form`: how the message writes such a tensor, "[N, C, H, W]".
void check_picture(const Tensor& t, const char* name, int rank, const char* form);
/// Throws InvalidArgument unless `w` goes with `x` (`name_x`), has that rank and holds extents of at least 1.
void check_filters(const Tensor& x, const char* name_x, const Tensor& w, int rank, const char* form);
/// Throws InvalidArgument unless `b` is undefined or [channels], like `x`.
void check_bias(const Tensor& x, const char* name_x, const Tensor& b, std::int64_t channels);

/// Checks `o`, and fills in P, Q and how windows lie; H, W, C, K, R and S are set, `channels_of_group` is
/// what the filters have.
void set_windows(Conv2dSizes& s, const Conv2dOptions& o, std::int64_t channels_of_group);

/// With bias, relu and gradient. `name`: of the recorded op.
Tensor convolve(const char* name, const Tensor& x, const Tensor& w, const Tensor& b, const Conv2dSizes& s,
                bool relu);
Tensor convolve_dx(const char* name, const Tensor& dy, const Tensor& w, const Tensor& b,
                   const Conv2dSizes& s);
Tensor convolve_dw(const char* name, const Tensor& x, const Tensor& dy, const Conv2dSizes& s);

}  // namespace gpunn::detail
