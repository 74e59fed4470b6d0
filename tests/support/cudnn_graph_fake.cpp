#include "tests/support/cudnn_graph_fake.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "gpunn/kernels/common/ref_access.h"

namespace gpunn {
namespace {

using namespace detail;

constexpr CudnnStatus kBad = 2000;  // bad parameter
using Extents = std::array<std::int64_t, 4>;
using Values = std::vector<double>;

FakeCudnnGraphs* fake = nullptr;

/// A descriptor of any kind: what was set, as bytes.
struct Node {
  struct Attribute {
    int type;
    std::int64_t count;
    std::vector<char> bytes;
  };
  int kind;
  bool finalized = false;
  std::map<int, Attribute> attributes{};
  // Filled by the library.
  std::optional<FakeCudnnGraphs::Engine> engine{};
  std::int64_t engine_number = -1;
  const Node* graph = nullptr;

  bool has(int attribute) const { return attributes.count(attribute) > 0; }
  template <class T>
  std::vector<T> all(int attribute) const {
    const Attribute& a = attributes.at(attribute);
    std::vector<T> values(static_cast<std::size_t>(a.count));
    std::memcpy(values.data(), a.bytes.data(), a.bytes.size());
    return values;
  }
  template <class T>
  T one(int attribute) const {
    T value{};
    std::memcpy(&value, attributes.at(attribute).bytes.data(), sizeof value);
    return value;
  }
  const Node& child(int attribute) const {
    return *static_cast<const Node*>(one<CudnnDescriptor>(attribute));
  }
};
Node& of(CudnnDescriptor d) { return *static_cast<Node*>(d); }

CudnnStatus called(const std::string& name, int detail = -1) {
  const std::string whole = detail < 0 ? name : name + " " + std::to_string(detail);
  ++fake->calls[name];
  if (detail >= 0) ++fake->calls[whole];
  for (const std::string& key : {name, whole})
    if (const auto found = fake->fail.find(key); found != fake->fail.end()) return found->second;
  return kCudnnSuccess;
}
CudnnStatus refused(const std::string& complaint) {
  fake->complaint = complaint;
  return kBad;
}

std::size_t width_of(int type) {
  switch (type) {
    case kCudnnTypeBool:
      return sizeof(bool);
    case kCudnnTypeInt64:
      return sizeof(std::int64_t);
    case kCudnnTypeHandle:
    case kCudnnTypePointer:
    case kCudnnTypeDescriptor:
      return sizeof(void*);
    default:
      return sizeof(int);
  }
}

/// The type that an attribute takes, and the kind of descriptor that it belongs to.
struct Place {
  int kind, type;
};
const std::map<int, Place>& places() {
  static const std::map<int, Place> all{
      {kCudnnPointwiseMode, {kCudnnPointwiseKind, kCudnnTypePointwise}},
      {kCudnnPointwisePrecision, {kCudnnPointwiseKind, kCudnnTypeDtype}},
      {kCudnnPointwiseAxis, {kCudnnPointwiseKind, kCudnnTypeInt64}},
      {kCudnnHeuristicsMode, {kCudnnHeuristicsKind, kCudnnTypeHeuristics}},
      {kCudnnHeuristicsGraph, {kCudnnHeuristicsKind, kCudnnTypeDescriptor}},
      {kCudnnPlanHandle, {kCudnnPlanKind, kCudnnTypeHandle}},
      {kCudnnPlanConfig, {kCudnnPlanKind, kCudnnTypeDescriptor}},
      {kCudnnPointwiseOf, {kCudnnPointwiseOperation, kCudnnTypeDescriptor}},
      {kCudnnPointwiseX, {kCudnnPointwiseOperation, kCudnnTypeDescriptor}},
      {kCudnnPointwiseB, {kCudnnPointwiseOperation, kCudnnTypeDescriptor}},
      {kCudnnPointwiseY, {kCudnnPointwiseOperation, kCudnnTypeDescriptor}},
      {kCudnnPointwiseT, {kCudnnPointwiseOperation, kCudnnTypeDescriptor}},
      {kCudnnGraphHandle, {kCudnnGraphKind, kCudnnTypeHandle}},
      {kCudnnGraphOperations, {kCudnnGraphKind, kCudnnTypeDescriptor}},
      {kCudnnTensorAlignment, {kCudnnTensorKind, kCudnnTypeInt64}},
      {kCudnnTensorDtype, {kCudnnTensorKind, kCudnnTypeDtype}},
      {kCudnnTensorSizes, {kCudnnTensorKind, kCudnnTypeInt64}},
      {kCudnnTensorStrides, {kCudnnTensorKind, kCudnnTypeInt64}},
      {kCudnnTensorId, {kCudnnTensorKind, kCudnnTypeInt64}},
      {kCudnnTensorVirtual, {kCudnnTensorKind, kCudnnTypeBool}},
      {kCudnnTensorByValue, {kCudnnTensorKind, kCudnnTypeBool}},
      {kCudnnPackIds, {kCudnnPackKind, kCudnnTypeInt64}},
      {kCudnnPackPointers, {kCudnnPackKind, kCudnnTypePointer}},
      {kCudnnPackWorkspace, {kCudnnPackKind, kCudnnTypePointer}},
      {kCudnnMatmulPrecision, {kCudnnMatmulKind, kCudnnTypeDtype}},
      {kCudnnMatmulA, {kCudnnMatmulOperation, kCudnnTypeDescriptor}},
      {kCudnnMatmulB, {kCudnnMatmulOperation, kCudnnTypeDescriptor}},
      {kCudnnMatmulC, {kCudnnMatmulOperation, kCudnnTypeDescriptor}},
      {kCudnnMatmulOf, {kCudnnMatmulOperation, kCudnnTypeDescriptor}},
      {kCudnnReductionMode, {kCudnnReductionKind, kCudnnTypeReduction}},
      {kCudnnReductionPrecision, {kCudnnReductionKind, kCudnnTypeDtype}},
      {kCudnnReductionX, {kCudnnReductionOperation, kCudnnTypeDescriptor}},
      {kCudnnReductionY, {kCudnnReductionOperation, kCudnnTypeDescriptor}},
      {kCudnnReductionOf, {kCudnnReductionOperation, kCudnnTypeDescriptor}},
      {kCudnnReshapeX, {kCudnnReshapeOperation, kCudnnTypeDescriptor}},
      {kCudnnReshapeY, {kCudnnReshapeOperation, kCudnnTypeDescriptor}},
  };
  return all;
}

DType dtype_of(int dtype) {
  return dtype == kCudnnHalf ? DType::f16 : dtype == kCudnnBFloat16 ? DType::bf16 : DType::f32;
}

FakeCudnnGraphs::Tensor tensor_of(const Node& n) {
  FakeCudnnGraphs::Tensor t;
  t.dtype = n.one<int>(kCudnnTensorDtype);
  const auto sizes = n.all<std::int64_t>(kCudnnTensorSizes),
             strides = n.all<std::int64_t>(kCudnnTensorStrides);
  std::copy_n(sizes.begin(), 4, t.sizes.begin());
  std::copy_n(strides.begin(), 4, t.strides.begin());
  t.alignment = n.one<std::int64_t>(kCudnnTensorAlignment);
  t.is_virtual = n.one<bool>(kCudnnTensorVirtual), t.by_value = n.one<bool>(kCudnnTensorByValue);
  return t;
}

std::int64_t count_of(const Extents& s) { return s[0] * s[1] * s[2] * s[3]; }

/// f(index, number) for each element, the last dimension fastest.
template <class F>
void for_each_index(const Extents& s, F&& f) {
  std::size_t n = 0;
  Extents i{};
  for (i[0] = 0; i[0] < s[0]; ++i[0])
    for (i[1] = 0; i[1] < s[1]; ++i[1])
      for (i[2] = 0; i[2] < s[2]; ++i[2])
        for (i[3] = 0; i[3] < s[3]; ++i[3]) f(i, n++);
}
std::int64_t offset_of(const Extents& strides, const Extents& i) {
  return i[0] * strides[0] + i[1] * strides[1] + i[2] * strides[2] + i[3] * strides[3];
}
/// Number of the element of a smaller tensor that lies at i of one of `larger`: where sizes differ, an
/// element stands for as many neighbours as fit.
std::size_t within(const Extents& sizes, const Extents& larger, const Extents& i) {
  std::int64_t n = 0;
  for (std::size_t d = 0; d < 4; ++d) n = n * sizes[d] + i[d] / (larger[d] / sizes[d]);
  return static_cast<std::size_t>(n);
}

/// Carries out a graph.
class Execution {
 public:
  explicit Execution(const std::map<std::int64_t, void*>& pack) : pack_(pack) {}

