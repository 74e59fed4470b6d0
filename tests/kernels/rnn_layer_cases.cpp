// Whole recurrent layers. Backward reads what its own forward kept, so it is judged together with it: a list
// of pairs, each run being both halves of one training step.
#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/kernels/rnn/rnn_layer_impl.h"
#include "tests/support/parity.h"
#include "tests/support/rnn_kind.h"

namespace gpunn::parity {
namespace {

using testing::kRnnKinds;
using testing::RnnKind;

using Rows = std::shared_ptr<const std::vector<std::int64_t>>;

/// Both halves; x and what follows to c0 are those of `f`, and y is what forward writes.
struct RnnLayerTraining {
  DType dtype;
  RnnLayerForwardProblem f;
  RnnLayerBackwardProblem b;
};

std::vector<Operand> operands(RnnLayerTraining& p) {
  p.f.dtype = p.b.dtype = p.dtype;
  std::vector<Operand> list = operands(p.f);
  for (const Operand& o : operands(p.b)) {
    const bool shared = std::any_of(list.begin(), list.end(), [&](const Operand& other) {
      return std::string_view(other.name) == o.name;
    });
    if (!shared) list.push_back(o);
  }
  return list;
}

RnnLayerForwardProblem forward_of(const RnnLayerTraining& p) {
  RnnLayerForwardProblem f = p.f;
  f.dtype = p.dtype;
  f.keep = true;
  return f;
}
RnnLayerBackwardProblem backward_of(const RnnLayerTraining& p) {
  RnnLayerBackwardProblem b = p.b;
  const RnnLayerForwardProblem& f = p.f;
  b.dtype = p.dtype;
  b.x = f.x, b.w_ih = f.w_ih, b.w_hh = f.w_hh, b.b_ih = f.b_ih, b.b_hh = f.b_hh, b.h0 = f.h0, b.c0 = f.c0;
  b.y = f.y, b.host_first_row = f.host_first_row, b.sizes = f.sizes, b.K = f.K, b.tf32 = f.tf32;
  return b;
}

/// Entry I of both lists.
template <std::size_t I>
struct Pair {
  static const auto& forward() { return kRnnLayerForward.entries[I]; }
  static const auto& backward() { return kRnnLayerBackward.entries[I]; }

  static const char* accepts(const RnnLayerTraining& p) {
    const char* why = forward().accepts ? forward().accepts(forward_of(p)) : nullptr;
    return why || !backward().accepts ? why : backward().accepts(backward_of(p));
  }
  static std::size_t kept(const RnnLayerTraining& p) {
    return (rnn_layer_kept(forward().name, forward_of(p)) + 255) / 256 * 256;
  }
  static std::size_t workspace(const RnnLayerTraining& p) {
    return kept(p) +
           std::max(workspace_of(forward(), forward_of(p)), workspace_of(backward(), backward_of(p)));
  }
  static void run(const RnnLayerTraining& p, const Exec& exec) {
    RnnLayerForwardProblem f = forward_of(p);
    RnnLayerBackwardProblem b = backward_of(p);
    f.kept = exec.workspace;
    b.kept = exec.workspace;
    Exec rest = exec;
    rest.workspace = static_cast<char*>(exec.workspace) + kept(p);
    rest.workspace_bytes = exec.workspace_bytes - kept(p);
    forward().run(f, rest);
    backward().run(b, rest);
  }
  static void add(std::vector<Implementation<RnnLayerTraining>>& list) {
    if constexpr (I > 0) Pair<I - 1>::add(list);
    if (I < kRnnLayerForward.entries.size())
      list.push_back({forward().name, forward().device, accepts, workspace, forward().determinism, run});
  }
};

const ImplementationList<RnnLayerTraining>& training() {
  static const auto entries = [] {
    std::vector<Implementation<RnnLayerTraining>> list;
    Pair<2>::add(list);
    return list;
  }();
  static const ImplementationList<RnnLayerTraining> list{"rnn_layer", "backward", entries};
  return list;
}

struct LayerCase {
  RnnKind kind;
  std::int64_t T, B, K, H;
  bool reverse = false;
  std::vector<std::int64_t> lengths{};  // falling: packed
  bool states = true, bias = true;      // h0 and c0, b_ih and b_hh are there
  bool dhn = true, dcn = true, weights = true;
  std::string what{};

