#include "gpunn/io/safetensors.h"

#include <algorithm>
#include <cstring>

#include "gpunn/io/detail/file_calls.h"
#include "tests/io/io_testing.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using testing::expect_data_error;
using testing::get_file;
using testing::put_file;
using testing::TemporaryFolder;

std::string file_text(std::string_view header, std::string_view buffer) {
  const std::uint64_t length = header.size();
  std::string out(8, '\0');
  std::memcpy(out.data(), &length, 8);
  return out.append(header).append(buffer);
}

std::string entry(std::string_view name, std::string_view dtype, std::string_view shape,
                  std::string_view offsets) {
  return "\"" + std::string(name) + "\":{\"dtype\":\"" + std::string(dtype) +
         "\",\"shape\":" + std::string(shape) + ",\"data_offsets\":" + std::string(offsets) + "}";
}

/// Opens a file of this header and buffer.
SafetensorsFile open_text(const std::string& text) {
  const TemporaryFolder folder;
  put_file(folder.file("w.safetensors"), text);
  return SafetensorsFile::open(folder.file("w.safetensors"));
}
SafetensorsFile open_header(const std::string& header, std::size_t buffer) {
  return open_text(file_text(header, std::string(buffer, '\1')));
}

template <class T>
Tensor tensor(const std::vector<T>& values, const Shape& shape) {
  return Tensor::from(values, shape, {.dtype = dtype_of<T>});
}

std::vector<NamedTensor> all_dtypes() {
  return {{"u8", tensor<std::uint8_t>({1, 2, 255}, {3})},
          {"fc1.weight", tensor<float>({0, 0.25f, -1.5f, 3e38f, 1e-45f, -0.0f}, {2, 3})},
          {"mask", full({2, 2}, 1, {.dtype = DType::boolean})},
          {"double", tensor<double>({3.141592653589793, -1e300}, {2, 1})},
          {"f16", tensor<float>({1.5f, -2.0f, 65504.0f}, {3}).to(DType::f16)},
          {"bf16", tensor<float>({1.5f, -3e38f}, {2}).to(DType::bf16)},
          {"i32", tensor<std::int32_t>({INT32_MIN, 7}, {2})},
          {"step", tensor<std::int64_t>({INT64_MAX}, {})},
          {"empty", zeros({0, 4})}};
}

void expect_same(const Tensor& a, const Tensor& b) {
  ASSERT_EQ(a.shape(), b.shape());
  ASSERT_EQ(a.dtype(), b.dtype());
  EXPECT_EQ(a.to(DType::f64).to_vector<double>(), b.to(DType::f64).to_vector<double>());
}

TEST(Safetensors, RoundTripsEveryDType) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w.safetensors");
  const auto tensors = all_dtypes();
  const TextMetadata metadata = {{"recipe", "fashion-mlp"}, {"note", "a \"quoted\" é\n"}, {"", ""}};
  write_safetensors(path, tensors, metadata);

  const auto loaded = load_safetensors(path);
  ASSERT_EQ(loaded.size(), tensors.size());
  for (std::size_t i = 0; i < loaded.size(); ++i) {
    EXPECT_EQ(loaded[i].first, tensors[i].first);
    expect_same(loaded[i].second, tensors[i].second);
  }
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.path(), path);
  EXPECT_EQ(file.metadata(), metadata);
  EXPECT_TRUE(file.contains("mask"));
  EXPECT_FALSE(file.contains("masks"));
  EXPECT_EQ(file.info("fc1.weight").dtype, "F32");
  EXPECT_EQ(file.info("fc1.weight").shape, (std::vector<std::int64_t>{2, 3}));
  EXPECT_EQ(file.load("step").to_vector<std::int64_t>(), (std::vector<std::int64_t>{INT64_MAX}));
  expect_data_error([&] { file.load("fc2.weight"); }, {path, "there is no tensor 'fc2.weight'"});
  expect_data_error([&] { file.info("x"); }, {"there is no tensor 'x'"});
}

TEST(Safetensors, NothingIsAFileToo) {
  const TemporaryFolder folder;
  write_safetensors(folder.file("w"), {});
  EXPECT_EQ(get_file(folder.file("w")), file_text("{}      ", ""));
  EXPECT_TRUE(load_safetensors(folder.file("w")).empty());
}

