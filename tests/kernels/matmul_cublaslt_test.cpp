// cuBLASLt's entry against a library that only writes down what it is asked. Real products are the parity
// tests' on a GPU.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/matmul/matmul_cublaslt_impl.h"

namespace gpunn {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

struct FakeLayout {
  std::uint64_t rows, cols;
  std::int64_t ld;
};

/// What the fake library saw; `live` counts descriptors that were made and not destroyed.
struct Seen {
  int live = 0, heuristics = 0, matmuls = 0;
  int algorithms = 1;  // what the heuristic finds
  cublasStatus_t heuristic_status = CUBLAS_STATUS_SUCCESS, matmul_status = CUBLAS_STATUS_SUCCESS;
  cublasComputeType_t compute{};
  std::map<int, std::vector<unsigned char>> desc, preference;  // attributes set
  std::vector<std::int64_t> strides;
  const void *first = nullptr, *second = nullptr;
  const void *c = nullptr, *d = nullptr;
  FakeLayout first_layout{}, second_layout{}, added_layout{}, result_layout{};
  std::int64_t asked_ld = 0;  // of C, in the question for an algorithm
  float beta = -1;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};
Seen seen;

template <class T>
T attribute(const std::map<int, std::vector<unsigned char>>& from, int key) {
  T value{};
  const auto found = from.find(key);
  EXPECT_NE(found, from.end()) << "attribute " << key;
  if (found == from.end() || found->second.size() != sizeof value) return value;
  std::memcpy(&value, found->second.data(), sizeof value);
  return value;
}

std::vector<unsigned char> bytes_of(const void* data, std::size_t size) {
  const auto* p = static_cast<const unsigned char*>(data);
  return {p, p + size};
}

template <class T>
cublasStatus_t make(T* out, void* value) {
  *out = static_cast<T>(value);
  ++seen.live;
  return CUBLAS_STATUS_SUCCESS;
}

FakeLayout layout_of(cublasLtMatrixLayout_t layout) { return *reinterpret_cast<FakeLayout*>(layout); }

detail::CublasLt fake_library() {
  detail::CublasLt l;
  l.create = [](cublasLtHandle_t* handle) { return *handle = nullptr, CUBLAS_STATUS_SUCCESS; };
  l.desc_create = [](cublasLtMatmulDesc_t* desc, cublasComputeType_t compute, cudaDataType_t) {
    seen.compute = compute;
    return make(desc, new char);
  };
  l.desc_destroy = [](cublasLtMatmulDesc_t desc) {
    delete reinterpret_cast<char*>(desc);
    return --seen.live, CUBLAS_STATUS_SUCCESS;
  };
  l.desc_set = [](cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t key, const void* data,
                  std::size_t size) { return seen.desc[key] = bytes_of(data, size), CUBLAS_STATUS_SUCCESS; };
  l.layout_create = [](cublasLtMatrixLayout_t* layout, cudaDataType_t, std::uint64_t rows, std::uint64_t cols,
                       std::int64_t ld) { return make(layout, new FakeLayout{rows, cols, ld}); };
  l.layout_destroy = [](cublasLtMatrixLayout_t layout) {
    delete reinterpret_cast<FakeLayout*>(layout);
    return --seen.live, CUBLAS_STATUS_SUCCESS;
  };
  l.layout_set = [](cublasLtMatrixLayout_t, cublasLtMatrixLayoutAttribute_t key, const void* data,
                    std::size_t) {
    if (key == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET)
      seen.strides.push_back(*static_cast<const std::int64_t*>(data));
    return CUBLAS_STATUS_SUCCESS;
  };
  l.preference_create = [](cublasLtMatmulPreference_t* preference) { return make(preference, new char); };
  l.preference_destroy = [](cublasLtMatmulPreference_t preference) {
    delete reinterpret_cast<char*>(preference);
    return --seen.live, CUBLAS_STATUS_SUCCESS;
  };
  l.preference_set = [](cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t key,
                        const void* data, std::size_t size) {
    return seen.preference[key] = bytes_of(data, size), CUBLAS_STATUS_SUCCESS;
  };
  l.heuristic = [](cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                   cublasLtMatrixLayout_t added, cublasLtMatrixLayout_t, cublasLtMatmulPreference_t, int,
                   cublasLtMatmulHeuristicResult_t*, int* count) {
    ++seen.heuristics;
    seen.asked_ld = layout_of(added).ld;
    *count = seen.algorithms;
    return seen.heuristic_status;
  };
  l.matmul = [](cublasLtHandle_t, cublasLtMatmulDesc_t, const void*, const void* a, cublasLtMatrixLayout_t la,
                const void* b, cublasLtMatrixLayout_t lb, const void* beta, const void* c,
                cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t*,
                void* workspace, std::size_t bytes, cudaStream_t) {
    ++seen.matmuls;
    seen.first = a, seen.second = b, seen.c = c, seen.d = d;
    seen.first_layout = layout_of(la), seen.second_layout = layout_of(lb), seen.result_layout = layout_of(ld);
    seen.added_layout = layout_of(lc);
    seen.beta = *static_cast<const float*>(beta);
    seen.workspace = workspace, seen.workspace_bytes = bytes;
    return seen.matmul_status;
  };
  return l;
}

/// linear's product: a [5, 7] times the transpose of b [3, 7].
MatmulProblem linear_problem() {
  static float a[35], b[21], bias[3], c[15];
  MatmulProblem p{};
  p.dtype = DType::f32;
  p.a = a, p.b = b, p.bias = bias, p.c = c;
  p.M = 5, p.N = 3, p.K = 7, p.batch = 1;
  p.lda = 7, p.ldb = 7, p.ldc = 3;
  p.trans_b = true, p.has_bias = true;
  return p;
}

class CublasLtMatmul : public ::testing::Test {
 protected:
  CublasLtMatmul() { seen = {}; }
  ~CublasLtMatmul() override { EXPECT_EQ(seen.live, 0) << "descriptors left behind"; }
  detail::CublasLt library_ = fake_library();
  detail::CublasLtProducts products_{library_};
  Exec exec_{};
};

TEST_F(CublasLtMatmul, OperandsChangePlaces) {
  const MatmulProblem p = linear_problem();
  products_.run(p, exec_);
  EXPECT_EQ(seen.first, p.b);
  EXPECT_EQ(seen.second, p.a);
  EXPECT_EQ(seen.d, p.c);
  EXPECT_EQ(seen.first_layout.rows, 7u);  // b [3, 7] row-major is [7, 3] column-major, used transposed
  EXPECT_EQ(seen.first_layout.cols, 3u);
  EXPECT_EQ(seen.second_layout.rows, 7u);
  EXPECT_EQ(seen.second_layout.cols, 5u);
  EXPECT_EQ(seen.result_layout.rows, 3u);
  EXPECT_EQ(seen.result_layout.cols, 5u);
  EXPECT_EQ(seen.result_layout.ld, 3);
  EXPECT_EQ(attribute<cublasOperation_t>(seen.desc, CUBLASLT_MATMUL_DESC_TRANSA), CUBLAS_OP_T);
  EXPECT_EQ(attribute<cublasOperation_t>(seen.desc, CUBLASLT_MATMUL_DESC_TRANSB), CUBLAS_OP_N);
  EXPECT_EQ(attribute<cublasLtEpilogue_t>(seen.desc, CUBLASLT_MATMUL_DESC_EPILOGUE), CUBLASLT_EPILOGUE_BIAS);
  EXPECT_EQ(attribute<const void*>(seen.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER), p.bias);
  EXPECT_EQ(seen.beta, 0);
}

/// The epilogue that a problem of this kind asks for.
cublasLtEpilogue_t epilogue_of(detail::CublasLtProducts& products, const MatmulProblem& p) {
  seen.desc.clear();
  products.run(p, Exec{});
  return attribute<cublasLtEpilogue_t>(seen.desc, CUBLASLT_MATMUL_DESC_EPILOGUE);
}

TEST_F(CublasLtMatmul, EpiloguesFollowTheProblem) {
  MatmulProblem p = linear_problem();
  p.has_bias = false;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_DEFAULT);
  EXPECT_EQ(seen.desc.count(CUBLASLT_MATMUL_DESC_BIAS_POINTER), 0u);
  p.activation = Activation::gelu_tanh;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_GELU);
  p.save_pre = true;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_GELU_AUX);
  p.has_bias = true;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_GELU_AUX_BIAS);
  p.save_pre = false;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_GELU_BIAS);
  EXPECT_EQ(seen.desc.count(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER), 0u);
  EXPECT_EQ(seen.heuristics, 5) << "each is a kind of its own";
}

