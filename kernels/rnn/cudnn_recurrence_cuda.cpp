// Recurrent layers through cuDNN's descriptors.
//
// The order of gates is the same as ours. Rows are always described as packed, which sequences of one length
// are, too. The library wants all parameters in one space whose places it names: they are copied there in
// every call, and the gradients out of it; pieces that follow each other on both sides go in one copy. What
// forward keeps is the library's reserve. Its backward writes into that, and a graph may be walked twice, so
// that backward works on a copy.
#include "gpunn/kernels/rnn/cudnn_recurrence_impl.h"

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/owned_handle_impl.h"

namespace gpunn::detail {
namespace {

constexpr std::size_t kAlignment = 256;  // of parts of the workspace
constexpr std::int64_t kMostElements = std::numeric_limits<std::int32_t>::max();

std::size_t padded(std::size_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

[[noreturn]] void fail(const CudnnRecurrent& library, CudnnStatus status, const char* call) {
  throw CudaError(concat("[", where(), "] ", call, " failed: ", library.error_string(status),
                         " (cuDNN status ", status, ")"),
                  status);
}

template <class T>
using Owned = detail::OwnedHandle<T, CudnnStatus>;

int cudnn_dtype(DType dtype) {
  return dtype == DType::f16 ? kCudnnHalf : dtype == DType::bf16 ? kCudnnBFloat16 : kCudnnFloat;
}

int cudnn_cell(RnnMode mode) {
  switch (mode) {
    case RnnMode::tanh:
      return kCudnnCellTanh;
    case RnnMode::relu:
      return kCudnnCellRelu;
    case RnnMode::lstm:
      return kCudnnCellLstm;
    default:
      return kCudnnCellGru;
  }
}

int cudnn_math(const CudnnLayer& layer) {
  if (layer.dtype != DType::f32) return kCudnnTensorOpMath;
  return layer.tf32 ? kCudnnDefaultMath : kCudnnFmaMath;
}

/// Length of every sequence, falling.
std::vector<int> lengths_of(const CudnnLayer& layer) {
  const RnnSizes& s = layer.sizes;
  std::vector<int> lengths(static_cast<std::size_t>(s.B), static_cast<int>(s.T));
  if (!layer.host_first_row) return lengths;
  std::fill(lengths.begin(), lengths.end(), 0);
  for (std::int64_t t = 0; t < s.T; ++t)
    for (std::int64_t b = 0; b < layer.host_first_row[t + 1] - layer.host_first_row[t]; ++b)
      ++lengths[static_cast<std::size_t>(b)];
  return lengths;
}

/// The four parameters.
enum Parameter : std::size_t { kInputs, kStates, kInputBias, kStateBias, kParameters };

/// Bytes of a parameter and where they lie in the library's space.
struct Piece {
  Parameter parameter;
  std::size_t offset, place, bytes;
};

/// Adds a piece to those before, as one with the last where it goes on from it on both sides.
void add_piece(std::vector<Piece>& pieces, const Piece& p) {
  if (!pieces.empty()) {
    Piece& last = pieces.back();
    if (last.parameter == p.parameter && last.offset + last.bytes == p.offset &&
        last.place + last.bytes == p.place) {
      last.bytes += p.bytes;
      return;
    }
  }
  pieces.push_back(p);
}

}  // namespace

const char* cudnn_layer_reason(const CudnnLayer& layer) {
  const RnnSizes& s = layer.sizes;
  if (const char* const why = device_dtype_reason(layer.dtype)) return why;
  if (s.reverse) return "runs from the first step to the last";
  if (s.mode == RnnMode::gru && !s.reset_after) return "resets after the product";
  if (layer.K == 0) return "takes inputs of at least one feature";
  if (s.rows > kMostElements / std::max(layer.K, s.G() * s.H) || s.B > kMostElements / s.H ||
      std::max(layer.K, s.H) > kMostElements / (s.G() * s.H))
    return "takes tensors of fewer than 2^31 elements";
  return nullptr;
}

/// What is kept of a kind of layer.
struct CudnnRecurrence::Plan {
  explicit Plan(const CudnnRecurrent& l) : dropout(l.dropout_destroy), rnn(l.rnn_destroy) {}

