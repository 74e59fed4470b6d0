#pragma once
// Whole layers on tensors: what rnn_sequence() calls when it does not compose the layer itself.
#include "gpunn/core/tensor.h"
#include "gpunn/kernels/rnn/rnn_layer_impl.h"

namespace gpunn::detail {

/// A layer's arguments: checked, contiguous, with at least one row. States and biases may be undefined.
struct RnnLayerTensors {
  const Tensor &x, &h0, &c0, &w_ih, &w_hh, &b_ih, &b_hh;
  const RnnSizes& sizes;
  const std::int64_t* host_first_row;  // null: all sequences are equally long
};

/// The entry of kRnnLayerForward that GPUNN_IMPL asks for by "rnn_layer=..."; null: the layer is composed of
/// the product and the steps, which is also what "rnn_layer=composed" says. Throws Unsupported with every
/// reason when what it asks for refuses the layer.
const char* rnn_layer_choice(const RnnLayerTensors& in, bool keep, bool gates);

struct RnnLayerResults {
  Tensor y, h, c;
  Tensor kept;  // bytes that only backward of the same entry can read; undefined without `keep`
};
RnnLayerResults rnn_layer_forward(const char* entry, const RnnLayerTensors& in, bool keep);

/// What backward reads beside the arguments. dy, dh and dc are contiguous; undefined ones are zeros.
struct RnnLayerSeen {
  const Tensor &y, &kept, &dy, &dh, &dc;
};
struct RnnLayerGrads {
  Tensor x, h0, c0, w_ih, w_hh, b_ih, b_hh;  // those of the weights undefined without `weights`
};
RnnLayerGrads rnn_layer_gradients(const char* entry, const RnnLayerTensors& in, const RnnLayerSeen& seen,
                                  bool weights);

}  // namespace gpunn::detail
