#include "gpunn/kernels/conv2d/conv2d.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/error.h"
#include "gpunn/kernels/conv2d/conv2d_impl.h"
#include "tests/support/devices.h"
#include "tests/support/expect_parity.h"
#include "tests/support/gradcheck.h"

namespace gpunn {
namespace parity {
void add_conv2d_cases(Suite& suite);
}

namespace {

TEST(Conv2dParityRace, Cpu) { parity::expect_parity_on_cpu(parity::add_conv2d_cases); }
#if GPUNN_HAS_CUDA
TEST(Conv2dParityRace, Cuda) { parity::expect_parity_on_cuda(parity::add_conv2d_cases); }
#endif

}  // namespace
}  // namespace gpunn