TEST_F(CublasLtMatmul, ThePreactivationIsTheAuxiliaryOutput) {
  static float pre[64];
  MatmulProblem p = linear_problem();
  p.activation = Activation::gelu_tanh, p.save_pre = true, p.pre = pre;
  p.N = p.ldc = 8, p.batch = 2, p.c_batch = 40;
  products_.run(p, exec_);
  EXPECT_EQ(attribute<void*>(seen.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER), pre);
  EXPECT_EQ(attribute<std::int64_t>(seen.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD), 8);
  EXPECT_EQ(attribute<std::int64_t>(seen.desc, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE), 40);
  EXPECT_EQ(attribute<const void*>(seen.desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER), p.bias);
  EXPECT_EQ(seen.beta, 0);
}

TEST_F(CublasLtMatmul, TheResidualTakesThePlaceOfC) {
  static float residual[45];
  MatmulProblem p = linear_problem();
  p.has_residual = true, p.residual = residual, p.ldr = 9;
  EXPECT_EQ(epilogue_of(products_, p), CUBLASLT_EPILOGUE_BIAS);
  EXPECT_EQ(seen.c, residual);
  EXPECT_EQ(seen.d, p.c);
  EXPECT_EQ(seen.beta, 1);
  EXPECT_EQ(seen.asked_ld, 9);
  EXPECT_EQ(seen.added_layout.ld, 9);
  EXPECT_EQ(seen.added_layout.rows, 3u);
  EXPECT_EQ(seen.added_layout.cols, 5u);
  EXPECT_EQ(seen.result_layout.ld, 3);
  p.ldr = 3;
  products_.run(p, exec_);
  EXPECT_EQ(seen.heuristics, 2) << "another distance of rows is another kind of problem";
}

