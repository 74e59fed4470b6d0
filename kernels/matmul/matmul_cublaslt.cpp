// cuBLASLt, opened on first use. It multiplies column-major matrices, and a row-major matrix is the
// column-major one of its transpose: c^T = b^T a^T, so the operands change places and nothing is copied.
//
// Of its epilogues those fit the problem that end a product: bias, GELU in the tanh form with the
// preactivation as auxiliary output, and a residual in the place of C. BGRADB would give linear's bias
// gradient along with dw, but db comes out of the pass that makes dz from dy (bias_grad), which is needed
// with an activation anyway; DGELU would join that pass to the product that made dy, which belongs to the
// next layer.
#include "gpunn/kernels/matmul/matmul_cublaslt_impl.h"

#include <dlfcn.h>

#include <array>

#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/common/owned_handle_impl.h"

namespace gpunn {
namespace detail {
namespace {

void check(cublasStatus_t status, const char* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw CudaError(concat("[", where(), "] ", call, " failed with cuBLAS status ", static_cast<int>(status)),
                  static_cast<int>(status));
}

template <class T>
using Owned = detail::OwnedHandle<T, cublasStatus_t>;

cudaDataType_t data_type(DType dtype) {
  return dtype == DType::f16 ? CUDA_R_16F : dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F;
}

cublasLtEpilogue_t epilogue_of(const MatmulProblem& p) {
  if (p.activation == Activation::none)
    return p.has_bias ? CUBLASLT_EPILOGUE_BIAS : CUBLASLT_EPILOGUE_DEFAULT;
  if (p.save_pre) return p.has_bias ? CUBLASLT_EPILOGUE_GELU_AUX_BIAS : CUBLASLT_EPILOGUE_GELU_AUX;
  return p.has_bias ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_GELU;
}

/// What the library calls C.
const void* added_to(const MatmulProblem& p) { return p.has_residual ? p.residual : p.c; }

/// The largest power of two up to 256 that divides the address.
std::uint32_t alignment_of(const void* p) {
  const auto address = static_cast<std::uint32_t>(reinterpret_cast<std::uintptr_t>(p) & 0xffu) | 256u;
  return address & (~address + 1u);
}

}  // namespace

/// The descriptors of one product.
struct CublasLtProducts::Call {
  Call(const CublasLt& library, const MatmulProblem& p)
      : l(library),
        desc(l.desc_destroy),
        first(l.layout_destroy),
        second(l.layout_destroy),
        result(l.layout_destroy),
        residual(l.layout_destroy) {
    const cublasComputeType_t compute = p.tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    check(l.desc_create(desc.out(), compute, CUDA_R_32F), "cublasLtMatmulDescCreate");
    set(CUBLASLT_MATMUL_DESC_TRANSA, p.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_TRANSB, p.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue_of(p));
    if (p.has_bias) set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias);
    if (p.save_pre) {
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, p.pre);
      set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.ldc);
      if (p.batch > 1) set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE, p.c_batch);
    }
    lay_out(p, first, p.trans_b ? p.K : p.N, p.trans_b ? p.N : p.K, p.ldb, p.b_batch);
    lay_out(p, second, p.trans_a ? p.M : p.K, p.trans_a ? p.K : p.M, p.lda, p.a_batch);
    lay_out(p, result, p.N, p.M, p.ldc, p.c_batch);
    if (p.has_residual) lay_out(p, residual, p.N, p.M, p.ldr, p.r_batch);
  }

  /// The layout of what is added to the product: the residual's, or the result's own.
  cublasLtMatrixLayout_t added() const { return residual.get() ? residual.get() : result.get(); }

  template <class T>
  void set(cublasLtMatmulDescAttributes_t attribute, const T& value) {
    check(l.desc_set(desc.get(), attribute, &value, sizeof value), "cublasLtMatmulDescSetAttribute");
  }

  void lay_out(const MatmulProblem& p, Owned<cublasLtMatrixLayout_t>& layout, std::int64_t rows,
               std::int64_t cols, std::int64_t ld, std::int64_t stride) {
    check(l.layout_create(layout.out(), data_type(p.dtype), static_cast<std::uint64_t>(rows),
                          static_cast<std::uint64_t>(cols), ld),
          "cublasLtMatrixLayoutCreate");
    if (p.batch == 1) return;
    const auto count = static_cast<std::int32_t>(p.batch);
    const char* const call = "cublasLtMatrixLayoutSetAttribute";
    check(l.layout_set(layout.get(), CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &count, sizeof count), call);
    check(l.layout_set(layout.get(), CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride, sizeof stride),
          call);
  }

  const CublasLt& l;
  Owned<cublasLtMatmulDesc_t> desc;
  Owned<cublasLtMatrixLayout_t> first, second, result, residual;
};

