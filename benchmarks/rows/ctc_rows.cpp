// CTC on the CPU. The harness draws every integer from {0, 1}, which would make sequences of one step: these
// rows bring labels and lengths of their own, in host memory, and hide them from it.
#include "benchmarks/op_bench.h"
#include "gpunn/kernels/ctc/ctc_impl.h"

namespace gpunn::bench {
namespace {

constexpr std::int64_t kSteps = 150, kBatch = 16, kClasses = 29, kWidth = 40;

struct Sequences {
  std::vector<std::int64_t> targets, inputs, lengths;
};

template <class P>
struct Row : P {};

template <class P>
std::vector<Operand> operands(Row<P>& row) {
  std::vector<Operand> drawn;
  for (const Operand& o : operands(static_cast<P&>(row)))
    if (o.dtype != DType::i64) drawn.push_back(o);
  return drawn;
}

template <class P>
Cost cost(const Row<P>& row) {
  return cost(static_cast<const P&>(row));
}

template <class P>
Row<P> row_of(const Sequences& s) {
  Row<P> row{};
  row.dtype = DType::f32;
  row.targets = s.targets.data(), row.input_lengths = s.inputs.data(), row.target_lengths = s.lengths.data();
  row.steps = kSteps, row.batch = kBatch, row.classes = kClasses, row.width = kWidth;
  row.blank = kClasses - 1;
  return row;
}

const Implementation<Row<CtcProblem>> kForward[] = {
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise,
     [](const Row<CtcProblem>& p, const Exec& e) { ctc_fwd_cpu(p, e); }},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise,
     [](const Row<CtcProblem>& p, const Exec& e) { ctc_fwd_ref(p, e); }}};
const Implementation<Row<CtcBackwardProblem>> kBackward[] = {
    {"cpu", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise,
     [](const Row<CtcBackwardProblem>& p, const Exec& e) { ctc_bwd_cpu(p, e); }},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise,
     [](const Row<CtcBackwardProblem>& p, const Exec& e) { ctc_bwd_ref(p, e); }}};

}  // namespace

void add_ctc_rows(Bench& bench) {
  Sequences s;
  for (std::int64_t n = 0; n < kBatch; ++n) {
    for (std::int64_t i = 0; i < kWidth; ++i) s.targets.push_back((7 * i + n) % (kClasses - 1));
    s.inputs.push_back(kSteps);
    s.lengths.push_back(kWidth);
  }
  bench.row(ImplementationList<Row<CtcProblem>>{"ctc_loss", "forward", kForward}, "150x16x29 to 40",
            row_of<CtcProblem>(s));
  bench.row(ImplementationList<Row<CtcBackwardProblem>>{"ctc_loss", "backward", kBackward}, "150x16x29 to 40",
            row_of<CtcBackwardProblem>(s));
}

}  // namespace gpunn::bench
