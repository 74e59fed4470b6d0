#include "gpunn/io/png.h"

#include "tests/fuzz/fuzz_loop.h"
#include "tests/io/png_maker.h"

namespace gpunn {
namespace {

using fuzz::Dice;
using testing::PngMaker;

PngMaker picture(Dice& dice) {
  constexpr int kKinds[][2] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                               {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};
  PngMaker maker;
  const auto& kind = kKinds[dice.below(std::size(kKinds))];
  maker.colour = kind[0];
  maker.depth = kind[1];
  maker.width = static_cast<std::uint32_t>(1 + dice.below(12));
  maker.height = static_cast<std::uint32_t>(1 + dice.below(12));
  maker.interlaced = dice.one_in(3);
  maker.data_chunk = 1 + dice.below(200);
  const std::size_t values = std::size_t{1} << maker.depth;
  if (maker.colour == 3)
    for (std::size_t i = 0; i < 3 * values; ++i)
      maker.palette.push_back(static_cast<std::uint8_t>(dice.bits()));
  if (dice.one_in(3) && maker.colour < 4)
    maker.transparency.resize(maker.colour == 0 ? 2 : maker.colour == 2 ? 6 : 1 + dice.below(values));
  const std::size_t count =
      std::size_t{maker.width} * maker.height * static_cast<std::size_t>(maker.per_pixel());
  for (std::size_t i = 0; i < count; ++i)
    maker.samples.push_back(static_cast<std::uint16_t>(dice.below(values)));
  return maker;
}

TEST(FuzzPng, RefusesOrReads) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    const PngMaker maker = picture(dice);
    document = as_text(maker.file());
    const bool broken = !dice.one_in(4);
    if (broken) {
      fuzz::mutate(
          document, dice,
          {"IDAT", "PLTE", "tRNS", std::string("\0\0\0\0IEND\xae\x42\x60\x82", 12), std::string(4, '\xff')});
      Bytes repaired(document.begin(), document.end());
      // Else hardly anything would pass the check sums.
      if (!dice.one_in(4)) testing::repair_check_sums(repaired);
      document = as_text(repaired);
    }
    PngOptions options;
    options.channels = std::vector<int>{0, 1, 3}[dice.below(3)];
    if (dice.one_in(2)) options.background = static_cast<std::uint8_t>(dice.bits());
    const Picture picture = decode_png(as_bytes(document), "f", options);
    EXPECT_TRUE(picture.channels == 1 || picture.channels == 3);
    EXPECT_EQ(picture.pixels.size(), static_cast<std::size_t>(picture.width) *
                                         static_cast<std::size_t>(picture.height) *
                                         static_cast<std::size_t>(picture.channels));
    if (!broken) {
      EXPECT_EQ(picture.width, static_cast<int>(maker.width));
      EXPECT_EQ(picture.height, static_cast<int>(maker.height));
    }
    return true;
  });
}

// Large blank pictures and sides that lie: what is not within the limits takes no memory.
TEST(FuzzPng, BombsTakeNoMemory) {
  fuzz::fuzz_loop([](Dice& dice, std::string& document) {
    PngMaker maker;
    maker.colour = dice.one_in(2) ? 6 : 0;
    maker.depth = maker.colour == 6 ? 16 : 8;
    const auto side = [&] {
      return static_cast<std::uint32_t>(dice.one_in(3) ? fuzz::edge_number(dice) : 1 + dice.below(100));
    };
    maker.width = maker.height = 1;
    maker.samples.resize(4);
    Bytes rows(dice.below(100'000));
    maker.width = side();
    maker.height = side();
    document = as_text(PngMaker::file_of({testing::png_chunk("IHDR", maker.header()),
                                          testing::png_chunk("IDAT", testing::deflated(rows)),
                                          testing::png_chunk("IEND", {})}));
    const bool fits =
        maker.width >= 1 && maker.height >= 1 && maker.width <= 100 && maker.height <= 100 &&
        std::uint64_t{maker.height} * (std::uint64_t{maker.width} * (maker.colour == 6 ? 8 : 1) + 1) ==
            rows.size();
    if (!fits && dice.one_in(2) && maker.width - 1 < 100 && maker.height - 1 < 100) {
      rows.resize(std::size_t{maker.height} * (std::size_t{maker.width} * (maker.colour == 6 ? 8 : 1) + 1));
      document = as_text(PngMaker::file_of({testing::png_chunk("IHDR", maker.header()),
                                            testing::png_chunk("IDAT", testing::deflated(rows)),
                                            testing::png_chunk("IEND", {})}));
    }
    const Picture picture = decode_png(as_bytes(document), "f");
    EXPECT_EQ(picture.width, static_cast<int>(maker.width));
    return true;
  });
}

}  // namespace
}  // namespace gpunn
