#include "benchmarks/op_bench.h"

namespace gpunn::bench {

void add_all_rows(Bench& bench) {
  add_attention_rows(bench);
  add_chain_rows(bench);
  add_conv2d_rows(bench);
  add_count_rows(bench);
  add_ctc_rows(bench);
  add_elementwise_rows(bench);
  add_indexing_rows(bench);
  add_linear_cross_entropy_rows(bench);
  add_loss_rows(bench);
  add_matmul_rows(bench);
  add_movement_rows(bench);
  add_norm_rows(bench);
  add_optim_rows(bench);
  add_pool_rows(bench);
  add_primitive_rows(bench);
  add_random_rows(bench);
  add_reduce_rows(bench);
  add_resize_rows(bench);
  add_rnn_rows(bench);
  add_rotary_rows(bench);
  add_scan_rows(bench);
  add_softmax_rows(bench);
  add_sort_rows(bench);
}

std::vector<std::string> ops_with_rows(DeviceContext& context) {
  Bench names(context, {.names_only = true});
  add_all_rows(names);
  return {names.known_ops().begin(), names.known_ops().end()};
}

}  // namespace gpunn::bench