TEST_F(CublasLtMatmul, Tf32OnlyWhenAllowedAndNeverInPlaceReductions) {
  MatmulProblem p = linear_problem();
  products_.run(p, exec_);
  EXPECT_EQ(seen.compute, CUBLAS_COMPUTE_32F);
  EXPECT_EQ(attribute<std::uint32_t>(seen.preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) &
                CUBLASLT_REDUCTION_SCHEME_INPLACE,
            0u);
  p.tf32 = true, p.accumulate = true;
  products_.run(p, exec_);
  EXPECT_EQ(seen.compute, CUBLAS_COMPUTE_32F_FAST_TF32);
  EXPECT_EQ(seen.beta, 1);
  EXPECT_EQ(seen.c, p.c);
}

TEST_F(CublasLtMatmul, TheAlgorithmIsAskedForOncePerKindOfProblem) {
  MatmulProblem p = linear_problem();
  products_.run(p, exec_);
  products_.run(p, exec_);
  EXPECT_EQ(seen.heuristics, 1);
  p.M = 4;
  products_.run(p, exec_);
  EXPECT_EQ(seen.heuristics, 2);
  p.a = static_cast<const float*>(p.a) + 1;  // another alignment
  products_.run(p, exec_);
  EXPECT_EQ(seen.heuristics, 3);
  EXPECT_EQ(seen.matmuls, 4);
}

