#include "gpunn/kernels/rotary/rotary.h"

#include <cmath>
#include <vector>

#include "gpunn/core/op.h"
#include "gpunn/kernels/common/device_dtype.h"
#include "gpunn/kernels/common/reduction.h"
#include "gpunn/kernels/rotary/rotary_impl.h"

namespace gpunn {
namespace {

const Implementation<RotaryProblem> kEntries[] = {
#if GPUNN_HAS_CUDA
    {"cuda", DeviceType::cuda, [](const RotaryProblem& p) { return device_dtype_reason(p.dtype); }, nullptr,
     Determinism::bitwise, rotary_cuda},
#endif
    {"cpu", DeviceType::cpu,
     [](const RotaryProblem& p) -> const char* { return p.dtype == DType::f32 ? nullptr : "takes f32"; },
     nullptr, Determinism::bitwise, rotary_cpu},
    {"ref", DeviceType::cpu, nullptr, nullptr, Determinism::bitwise, rotary_ref},
};

struct Arguments {
  Tensor x;  // [B, T, H, D], last stride 1
  RotaryTable table;
  Tensor positions;  // contiguous, or undefined
  bool interleaved, back;
};

/// Also its own backward, with `back` the other way.
Tensor turned(const Arguments& in) {
  const Tensor& x = in.x;
  Tensor y = empty_on(x.context(), x.shape(), x.dtype());
  if (y.numel() > 0) {
    RotaryProblem p{};
    p.dtype = x.dtype();
    p.x = x.data(), p.cos = in.table.cos.data(), p.sin = in.table.sin.data(), p.y = y.data();
    p.positions = in.positions.defined() ? static_cast<const std::int64_t*>(in.positions.data()) : nullptr;
    p.B = x.size(0), p.T = x.size(1), p.H = x.size(2), p.D = x.size(3);
    p.R = 2 * in.table.cos.size(1), p.P = in.table.cos.size(0);
    p.x_batch = x.strides()[0], p.x_time = x.strides()[1], p.x_head = x.strides()[2];
    p.position_batch = in.positions.defined() && in.positions.dim() == 2 ? p.T : 0;
    p.has_positions = in.positions.defined(), p.interleaved = in.interleaved, p.back = in.back;
    execute(kRotary, p, {&x, &in.table.cos, &in.table.sin, &in.positions}, {&y});
  }
  if (autograd::wanted(x))
    autograd::record(y, "rotary", {&x}, [in](const Backward& b) -> Gradients {
      Arguments back = in;
      back.x = b.grad().contiguous();
      back.back = !in.back;
      return {turned(back)};
    });
  return y;
}

void check_table(const Tensor& x, const RotaryTable& table) {
  GPUNN_CHECK(table.cos.defined() && table.sin.defined(), "expected a table, got an undefined one");
  const Tensor& c = table.cos;
  GPUNN_CHECK(c.dim() == 2 && c.shape() == table.sin.shape() && c.size(0) >= 1 && c.size(1) >= 1,
              "expected cos and sin [positions, features / 2], got ", c.shape(), " and ", table.sin.shape());
  for (const Tensor* t : {&table.cos, &table.sin}) {
    GPUNN_CHECK(t->dtype() == accumulator_of(x.dtype()), "expected a table of ", accumulator_of(x.dtype()),
                " for x of ", x.dtype(), ", got ", t->dtype());
    GPUNN_CHECK(&t->context() == &x.context(), "expected a table on ", x.device(), " like x, got ",
                t->device());
  }
  GPUNN_CHECK(2 * c.size(1) <= x.size(-1), "expected a table of at most ", x.size(-1), " features, got ",
              2 * c.size(1));
}

void check_positions(const Tensor& x, const Tensor& positions, std::int64_t P, bool on_device) {
  const std::int64_t B = x.size(0), T = x.size(1);
  if (!positions.defined()) {
    GPUNN_CHECK(T <= P, "expected at most ", P, " positions, as the table has, got ", T);
    return;
  }
  GPUNN_CHECK(positions.dtype() == DType::i64 && &positions.context() == &x.context(),
              "expected positions i64 on ", x.device(), ", got ", positions.dtype(), " on ",
              positions.device());
  GPUNN_CHECK((positions.shape() == Shape{T} || positions.shape() == Shape{B, T}), "expected positions [", T,
              "] or [", B, ", ", T, "], got ", positions.shape());
  if (positions.device().is_cuda() && !on_device) return;
  for (const std::int64_t at : positions.to_vector<std::int64_t>())
    GPUNN_CHECK(at >= 0 && at < P, "expected positions in [0, ", P, "), got ", at);
}

}  // namespace

const ImplementationList<RotaryProblem> kRotary{"rotary", "forward", kEntries};

std::vector<Operand> operands(RotaryProblem& p) {
  const DType acc = accumulator_of(p.dtype);
  const std::int64_t last = (p.B - 1) * p.x_batch + (p.T - 1) * p.x_time + (p.H - 1) * p.x_head + p.D;
  return {{"x", const_cast<void**>(&p.x), p.dtype, last, Role::in},
          {"cos", const_cast<void**>(&p.cos), acc, p.P * p.R / 2, Role::in},
          {"sin", const_cast<void**>(&p.sin), acc, p.P * p.R / 2, Role::in},
          {"positions", reinterpret_cast<void**>(const_cast<std::int64_t**>(&p.positions)), DType::i64,
           !p.has_positions       ? 0
           : p.position_batch > 0 ? p.B * p.T
                                  : p.T,
           Role::in},
          {"y", &p.y, p.dtype, p.B * p.T * p.H * p.D, Role::out}};
}

Cost cost(const RotaryProblem& p) {
  const double n = static_cast<double>(p.B * p.T * p.H);
  return {n * 2 * static_cast<double>(p.D) * static_cast<double>(size_of(p.dtype)),
          n * 3 * static_cast<double>(p.R)};
}

RotaryTable rotary_table(std::int64_t positions, std::int64_t features, double base, TensorOptions options) {
  OpScope scope("rotary_table");
  GPUNN_CHECK(positions >= 1 && features >= 2 && features % 2 == 0,
              "expected at least one position and an even number of features, got ", positions, " and ",
              features);
  GPUNN_CHECK(base > 0 && std::isfinite(base), "expected a base above 0, got ", base);
  const std::int64_t half = features / 2;
  std::vector<double> cos, sin;
  for (std::int64_t t = 0; t < positions; ++t)
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle =
          static_cast<double>(t) / std::pow(base, static_cast<double>(i) / static_cast<double>(half));
      cos.push_back(std::cos(angle));
      sin.push_back(std::sin(angle));
    }
  const Shape shape{positions, half};
  const auto table = [&](const std::vector<double>& values) {
    const Tensor t = Tensor::from(values, shape, {.device = Device::cpu()}).to(options.dtype);
    return t.to(options.device.value_or(default_device()));
  };
  return {table(cos), table(sin)};
}

Tensor rotary(const Tensor& x, const RotaryTable& table, const RotaryOptions& options) {
  OpScope scope("rotary");
  check_floating(x, "x");
  GPUNN_CHECK(x.dim() == 4 || x.dim() == 3, "expected x [B, T, H, D] or [T, H, D], got ", x.shape());
  if (x.dim() == 3) return rotary(x.unsqueeze(0), table, options).squeeze(0);
  check_table(x, table);
  check_positions(x, options.positions, table.cos.size(0), options.check_positions);
  const bool rows = x.strides()[3] == 1 || x.size(3) == 1;
  return turned({rows ? x : x.contiguous(),
                 {table.cos.contiguous(), table.sin.contiguous()},
                 options.positions.defined() ? options.positions.contiguous() : Tensor(),
                 options.interleaved,
                 false});
}

}  // namespace gpunn
