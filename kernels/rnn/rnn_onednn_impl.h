#pragma once
// oneDNN's recurrent layers: what is made once for a problem and kept.
#include <cstddef>
#include <memory>

#include "gpunn/kernels/common/onednn_primitives_impl.h"
#include "gpunn/kernels/rnn/rnn_impl.h"

namespace gpunn::onednn {

enum class RnnPass : unsigned char { inference, training, backward };

struct RnnPlan {
  Step layer;
  Side w_ih, w_hh;                                             // [1, 1, K or H, G, H]
  Side dw_ih, dw_hh;                                           // backward only
  dnnl_memory_desc_t x{}, h{}, bias{}, y{}, keeps{}, dbias{};  // as we hold them; [T, B, *], [1, 1, B, H]
  std::size_t scratch_bytes = 0;                               // the most of any step
  std::size_t kept_bytes = 0;                                  // what training leaves for backward

  static std::int64_t bias_gates(const RnnSizes& s) {
    return s.G() + (s.mode == RnnMode::gru && s.reset_after ? 1 : 0);
  }
};

/// The plan for these sizes; null where oneDNN has none. From a cache of the process that keeps the 64 last
/// used. Thread-safe.
std::shared_ptr<const RnnPlan> plan_for(RnnPass pass, const RnnSizes& sizes, std::int64_t K);

}  // namespace gpunn::onednn