CublasLtProducts::CublasLtProducts(const CublasLt& library) : library_(library) {
  check(library_.create(&handle_), "cublasLtCreate");
}

CublasLtProducts::Key CublasLtProducts::key_of(const MatmulProblem& p, const Exec& exec) {
  const int flags = p.trans_a | p.trans_b << 1 | p.has_bias << 2 | p.accumulate << 3 | p.tf32 << 4 |
                    p.has_residual << 5 | p.save_pre << 6 | static_cast<int>(p.activation) << 7;
  return {p.dtype,
          p.M,
          p.N,
          p.K,
          p.batch,
          p.lda,
          p.ldb,
          p.ldc,
          p.has_residual ? p.ldr : 0,
          p.a_batch,
          p.b_batch,
          p.c_batch,
          p.has_residual ? p.r_batch : 0,
          flags,
          alignment_of(p.a),
          alignment_of(p.b),
          alignment_of(p.c),
          alignment_of(p.bias),
          alignment_of(p.residual),
          alignment_of(p.pre),
          exec.workspace_bytes};
}

cublasLtMatmulAlgo_t CublasLtProducts::algorithm(const MatmulProblem& p, const Exec& exec, const Call& call) {
  const Key key = key_of(p, exec);
  const std::lock_guard lock(mutex_);
  if (const auto found = algorithms_.find(key); found != algorithms_.end()) return found->second;
  Owned<cublasLtMatmulPreference_t> preference(library_.preference_destroy);
  check(library_.preference_create(preference.out()), "cublasLtMatmulPreferenceCreate");
  const auto prefer = [&](cublasLtMatmulPreferenceAttributes_t attribute, const auto& value) {
    check(library_.preference_set(preference.get(), attribute, &value, sizeof value),
          "cublasLtMatmulPreferenceSetAttribute");
  };
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{exec.workspace_bytes});
  // Sums split over blocks are added up apart, never in place: the in-place scheme adds in the order of
  // arrival.
  const std::uint32_t schemes =
      CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE | CUBLASLT_REDUCTION_SCHEME_OUTPUT_TYPE;
  prefer(CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, schemes);
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, alignment_of(p.b));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, alignment_of(p.a));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, alignment_of(added_to(p)));
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, alignment_of(p.c));
  cublasLtMatmulHeuristicResult_t result{};
  int count = 0;
  const cublasStatus_t status =
      library_.heuristic(handle_, call.desc.get(), call.first.get(), call.second.get(), call.added(),
                         call.result.get(), preference.get(), 1, &result, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0))
    throw_unsupported(concat("cuBLASLt knows no algorithm for ", p.M, "x", p.N, "x", p.K, " in ", p.dtype,
                             "; GPUNN_IMPL=matmul=mma (f16, bf16) or matmul=simt (f32) does without it"));
  check(status, "cublasLtMatmulAlgoGetHeuristic");
  return algorithms_.emplace(key, result.algo).first->second;
}

void CublasLtProducts::run(const MatmulProblem& p, const Exec& exec) {
  const Call call(library_, p);
  const cublasLtMatmulAlgo_t chosen = algorithm(p, exec, call);
  const float alpha = 1, beta = p.accumulate || p.has_residual ? 1.0f : 0.0f;
  check(library_.matmul(handle_, call.desc.get(), &alpha, p.b, call.first.get(), p.a, call.second.get(),
                        &beta, added_to(p), call.added(), p.c, call.result.get(), &chosen, exec.workspace,
                        exec.workspace_bytes, static_cast<cudaStream_t>(exec.stream)),
        "cublasLtMatmul");
}

}  // namespace detail