TEST_F(CublasLtMatmul, BatchesCarryTheirStrides) {
  MatmulProblem p = linear_problem();
  p.batch = 4, p.a_batch = 35, p.b_batch = 0, p.c_batch = 15;
  products_.run(p, exec_);
  EXPECT_THAT(seen.strides, ::testing::ElementsAre(0, 35, 15));
}

TEST_F(CublasLtMatmul, TheWorkspaceIsPassedOn) {
  char memory[64];
  exec_.workspace = memory;
  exec_.workspace_bytes = sizeof memory;
  products_.run(linear_problem(), exec_);
  EXPECT_EQ(seen.workspace, memory);
  EXPECT_EQ(seen.workspace_bytes, sizeof memory);
  EXPECT_EQ(attribute<std::uint64_t>(seen.preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES),
            sizeof memory);
}

TEST_F(CublasLtMatmul, FailuresBecomeErrorsAndLeaveNothingBehind) {
  seen.algorithms = 0;
  EXPECT_THAT([&] { products_.run(linear_problem(), exec_); },
              ThrowsMessage<Unsupported>(HasSubstr("no algorithm for 5x3x7")));
  seen.algorithms = 1;
  seen.heuristic_status = CUBLAS_STATUS_INTERNAL_ERROR;
  EXPECT_THAT([&] { products_.run(linear_problem(), exec_); },
              ThrowsMessage<CudaError>(HasSubstr("cublasLtMatmulAlgoGetHeuristic")));
  seen.heuristic_status = CUBLAS_STATUS_SUCCESS;
  seen.matmul_status = CUBLAS_STATUS_EXECUTION_FAILED;
  EXPECT_THAT([&] { products_.run(linear_problem(), exec_); },
              ThrowsMessage<CudaError>(HasSubstr("cublasLtMatmul failed")));
  EXPECT_EQ(seen.heuristics, 3) << "a failed question is asked again, an answered one is not";
}

TEST(CublasLtReason, SaysWhatItCannotTake) {
  MatmulProblem p = linear_problem();
  for (const Activation activation :
       {Activation::relu, Activation::sigmoid, Activation::tanh, Activation::gelu}) {
    p.activation = activation;
    EXPECT_STREQ(matmul_cublaslt_reason(p), "takes no activation but gelu_tanh") << name_of(activation);
  }
  p = linear_problem();
  p.K = 0;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "takes K > 0");
  p = linear_problem();
  p.dtype = DType::f64;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "takes f32, f16 and bf16");
}

TEST(CublasLtReason, SaysWhichEpiloguesItCannotTake) {
  alignas(16) static Half pre[64];
  MatmulProblem p = linear_problem();
  p.has_residual = p.accumulate = true;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "takes a residual or accumulates, not both");
  p.accumulate = false, p.activation = Activation::gelu_tanh;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "adds a residual before the activation");
  p.has_residual = false, p.save_pre = true, p.pre = pre;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "saves preactivations in f16 and bf16");
  p.dtype = DType::f16;
  EXPECT_THAT(matmul_cublaslt_reason(p), HasSubstr("a multiple of 8")) << "rows of 3";
  p.N = p.ldc = 8, p.pre = pre + 1;
  EXPECT_THAT(matmul_cublaslt_reason(p), HasSubstr("aligned to 16 bytes"));
  // Taken, unless the library is not installed where the test runs.
  p.pre = pre;
  const char* const taken = matmul_cublaslt_reason(p);
  EXPECT_TRUE(!taken || std::string(taken).find("needs libcublasLt") == 0) << taken;
  p.activation = Activation::none;
  EXPECT_STREQ(matmul_cublaslt_reason(p), "saves what GELU is applied to only");
}

}  // namespace
}  // namespace gpunn
