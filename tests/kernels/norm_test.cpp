#include "gpunn/kernels/norm/norm.h"

#include <gtest/gtest.h>

#include "tests/support/expect_parity.h"

namespace gpunn {
namespace parity {
void add_norm_cases(Suite& suite);
}

namespace {

TEST(NormParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_norm_cases); }
#if GPUNN_HAS_CUDA
TEST(NormParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_norm_cases); }
#endif

}  // namespace
}  // namespace gpunn
