#pragma once
// What every op's .cpp starts from: argument checks in one wording, and execute() on tensors.
#include <array>
#include <cstddef>

#include "gpunn/core/autograd.h"
#include "gpunn/core/implementation.h"
#include "gpunn/core/runtime.h"
#include "gpunn/core/tensor.h"

namespace gpunn {

/// Throws InvalidArgument unless `b` has the dtype and device of `a`; `name_b` is the argument's name.
GPUNN_API void check_same(const Tensor& a, const char* name_a, const Tensor& b, const char* name_b);
/// Throws InvalidArgument unless `t` is defined and floating.
GPUNN_API void check_floating(const Tensor& t, const char* name);

/// execute() with the storages behind `reads` and `writes`; undefined tensors are skipped. The context is the
/// first write's.
template <std::size_t R, std::size_t W, class P>
void execute(const ImplementationList<P>& list, P& problem, const Tensor* const (&reads)[R],
             const Tensor* const (&writes)[W]) {
  std::array<Storage*, R> r{};
  std::array<Storage*, W> w{};
  std::size_t nr = 0, nw = 0;
  for (const Tensor* t : reads)
    if (t->defined()) r[nr++] = &t->storage();
  for (const Tensor* t : writes)
    if (t->defined()) w[nw++] = &t->storage();
  execute(list, problem, writes[0]->context(), std::span<Storage* const>(r.data(), nr),
          std::span<Storage* const>(w.data(), nw));
}

}  // namespace gpunn