  /// False: the operation does not fit its tensors, or a tensor is not in the pack.
  bool run(const Node& operation) {
    switch (operation.kind) {
      case kCudnnMatmulOperation:
        return matmul(operation);
      case kCudnnPointwiseOperation:
        return pointwise(operation);
      case kCudnnReductionOperation:
        return reduce(operation);
      default:
        return reshape(operation);
    }
  }

 private:
  /// Values of a tensor, from memory or from the operation before.
  bool read(const Node& n, FakeCudnnGraphs::Tensor& t, Values& values) {
    t = note(n);
    const std::int64_t id = n.one<std::int64_t>(kCudnnTensorId);
    if (t.is_virtual) {
      const auto found = inner_.find(id);
      if (found == inner_.end()) return false;
      values = found->second;
      return true;
    }
    const auto found = pack_.find(id);
    if (found == pack_.end() || !found->second) return false;
    values.assign(static_cast<std::size_t>(count_of(t.sizes)), 0);
    if (t.dtype == kCudnnInt32) {
      values[0] = *static_cast<const std::int32_t*>(found->second);
      return t.by_value;
    }
    for_each_index(t.sizes, [&](const Extents& i, std::size_t k) {
      values[k] = load_ref(found->second, dtype_of(t.dtype), offset_of(t.strides, i));
    });
    return true;
  }
  bool write(const Node& n, const FakeCudnnGraphs::Tensor& t, const Values& values) {
    const std::int64_t id = n.one<std::int64_t>(kCudnnTensorId);
    if (t.is_virtual) {
      Values kept = values;
      if (t.dtype == kCudnnHalf || t.dtype == kCudnnBFloat16)
        for (double& v : kept) {
          float place = 0;
          store_ref(&place, dtype_of(t.dtype), 0, v);
          v = load_ref(&place, dtype_of(t.dtype), 0);
        }
      return inner_.emplace(id, std::move(kept)).second;
    }
    const auto found = pack_.find(id);
    if (found == pack_.end() || !found->second || t.by_value) return false;
    for_each_index(t.sizes, [&](const Extents& i, std::size_t k) {
      store_ref(found->second, dtype_of(t.dtype), offset_of(t.strides, i), values[k]);
    });
    return true;
  }
  static FakeCudnnGraphs::Tensor note(const Node& n) {
    return fake->tensors[n.one<std::int64_t>(kCudnnTensorId)] = tensor_of(n);
  }

