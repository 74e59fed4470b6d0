#include <cstring>

#include "gpunn/io/json_writer.h"
#include "gpunn/io/safetensors.h"
#include "tests/fuzz/fuzz_loop.h"
#include "tests/io/io_testing.h"

namespace gpunn {
namespace {

using fuzz::Dice;

const std::vector<std::string> kTypes = {"F32",  "F64", "F16", "BF16", "I32", "I64", "U8",
                                         "BOOL", "I8",  "U16", "F4",   "C64", "X1"};
const std::vector<std::string> kWords = {"{",
                                         "}",
                                         "[",
                                         "]",
                                         ":",
                                         ",",
                                         "\"",
                                         "\"dtype\":",
                                         "\"shape\":",
                                         "\"data_offsets\":",
                                         "\"__metadata__\":{\"a\":\"b\"},",
                                         "\"F32\"",
                                         "null",
                                         "-1",
                                         "1.0",
                                         "[0,0]",
                                         " ",
                                         std::string(1, '\0'),
                                         "\xff"};

std::size_t bits_of(const std::string& type) {
  const std::vector<std::size_t> bits = {32, 64, 16, 16, 32, 64, 8, 8, 8, 16, 4, 64, 8};
  return bits[static_cast<std::size_t>(std::find(kTypes.begin(), kTypes.end(), type) - kTypes.begin())];
}

/// A document whose header is mostly right: now and then an offset, extent or key is not.
std::string document_of(Dice& dice) {
  JsonWriter json;
  json.begin_object();
  if (dice.one_in(3)) {
    json.key("__metadata__").begin_object().field("k", "v");
    if (dice.one_in(2)) json.field("é\n", "\"");
    json.end_object();
  }
  std::uint64_t reached = 0;
  for (std::size_t i = dice.below(5); i > 0; --i) {
    const std::string& type = dice.pick(kTypes);
    std::vector<std::uint64_t> shape;
    std::uint64_t elements = 1;
    for (std::size_t d = dice.below(4); d > 0; --d) {
      shape.push_back(dice.one_in(60) ? fuzz::edge_number(dice) : dice.below(5));
      elements *= shape.back();
    }
    std::uint64_t end = reached + elements * bits_of(type) / 8;
    if (dice.one_in(40)) end = fuzz::edge_number(dice);
    json.key(dice.one_in(40) ? "t" : "t" + std::to_string(i))
        .begin_object()
        .field("dtype", type)
        .field("shape", shape);
    json.field("data_offsets", std::vector<std::uint64_t>{reached, end}).end_object();
    reached = end;
  }
  const std::string header = json.end_object().take() + std::string(dice.below(9), ' ');
  std::uint64_t length = header.size();
  if (dice.one_in(60)) length = fuzz::edge_number(dice);
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  out += header;
  out.append(std::min<std::uint64_t>(reached, 8192), static_cast<char>(dice.below(3)));
  return out;
}

TEST(FuzzSafetensors, RefusesOrReads) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("w.safetensors");
  fuzz::fuzz_loop([&](Dice& dice, std::string& document) {
    document = document_of(dice);
    if (!dice.one_in(3)) fuzz::mutate(document, dice, kWords);
    testing::put_file(path, document);
    const SafetensorsFile file = SafetensorsFile::open(path);

    // Accepted: the tensors tile the file, and each can be loaded or is refused by name.
    std::uint64_t bytes = 0;
    std::vector<NamedTensor> tensors;
    for (const std::string& name : file.names()) {
      const SafetensorsInfo& info = file.info(name);
      bytes += info.end - info.begin;
      try {
        const Tensor tensor = file.load(name);
        EXPECT_EQ(tensor.nbytes(), info.end - info.begin);
        if (!name.empty()) tensors.emplace_back(name, tensor);
      } catch (const Unsupported& error) {
        EXPECT_NE(std::string(error.what()).find("tensor '"), std::string::npos);
      } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("BOOL"), std::string::npos) << error.what();
      }
    }
    EXPECT_LE(bytes + 10, document.size());
    if (!dice.one_in(8)) return true;
    // Written again, it reads the same.
    write_safetensors(path, tensors, file.metadata());
    const auto loaded = load_safetensors(path);
    EXPECT_EQ(loaded.size(), tensors.size());
    for (std::size_t i = 0; i < loaded.size(); ++i) {
      EXPECT_EQ(loaded[i].first, tensors[i].first);
      EXPECT_EQ(loaded[i].second.shape(), tensors[i].second.shape());
      EXPECT_TRUE(
          loaded[i].second.nbytes() == 0 ||
          std::memcmp(loaded[i].second.data(), tensors[i].second.data(), tensors[i].second.nbytes()) == 0);
    }
    return true;
  });
}

std::string with_header(const std::string& header) {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out + header;
}

TEST(FuzzSafetensors, MemoryOfLargeHeadersIsBounded) {
  const testing::TemporaryFolder folder;
  const std::string path = folder.file("w");
  std::vector<std::string> headers;
  headers.push_back("{\"__metadata__\":{\"k\":\"" + std::string(20 << 20, 'x') + "\"}}");
  headers.push_back("{\"__metadata__\":{\"k\":\"" + std::string(4'000'000, 'x') + "\"}}");
  headers.push_back("{\"__metadata__\":{");
  for (int i = 0; i < 60'000; ++i) headers.back() += (i > 0 ? ",\"" : "\"") + std::to_string(i) + "\":\"\"";
  headers.back() += "}}";
  headers.push_back("{");
  for (int i = 0; i < 131'072; ++i) {
    headers.back() += (i > 0 ? ",\"" : "\"") + std::to_string(i) +
                      "\":{\"dtype\":\"U8\",\"shape\":[0,1,1,1,1,1,1,1],\"data_offsets\":[0,0]}";
  }
  headers.back() += "}";
  headers.push_back("{\"a\":{\"shape\":[" + std::string(20 << 20, '1') + "]}}");
  headers.push_back("{\"a\":{\"shape\":[1");
  while (headers.back().size() < (20u << 20)) headers.back() += ",1";
  headers.push_back("{\"a\":" + std::string(20 << 20, '['));
  for (const std::string& header : headers) {
    const std::string document = with_header(header);
    testing::put_file(path, document);
    const fuzz::AllocationMeter meter;
    try {
      EXPECT_LE(SafetensorsFile::open(path).size(), 131'072u);
    } catch (const DataError& error) {
      EXPECT_NE(std::string_view(error.what()).find("offset"), std::string_view::npos) << error.what();
    }
    EXPECT_LT(meter.peak(), fuzz::memory_bound(document.size())) << header.substr(0, 60);
  }
}

}  // namespace
}  // namespace gpunn