TEST(Safetensors, BytesAreDeterministicAndAligned) {
  const TemporaryFolder folder;
  const auto tensors = all_dtypes();
  write_safetensors(folder.file("a"), tensors, {{"k", "v"}});
  write_safetensors(folder.file("b"), tensors, {{"k", "v"}});
  EXPECT_EQ(get_file(folder.file("a")), get_file(folder.file("b")));

  const SafetensorsFile file = SafetensorsFile::open(folder.file("a"));
  std::uint64_t header = 0;
  std::memcpy(&header, get_file(folder.file("a")).data(), 8);
  EXPECT_EQ(header % 8, 0u);
  for (const auto& [name, t] : tensors) EXPECT_EQ(file.info(name).begin % size_of(t.dtype()), 0u) << name;
}

TEST(Safetensors, ViewsAreWrittenAsTheyRead) {
  const TemporaryFolder folder;
  const Tensor base = tensor<float>({0, 1, 2, 3, 4, 5}, {2, 3});
  const std::vector<NamedTensor> views = {
      {"t", base.t()}, {"row", base.select(0, 1)}, {"part", base.narrow(1, 1, 2)}};
  write_safetensors(folder.file("w"), views);
  const auto loaded = load_safetensors(folder.file("w"));
  EXPECT_EQ(loaded[0].second.to_vector<float>(), (std::vector<float>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(loaded[1].second.to_vector<float>(), (std::vector<float>{3, 4, 5}));
  EXPECT_EQ(loaded[2].second.to_vector<float>(), (std::vector<float>{1, 2, 4, 5}));
}

TEST(Safetensors, ReadsTheReferencePackagesFile) {
  const auto path = testing::golden_path("safetensors_reference.safetensors");
  const SafetensorsFile file = SafetensorsFile::open(path);
  EXPECT_EQ(file.size(), 9u);
  TextMetadata metadata = file.metadata();  // the package writes it in any order
  std::sort(metadata.begin(), metadata.end());
  EXPECT_EQ(metadata, (TextMetadata{{"format", "np"}, {"note", "é"}}));
  EXPECT_EQ(file.load("fc1.weight").to_vector<float>(), (std::vector<float>{0, .25f, .5f, .75f, 1, 1.25f}));
  EXPECT_EQ(file.load("fc1.weight").shape(), (Shape{2, 3}));
  EXPECT_EQ(file.load("fc1.bias").to_vector<double>(), (std::vector<double>{-1.5, 2.25}));
  EXPECT_EQ(file.load("half").to(DType::f32).to_vector<float>(), (std::vector<float>{1, -2, 65504}));
  EXPECT_EQ(file.load("steps").shape(), Shape());
  EXPECT_EQ(file.load("steps").to_vector<std::int64_t>(), (std::vector<std::int64_t>{1234567890123}));
  EXPECT_EQ(file.load("classes").to_vector<std::int32_t>(), (std::vector<std::int32_t>{-7, INT32_MAX}));
  EXPECT_EQ(file.load("mask").to(DType::i32).to_vector<std::int32_t>(), (std::vector<std::int32_t>{1, 0, 1}));
  EXPECT_EQ(file.load("image").to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{0, 1, 2, 3}));
  EXPECT_EQ(file.load("empty").shape(), (Shape{0, 5}));
  EXPECT_EQ(file.info("unknown_to_us").shape, (std::vector<std::int64_t>{3}));
  try {
    file.load("unknown_to_us");
    ADD_FAILURE();
  } catch (const Unsupported& error) {
    EXPECT_NE(std::string(error.what()).find("tensor 'unknown_to_us' has dtype 'U16'"), std::string::npos)
        << error.what();
  }
  EXPECT_THROW(load_safetensors(path), Unsupported);
}

TEST(Safetensors, TypesAndRanksWeDoNotHaveFailOnLoadOnly) {
  const auto file = open_header(
      "{" + entry("a", "F8_E4M3", "[3]", "[0,3]") + "," + entry("b", "F4", "[6]", "[3,6]") + "," +
          entry("c", "Q99", "[1]", "[6,11]") + "," + entry("d", "U8", "[1,1,1,1,1,1,1,1,1]", "[11,12]") +
          "," + entry("e", "U8", "[2]", "[12,14]") + "}",
      14);
  EXPECT_EQ(file.size(), 5u);
  for (const char* name : {"a", "b", "c", "d"}) EXPECT_THROW(file.load(name), Unsupported) << name;
  EXPECT_EQ(file.load("e").to_vector<std::uint8_t>(), (std::vector<std::uint8_t>{1, 1}));
}

TEST(Safetensors, HeaderLengthIsChecked) {
  for (std::size_t size = 0; size < 8; ++size) {
    expect_data_error([&] { open_text(std::string(size, '\1')); }, {"header length of 8 bytes at offset 0"});
  }
  const auto with_length = [](std::uint64_t length, std::string_view rest) {
    std::string text = file_text(rest, "");
    std::memcpy(text.data(), &length, 8);
    return text;
  };
  expect_data_error([&] { open_text(with_length(100'000'001, "{}")); },
                    {"at most 100000000 at offset 0, got 100000001"});
  expect_data_error([&] { open_text(with_length(~std::uint64_t{0}, "{}")); }, {"at most 100000000"});
  expect_data_error([&] { open_text(with_length(100'000'000, "{}")); },
                    {"header of 100000000 bytes at offset 8, got 2"});
  expect_data_error([&] { open_text(with_length(3, "{}")); }, {"header of 3 bytes at offset 8, got 2"});
  expect_data_error([&] { open_text(with_length(0, "{}")); }, {"start with '{' at offset 8, got nothing"});
  expect_data_error([&] { open_text(with_length(1, "{}")); }, {"not valid JSON at offset"});
}

const std::string kGood = entry("a", "F32", "[2]", "[0,8]");

struct BrokenHeader {
  std::string header;
  std::size_t buffer;
  std::string_view message;
};

void expect_refused(const std::vector<BrokenHeader>& cases) {
  for (const BrokenHeader& c : cases) {
    expect_data_error([&] { open_header(c.header, c.buffer); }, {"w.safetensors: ", c.message, "offset"},
                      c.header);
  }
}

TEST(Safetensors, TextThatIsNoHeaderIsRefused) {
  expect_refused({
      {" {" + kGood + "}", 8, "start with '{'"},
      {"[]", 0, "start with '{'"},
      {"\xef\xbb\xbf{}", 0, "start with '{'"},
      {"null", 0, "start with '{'"},
      {"{" + kGood, 8, "not valid JSON"},
      {"{" + kGood + "}}", 8, "not valid JSON"},
      {"{" + kGood + "} x", 8, "not valid JSON"},
      {std::string("{}\0    ", 7), 0, "zero byte"},
      {"{\"a\xff\":{}}", 0, "not valid JSON"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[NaN],\"data_offsets\":[0,8]}}", 8, "not valid JSON"},
  });
}

TEST(Safetensors, WrongStructureIsRefused) {
  expect_refused({
      {"{\"a\":1}", 0, "expected an object for the tensor, got a number"},
      {"{\"a\":null}", 0, "got null"},
      {"{\"a\":true}", 0, "got a boolean"},
      {"{\"a\":\"x\"}", 0, "got a string"},
      {"{\"a\":[]}", 0, "got an array"},
      {"{\"a\":{}}", 0, "expected dtype, shape and data_offsets"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8, "expected dtype, shape and data_offsets"},
      {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8, "expected dtype, shape and data_offsets"},
      {"{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "expected dtype, shape and data_offsets"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"x\":1}}", 8, "got key 'x'"},
      {"{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
       "duplicate key 'dtype'"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
       "duplicate key 'shape'"},
      {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8],\"data_offsets\":[0,8]}}", 8,
       "duplicate key 'data_offsets'"},
      {"{" + kGood + "," + kGood + "}", 8, "duplicate key 'a'"},
      {"{" + kGood + "," + entry("\\u0061", "F32", "[2]", "[0,8]") + "}", 8, "duplicate key 'a'"},
      {"{" + entry(std::string(4097, 'n'), "F32", "[2]", "[0,8]") + "}", 8, "at most 4096 bytes"},
  });
}