  Owned<CudnnDropout> dropout;  // the descriptor of none; it must outlive `rnn`
  Owned<CudnnRnn> rnn;
  bool supported = false;
  std::size_t weight_bytes = 0;
  std::vector<Piece> pieces;  // found when there is a space to ask about
};

/// Descriptors of a call's sequences and states, and what the library wants for them.
class CudnnRecurrence::Sequences {
 public:
  Sequences(const CudnnRecurrence& owner, const CudnnLayer& layer)
      : owner_(owner),
        l_(owner.library_),
        x_(l_.sequence_destroy),
        y_(l_.sequence_destroy),
        h_(l_.tensor_destroy) {
    const RnnSizes& s = layer.sizes;
    const std::vector<int> lengths = lengths_of(layer);
    describe(x_, layer, layer.K, lengths);
    describe(y_, layer, s.H, lengths);
    owner_.check(l_.tensor_create(h_.out()), "cudnnCreateTensorDescriptor");
    const int sizes[] = {1, static_cast<int>(s.B), static_cast<int>(s.H)};
    const int strides[] = {static_cast<int>(s.B * s.H), static_cast<int>(s.H), 1};
    owner_.check(l_.tensor_set(h_.get(), cudnn_dtype(layer.dtype), 3, sizes, strides),
                 "cudnnSetTensorNdDescriptor");
  }

  /// False where the library does not know such layers.
  bool ask_sizes(const Plan& plan, bool keep) {
    const CudnnStatus status =
        l_.temp_sizes(owner_.handle_, plan.rnn.get(), keep ? kCudnnTraining : kCudnnInference, x_.get(),
                      &workspace, &reserve);
    if (cudnn_not_supported(status)) return false;
    owner_.check(status, "cudnnGetRNNTempSpaceSizes");
    if (!keep) reserve = 0;
    return true;
  }

  CudnnSequence x() const { return x_.get(); }
  CudnnSequence y() const { return y_.get(); }
  CudnnTensor h() const { return h_.get(); }

  std::size_t workspace = 0, reserve = 0;

 private:
  void describe(Owned<CudnnSequence>& to, const CudnnLayer& layer, std::int64_t features,
                const std::vector<int>& lengths) const {
    owner_.check(l_.sequence_create(to.out()), "cudnnCreateRNNDataDescriptor");
    owner_.check(
        l_.sequence_set(to.get(), cudnn_dtype(layer.dtype), kCudnnPackedRows, static_cast<int>(layer.sizes.T),
                        static_cast<int>(layer.sizes.B), static_cast<int>(features), lengths.data(), nullptr),
        "cudnnSetRNNDataDescriptor");
  }

