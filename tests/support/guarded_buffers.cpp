#include "tests/support/guarded_buffers.h"

#include <cstring>
#include <utility>

#include "gpunn/core/device_api.h"
#include "gpunn/core/runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

namespace gpunn::parity {
namespace {

// 0x7fc5 repeated: NaN as f16, bf16 and f32, and a number that no test expects in any other dtype.
std::uint8_t guard_byte(std::size_t i) { return i % 2 == 0 ? 0xc5 : 0x7f; }

}  // namespace

void bind_host(std::vector<Operand>& operands, Contents& contents, const std::vector<std::size_t>& shared) {
  for (std::size_t i = 0; i < operands.size(); ++i)
    *operands[i].pointer = operands[i].elements > 0 ? contents[shared[i]].data() : nullptr;
}

GuardedBuffers::GuardedBuffers(DeviceContext& context, std::vector<Operand>& operands,
                               const Contents& contents, const std::vector<std::size_t>& shared,
                               std::int64_t shift, bool poison)
    : context_(context), poison_(poison && (context.is_cpu() || context.api().info().emulated)) {
  buffer_of_.resize(operands.size());
  for (std::size_t i = 0; i < operands.size(); ++i) {
    if (shared[i] == i) {
      buffer_of_[i] = buffers_.size();
      add(bytes_of(operands[i]), contents[i].data(),
          static_cast<std::size_t>(shift) * size_of(operands[i].dtype));
    }
  }
  for (std::size_t i = 0; i < operands.size(); ++i) {
    buffer_of_[i] = buffer_of_[shared[i]];
    const Buffer& b = buffers_[buffer_of_[i]];
    *operands[i].pointer = b.bytes > 0 ? static_cast<char*>(b.memory.data()) + b.offset : nullptr;
  }
  poison_guards(true);
}

GuardedBuffers::~GuardedBuffers() { poison_guards(false); }

void* GuardedBuffers::add_workspace(std::size_t bytes) {
  if (bytes == 0) return nullptr;
  const std::vector<std::byte> poison(bytes, std::byte{0xff});
  poison_guards(false);
  add(bytes, poison.data(), 0);
  poison_guards(true);
  return static_cast<char*>(buffers_.back().memory.data()) + buffers_.back().offset;
}

void GuardedBuffers::add(std::size_t bytes, const std::byte* contents, std::size_t shift_bytes) {
  const std::size_t offset = kGuard + shift_bytes;
  std::vector<std::uint8_t> image(offset + bytes + kGuard);
  for (std::size_t i = 0; i < image.size(); ++i) image[i] = guard_byte(i);
  if (bytes > 0) std::memcpy(image.data() + offset, contents, bytes);
  Tensor memory = Tensor::from(image, {static_cast<std::int64_t>(image.size())},
                               {.dtype = DType::u8, .device = Device(context_)});
  storages_.push_back(&memory.storage());
  buffers_.push_back({std::move(memory), offset, bytes});
}

Contents GuardedBuffers::read_back(std::ptrdiff_t& broken) {
  poison_guards(false);
  broken = -1;
  std::vector<std::vector<std::byte>> by_buffer;
  for (std::size_t b = 0; b < buffers_.size(); ++b) {
    const Buffer& buffer = buffers_[b];
    const std::vector<std::uint8_t> image = buffer.memory.to_vector<std::uint8_t>();
    for (std::size_t i = 0; i < image.size() && broken < 0; ++i) {
      const bool inside = i >= buffer.offset && i < buffer.offset + buffer.bytes;
      if (!inside && image[i] != guard_byte(i)) broken = static_cast<std::ptrdiff_t>(b);
    }
    const auto* begin = reinterpret_cast<const std::byte*>(image.data()) + buffer.offset;
    by_buffer.emplace_back(begin, begin + buffer.bytes);
  }
  if (broken >= 0) {
    std::size_t operand = 0;
    while (operand < buffer_of_.size() && buffer_of_[operand] != static_cast<std::size_t>(broken)) ++operand;
    broken = static_cast<std::ptrdiff_t>(operand);
  }
  Contents contents;
  for (const std::size_t b : buffer_of_) contents.push_back(by_buffer[b]);
  return contents;
}

void GuardedBuffers::poison_guards([[maybe_unused]] bool on) {
#if defined(__SANITIZE_ADDRESS__)
  if (!poison_) return;
  if (on && !context_.is_cpu())
    context_.api().synchronize_device();  // copies into the buffers may be under way
  for (const Buffer& b : buffers_) {
    char* const begin = static_cast<char*>(b.memory.data());
    const std::size_t tail = b.offset + b.bytes;
    if (on) {
      ASAN_POISON_MEMORY_REGION(begin, b.offset);
      ASAN_POISON_MEMORY_REGION(begin + tail, kGuard);
    } else {
      ASAN_UNPOISON_MEMORY_REGION(begin, tail + kGuard);
    }
  }
#endif
}

}  // namespace gpunn::parity
