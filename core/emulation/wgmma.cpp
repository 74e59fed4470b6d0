// wgmma.mma_async with bf16 operands: shared-memory descriptors, groups, late accumulators.
//
// The descriptor formulas agree with CuTe's layout algebra for all eight modes (K- and MN-major; none, 32, 64
// and 128 bytes of swizzle; 8,192 addresses each, compared once with the library's headers).

#include <bit>
#include <cstring>

#include "gpunn/core/emulation/engine.h"
#include "gpunn/core/emulation/worker.h"

namespace gpunn::emu {
namespace {

float bf16_value(std::uint32_t word, int which) {
  return std::bit_cast<float>((word >> (16 * which) & 0xffffu) << 16);
}

float load_element(std::uint64_t descriptor, int mn, int k, bool transposed) {
  const std::uint32_t offset = descriptor_address(descriptor, mn, k, transposed);
  if (offset + 2 > kArenaBytes) context.worker->fail("wgmma descriptor points outside shared memory");
  note_read(context.arena + offset, 2);
  std::uint16_t bits = 0;
  std::memcpy(&bits, context.arena + offset, 2);
  return bf16_value(bits, 0);
}

// Row and first column of a thread's accumulators: PTX ISA, "Register fragments for wgmma", D matrix.
int accumulator_row(int thread) { return thread / 32 * 16 + thread % 32 / 4; }
int accumulator_column(int thread) { return thread % 4 * 2; }

void load_a(const WarpgroupProduct& product, Worker::ProductScratch& scratch) {
  const WgmmaOperands& o = product.operands;
  for (int m = 0; m < 64; ++m)
    for (int k = 0; k < 16; ++k) {
      if (product.a_registers[0] == nullptr) {
        scratch.a[m][k] = load_element(o.a_descriptor, m, k, o.a_transposed);
        continue;
      }
      const int thread = m / 16 * 32 + m % 8 * 4 + k % 8 / 2, word = m % 16 / 8 + 2 * (k / 8);
      scratch.a[m][k] = bf16_value(product.a_registers[static_cast<std::size_t>(thread)][word], k & 1);
    }
}

template <class Function>
void for_accumulators(const WarpgroupProduct& product, Function function) {
  for (int thread = 0; thread < static_cast<int>(kWarpgroupThreads); ++thread)
    for (int block = 0; block < product.operands.n / 8; ++block)
      for (int e = 0; e < 4; ++e)
        function(product.d[static_cast<std::size_t>(thread)][block * 4 + e],
                 accumulator_row(thread) + 8 * (e >> 1), block * 8 + accumulator_column(thread) + (e & 1));
}

void perform(const WarpgroupProduct& product, char* done_edge) {
  Worker& worker = *context.worker;
  const EngineScope engine(Engine::tensor_core);
  edge_acquire(&worker.proxy_edge);
  edge_acquire(&worker.async_edge);
  Worker::ProductScratch& s = worker.product;
  const WgmmaOperands& o = product.operands;
  load_a(product, s);
  for (int n = 0; n < o.n; ++n)
    for (int k = 0; k < 16; ++k) s.b[k][n] = load_element(o.b_descriptor, n, k, o.b_transposed);
  for_accumulators(product,
                   [&](float& d, int row, int column) { s.c[row][column] = o.accumulate ? d : 0.0f; });
  for (int m = 0; m < 64; ++m)
    for (int k = 0; k < 16; ++k)
      for (int n = 0; n < o.n; ++n) s.c[m][n] += s.a[m][k] * s.b[k][n];
  for_accumulators(product, [&](float& d, int row, int column) { d = s.c[row][column]; });
  edge_release(done_edge);
}

Warpgroup& this_warpgroup() {
  Worker& worker = *context.worker;
  if (context.fast) worker.leave_fast_path();
  const unsigned number = context.thread.linear / kWarpgroupThreads;
  if ((number + 1) * kWarpgroupThreads > worker.threads)
    worker.fail("wgmma in a warpgroup of fewer than 128 threads");
  return worker.warpgroups[number];
}

void check_descriptors(const Warpgroup& group, bool a_in_registers) {
  for (const auto& descriptors : group.descriptors)
    if (descriptors[1] != group.descriptors[0][1] ||
        (!a_in_registers && descriptors[0] != group.descriptors[0][0]))
      context.worker->fail("wgmma descriptors differ inside a warpgroup");
}

}  // namespace

std::uint32_t descriptor_address(std::uint64_t descriptor, int mn_index, int k_index, bool transposed) {
  static constexpr std::uint32_t kRowBytes[] = {16, 128, 64, 32}, kRowBits[] = {0, 7, 3, 1};
  const auto field = [&](int shift) { return static_cast<std::uint32_t>(descriptor >> shift & 0x3fff) << 4; };
  const std::uint32_t start = field(0), leading = field(16), stride = field(32);
  const auto mode = static_cast<std::size_t>(descriptor >> 62);
  const auto mn = static_cast<std::uint32_t>(mn_index), k = static_cast<std::uint32_t>(k_index);
  const std::uint32_t row = kRowBytes[mode], columns = row / 2;
  std::uint32_t address = start;
  if (mode == 0) {  // 8x8 core matrices of 128 contiguous bytes
    const std::uint32_t outer = transposed ? k : mn, inner = transposed ? mn : k;
    address += mn / 8 * stride + k / 8 * leading + outer % 8 * 16 + inner % 8 * 2;
  } else if (!transposed) {
    address += mn / 8 * stride + mn % 8 * row + k * 2;
  } else {
    address += mn / columns * leading + k / 8 * stride + k % 8 * row + mn % columns * 2;
  }
  return address ^ ((address >> 7) & kRowBits[mode]) << 4;
}

void fence_proxy_async() { edge_release(&context.worker->proxy_edge); }

void wgmma(float* d, const WgmmaOperands& operands) {
  Warpgroup& group = this_warpgroup();
  const unsigned thread = context.thread.linear % kWarpgroupThreads;
  if (group.barrier.arrived == 0) {
    const TsanQuiet quiet;
    group.pending.emplace_back();
  }
  WarpgroupProduct& product = group.pending.back();
  product.d[thread] = d;
  product.a_registers[thread] = operands.a_registers;
  group.descriptors[thread] = {operands.a_descriptor, operands.b_descriptor};
  if (group.barrier.arrived + 1 == kWarpgroupThreads) {
    check_descriptors(group, operands.a_registers != nullptr);
    product.operands = operands;
    if (context.worker->settings.async == Async::early) {
      perform(product, &group.done_edge);
      group.pending.pop_back();
    }
  }
  wait_at(group.barrier, kWarpgroupThreads, Wait::warpgroup);
}

void wgmma_commit() {
  Warpgroup& group = this_warpgroup();
  if (context.thread.linear % kWarpgroupThreads == 0) {
    const TsanQuiet quiet;
    group.groups.push_back(group.pending.size());
  }
  wait_at(group.barrier, kWarpgroupThreads, Wait::warpgroup);
}

void wgmma_wait(unsigned groups_left) {
  Warpgroup& group = this_warpgroup();
  wait_at(group.barrier, kWarpgroupThreads, Wait::warpgroup);
  if (group.groups.size() > groups_left) {  // the first thread to get here does it for all
    const std::size_t groups = group.groups.size() - groups_left, products = group.groups[groups - 1];
    for (std::size_t i = 0; i < products; ++i) perform(group.pending[i], &group.done_edge);
    const TsanQuiet quiet;
    group.pending.erase(group.pending.begin(), group.pending.begin() + static_cast<std::ptrdiff_t>(products));
    group.groups.erase(group.groups.begin(), group.groups.begin() + static_cast<std::ptrdiff_t>(groups));
    for (std::size_t& end : group.groups) end -= products;
  }
  edge_acquire(&group.done_edge);
}

}  // namespace gpunn::emu
