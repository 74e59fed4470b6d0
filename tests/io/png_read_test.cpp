// Reading PNG: every kind of picture against what the specification makes of its samples, and every kind of
// damage.
#include <array>
#include <cmath>
#include <functional>

#include "gpunn/core/random.h"
#include "gpunn/io/png.h"
#include "tests/io/io_testing.h"
#include "tests/io/png_maker.h"

namespace gpunn {
namespace {

using testing::deflated;
using testing::expect_data_error;
using testing::png_chunk;
using testing::PngMaker;
using testing::TemporaryFolder;

PngMaker random_picture(int colour, int depth, std::uint32_t width, std::uint32_t height,
                        std::uint64_t seed = 1) {
  PngMaker maker;
  maker.width = width;
  maker.height = height;
  maker.depth = depth;
  maker.colour = colour;
  PhiloxStream random(seed, 0);
  std::uint64_t values = std::uint64_t{1} << depth;
  if (colour == 3) {
    values = std::max<std::uint64_t>(1, values - 1);  // a palette need not have all of them
    for (std::uint64_t i = 0; i < 3 * values; ++i)
      maker.palette.push_back(static_cast<std::uint8_t>(random.below(256)));
  }
  const std::size_t count = std::size_t{width} * height * static_cast<std::size_t>(maker.per_pixel());
  for (std::size_t i = 0; i < count; ++i)
    maker.samples.push_back(static_cast<std::uint16_t>(random.below(values)));
  return maker;
}

/// A pixel as the specification has it: 0 to 1, colours and alpha.
struct Pixel {
  std::array<double, 3> colour{};
  double alpha = 1;
};

Pixel pixel_of(const PngMaker& m, std::uint32_t y, std::uint32_t x) {
  const double top = std::pow(2, m.depth) - 1;
  Pixel out;
  if (m.colour == 3) {
    const std::size_t k = m.sample(y, x, 0);
    for (std::size_t c = 0; c < 3; ++c) out.colour[c] = m.palette[3 * k + c] / 255.0;
    if (k < m.transparency.size()) out.alpha = m.transparency[k] / 255.0;
    return out;
  }
  const int colours = (m.colour & 2) != 0 ? 3 : 1;
  bool keyed = !m.transparency.empty();
  for (int c = 0; c < 3; ++c) {
    const std::uint16_t v = m.sample(y, x, std::min(c, colours - 1));
    out.colour[static_cast<std::size_t>(c)] = v / top;
    const auto at = static_cast<std::size_t>(2 * std::min(c, colours - 1));
    keyed = keyed && (m.transparency[at] << 8 | m.transparency[at + 1]) == v;
  }
  if ((m.colour & 4) != 0) out.alpha = m.sample(y, x, colours) / top;
  if (keyed) out.alpha = 0;
  return out;
}

/// Each step rounds to a byte, as the reader documents: depth, blending, grey.
Bytes expected_pixels(const PngMaker& m, int channels, int background) {
  Bytes out;
  for (std::uint32_t y = 0; y < m.height; ++y) {
    for (std::uint32_t x = 0; x < m.width; ++x) {
      const Pixel p = pixel_of(m, y, x);
      const double alpha = std::round(p.alpha * 255);
      std::array<double, 3> v;
      for (std::size_t c = 0; c < 3; ++c) {
        v[c] = std::round(p.colour[c] * 255);
        if (background >= 0) v[c] = std::floor((v[c] * alpha + background * (255 - alpha) + 127) / 255);
      }
      const bool coloured = (m.colour & 2) != 0;
      const double grey = coloured ? std::floor((299 * v[0] + 587 * v[1] + 114 * v[2] + 500) / 1000) : v[0];
      for (int c = 0; c < channels; ++c)
        out.push_back(static_cast<std::uint8_t>(channels == 1 ? grey : v[static_cast<std::size_t>(c)]));
    }
  }
  return out;
}

void expect_read(const PngMaker& maker, const std::string& what) {
  const Bytes file = maker.file();
  const bool coloured = (maker.colour & 2) != 0;
  for (const int channels : {0, 1, 3}) {
    for (const int background : {-1, 0, 200}) {
      PngOptions options{.channels = channels};
      if (background >= 0) options.background = static_cast<std::uint8_t>(background);
      const Picture picture = decode_png(file, "p.png", options);
      const int wanted = channels > 0 ? channels : coloured ? 3 : 1;
      EXPECT_EQ(picture.width, static_cast<int>(maker.width)) << what;
      EXPECT_EQ(picture.height, static_cast<int>(maker.height)) << what;
      EXPECT_EQ(picture.channels, wanted) << what;
      EXPECT_EQ(picture.pixels, expected_pixels(maker, wanted, background))
          << what << ", channels " << channels << ", background " << background;
    }
  }
}

constexpr std::pair<int, int> kKinds[] = {{0, 1}, {0, 2}, {0, 4}, {0, 8}, {0, 16}, {2, 8}, {2, 16}, {3, 1},
                                          {3, 2}, {3, 4}, {3, 8}, {4, 8}, {4, 16}, {6, 8}, {6, 16}};

TEST(PngRead, EveryKind) {
  for (const auto& [colour, depth] : kKinds) {
    for (const bool interlaced : {false, true}) {
      for (const auto& [width, height] : {std::pair{1u, 1u}, {3u, 2u}, {9u, 11u}, {1u, 9u}, {17u, 1u}}) {
        PngMaker maker = random_picture(colour, depth, width, height);
        maker.interlaced = interlaced;
        expect_read(maker, detail::concat("colour ", colour, " depth ", depth,
                                          interlaced ? " interlaced " : " ", width, "x", height));
      }
    }
  }
}

TEST(PngRead, EveryFilterAloneAndOneBigChunk) {
  for (int filter = 0; filter < 5; ++filter) {
    PngMaker maker = random_picture(2, 8, 13, 7);
    maker.filter = filter;
    maker.data_chunk = 1 << 20;
    expect_read(maker, detail::concat("filter ", filter));
  }
}

TEST(PngRead, TransparencyChunks) {
  PngMaker grey = random_picture(0, 4, 9, 9);
  grey.transparency = {0, 5};
  expect_read(grey, "grey key");
  PngMaker deep = random_picture(0, 16, 4, 4);
  deep.transparency = {static_cast<std::uint8_t>(deep.samples[3] >> 8),
                       static_cast<std::uint8_t>(deep.samples[3])};
  expect_read(deep, "16-bit key");
  PngMaker rgb = random_picture(2, 8, 5, 5);
  rgb.transparency = {0, static_cast<std::uint8_t>(rgb.samples[0]),
                      0, static_cast<std::uint8_t>(rgb.samples[1]),
                      0, static_cast<std::uint8_t>(rgb.samples[2])};
  expect_read(rgb, "RGB key");
  PngMaker palette = random_picture(3, 8, 20, 20);
  for (int i = 0; i < 100; ++i) palette.transparency.push_back(static_cast<std::uint8_t>(i * 2));
  expect_read(palette, "palette");
}

TEST(PngRead, OwnFilesComeBack) {
  const TemporaryFolder folder;
  for (const int channels : {1, 3}) {
    Picture picture{31, 18, channels, Bytes(static_cast<std::size_t>(31 * 18 * channels))};
    for (std::size_t i = 0; i < picture.pixels.size(); ++i)
      picture.pixels[i] = static_cast<std::uint8_t>(i * 89 + i / 5);
    write_png(folder.file("a.png"), picture);
    const Picture back = read_png(folder.file("a.png"));
    EXPECT_EQ(back.channels, channels);
    EXPECT_EQ(back.pixels, picture.pixels);
  }
  expect_data_error([&] { read_png(folder.file("none.png")); }, {"none.png"});
}

TEST(PngRead, AncillaryChunksAreSkipped) {
  // Compressed text that would grow to a megabyte, a colour profile that is none, an unknown chunk.
  const PngMaker maker = random_picture(2, 8, 6, 5);
  std::vector<Bytes> chunks = maker.chunks();
  Bytes text = {'k', 0, 0};
  const Bytes packed = deflated(Bytes(1 << 20, 'x'));
  text.insert(text.end(), packed.begin(), packed.end());
  chunks.insert(chunks.begin() + 1, {png_chunk("zTXt", text), png_chunk("iCCP", {'n', 0, 0, 9, 9, 9}),
                                     png_chunk("gAMA", {0, 0, 0, 1}), png_chunk("prVt", Bytes(77))});
  chunks.insert(chunks.end() - 1, png_chunk("tIME", Bytes(3)));
  const Picture picture = decode_png(PngMaker::file_of(chunks), "p.png");
  EXPECT_EQ(picture.pixels, expected_pixels(maker, 3, -1));
}

TEST(PngRead, WrongOptionsAreRefused) {
  const Bytes file = random_picture(0, 8, 2, 2).file();
  EXPECT_THROW(decode_png(file, "p.png", {.channels = 2}), InvalidArgument);
  EXPECT_THROW(decode_png(file, "p.png", {.channels = 4}), InvalidArgument);
  EXPECT_THROW(decode_png(file, "p.png", {.max_side = 0}), InvalidArgument);
}

// ---------------------------------------------------------------- damage

TEST(PngDamage, EveryTruncation) {
  for (const bool interlaced : {false, true}) {
    PngMaker maker = random_picture(3, 4, 9, 9);
    maker.interlaced = interlaced;
    const Bytes file = maker.file();
    for (std::size_t size = 0; size < file.size(); ++size)
      expect_data_error([&] { decode_png(std::span(file).first(size), "cut.png"); }, {"cut.png: ", "offset"},
                        detail::concat("first ", size, " bytes"));
  }
}

TEST(PngDamage, EveryBit) {
  // Signature, lengths, names, data and check sums: no single bit may change unseen.
  const Bytes file = random_picture(2, 8, 4, 4).file();
  for (std::size_t bit = 0; bit < 8 * file.size(); ++bit) {
    Bytes damaged = file;
    damaged[bit / 8] = static_cast<std::uint8_t>(damaged[bit / 8] ^ 1 << bit % 8);
    expect_data_error([&] { decode_png(damaged, "bit.png"); }, {"bit.png: ", "offset"},
                      detail::concat("bit ", bit));
  }
}

TEST(PngDamage, EveryBitOfThePixelsBehindRightCheckSums) {
  const PngMaker maker = random_picture(0, 8, 8, 8);
  const Bytes file = maker.file(), pixels = expected_pixels(maker, 1, -1);
  int accepted = 0;
  for (std::size_t bit = 8 * 41; bit < 8 * (file.size() - 16); ++bit) {
    Bytes damaged = file;
    damaged[bit / 8] = static_cast<std::uint8_t>(damaged[bit / 8] ^ 1 << bit % 8);
    testing::repair_check_sums(damaged);
    try {
      // Bits that deflate leaves unused carry nothing.
      EXPECT_EQ(decode_png(damaged, "bit.png").pixels, pixels) << "bit " << bit;
      ++accepted;
    } catch (const DataError&) {
    }
  }
  EXPECT_LT(accepted, 80);  // also the check sums' own bits, which are repaired: 32 a chunk
}

struct Damaged {
  std::string name;
  Bytes file;
  std::vector<std::string> parts;
};

using Chunks = std::vector<Bytes>;

Bytes with(const PngMaker& maker, const std::function<void(Chunks&)>& change) {
  Chunks chunks = maker.chunks();
  change(chunks);
  return PngMaker::file_of(chunks);
}

Bytes with_header(std::size_t byte, std::uint8_t value) {
  return with(random_picture(2, 8, 4, 4), [&](Chunks& chunks) {
    Bytes header(chunks[0].begin() + 8, chunks[0].end() - 4);
    header[byte] = value;
    chunks[0] = png_chunk("IHDR", header);
  });
}

/// The picture with other compressed rows.
Bytes with_rows(const PngMaker& maker, const std::function<void(Bytes&)>& change, std::size_t cut = 0) {
  Bytes rows = maker.rows();
  change(rows);
  Bytes data = deflated(rows);
  data.resize(data.size() - cut);
  return with(maker, [&](Chunks& chunks) {
    while (chunks.size() > 2) chunks.erase(chunks.begin() + 1);
    chunks.insert(chunks.begin() + 1, png_chunk("IDAT", data));
    if (!maker.palette.empty()) chunks.insert(chunks.begin() + 1, png_chunk("PLTE", maker.palette));
  });
}

auto erase(std::size_t i) {
  return [i](Chunks& c) { c.erase(c.begin() + static_cast<std::ptrdiff_t>(i)); };
}
auto insert(std::size_t i, Bytes chunk) {
  return [i, chunk = std::move(chunk)](Chunks& c) {
    c.insert(c.begin() + static_cast<std::ptrdiff_t>(i), chunk);
  };
}
auto replace(std::size_t i, Bytes chunk) {
  return [i, chunk = std::move(chunk)](Chunks& c) { c[i] = chunk; };
}

void add_chunk_cases(std::vector<Damaged>& out) {
  const PngMaker rgb = random_picture(2, 8, 4, 4);
  out.push_back({"empty", {}, {"signature", "offset 0"}});
  out.push_back({"text", testing::bytes_of("this is no picture at all"), {"signature", "offset 0"}});
  out.push_back({"JPEG", {0xff, 0xd8, 0xff, 0xe0, 0, 16, 'J', 'F', 'I', 'F', 0}, {"signature", "offset 0"}});
  out.push_back({"line ends changed",
                 [&] {
                   Bytes f = rgb.file();
                   f.erase(f.begin() + 4);
                   return f;
                 }(),
                 {"signature"}});
  out.push_back({"signature alone", PngMaker::file_of({}), {"ends early", "offset 8"}});
  out.push_back({"no header", with(rgb, erase(0)), {"IHDR", "offset 8", "IDAT"}});
  out.push_back(
      {"short header", with(rgb, replace(0, png_chunk("IHDR", Bytes(12, 1)))), {"IHDR", "13 bytes", "12"}});
  out.push_back({"long header", with(rgb, replace(0, png_chunk("IHDR", Bytes(14, 1)))), {"IHDR", "14"}});
  out.push_back({"two headers",
                 with(rgb, insert(1, png_chunk("IHDR", rgb.header()))),
                 {"IHDR", "second time", "offset 33"}});
  out.push_back({"no pixels",
                 PngMaker::file_of({png_chunk("IHDR", rgb.header()), png_chunk("IEND", {})}),
                 {"no chunk IDAT", "offset 33"}});
  out.push_back({"no end", with(rgb, [](Chunks& c) { c.pop_back(); }), {"ends early"}});
  out.push_back(
      {"end with bytes", with(rgb, [](Chunks& c) { c.back() = png_chunk("IEND", {1}); }), {"IEND"}});
  out.push_back({"bytes after the end",
                 with(rgb, [](Chunks& c) { c.push_back({1, 2, 3}); }),
                 {"IEND", "3 more bytes"}});
  out.push_back(
      {"pixels apart", with(rgb, insert(2, png_chunk("tEXt", {'a', 0, 'b'}))), {"IDAT", "second time"}});
  out.push_back(
      {"unknown critical chunk", with(rgb, insert(1, png_chunk("ABCD", {1}))), {"ABCD", "offset 33"}});
  out.push_back(
      {"name of digits", with(rgb, insert(1, png_chunk("12CD", {1}))), {"four letters", "offset 37"}});
}

void add_palette_cases(std::vector<Damaged>& out) {
  const PngMaker rgb = random_picture(2, 8, 4, 4), indexed = random_picture(3, 2, 4, 4),
                 grey = random_picture(0, 8, 4, 4);
  out.push_back({"no palette", with(indexed, erase(1)), {"no chunk PLTE"}});
  out.push_back({"two palettes",
                 with(indexed, insert(1, png_chunk("PLTE", indexed.palette))),
                 {"PLTE", "second time"}});
  out.push_back(
      {"palette of 4 bytes", with(indexed, replace(1, png_chunk("PLTE", Bytes(4)))), {"PLTE", "4 bytes"}});
  out.push_back({"empty palette", with(indexed, replace(1, png_chunk("PLTE", {}))), {"PLTE", "0 bytes"}});
  out.push_back({"palette too long for 2 bits",
                 with(indexed, replace(1, png_chunk("PLTE", Bytes(15)))),
                 {"PLTE", "1 to 4"}});
  out.push_back(
      {"palette of 257", with(rgb, insert(1, png_chunk("PLTE", Bytes(771)))), {"PLTE", "1 to 256"}});
  out.push_back({"palette in grey", with(grey, insert(1, png_chunk("PLTE", Bytes(6)))), {"PLTE", "grey"}});
  out.push_back({"palette after pixels",
                 with(rgb, [](Chunks& c) { c.insert(c.end() - 1, png_chunk("PLTE", Bytes(3))); }),
                 {"PLTE", "after the pixels"}});
  out.push_back({"transparency after pixels",
                 with(rgb, [](Chunks& c) { c.insert(c.end() - 1, png_chunk("tRNS", Bytes(6))); }),
                 {"tRNS", "after the pixels"}});
  out.push_back(
      {"transparency too long", with(indexed, insert(2, png_chunk("tRNS", Bytes(4)))), {"tRNS", "palette"}});
  out.push_back(
      {"transparency before palette", with(indexed, insert(1, png_chunk("tRNS", Bytes(2)))), {"tRNS"}});
  out.push_back({"transparency of grey in RGB",
                 with(rgb, insert(1, png_chunk("tRNS", Bytes(2)))),
                 {"tRNS", "colour type 2"}});
  out.push_back({"transparency beside alpha",
                 with(random_picture(6, 8, 2, 2), insert(1, png_chunk("tRNS", Bytes(6)))),
                 {"tRNS", "colour type 6"}});
  out.push_back({"length beyond the file",
                 [&] {
                   Bytes f = rgb.file();
                   f[33] = 0x10;
                   return f;
                 }(),
                 {"IDAT", "ends early", "offset 33"}});
  out.push_back({"length with the top bit",
                 [&] {
                   Bytes f = rgb.file();
                   f[33] = 0xff;
                   return f;
                 }(),
                 {"IDAT", "offset 33"}});
  out.push_back({"header's check sum",
                 [&] {
                   Bytes f = rgb.file();
                   f[30] ^= 1;
                   return f;
                 }(),
                 {"IHDR", "check sum", "offset 8"}});
  out.push_back({"end's check sum",
                 [&] {
                   Bytes f = rgb.file();
                   f.back() ^= 1;
                   return f;
                 }(),
                 {"IEND", "check sum"}});
}

void add_header_cases(std::vector<Damaged>& out) {
  out.push_back({"width 0", with_header(3, 0), {"IHDR", "0 x 4", "offset 16"}});
  out.push_back({"height 0", with_header(7, 0), {"IHDR", "4 x 0"}});
  out.push_back({"width 2^31 and more", with_header(0, 0x80), {"at most 16384"}});
  out.push_back({"height 2^24 and more", with_header(4, 1), {"at most 16384"}});
  for (const int depth : {0, 1, 2, 3, 4, 7, 9, 15, 17, 32, 255})
    out.push_back({detail::concat("RGB of depth ", depth),
                   with_header(8, static_cast<std::uint8_t>(depth)),
                   {"IHDR", "bits a channel", "offset 24"}});
  for (const int colour : {1, 5, 7, 8, 255})
    out.push_back({detail::concat("colour type ", colour),
                   with_header(9, static_cast<std::uint8_t>(colour)),
                   {"IHDR", "colour type"}});
  out.push_back({"compression 1", with_header(10, 1), {"IHDR", "compression", "offset 26"}});
  out.push_back({"filter method 64", with_header(11, 64), {"IHDR", "filter"}});
  out.push_back({"interlacing 2", with_header(12, 2), {"IHDR", "interlacing"}});
  // More or fewer pixels than there are.
  out.push_back({"taller than its pixels", with_header(7, 5), {"pixels", "offset"}});
  out.push_back({"lower than its pixels", with_header(7, 3), {"pixels", "offset"}});
  out.push_back({"wider than its pixels", with_header(3, 5), {"pixels", "offset"}});
  out.push_back({"16 bits of 8", with_header(8, 16), {"pixels", "offset"}});
}

void add_data_cases(std::vector<Damaged>& out) {
  const PngMaker rgb = random_picture(2, 8, 4, 4), indexed = random_picture(3, 2, 4, 4);
  const auto same = [](Bytes&) {};
  out.push_back({"filter 5", with_rows(rgb, [](Bytes& r) { r[0] = 5; }), {"pixels", "filter"}});
  out.push_back(
      {"filter 255 in the last row", with_rows(rgb, [](Bytes& r) { r[39] = 255; }), {"pixels", "filter"}});
  out.push_back({"a byte too few", with_rows(rgb, [](Bytes& r) { r.pop_back(); }), {"pixels"}});
  out.push_back({"a byte too many", with_rows(rgb, [](Bytes& r) { r.push_back(0); }), {"pixels"}});
  out.push_back({"no rows", with_rows(rgb, [](Bytes& r) { r.clear(); }), {"pixels"}});
  out.push_back({"a megabyte too many", with_rows(rgb, [](Bytes& r) { r.resize(1 << 20); }), {"pixels"}});
  out.push_back({"stream without its check sum", with_rows(rgb, same, 4), {"pixels"}});
  out.push_back({"stream without its end", with_rows(rgb, same, 12), {"pixels"}});
  out.push_back({"empty stream", with_rows(rgb, same, deflated(rgb.rows()).size()), {"pixels"}});
  out.push_back({"no zlib data",
                 with(rgb, [](Chunks& c) { c = {c.front(), png_chunk("IDAT", Bytes(60, 0xaa)), c.back()}; }),
                 {"pixels"}});
  out.push_back({"index beyond the palette",
                 with_rows(indexed, [](Bytes& r) { r = {0, 0xff, 0, 0xff, 0, 0xff, 0, 0xff}; }),
                 {"palette"}});
}

TEST(PngDamage, NamesChunkAndOffset) {
  std::vector<Damaged> cases;
  add_chunk_cases(cases);
  add_palette_cases(cases);
  add_header_cases(cases);
  add_data_cases(cases);
  EXPECT_GE(cases.size(), 60u);
  for (const Damaged& damaged : cases) {
    expect_data_error([&] { decode_png(damaged.file, "dir/bad.png"); }, {"dir/bad.png: "}, damaged.name);
    for (const std::string& part : damaged.parts)
      expect_data_error([&] { decode_png(damaged.file, "dir/bad.png"); }, {part}, damaged.name);
  }
}

TEST(PngDamage, LimitsHoldBeforeAnythingIsDecoded) {
  PngMaker page = random_picture(0, 1, 800, 600);
  page.samples.assign(page.samples.size(), 1);
  page.data_chunk = 1 << 20;
  const Bytes file = page.file();  // 480,000 pixels in some 500 bytes
  ASSERT_LT(file.size(), 600u);
  EXPECT_EQ(decode_png(file, "p.png").pixels, Bytes(480'000, 255));
  EXPECT_EQ(decode_png(file, "p.png", {.free_bytes = 480'000, .max_ratio = 1}).pixels.size(), 480'000u);
  expect_data_error([&] { decode_png(file, "p.png", {.free_bytes = 479'999, .max_ratio = 1}); },
                    {"480000 bytes", "limit of 479999", "IHDR"});
  // RGB of a grey file needs three times as much.
  expect_data_error(
      [&] { decode_png(file, "p.png", {.channels = 3, .free_bytes = 480'000, .max_ratio = 1}); },
      {"1440000 bytes"});
  const std::uint64_t ratio = 480'000 / file.size() + 1;
  EXPECT_NO_THROW(decode_png(file, "p.png", {.free_bytes = 0, .max_ratio = ratio}));
  expect_data_error([&] { decode_png(file, "p.png", {.free_bytes = 0, .max_ratio = ratio - 1}); }, {"limit"});
  expect_data_error([&] { decode_png(file, "p.png", {.max_side = 799}); }, {"at most 799", "800 x 600"});
  EXPECT_NO_THROW(decode_png(file, "p.png", {.max_side = 800}));
}

}  // namespace
}  // namespace gpunn
