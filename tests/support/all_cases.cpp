// One declaration and one call per op; each is defined in tests/kernels/<op>_cases.cpp.
#include "tests/support/all_cases.h"

namespace gpunn::parity {

void add_attention_cases(Suite& suite);
void add_chain_cases(Suite& suite);
void add_conv2d_cases(Suite& suite);
void add_count_cases(Suite& suite);
void add_cross_entropy_cases(Suite& suite);
void add_ctc_cases(Suite& suite);
void add_elementwise_cases(Suite& suite);
void add_elementwise_functions_cases(Suite& suite);
void add_indexing_cases(Suite& suite);
void add_linear_cross_entropy_cases(Suite& suite);
void add_loss_cases(Suite& suite);
void add_matmul_cases(Suite& suite);
void add_movement_cases(Suite& suite);
void add_norm_cases(Suite& suite);
void add_norm_sum_cases(Suite& suite);
void add_optim_cases(Suite& suite);
void add_pool_cases(Suite& suite);
void add_primitives_cases(Suite& suite);
void add_random_cases(Suite& suite);
void add_reduce_cases(Suite& suite);
void add_resize_cases(Suite& suite);
void add_rnn_cases(Suite& suite);
void add_rnn_layer_cases(Suite& suite);
void add_rotary_cases(Suite& suite);
void add_scan_cases(Suite& suite);
void add_softmax_cases(Suite& suite);
void add_sort_cases(Suite& suite);

Suite all_cases() {
  Suite suite;
  add_attention_cases(suite);
  add_chain_cases(suite);
  add_conv2d_cases(suite);
  add_count_cases(suite);
  add_cross_entropy_cases(suite);
  add_ctc_cases(suite);
  add_elementwise_cases(suite);
  add_elementwise_functions_cases(suite);
  add_indexing_cases(suite);
  add_linear_cross_entropy_cases(suite);
  add_loss_cases(suite);
  add_matmul_cases(suite);
  add_movement_cases(suite);
  add_norm_cases(suite);
  add_norm_sum_cases(suite);
  add_optim_cases(suite);
  add_pool_cases(suite);
  add_primitives_cases(suite);
  add_random_cases(suite);
  add_reduce_cases(suite);
  add_resize_cases(suite);
  add_rnn_cases(suite);
  add_rnn_layer_cases(suite);
  add_rotary_cases(suite);
  add_scan_cases(suite);
  add_softmax_cases(suite);
  add_sort_cases(suite);
  return suite;
}

}  // namespace gpunn::parity