  bool matmul(const Node& o) {
    FakeCudnnGraphs::Tensor a, b, c = note(o.child(kCudnnMatmulC));
    Values va, vb;
    if (!read(o.child(kCudnnMatmulA), a, va) || !read(o.child(kCudnnMatmulB), b, vb)) return false;
    const std::int64_t K = a.sizes[3];
    const Extents wanted{a.sizes[0], a.sizes[1], a.sizes[2], b.sizes[3]};
    if (c.sizes != wanted || b.sizes[2] != K || a.sizes[0] != b.sizes[0] || a.sizes[1] % b.sizes[1] != 0)
      return false;
    Values vc(static_cast<std::size_t>(count_of(c.sizes)), 0);
    const std::int64_t group = a.sizes[1] / b.sizes[1];
    for_each_index(c.sizes, [&](const Extents& i, std::size_t n) {
      for (std::int64_t k = 0; k < K; ++k)
        vc[n] +=
            va[static_cast<std::size_t>(((i[0] * a.sizes[1] + i[1]) * a.sizes[2] + i[2]) * K + k)] *
            vb[static_cast<std::size_t>(((i[0] * b.sizes[1] + i[1] / group) * K + k) * b.sizes[3] + i[3])];
    });
    fake->operations.emplace_back("matmul");
    return o.child(kCudnnMatmulOf).one<int>(kCudnnMatmulPrecision) == kCudnnFloat &&
           write(o.child(kCudnnMatmulC), c, vc);
  }

