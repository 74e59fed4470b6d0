#include "tests/support/parity_truth.h"

#include <algorithm>
#include <cmath>

#include "gpunn/core/error.h"
#include "gpunn/core/runtime.h"

namespace gpunn::parity {
namespace {

bool is_input(const Operand& o) { return o.role != Role::out; }
bool is_output(const Operand& o) { return o.role != Role::in; }

/// FNV-1a over the case's names, so that every case draws numbers of its own.
std::uint64_t seed_of(const Case& c, std::uint64_t seed) {
  std::uint64_t h = 14695981039346656037ull ^ seed;
  for (const std::string* text : {&c.op, &c.direction, &c.name})
    for (const char letter : *text) h = (h ^ static_cast<unsigned char>(letter)) * 1099511628211ull;
  return h;
}

std::vector<std::size_t> shared_buffers(const std::vector<Operand>& operands, const CaseOptions& options) {
  const auto index_of = [&](const std::string& name) {
    for (std::size_t i = 0; i < operands.size(); ++i)
      if (operands[i].name == name) return i;
    gpunn::detail::throw_invalid("parity: a case names the operand '" + name +
                                 "', which the problem does not have");
  };
  std::vector<std::size_t> shared(operands.size());
  for (std::size_t i = 0; i < shared.size(); ++i) shared[i] = i;
  for (const auto& [output, input] : options.alias) shared[index_of(output)] = index_of(input);
  for (const auto& [name, fill] : options.fills) index_of(name);
  return shared;
}

/// Inputs drawn and rounded to their dtypes; outputs poisoned.
Contents draw(const std::vector<Operand>& operands, const CaseOptions& options, std::uint64_t seed) {
  Contents contents;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    const Operand& o = operands[i];
    contents.emplace_back(bytes_of(o), std::byte{0xff});
    if (!is_input(o)) continue;
    Fill values = is_floating(o.dtype) ? fill::normal(0, 1) : fill::constant(0);
    for (const auto& [name, f] : options.fills)
      if (name == o.name) values = f;
    PhiloxStream random(seed, i);
    for (std::int64_t e = 0; e < o.elements; ++e)
      store_element(contents[i].data(), o.dtype, e, values(e, random));
  }
  return contents;
}

/// Runs the reference in `dtype` on `values` (of `from`'s operands) and returns the outputs as double, and as
/// they are in `bytes`.
Values solve(const Case& c, DType dtype, const Prepared& from, bool absolute, Contents* bytes = nullptr) {
  const auto problem = c.bind(dtype);
  auto operands = problem->operands();
  Contents contents;
  for (std::size_t i = 0; i < operands.size(); ++i) {
    contents.emplace_back(bytes_of(operands[i]), std::byte{0xff});
    if (!is_input(operands[i])) continue;
    for (std::int64_t e = 0; e < operands[i].elements; ++e) {
      const double value = load_element(from.initial[i].data(), from.operands[i].dtype, e);
      const bool flip = absolute && is_floating(operands[i].dtype);
      store_element(contents[i].data(), operands[i].dtype, e, flip ? std::abs(value) : value);
    }
  }
  bind_host(operands, contents, from.shared);
  const std::size_t reference = c.entries.size() - 1;
  std::vector<std::byte> workspace(problem->workspace(reference));
  Runtime& runtime = Runtime::current();
  problem->run(reference, {nullptr, workspace.data(), workspace.size(), &runtime.pool(), &runtime.cpu()});
  Values values(operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i)
    for (std::int64_t e = 0; is_output(operands[i]) && e < operands[i].elements; ++e)
      values[i].push_back(load_element(contents[from.shared[i]].data(), operands[i].dtype, e));
  for (std::size_t i = 0; bytes && i < operands.size(); ++i)
    bytes->push_back(is_output(operands[i]) ? contents[from.shared[i]] : std::vector<std::byte>());
  return values;
}

/// What the f32 bound of each output element is relative to.
Values scales(const Case& c, const Prepared& p) {
  if (c.options.scale == Scale::absolute) return solve(c, DType::f64, p, true);
  Values result = p.truth;
  for (auto& values : result) {
    double largest = 0;
    for (double& v : values) {
      v = std::isfinite(v) ? std::abs(v) : 0;
      largest = std::max(largest, v);
    }
    if (c.options.scale == Scale::operand) values.assign(1, largest);
  }
  return result;
}

}  // namespace

Prepared prepare(const Case& c, DType dtype, std::uint64_t seed) {
  Prepared p;
  p.problem = c.bind(dtype);
  p.operands = p.problem->operands();
  p.shared = shared_buffers(p.operands, c.options);
  p.initial = draw(p.operands, c.options, seed_of(c, seed));
  bind_host(p.operands, p.initial, p.shared);
  p.problem->prepare();
  p.truth = solve(c, DType::f64, p, false);
  p.rounded = solve(c, dtype, p, false, &p.reference);
  p.scale = scales(c, p);
  return p;
}

}  // namespace gpunn::parity
