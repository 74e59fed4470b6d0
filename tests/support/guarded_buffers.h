#pragma once
// Operands of a problem on a device, each between guards, and the host copies they start from.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gpunn/core/implementation.h"
#include "gpunn/core/tensor.h"

namespace gpunn::parity {

/// Contents of each operand, in the order of operands().
using Contents = std::vector<std::vector<std::byte>>;

/// Bytes of the operand's buffer.
inline std::size_t bytes_of(const Operand& o) {
  return static_cast<std::size_t>(o.elements) * size_of(o.dtype);
}

/// Points the operands at `contents`; `shared[i]` is the operand whose buffer operand i uses (itself
/// normally).
void bind_host(std::vector<Operand>& operands, Contents& contents, const std::vector<std::size_t>& shared);

/// Copies of the operands and a poisoned workspace on a device, 256 guard bytes on either side. Guard bytes
/// read as NaN in every floating dtype; under AddressSanitizer touching them is reported (devices whose
/// memory the host can see).
class GuardedBuffers {
 public:
  static constexpr std::size_t kGuard = 256;

  GuardedBuffers(DeviceContext& context, std::vector<Operand>& operands, const Contents& contents,
                 const std::vector<std::size_t>& shared, std::int64_t shift, bool poison);
  ~GuardedBuffers();
  GuardedBuffers(const GuardedBuffers&) = delete;
  GuardedBuffers& operator=(const GuardedBuffers&) = delete;

  /// Adds the workspace; returns its address (null for 0 bytes).
  void* add_workspace(std::size_t bytes);
  /// Storages that the problem reads and writes.
  const std::vector<Storage*>& storages() const noexcept { return storages_; }

  /// What is on the device now. `broken` receives the index of the first buffer whose guard changed, else -1;
  /// the workspace has index operands.size().
  Contents read_back(std::ptrdiff_t& broken);

 private:
  struct Buffer {
    Tensor memory;  // u8: guard, shift, contents, guard
    std::size_t offset, bytes;
  };
  void add(std::size_t bytes, const std::byte* contents, std::size_t shift_bytes);
  void poison_guards(bool on);

  DeviceContext& context_;
  std::vector<Buffer> buffers_;
  std::vector<std::size_t> buffer_of_;  // by operand
  std::vector<Storage*> storages_;
  bool poison_;
};

}  // namespace gpunn::parity
