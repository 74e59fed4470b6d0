// Which sequences the persistent kernels take.
#include <algorithm>

#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/rnn/persistent_impl.h"

namespace gpunn {
namespace {

/// The barrier's counter, or what the step kernels want: they run where a device holds too few blocks.
constexpr std::size_t kCounterBytes = 128;

/// `K` and `columns` of a block's product.
const char* reason(DType dtype, const RnnSizes& s, std::int64_t K, std::int64_t columns) {
  if (const char* why = device_dtype_reason(dtype)) return why;
  if (s.mode == RnnMode::gru && !s.reset_after)
    return "the reset before the product needs two exchanges between blocks a step";
  if (s.T == 1) return "a single step needs no barrier";
  const std::int64_t groups = rnn_persistent_groups(s, kPersistentBlocks);
  if (groups == 0) return "has more units than 132 blocks of 16";
  const std::int64_t tiles = rnn_pieces(rnn_pieces(s.B, kPersistentRows), groups);
  if (tiles > kPersistentTiles) return "has more sequences than its blocks take at a time";
  const auto element = static_cast<std::int64_t>(size_of(dtype));
  return rnn_persistent_bytes(K, columns, element, kFewStages, tiles) <= kPersistentShared
             ? nullptr
             : "the recurrent weights do not fit in shared memory";
}

}  // namespace

const char* rnn_fwd_persistent_reason(const RnnForwardProblem& p) {
  return reason(p.dtype, p.sizes, p.sizes.H, p.sizes.G() * kPersistentUnits);
}
const char* rnn_bwd_persistent_reason(const RnnBackwardProblem& p) {
  return reason(p.dtype, p.sizes, p.sizes.G() * p.sizes.H, kPersistentUnits);
}
std::size_t rnn_fwd_persistent_workspace(const RnnForwardProblem& p) {
  return std::max(kCounterBytes, rnn_fwd_steps_workspace(p));
}
std::size_t rnn_bwd_persistent_workspace(const RnnBackwardProblem& p) {
  return std::max(kCounterBytes, rnn_bwd_steps_workspace(p));
}

}  // namespace gpunn
