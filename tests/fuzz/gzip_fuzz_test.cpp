#include "gpunn/io/gzip.h"

#include "tests/fuzz/fuzz_loop.h"

namespace gpunn {
namespace {

using fuzz::Dice;

/// One to three members over random, repetitive or empty content.
std::string content(Dice& dice) {
  const std::size_t size = dice.one_in(64) ? dice.below(200'000) : dice.below(600);
  if (dice.one_in(2)) return std::string(size, static_cast<char>(dice.bits()));
  std::string out;
  while (out.size() < size) out += static_cast<char>(dice.bits());
  return out;
}

TEST(FuzzGzip, RefusesOrRestores) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    std::string whole;
    for (std::size_t members = 1 + dice.below(3); members > 0; --members) {
      const std::string part = content(dice);
      whole += part;
      document += as_text(gzip(as_bytes(part), dice.one_in(2) ? 1 : 6));
    }
    const bool broken = !dice.one_in(4);
    if (broken) fuzz::mutate(document, dice, {"\x1f\x8b\x08", std::string(8, '\0'), std::string(4, '\xff')});
    GzipLimits limits;
    limits.max_bytes = 1 << 20;
    const Bytes restored = gunzip(as_bytes(document), "f", limits);
    EXPECT_LE(restored.size(), limits.max_bytes);
    // What passes its check sums is what went in, unless a whole member came or went.
    if (!broken) {
      EXPECT_EQ(as_text(restored), whole);
    }
    return true;
  });
}

TEST(FuzzGzip, LimitsHold) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    const std::string bomb(dice.one_in(16) ? dice.below(400'000) : dice.below(30'000), 'x');
    document = as_text(gzip(as_bytes(bomb), 9));
    GzipLimits limits;
    limits.free_bytes = dice.below(20'000);
    limits.max_ratio = 1 + dice.below(2000);
    limits.max_bytes = dice.below(500'000);
    const std::uint64_t allowed = std::min(
        limits.max_bytes, std::max<std::uint64_t>(limits.free_bytes, document.size() * limits.max_ratio));
    try {
      EXPECT_EQ(as_text(gunzip(as_bytes(document), "f", limits)), bomb);
      EXPECT_LE(bomb.size(), allowed);
    } catch (const DataError&) {
      EXPECT_GT(bomb.size(), allowed);
      return false;
    }
    return true;
  });
}

}  // namespace
}  // namespace gpunn
