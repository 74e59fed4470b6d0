#pragma once
// cuBLASLt as the matrix product uses it: the functions found in the library, and products run through them.
// Apart from the entry point, so that tests can stand in for the library. Only in builds with the CUDA
// toolkit.
#include <cublasLt.h>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "gpunn/kernels/matmul/matmul_impl.h"

namespace gpunn::detail {

/// The library's functions.
struct CublasLt {
  decltype(&cublasLtCreate) create = nullptr;
  decltype(&cublasLtMatmul) matmul = nullptr;
  decltype(&cublasLtMatmulDescCreate) desc_create = nullptr;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy = nullptr;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set = nullptr;
  decltype(&cublasLtMatrixLayoutCreate) layout_create = nullptr;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy = nullptr;
  decltype(&cublasLtMatrixLayoutSetAttribute) layout_set = nullptr;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create = nullptr;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy = nullptr;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set = nullptr;
  decltype(&cublasLtMatmulAlgoGetHeuristic) heuristic = nullptr;
};

/// Products on one device. The algorithm for a problem is asked for once and kept. Thread-safe.
class CublasLtProducts {
 public:
  /// Creates a handle on the current device; it lives as long as the process. Throws CudaError.
  explicit CublasLtProducts(const CublasLt& library);
  /// Issues `p`; throws CudaError when the library refuses, Unsupported when it knows no algorithm.
  void run(const MatmulProblem& p, const Exec& exec);

 private:
  /// Everything the choice of an algorithm depends on: sizes, layouts, flags, alignments.
  using Key = std::tuple<DType, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                         std::int64_t, int, std::uint32_t, std::uint32_t, std::uint32_t, std::uint32_t,
                         std::uint32_t, std::uint32_t, std::size_t>;
  struct Call;

  static Key key_of(const MatmulProblem& p, const Exec& exec);
  cublasLtMatmulAlgo_t algorithm(const MatmulProblem& p, const Exec& exec, const Call& call);

  const CublasLt& library_;
  cublasLtHandle_t handle_ = nullptr;
  std::mutex mutex_;
  std::map<Key, cublasLtMatmulAlgo_t> algorithms_;
};

}  // namespace gpunn::detail
