// max_unpool2d and max_unpool1d: a scatter into zeros, a channel's pixels in a row.
#include <array>

#include "gpunn/core/op.h"
#include "gpunn/kernels/indexing/indexing.h"
#include "gpunn/kernels/pool/pool.h"
#include "gpunn/kernels/pool/pool_impl.h"

namespace gpunn {
namespace {

/// Rows or columns of the result.
std::int64_t unpooled(std::int64_t in, std::int64_t kernel, std::int64_t stride, std::int64_t pad,
                      const std::int64_t* wanted) {
  constexpr std::int64_t most = kMostPoolExtent;
  if (stride == 0) stride = kernel;
  GPUNN_CHECK(
      kernel >= 1 && kernel <= most && stride >= 1 && stride <= most && pad >= 0 && pad <= most && in <= most,
      "expected kernel and stride of 1 to 2^28 and padding of at least 0, got ", kernel, ", ", stride,
      " and ", pad);
  const std::int64_t usual = (in - 1) * stride + kernel - 2 * pad, out = wanted ? *wanted : usual;
  GPUNN_CHECK(out > usual - stride && out < usual + stride, "expected output_size between ", usual - stride,
              " and ", usual + stride, ", got ", out);
  GPUNN_CHECK(out >= 1 && out <= most, "expected a result of 1 to 2^28 rows and columns, got ", out);
  return out;
}

}  // namespace

Tensor max_unpool2d(const Tensor& x, const Tensor& indices, Size2d kernel, const MaxUnpoolOptions& options) {
  OpScope scope("max_unpool2d");
  check_floating(x, "x");
  const int rank = x.dim();
  GPUNN_CHECK(rank == 3 || rank == 4, "expected x [N, C, P, Q] or [C, P, Q], got ", x.shape());
  GPUNN_CHECK(x.size(-3) >= 1 && x.size(-2) >= 1 && x.size(-1) >= 1,
              "expected x [N, C, P, Q] with channels and pixels, got ", x.shape());
  GPUNN_CHECK(indices.defined() && indices.dtype() == DType::i64 && indices.shape() == x.shape(),
              "expected indices of i64 and the shape ", x.shape(), " of x");
  const Size2d* const size = options.output_size ? &*options.output_size : nullptr;
  const std::int64_t H =
      unpooled(x.size(-2), kernel.h, options.stride.h, options.padding.h, size ? &size->h : nullptr);
  const std::int64_t W =
      unpooled(x.size(-1), kernel.w, options.stride.w, options.padding.w, size ? &size->w : nullptr);
  const std::int64_t N = rank == 4 ? x.size(0) : 1, C = x.size(-3), pixels = x.size(-2) * x.size(-1);
  const Tensor rows = x.contiguous().reshape({N, C, pixels});
  const Tensor zero = zeros({N, C, checked_mul(H, W)}, {.dtype = x.dtype(), .device = x.device()});
  const Tensor y = scatter(zero, 2, indices.contiguous().reshape({N, C, pixels}), rows,
                           {.check_indices = options.check_indices});
  if (rank == 3) return y.reshape({C, H, W});
  const Tensor picture = y.reshape({N, C, H, W});
  return x.layout() == Layout::channels_last ? picture.contiguous(Layout::channels_last) : picture;
}

Tensor max_unpool1d(const Tensor& x, const Tensor& indices, std::int64_t kernel,
                    const MaxUnpool1dOptions& options) {
  OpScope scope("max_unpool1d");
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() == 2 || x.dim() == 3, "expected x [N, C, Q] or [C, Q], got ", x.shape());
  GPUNN_CHECK(indices.defined() && indices.shape() == x.shape(), "expected indices of the shape ", x.shape(),
              " of x");
  MaxUnpoolOptions picture{.stride = {options.stride == 0 ? 0 : 1, options.stride},
                           .padding = {0, options.padding},
                           .check_indices = options.check_indices};
  if (options.output_size) picture.output_size = Size2d(1, *options.output_size);
  return max_unpool2d(x.unsqueeze(-2), indices.unsqueeze(-2), {1, kernel}, picture).squeeze(-2);
}

}  // namespace gpunn