  std::string name() const {
    std::string text = kind.name;
    for (const std::int64_t n : {T, B, K, H})
      text += (n == T && text == kind.name ? " " : "x") + std::to_string(n);
    if (!lengths.empty()) text += " packed";
    if (reverse) text += " reverse";
    return text + what;
  }
  Rows rows() const {
    if (lengths.empty()) return nullptr;
    std::vector<std::int64_t> first{0};
    for (std::int64_t t = 0; t < T; ++t)
      first.push_back(first.back() + std::count_if(lengths.begin(), lengths.end(),
                                                   [&](std::int64_t length) { return length > t; }));
    return std::make_shared<const std::vector<std::int64_t>>(std::move(first));
  }
};

/// An address for an operand that is there: the harness puts the real one in its place.
void* present() {
  static char place;
  return &place;
}

RnnLayerForwardProblem forward_problem(const LayerCase& c, const Rows& rows) {
  RnnLayerForwardProblem f{};
  f.sizes = {c.kind.mode, c.reverse, c.kind.reset_after, c.T, c.B, c.H, rows ? rows->back() : c.T * c.B};
  f.K = c.K;
  if (rows) f.host_first_row = rows->data();
  if (c.bias) f.b_ih = f.b_hh = present();
  if (c.states) f.h0 = present();
  if (c.states && f.sizes.has_cells()) f.c0 = present();
  return f;
}

CaseOptions options_for(const LayerCase& c) {
  CaseOptions o;
  o.k = static_cast<double>(c.K + c.H);
  o.c = 16;
  o.scale = Scale::operand;
  const auto weights = [](std::int64_t n) { return fill::normal(0, 1 / std::sqrt(static_cast<double>(n))); };
  o.fills = {{"w_hh", weights(c.H)}, {"w_ih", weights(c.K)}, {"h0", fill::uniform(-1, 1)}};
  if (c.kind.mode == RnnMode::relu) o.zeros_ok = {"y", "hn", "dx", "dw_ih", "dw_hh", "db_ih", "db_hh", "dh0"};
  // h0 is zero where there is none, and of one row nothing else is multiplied with w_hh.
  if (!c.states && c.T == 1) o.zeros_ok.push_back("dw_hh");
  return o;
}

void add_both(Suite& suite, const LayerCase& c) {
  const Rows rows = c.rows();
  // What a lambda keeps alive keeps the rows alive, too.
  suite.add(kRnnLayerForward, c.name(), [=] { return forward_problem(c, rows); }, options_for(c));
  suite.add(
      training(), c.name(),
      [=] {
        RnnLayerTraining p{};
        p.f = forward_problem(c, rows);
        p.b = backward_of(p);
        if (c.dhn) p.b.dhn = present();
        if (c.dcn && p.f.sizes.has_cells()) p.b.dcn = present();
        if (c.weights) p.b.dw_ih = present();
        return p;
      },
      options_for(c));
}

}  // namespace

void add_rnn_layer_cases(Suite& suite) {
  for (const RnnKind& kind : kRnnKinds) {
    add_both(suite, {.kind = kind, .T = 1, .B = 1, .K = 1, .H = 1});
    add_both(suite, {.kind = kind, .T = 3, .B = 2, .K = 7, .H = 5});
    add_both(suite, {.kind = kind, .T = 5, .B = 4, .K = 16, .H = 32, .reverse = true});
    add_both(suite, {.kind = kind, .T = 2, .B = 17, .K = 33, .H = 19});
    add_both(suite, {.kind = kind,
                     .T = 4,
                     .B = 3,
                     .K = 6,
                     .H = 8,
                     .states = false,
                     .bias = false,
                     .dhn = false,
                     .dcn = false,
                     .what = ", no states and biases"});
    add_both(suite, {.kind = kind, .T = 3, .B = 2, .K = 4, .H = 16, .weights = false, .what = ", dx alone"});
    add_both(suite, {.kind = kind, .T = 5, .B = 4, .K = 3, .H = 16, .lengths = {5, 3, 3, 1}});
    add_both(suite, {.kind = kind, .T = 3, .B = 2, .K = 9, .H = 6, .reverse = true, .lengths = {3, 1}});
  }
}

}  // namespace gpunn::parity