namespace {

using detail::CublasLt;
using detail::CublasLtProducts;

constexpr std::size_t kWorkspaceBytes = std::size_t{32}
                                        << 20;  // what the library's manual advises for Hopper

template <class F>
bool find(void* handle, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(handle, name));
  return function != nullptr;
}

const CublasLt* open_library() {
  void* handle = nullptr;
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12"})
    if (!handle) handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  static CublasLt l;
  const bool complete = handle && find(handle, "cublasLtCreate", l.create) &&
                        find(handle, "cublasLtMatmul", l.matmul) &&
                        find(handle, "cublasLtMatmulDescCreate", l.desc_create) &&
                        find(handle, "cublasLtMatmulDescDestroy", l.desc_destroy) &&
                        find(handle, "cublasLtMatmulDescSetAttribute", l.desc_set) &&
                        find(handle, "cublasLtMatrixLayoutCreate", l.layout_create) &&
                        find(handle, "cublasLtMatrixLayoutDestroy", l.layout_destroy) &&
                        find(handle, "cublasLtMatrixLayoutSetAttribute", l.layout_set) &&
                        find(handle, "cublasLtMatmulPreferenceCreate", l.preference_create) &&
                        find(handle, "cublasLtMatmulPreferenceDestroy", l.preference_destroy) &&
                        find(handle, "cublasLtMatmulPreferenceSetAttribute", l.preference_set) &&
                        find(handle, "cublasLtMatmulAlgoGetHeuristic", l.heuristic);
  return complete ? &l : nullptr;
}

// Never closed: process exit touches no CUDA.
const CublasLt* library() {
  static const CublasLt* const opened = open_library();
  return opened;
}

/// Handles by device, leaked like the library. A handle belongs to a device's primary context, which outlives
/// any Runtime.
CublasLtProducts& products_of(int device) {
  constexpr int kMostDevices = 64;
  static std::mutex mutex;
  static std::array<CublasLtProducts*, kMostDevices> table{};
  const std::lock_guard lock(mutex);
  CublasLtProducts*& entry = table.at(static_cast<std::size_t>(device));
  if (!entry) entry = new CublasLtProducts(*library());
  return *entry;
}

}  // namespace

namespace {

/// Why not this end of a product.
const char* epilogue_reason(const MatmulProblem& p) {
  constexpr std::int64_t kAuxElements = 8, kAuxBytes = 16;
  if (p.has_residual && p.accumulate) return "takes a residual or accumulates, not both";
  if (p.activation == Activation::none) return p.save_pre ? "saves what GELU is applied to only" : nullptr;
  // Its ReLU is not documented to let NaN through, its GELU is the tanh form, and there is nothing else.
  if (p.activation != Activation::gelu_tanh) return "takes no activation but gelu_tanh";
  if (p.has_residual) return "adds a residual before the activation";
  if (!p.save_pre) return nullptr;
  if (p.dtype == DType::f32) return "saves preactivations in f16 and bf16";
  if (p.ldc % kAuxElements != 0 || reinterpret_cast<std::uintptr_t>(p.pre) % kAuxBytes != 0)
    return "saves preactivations in rows of a multiple of 8 elements, aligned to 16 bytes";
  return nullptr;
}

}  // namespace

const char* matmul_cublaslt_reason(const MatmulProblem& p) {
  if (p.dtype != DType::f32 && p.dtype != DType::f16 && p.dtype != DType::bf16)
    return "takes f32, f16 and bf16";
  if (p.K == 0) return "takes K > 0";
  if (const char* const reason = epilogue_reason(p)) return reason;
  if (p.batch > 65535) return "takes at most 65535 matrices";
  return library() ? nullptr : "needs libcublasLt.so.13 or .12, which could not be opened";
}

std::size_t matmul_cublaslt_workspace(const MatmulProblem&) { return kWorkspaceBytes; }

void matmul_cublaslt(const MatmulProblem& p, const Exec& exec) {
  if (p.M == 0 || p.N == 0 || p.batch == 0) return;
  products_of(exec.device->index()).run(p, exec);
}

}  // namespace gpunn