TEST(Safetensors, WrongTypesAndShapesAreRefused) {
  expect_refused({
      {"{\"a\":{\"dtype\":32,\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
       "expected dtype to be a string, got a number"},
      {"{\"a\":{\"dtype\":{},\"shape\":[2],\"data_offsets\":[0,8]}}", 8,
       "expected dtype to be a string, got an object"},
      {"{" + entry("a", std::string(33, 'F'), "[2]", "[0,8]") + "}", 8, "expected a dtype"},
      {"{" + entry("a", "F32", "2", "[0,8]") + "}", 8, "expected shape to be an array, got a number"},
      {"{" + entry("a", "F32", "[-2]", "[0,8]") + "}", 8, "integers from 0 to 2^63-1, got -2"},
      {"{" + entry("a", "F32", "[2.0]", "[0,8]") + "}", 8, "got a number with fraction"},
      {"{" + entry("a", "F32", "[2e0]", "[0,8]") + "}", 8, "got a number with fraction"},
      {"{" + entry("a", "F32", "[\"2\"]", "[0,8]") + "}", 8, "got a string"},
      {"{" + entry("a", "F32", "[[2]]", "[0,8]") + "}", 8, "nested at most 3 deep"},
      {"{" + entry("a", "F32", "[null]", "[0,8]") + "}", 8, "got null"},
      {"{" + entry("a", "F32", "[9223372036854775808]", "[0,8]") + "}", 8, "got 9223372036854775808"},
      {"{" + entry("a", "F32", "[18446744073709551618]", "[0,8]") + "}", 8, "got a number with fraction"},
      {"{" + entry("a", "F32", "[4611686018427387904,4]", "[0,0]") + "}", 0, "bits fit 63 bits"},
      {"{" + entry("a", "F32", "[4294967296,4294967296,0]", "[0,0]") + "}", 0, "bits fit 63 bits"},
      {"{" + entry("a", "U8", "[1152921504606846976]", "[0,0]") + "}", 0, "bits fit 63 bits"},
      {"{" +
           entry("a", "U8", "[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "[0,1]") +
           "}",
       1, "at most 32 extents"},
      {"{" + entry("a", "F4", "[3]", "[0,2]") + "}", 2, "whole bytes, got 12 bits"},
  });
}

TEST(Safetensors, WrongOffsetsAreRefused) {
  expect_refused({
      {"{" + entry("a", "F32", "[2]", "[0]") + "}", 8, "expected two data_offsets, got 1"},
      {"{" + entry("a", "F32", "[2]", "[]") + "}", 8, "expected two data_offsets, got 0"},
      {"{" + entry("a", "F32", "[2]", "[0,8,8]") + "}", 8, "expected two data_offsets, got more"},
      {"{" + entry("a", "F32", "[2]", "8") + "}", 8, "expected data_offsets to be an array"},
      {"{" + entry("a", "F32", "[2]", "[8,0]") + "}", 8, "data_offsets in order, got 8, 0"},
      {"{" + entry("a", "F32", "[2]", "[-8,0]") + "}", 8, "integers from 0 to 2^63-1, got -8"},
      {"{" + entry("a", "F32", "[2]", "[0,7]") + "}", 7, "need 8 bytes, data_offsets give 7"},
      {"{" + entry("a", "F32", "[3]", "[0,8]") + "}", 8, "need 12 bytes, data_offsets give 8"},
      {"{" + entry("a", "F16", "[]", "[0,4]") + "}", 4, "need 2 bytes"},
      {"{" + kGood + "}", 7, "data ends at buffer offset 8, the buffer at 7"},
      {"{" + kGood + "}", 9,
       "expected the file to end at buffer offset 8, where the last tensor does, got 9"},
      {"{}", 1, "end at buffer offset 0"},
      {"{" + entry("a", "F32", "[2]", "[1,9]") + "}", 9,
       "expected data at buffer offset 0, got 1 (leaves a hole)"},
      {"{" + kGood + "," + entry("b", "U8", "[1]", "[9,10]") + "}", 10,
       "tensor 'b': expected data at buffer offset 8, got 9"},
      {"{" + kGood + "," + entry("b", "U8", "[1]", "[7,8]") + "}", 8, "(overlaps the tensor before)"},
      {"{" + kGood + "," + entry("b", "F32", "[2]", "[0,8]") + "}", 8, "(overlaps the tensor before)"},
      {"{" + kGood + "," + entry("b", "U8", "[0]", "[4,4]") + "}", 8, "(overlaps the tensor before)"},
      {"{" + entry("a", "Q99", "[1]", "[0,9223372036854775807]") + "}", 8, "the buffer at 8"},
  });
}

TEST(Safetensors, WrongMetadataIsRefused) {
  expect_refused({
      {"{\"__metadata__\":[]}", 0, "expected __metadata__ to be an object, got an array"},
      {"{\"__metadata__\":\"x\"}", 0, "expected __metadata__ to be an object, got a string"},
      {"{\"__metadata__\":{\"a\":1}}", 0, "expected __metadata__ values to be strings, got a number"},
      {"{\"__metadata__\":{\"a\":null}}", 0, "values to be strings, got null"},
      {"{\"__metadata__\":{\"a\":{}}}", 0, "values to be strings, got an object"},
      {"{\"__metadata__\":{\"a\":[\"b\"]}}", 0, "values to be strings, got an array"},
      {"{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0, "duplicate key 'a' in __metadata__"},
      {"{\"__metadata__\":{},\"__metadata__\":{}}", 0, "duplicate key '__metadata__'"},
  });
}

TEST(Safetensors, ValidOddities) {
  EXPECT_EQ(open_header("{" + kGood + "}\t\n ", 8).size(), 1u);
  EXPECT_EQ(open_header("{ \"a\" : {\"data_offsets\":[0,8], \"shape\":[2], \"dtype\":\"F32\"} }", 8).size(),
            1u);
  EXPECT_EQ(open_header("{" + kGood + "," + entry("b", "U8", "[0]", "[8,8]") + "," +
                            entry("", "U8", "[0]", "[0,0]") + "}",
                        8)
                .names(),
            (std::vector<std::string>{"a", "b", ""}));
  EXPECT_EQ(open_header("{" + entry("b", "U8", "[1]", "[8,9]") + "," + kGood + "}", 9).names(),
            (std::vector<std::string>{"b", "a"}));
}

TEST(Safetensors, CountsAreBounded) {
  std::string many = "{" + entry("t", "U8", "[0]", "[0,0]");
  for (int i = 0; i < 131'072; ++i) many += "," + entry(std::to_string(i), "U8", "[0]", "[0,0]");
  expect_data_error([&] { open_header(many + "}", 0); }, {"at most 131072 tensors"});
  std::string metadata = R"({"__metadata__":{"k":"")";
  for (int i = 0; i < 65'536; ++i) metadata += ",\"" + std::to_string(i) + "\":\"\"";
  expect_data_error([&] { open_header(metadata + "}}", 0); }, {"at most 65536 metadata keys"});
}

TEST(Safetensors, TruncationAtEveryByteIsRefused) {
  const TemporaryFolder folder;
  write_safetensors(folder.file("w"), all_dtypes(), {{"k", "v"}});
  const std::string good = get_file(folder.file("w"));
  for (std::size_t size = 0; size < good.size(); ++size) {
    put_file(folder.file("w"), good.substr(0, size));
    expect_data_error([&] { SafetensorsFile::open(folder.file("w")); }, {folder.file("w"), "offset"},
                      std::to_string(size));
  }
}

TEST(Safetensors, EveryFlippedHeaderBitIsRefusedOrStillSound) {
  const TemporaryFolder folder;
  const std::vector<NamedTensor> tensors = {{"a", tensor<float>({1, 2}, {2})},
                                            {"b", tensor<std::uint8_t>({3}, {1})}};
  write_safetensors(folder.file("w"), tensors, {{"k", "v"}});
  const std::string good = get_file(folder.file("w"));
  std::uint64_t header = 0;
  std::memcpy(&header, good.data(), 8);
  int refused = 0;
  for (std::size_t byte = 0; byte < 8 + header; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[byte] = static_cast<char>(bad[byte] ^ (1 << bit));
      put_file(folder.file("w"), bad);
      try {
        // A changed name, text or type of equal size is another valid file: everything in it must then be
        // readable.
        const SafetensorsFile file = SafetensorsFile::open(folder.file("w"));
        std::uint64_t bytes = 0;
        for (const std::string& name : file.names()) {
          bytes += file.info(name).end - file.info(name).begin;
          try {
            file.load(name);
          } catch (const Unsupported&) {
          }
        }
        EXPECT_EQ(bytes, 9u);
      } catch (const DataError& error) {
        ++refused;
        EXPECT_NE(std::string(error.what()).find("offset"), std::string::npos) << error.what();
      }
    }
  }
  EXPECT_GT(refused, static_cast<int>(header) * 6);
}

TEST(Safetensors, LoadingChecksWhatOpeningCannot) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w");
  put_file(path, file_text("{" + entry("m", "BOOL", "[3]", "[0,3]") + "}", std::string("\0\1\2", 3)));
  const SafetensorsFile file = SafetensorsFile::open(path);
  const std::size_t header = get_file(path).size() - 3;
  expect_data_error([&] { file.load("m"); }, {"tensor 'm': expected a BOOL of 0 or 1 at offset " +
                                              std::to_string(header + 2) + ", got 2"});

  write_safetensors(path, all_dtypes());
  const SafetensorsFile cut = SafetensorsFile::open(path);
  std::filesystem::resize_file(path, get_file(path).size() - 1);
  EXPECT_NO_THROW(cut.load("double"));
  expect_data_error([&] { cut.load("mask"); }, {path, "got the end of the file"});
}

TEST(Safetensors, AReplacedFileStaysTheOldOneForItsReader) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w");
  write_safetensors(path, std::vector<NamedTensor>{{"a", full({4}, 1)}});
  const SafetensorsFile file = SafetensorsFile::open(path);
  write_safetensors(path, std::vector<NamedTensor>{{"a", full({4}, 2)}});
  EXPECT_EQ(file.load("a").to_vector<float>(), std::vector<float>(4, 1));
  EXPECT_EQ(SafetensorsFile::open(path).load("a").to_vector<float>(), std::vector<float>(4, 2));
}

TEST(Safetensors, WrongInputIsNotWritten) {
  const TemporaryFolder folder;
  const Tensor t = zeros({1});
  const auto refuse = [&](const std::vector<NamedTensor>& tensors, const TextMetadata& metadata = {}) {
    EXPECT_THROW(write_safetensors(folder.file("w"), tensors, metadata), InvalidArgument);
  };
  refuse({{"a", Tensor()}});
  refuse({{"", t}});
  refuse({{"a", t}, {"a", t}});
  refuse({{"__metadata__", t}});
  refuse({{"\xff", t}});
  refuse({{std::string(4097, 'a'), t}});
  refuse({}, {{"k", "\xff"}});
  refuse({}, {{"\xc0\x80", "v"}});
  refuse({}, {{"k", "1"}, {"k", "2"}});
  EXPECT_TRUE(folder.entries().empty());
}

/// Makes the k-th write fail.
class FullDisk final : public detail::FileCalls {
 public:
  explicit FullDisk(int at) : at_(at) {}
  ssize_t write(int fd, const void* data, std::size_t bytes) override {
    if (calls_++ == at_) {
      errno = ENOSPC;
      return -1;
    }
    return FileCalls::write(fd, data, bytes);
  }
  int calls() const { return calls_; }

 private:
  int at_, calls_ = 0;
};

TEST(Safetensors, AFullDiskLeavesTheOldCheckpoint) {
  const TemporaryFolder folder;
  const std::string path = folder.file("w");
  const auto tensors = all_dtypes();
  write_safetensors(path, std::vector<NamedTensor>{{"old", full({4}, 1)}});
  for (int k = 0;; ++k) {
    FullDisk disk(k);
    const detail::FileCallsScope scope(disk);
    try {
      write_safetensors(path, tensors);
      EXPECT_GE(disk.calls(), 10);
      break;
    } catch (const Error& error) {
      EXPECT_NE(std::string(error.what()).find(path + ": cannot write: No space left"), std::string::npos)
          << error.what();
      EXPECT_EQ(load_safetensors(path).at(0).first, "old");
      EXPECT_EQ(folder.entries().size(), 1u);
    }
  }
  EXPECT_EQ(load_safetensors(path).size(), tensors.size());
}

}  // namespace
}  // namespace gpunn