  static double result(int mode, double x, double b, double t, std::int64_t place) {
    switch (mode) {
      case kCudnnAdd:
        return x + b;
      case kCudnnMul:
        return x * b;
      case kCudnnDiv:
        return x / b;
      case kCudnnSub:
        return x - b;
      case kCudnnExp:
        return std::exp(x);
      case kCudnnLog:
        return std::log(x);
      case kCudnnGreater:
        return x > b;
      case kCudnnGreaterEqual:
        return x >= b;
      case kCudnnIndex:
        return static_cast<double>(place);
      default:
        return t != 0 ? x : b;
    }
  }
  static const char* name_of(int mode) {
    static const std::map<int, const char*> names{{kCudnnAdd, "add"},         {kCudnnMul, "mul"},
                                                  {kCudnnDiv, "div"},         {kCudnnSub, "sub"},
                                                  {kCudnnExp, "exp"},         {kCudnnLog, "log"},
                                                  {kCudnnGreater, "greater"}, {kCudnnGreaterEqual, "equal"},
                                                  {kCudnnIndex, "index"},     {kCudnnSelect, "select"}};
    const auto found = names.find(mode);
    return found == names.end() ? nullptr : found->second;
  }

  bool pointwise(const Node& o) {
    const Node& what = o.child(kCudnnPointwiseOf);
    const int mode = what.one<int>(kCudnnPointwiseMode);
    const auto axis = what.has(kCudnnPointwiseAxis) ? what.one<std::int64_t>(kCudnnPointwiseAxis) : 0;
    FakeCudnnGraphs::Tensor x, b, t, y = note(o.child(kCudnnPointwiseY));
    Values vx, vb, vt;
    if (!name_of(mode) || !read(o.child(kCudnnPointwiseX), x, vx) || x.sizes != y.sizes) return false;
    if (o.has(kCudnnPointwiseB) && !read(o.child(kCudnnPointwiseB), b, vb)) return false;
    if (o.has(kCudnnPointwiseT) && (!read(o.child(kCudnnPointwiseT), t, vt) || t.sizes != y.sizes))
      return false;
    const bool unary = mode == kCudnnExp || mode == kCudnnLog || mode == kCudnnIndex;
    if (vb.empty() != unary || vt.empty() == (mode == kCudnnSelect)) return false;
    Values vy(vx.size());
    for_each_index(y.sizes, [&](const Extents& i, std::size_t n) {
      vy[n] = result(mode, vx[n], unary ? 0 : vb[within(b.sizes, y.sizes, i)], vt.empty() ? 0 : vt[n],
                     i[static_cast<std::size_t>(axis)]);
    });
    fake->operations.emplace_back(name_of(mode));
    return write(o.child(kCudnnPointwiseY), y, vy);
  }

  bool reduce(const Node& o) {
    const int mode = o.child(kCudnnReductionOf).one<int>(kCudnnReductionMode);
    FakeCudnnGraphs::Tensor x, y = note(o.child(kCudnnReductionY));
    Values vx;
    if ((mode != kCudnnSum && mode != kCudnnMax) || !read(o.child(kCudnnReductionX), x, vx)) return false;
    for (std::size_t d = 0; d < 4; ++d)
      if (x.sizes[d] % y.sizes[d] != 0) return false;
    Values vy(static_cast<std::size_t>(count_of(y.sizes)),
              mode == kCudnnSum ? 0 : -std::numeric_limits<double>::infinity());
    for_each_index(x.sizes, [&](const Extents& i, std::size_t n) {
      double& to = vy[within(y.sizes, x.sizes, i)];
      to = mode == kCudnnSum ? to + vx[n] : std::max(to, vx[n]);
    });
    fake->operations.emplace_back(mode == kCudnnSum ? "sum" : "max");
    return write(o.child(kCudnnReductionY), y, vy);
  }