  const CudnnRecurrence& owner_;
  const CudnnRecurrent& l_;
  Owned<CudnnSequence> x_, y_;
  Owned<CudnnTensor> h_;
};

CudnnRecurrence::CudnnRecurrence(const CudnnRecurrent& library, const CudnnMemory& memory)
    : library_(library), memory_(memory) {
  check(library_.create(&handle_), "cudnnCreate");
}

CudnnRecurrence::~CudnnRecurrence() {
  plans_.clear();
  library_.destroy(handle_);
}

void CudnnRecurrence::check(CudnnStatus status, const char* call) const {
  if (status != kCudnnSuccess) fail(library_, status, call);
}

/// The lock is held.
CudnnRecurrence::Plan& CudnnRecurrence::plan(const CudnnLayer& layer) {
  const Key key{layer.sizes.mode, layer.dtype, layer.bias, layer.tf32, layer.K, layer.sizes.H};
  if (const auto found = plans_.find(key); found != plans_.end()) return *found->second;
  auto made = std::make_unique<Plan>(library_);
  describe(*made, layer);
  return *plans_.emplace(key, std::move(made)).first->second;
}

void CudnnRecurrence::describe(Plan& plan, const CudnnLayer& layer) const {
  const CudnnRecurrent& l = library_;
  check(l.dropout_create(plan.dropout.out()), "cudnnCreateDropoutDescriptor");
  check(l.dropout_set(plan.dropout.get(), handle_, 0, nullptr, 0, 0), "cudnnSetDropoutDescriptor");
  check(l.rnn_create(plan.rnn.out()), "cudnnCreateRNNDescriptor");
  const auto K = static_cast<std::int32_t>(layer.K), H = static_cast<std::int32_t>(layer.sizes.H);
  const CudnnStatus status = l.rnn_set(plan.rnn.get(), kCudnnRnnStandard, cudnn_cell(layer.sizes.mode),
                                       layer.bias ? kCudnnTwoBiases : kCudnnNoBias, kCudnnOneDirection,
                                       kCudnnLinearInput, cudnn_dtype(layer.dtype), kCudnnFloat,
                                       cudnn_math(layer), K, H, H, 1, plan.dropout.get(), kCudnnNoPaddedRows);
  if (cudnn_not_supported(status)) return;
  check(status, "cudnnSetRNNDescriptor_v8");
  check(l.weights_size(handle_, plan.rnn.get(), &plan.weight_bytes), "cudnnGetRNNWeightSpaceSize");
  plan.supported = true;
}

/// Asks where each gate's parameters lie in `weights`, once.
void CudnnRecurrence::place_weights(Plan& plan, const CudnnLayer& layer, char* weights) const {
  if (!plan.pieces.empty()) return;
  const RnnSizes& s = layer.sizes;
  Owned<CudnnTensor> matrix(library_.tensor_destroy), bias(library_.tensor_destroy);
  check(library_.tensor_create(matrix.out()), "cudnnCreateTensorDescriptor");
  check(library_.tensor_create(bias.out()), "cudnnCreateTensorDescriptor");
  std::array<std::vector<Piece>, kParameters> found;
  for (std::int64_t id = 0; id < 2 * s.G(); ++id) {
    void *matrix_at = nullptr, *bias_at = nullptr;
    check(
        library_.weight_place(handle_, plan.rnn.get(), 0, plan.weight_bytes, weights,
                              static_cast<std::int32_t>(id), matrix.get(), &matrix_at, bias.get(), &bias_at),
        "cudnnGetRNNWeightParams");
    const bool inputs = id < s.G();
    const auto gate = static_cast<std::size_t>(inputs ? id : id - s.G());
    const auto add = [&](Parameter parameter, CudnnTensor described, void* at, std::int64_t elements) {
      std::array<int, 8> sizes{}, strides{};
      int dtype = 0, dims = 0;
      check(library_.tensor_get(described, 8, &dtype, &dims, sizes.data(), strides.data()),
            "cudnnGetTensorNdDescriptor");
      std::int64_t n = at ? 1 : 0;
      for (int d = 0; d < std::min(dims, 8); ++d) n *= sizes[static_cast<std::size_t>(d)];
      const std::size_t bytes = static_cast<std::size_t>(elements) * size_of(layer.dtype);
      const std::size_t place = at ? static_cast<std::size_t>(static_cast<char*>(at) - weights) : 0;
      if (n != elements || place > plan.weight_bytes || bytes > plan.weight_bytes - place)
        throw Error(concat("[", where(), "] expected cuDNN to hold ", elements, " weights of gate ", gate,
                           ", got ", n, " at byte ", place, " of ", plan.weight_bytes));
      add_piece(found[parameter], {parameter, gate * bytes, place, bytes});
    };
    add(inputs ? kInputs : kStates, matrix.get(), matrix_at, s.H * (inputs ? layer.K : s.H));
    if (layer.bias) add(inputs ? kInputBias : kStateBias, bias.get(), bias_at, s.H);
  }
  for (const auto& pieces : found) plan.pieces.insert(plan.pieces.end(), pieces.begin(), pieces.end());
}

template <class P>
void CudnnRecurrence::give_weights(Plan& plan, const P& p, char* weights, const Exec& exec) const {
  place_weights(plan, cudnn_layer(p), weights);
  const std::array<const void*, kParameters> from{p.w_ih, p.w_hh, p.b_ih, p.b_hh};
  memory_.zero(weights, plan.weight_bytes, exec.stream);  // what is between the pieces, too
  for (const Piece& piece : plan.pieces)
    memory_.copy(weights + piece.place, static_cast<const char*>(from[piece.parameter]) + piece.offset,
                 piece.bytes, exec.stream);
}

void CudnnRecurrence::take_gradients(const Plan& plan, const RnnLayerBackwardProblem& p, const char* dweights,
                                     const Exec& exec) const {
  const std::array<void*, kParameters> to{p.dw_ih, p.dw_hh, p.db_ih, p.db_hh};
  for (const Piece& piece : plan.pieces)
    memory_.copy(static_cast<char*>(to[piece.parameter]) + piece.offset, dweights + piece.place, piece.bytes,
                 exec.stream);
}

bool CudnnRecurrence::accepts(const CudnnLayer& layer) {
  const std::lock_guard lock(mutex_);
  const Plan& p = plan(layer);
  return p.supported && Sequences(*this, layer).ask_sizes(p, true);
}

std::size_t CudnnRecurrence::kept(const CudnnLayer& layer) {
  const std::lock_guard lock(mutex_);
  Sequences s(*this, layer);
  s.ask_sizes(plan(layer), true);
  return s.reserve;
}

std::size_t CudnnRecurrence::forward_workspace(const CudnnLayer& layer, bool keep) {
  const std::lock_guard lock(mutex_);
  const Plan& p = plan(layer);
  Sequences s(*this, layer);
  s.ask_sizes(p, keep);
  return padded(p.weight_bytes) + s.workspace;
}

std::size_t CudnnRecurrence::backward_workspace(const CudnnLayer& layer) {
  const std::lock_guard lock(mutex_);
  const Plan& p = plan(layer);
  Sequences s(*this, layer);
  s.ask_sizes(p, true);
  return 2 * padded(p.weight_bytes) + padded(s.reserve) + s.workspace;
}

void CudnnRecurrence::forward(const RnnLayerForwardProblem& p, const Exec& exec) {
  const std::lock_guard lock(mutex_);
  const CudnnLayer layer = cudnn_layer(p);
  Plan& plan = this->plan(layer);
  Sequences s(*this, layer);
  if (!plan.supported || !s.ask_sizes(plan, p.keep)) throw_unsupported("cuDNN has no such recurrent layer");
  check(library_.set_stream(handle_, exec.stream), "cudnnSetStream");
  auto* const weights = static_cast<char*>(exec.workspace);
  give_weights(plan, p, weights, exec);
  check(library_.forward(handle_, plan.rnn.get(), p.keep ? kCudnnTraining : kCudnnInference, nullptr, s.x(),
                         p.x, s.y(), p.y, s.h(), p.h0, p.hn, s.h(), p.c0, p.cn, plan.weight_bytes, weights,
                         s.workspace, weights + padded(plan.weight_bytes), s.reserve,
                         p.keep ? p.kept : nullptr),
        "cudnnRNNForward");
}

void CudnnRecurrence::backward(const RnnLayerBackwardProblem& p, const Exec& exec) {
  const std::lock_guard lock(mutex_);
  const CudnnLayer layer = cudnn_layer(p);
  Plan& plan = this->plan(layer);
  Sequences s(*this, layer);
  if (!plan.supported || !s.ask_sizes(plan, true)) throw_unsupported("cuDNN has no such recurrent layer");
  check(library_.set_stream(handle_, exec.stream), "cudnnSetStream");
  auto* const weights = static_cast<char*>(exec.workspace);
  char* const dweights = weights + padded(plan.weight_bytes);
  char* const reserve = dweights + padded(plan.weight_bytes);
  char* const scratch = reserve + padded(s.reserve);
  give_weights(plan, p, weights, exec);
  memory_.copy(reserve, p.kept, s.reserve, exec.stream);
  check(library_.backward_data(handle_, plan.rnn.get(), nullptr, s.y(), p.y, p.dy, s.x(), p.dx, s.h(), p.h0,
                               p.dhn, p.dh0, s.h(), p.c0, p.dcn, p.dc0, plan.weight_bytes, weights,
                               s.workspace, scratch, s.reserve, reserve),
        "cudnnRNNBackwardData_v8");
  if (!p.dw_ih) return;
  memory_.zero(dweights, plan.weight_bytes, exec.stream);
  check(library_.backward_weights(handle_, plan.rnn.get(), kCudnnAddGradients, nullptr, s.x(), p.x, s.h(),
                                  p.h0, s.y(), p.y, plan.weight_bytes, dweights, s.workspace, scratch,
                                  s.reserve, reserve),
        "cudnnRNNBackwardWeights_v8");
  take_gradients(plan, p, dweights, exec);
}

}  // namespace gpunn::detail
