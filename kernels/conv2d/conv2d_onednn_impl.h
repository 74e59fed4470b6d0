#pragma once
// oneDNN's convolutions: what is made once for a problem and kept.
#include <oneapi/dnnl/dnnl.h>

#include <cstddef>
#include <memory>

#include "gpunn/kernels/conv2d/conv2d_impl.h"

namespace gpunn::onednn {

/// The library's functions; null members where it could not be opened or is too old.
#define GPUNN_ONEDNN_FUNCTIONS(F)                     \
  F(dnnl_engine_create)                               \
  F(dnnl_stream_create)                               \
  F(dnnl_stream_destroy)                              \
  F(dnnl_memory_create)                               \
  F(dnnl_memory_destroy)                              \
  F(dnnl_memory_desc_init_by_tag)                     \
  F(dnnl_memory_desc_equal)                           \
  F(dnnl_memory_desc_get_size)                        \
  F(dnnl_primitive_attr_create)                       \
  F(dnnl_primitive_attr_destroy)                      \
  F(dnnl_primitive_attr_set_scratchpad_mode)          \
  F(dnnl_primitive_desc_create)                       \
  F(dnnl_primitive_desc_destroy)                      \
  F(dnnl_primitive_desc_query_md)                     \
  F(dnnl_reorder_primitive_desc_create)               \
  F(dnnl_primitive_create)                            \
  F(dnnl_primitive_destroy)                           \
  F(dnnl_primitive_execute)                           \
  F(dnnl_dilated_convolution_forward_desc_init)       \
  F(dnnl_dilated_convolution_backward_data_desc_init) \
  F(dnnl_dilated_convolution_backward_weights_desc_init)

struct Library {
#define GPUNN_ONEDNN_MEMBER(name) decltype(&::name) name = nullptr;
  GPUNN_ONEDNN_FUNCTIONS(GPUNN_ONEDNN_MEMBER)
#undef GPUNN_ONEDNN_MEMBER
  dnnl_engine_t engine = nullptr;  // the CPU's, never destroyed; null: nothing here can be used
};
const Library& library();

/// Throws Error unless `status` is success.
void check(dnnl_status_t status, const char* call);

/// A primitive, executable by several threads at once: scratch memory comes from the caller.
struct Step {
  Step() = default;
  ~Step();
  Step(const Step&) = delete;
  Step& operator=(const Step&) = delete;

  dnnl_primitive_t primitive = nullptr;
  dnnl_memory_desc_t scratch{};
};

/// One operand: as we hold it, as the convolution wants it, and the way between, if these differ.
struct Side {
  bool reordered() const noexcept { return reorder.primitive != nullptr; }
  std::size_t bytes() const;  // as wanted

  dnnl_memory_desc_t plain{}, wanted{};
  Step reorder;
};

enum class Kind : unsigned char { forward, dx, dw };

/// A convolution of `images` at a time.
struct Plan {
  Step convolution;
  Side x, w, y;
  std::size_t scratch_bytes = 0;  // the most of any step
};

/// The plan for these sizes, N being the images of a call; null where oneDNN has none. From a cache of the
/// process that keeps the 64 last used. Thread-safe.
std::shared_ptr<const Plan> plan_for(Kind kind, const Conv2dSizes& sizes, bool bias);

}  // namespace gpunn::onednn