  /// Only transpositions of the last two dimensions, of which strides tell that they are.
  bool reshape(const Node& o) {
    FakeCudnnGraphs::Tensor x, y = note(o.child(kCudnnReshapeY));
    Values vx;
    if (!read(o.child(kCudnnReshapeX), x, vx)) return false;
    const Extents sizes{x.sizes[0], x.sizes[1], x.sizes[3], x.sizes[2]};
    const Extents strides{x.strides[0], x.strides[1], x.strides[3], x.strides[2]};
    if (y.sizes != sizes || y.strides != strides) return false;
    Values vy(vx.size());
    for_each_index(x.sizes, [&](const Extents& i, std::size_t n) {
      vy[static_cast<std::size_t>(((i[0] * sizes[1] + i[1]) * sizes[2] + i[3]) * sizes[3] + i[2])] = vx[n];
    });
    fake->operations.emplace_back("transpose");
    return write(o.child(kCudnnReshapeY), y, vy);
  }

  const std::map<std::int64_t, void*>& pack_;
  std::map<std::int64_t, Values> inner_;
};

/// Whether all that a kind needs is set.
bool is_complete(const Node& n) {
  for (const auto& [attribute, place] : places()) {
    const bool optional =
        attribute == kCudnnPointwiseAxis || attribute == kCudnnPointwiseB || attribute == kCudnnPointwiseT;
    if (place.kind == n.kind && !optional && !n.has(attribute)) return false;
  }
  if (n.kind != kCudnnTensorKind) return true;
  for (const int list : {int{kCudnnTensorSizes}, int{kCudnnTensorStrides}}) {
    const auto values = n.all<std::int64_t>(list);
    if (values.size() != 4 || *std::min_element(values.begin(), values.end()) < 1) return false;
  }
  return true;
}

/// Ids name one descriptor each.
bool has_unique_ids(const Node& graph) {
  std::map<std::int64_t, const Node*> seen;
  for (CudnnDescriptor d : graph.all<CudnnDescriptor>(kCudnnGraphOperations))
    for (const auto& [attribute, value] : of(d).attributes) {
      const Node& child = of(d).child(attribute);
      if (child.kind != kCudnnTensorKind) continue;
      const auto [at, is_new] = seen.emplace(child.one<std::int64_t>(kCudnnTensorId), &child);
      if (!is_new && at->second != &child) return false;
    }
  return true;
}

CudnnStatus finalize(CudnnDescriptor d) {
  Node& n = of(d);
  if (n.finalized || !is_complete(n)) return refused("descriptor of kind " + std::to_string(n.kind));
  if (n.kind == kCudnnGraphKind && !has_unique_ids(n)) return refused("ids that name two tensors");
  if (n.kind == kCudnnPlanKind)
    if (const CudnnStatus status = n.child(kCudnnPlanConfig).engine->status) return status;
  n.finalized = true;
  return called("finalize", n.kind);
}

CudnnStatus set(CudnnDescriptor d, int attribute, int type, std::int64_t count, const void* values) {
  Node& n = of(d);
  const auto place = places().find(attribute);
  if (n.finalized || place == places().end() || place->second.kind != n.kind || place->second.type != type)
    return refused("attribute " + std::to_string(attribute));
  const auto* const bytes = static_cast<const char*>(values);
  n.attributes[attribute] = {type, count, {bytes, bytes + static_cast<std::size_t>(count) * width_of(type)}};
  if (type == kCudnnTypeDescriptor)
    for (CudnnDescriptor child : n.all<CudnnDescriptor>(attribute))
      if (!child || (!of(child).finalized && !of(child).engine)) return refused("a child that is not final");
  return called("set", attribute);
}

CudnnStatus get(CudnnDescriptor d, int attribute, int type, std::int64_t most, std::int64_t* count,
                void* values) {
  const Node& n = of(d);
  auto* const descriptors = static_cast<CudnnDescriptor*>(values);
  if (attribute == kCudnnHeuristicsResults && type == kCudnnTypeDescriptor) {
    const bool best = n.one<int>(kCudnnHeuristicsMode) == kCudnnHeuristicsBest;
    const auto& engines = best ? fake->best : fake->fallback;
    *count = std::min(most, static_cast<std::int64_t>(engines.size()));
    for (std::size_t i = 0; i < static_cast<std::size_t>(*count); ++i) {
      Node& config = of(descriptors[i]);
      config.engine = engines[i], config.graph = &n.child(kCudnnHeuristicsGraph);
      config.engine_number = static_cast<std::int64_t>(i) + (best ? 0 : 100);
    }
  } else if (attribute == kCudnnConfigEngine && type == kCudnnTypeDescriptor) {
    of(descriptors[0]).engine = n.engine;
    *count = 1;
  } else if (attribute == kCudnnEngineNotes && type == kCudnnTypeNote) {
    *count = std::min(most, static_cast<std::int64_t>(n.engine->notes.size()));
    std::copy_n(n.engine->notes.begin(), *count, static_cast<int*>(values));
  } else if (attribute == kCudnnPlanWorkspace && type == kCudnnTypeInt64) {
    *static_cast<std::int64_t*>(values) = n.child(kCudnnPlanConfig).engine->workspace;
    *count = 1;
  } else {
    return refused("a question for attribute " + std::to_string(attribute));
  }
  return called("get", attribute);
}

CudnnStatus execute(CudnnHandle, CudnnDescriptor plan, CudnnDescriptor variants) {
  const Node &p = of(plan), &v = of(variants);
  if (!p.finalized || !v.finalized) return refused("what is not final");
  if (const CudnnStatus status = called("execute")) return status;
  const auto ids = v.all<std::int64_t>(kCudnnPackIds);
  const auto pointers = v.all<void*>(kCudnnPackPointers);
  fake->pack.clear(), fake->tensors.clear(), fake->operations.clear();
  if (ids.size() != pointers.size()) return refused("a pack of unequal lists");
  for (std::size_t i = 0; i < ids.size(); ++i) fake->pack[ids[i]] = pointers[i];
  const Node& config = p.child(kCudnnPlanConfig);
  fake->workspace = v.one<void*>(kCudnnPackWorkspace), fake->engine = config.engine_number;
  Execution run(fake->pack);
  for (CudnnDescriptor operation : config.graph->all<CudnnDescriptor>(kCudnnGraphOperations)) {
    // Whatever else lies there is lost.
    if (config.engine->workspace > 0)
      std::memset(fake->workspace, 0xee, static_cast<std::size_t>(config.engine->workspace));
    if (!run.run(of(operation))) return refused("operation " + std::to_string(fake->operations.size()));
  }
  for (const auto& [id, pointer] : fake->pack)
    if (!fake->tensors.count(id)) return refused("a pack with more than the graph has");
  return kCudnnSuccess;
}

}  // namespace

detail::CudnnGraphs fake_cudnn_graphs(FakeCudnnGraphs& state) {
  state = {};
  fake = &state;
  CudnnGraphs l{};
  l.error_string = [](CudnnStatus status) { return status == 5000 ? "the fake failed" : "the fake refused"; };
  l.version = [] { return fake->version; };
  l.create = [](CudnnHandle* h) {
    if (const CudnnStatus status = called("create")) return status;
    *h = reinterpret_cast<CudnnHandle>(&fake);
    ++fake->live;
    return kCudnnSuccess;
  };
  l.destroy = [](CudnnHandle) { return --fake->live, kCudnnSuccess; };
  l.set_stream = [](CudnnHandle, void* stream) { return fake->stream = stream, called("set_stream"); };
  l.descriptor_create = [](int kind, CudnnDescriptor* d) {
    if (const CudnnStatus status = called("descriptor_create", kind)) return status;
    *d = new Node{.kind = kind};
    ++fake->live;
    return kCudnnSuccess;
  };
  l.descriptor_destroy = [](CudnnDescriptor d) {
    delete static_cast<Node*>(d);
    --fake->live;
    return kCudnnSuccess;
  };
  l.finalize = finalize;
  l.set = set;
  l.get = get;
  l.execute = execute;
  return l;
}

}  // namespace gpunn
