#include "gpunn/io/idx.h"

#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

std::string idx_document(Dice& dice) {
  const std::vector<std::uint8_t> types = {8, 9, 11, 12, 13, 14};
  const std::vector<std::size_t> sizes = {1, 1, 2, 4, 4, 8};
  const std::size_t t = dice.below(types.size()), rank = 1 + dice.below(8);
  std::string out = {0, 0, static_cast<char>(types[t]), static_cast<char>(rank)};
  std::size_t elements = 1;
  for (std::size_t i = 0; i < rank; ++i) {
    // Mostly small; now and then an extent that only a broken reader would believe.
    const std::uint64_t extent = dice.one_in(40) ? fuzz::edge_number(dice) : dice.below(5);
    for (int shift = 24; shift >= 0; shift -= 8) out += static_cast<char>(extent >> shift);
    elements *= static_cast<std::size_t>(extent & 0xffffffff);
    elements = std::min<std::size_t>(elements, 4096);
  }
  for (std::size_t i = 0; i < elements * sizes[t]; ++i) out += static_cast<char>(dice.bits());
  return out;
}

TEST(FuzzIdx, RefusesOrReads) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    document = idx_document(dice);
    if (!dice.one_in(4))
      fuzz::mutate(document, dice, {std::string("\0\0\x08\x01", 4), std::string(4, '\xff'), "\x08"});
    const IdxArray array = parse_idx(as_bytes(document), "f");
    EXPECT_EQ(array.data.size(), checked_bytes(array.shape, array.dtype));
    EXPECT_TRUE(array.shape.rank() >= 1 && array.shape.rank() <= 8);
    if (dice.one_in(16)) {
      EXPECT_EQ(array.to_tensor().shape(), array.shape);
    }
    return true;
  });
}

TEST(FuzzIdx, RefusesOrReadsCompressed) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    // Damage inside the compressed stream and inside the document it holds.
    std::string inner = idx_document(dice);
    if (dice.one_in(2)) fuzz::mutate(inner, dice, {"\x08"});
    document = as_text(gzip(as_bytes(inner), 1));
    if (dice.one_in(2)) fuzz::mutate(document, dice, {"\x1f\x8b"});
    const Bytes plain = gunzip(as_bytes(document), "f");
    const IdxArray array = parse_idx(plain, "f");
    EXPECT_EQ(array.data.size(), checked_bytes(array.shape, array.dtype));
    return true;
  });
}

}  // namespace
}  // namespace gpunn
