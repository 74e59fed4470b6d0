#pragma once
// Operands of recurrent problems.
#include <utility>
#include <vector>

#include "gpunn/core/implementation.h"

namespace gpunn::detail {

/// Operands of one problem; what is absent has no elements.
class RnnOperands {
 public:
  explicit RnnOperands(DType dtype) : dtype_(dtype) {}
  void in(const char* name, const void*& pointer, std::int64_t elements) {
    list_.push_back({name, const_cast<void**>(&pointer), dtype_, elements, Role::in});
  }
  void out(const char* name, void*& pointer, std::int64_t elements) {
    list_.push_back({name, &pointer, dtype_, elements, Role::out});
  }
  void rows(const std::int64_t*& first_row, std::int64_t T) {
    list_.push_back({"first_row", reinterpret_cast<void**>(const_cast<std::int64_t**>(&first_row)),
                     DType::i64, first_row ? T + 1 : 0, Role::in});
  }
  std::vector<Operand> list() && { return std::move(list_); }

 private:
  DType dtype_;
  std::vector<Operand> list_;
};

inline double bytes_of(const std::vector<Operand>& list) {
  double bytes = 0;
  for (const Operand& o : list)
    bytes += static_cast<double>(o.elements) * static_cast<double>(size_of(o.dtype));
  return bytes;
}

}  // namespace gpunn::detail
