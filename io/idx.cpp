#include "gpunn/io/idx.h"

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "gpunn/io/detail/data_fail.h"

namespace gpunn {
namespace {

using detail::fail_data;
using detail::hex;

constexpr std::size_t kMagicBytes = 4;

std::size_t file_size_of(IdxType type) {
  switch (type) {
    case IdxType::i16:
      return 2;
    case IdxType::i32:
    case IdxType::f32:
      return 4;
    case IdxType::f64:
      return 8;
    default:
      return 1;
  }
}

DType dtype_of_type(IdxType type) {
  switch (type) {
    case IdxType::u8:
      return DType::u8;
    case IdxType::f32:
      return DType::f32;
    case IdxType::f64:
      return DType::f64;
    default:
      return DType::i32;
  }
}

bool is_known(std::uint32_t type) { return type >= 0x08 && type <= 0x0e && type != 0x0a; }

std::uint32_t big_endian(const std::uint8_t* p) {
  return std::uint32_t{p[0]} << 24 | std::uint32_t{p[1]} << 16 | std::uint32_t{p[2]} << 8 | p[3];
}

struct Header {
  IdxType type;
  Shape shape;
  std::size_t offset;  // of the first element
};

void check_magic(std::uint32_t magic, std::string_view path, const IdxExpected& expected) {
  const std::uint32_t type = magic >> 8 & 0xff, rank = magic & 0xff;
  // A caller that knows the whole magic number gets it in the message: that is how the format's own page
  // names files.
  if (expected.type && expected.rank) {
    const auto wanted =
        static_cast<std::uint32_t>(*expected.type) << 8 | static_cast<std::uint32_t>(*expected.rank);
    if (magic != wanted)
      fail_data(path, "expected magic ", hex(wanted, 8), " at offset 0, got ", hex(magic, 8));
  }
  if (magic >> 16 != 0 || !is_known(type)) {
    fail_data(path, "expected magic 0x0000TTRR with type TT of 08, 09, 0b, 0c, 0d, 0e at offset 0, got ",
              hex(magic, 8));
  }
  if (rank < 1 || rank > kMaxRank) {
    fail_data(path, "expected 1 to ", kMaxRank, " dimensions at offset 3, got ", rank);
  }
  if (expected.type && static_cast<std::uint32_t>(*expected.type) != type) {
    fail_data(path, "expected element type ", hex(static_cast<std::uint32_t>(*expected.type), 2),
              " at offset 2, got ", hex(type, 2));
  }
  if (expected.rank && static_cast<std::uint32_t>(*expected.rank) != rank) {
    fail_data(path, "expected ", *expected.rank, " dimensions at offset 3, got ", rank);
  }
}

Header parse_header(std::span<const std::uint8_t> file, std::string_view path, const IdxExpected& expected) {
  if (file.size() < kMagicBytes) {
    fail_data(path, "expected a magic number of 4 bytes at offset 0, got a file of ", file.size(), " bytes");
  }
  const std::uint32_t magic = big_endian(file.data());
  check_magic(magic, path, expected);

  Header header{static_cast<IdxType>(magic >> 8 & 0xff), {}, kMagicBytes};
  const auto rank = static_cast<int>(magic & 0xff);
  std::uint64_t bytes = file_size_of(header.type);
  // What must fit is the tensor, which may be wider than the file (i8 becomes i32); a zero extent excuses no
  // other, because strides multiply them.
  auto tensor_bytes = static_cast<std::int64_t>(size_of(dtype_of_type(header.type)));
  for (int i = 0; i < rank; ++i, header.offset += 4) {
    if (file.size() - header.offset < 4) {
      fail_data(path, "expected extent ", i, " of ", rank, " (4 bytes) at offset ", header.offset,
                ", got the end of the file");
    }
    const std::uint32_t extent = big_endian(file.data() + header.offset);
    header.shape.push_back(extent);
    if (__builtin_mul_overflow(tensor_bytes, std::max<std::int64_t>(extent, 1), &tensor_bytes)) {
      fail_data(path, "expected extents whose product in bytes fits 64 bits, got ", header.shape,
                " at offset ", header.offset);
    }
    bytes *= extent;
  }
  const std::uint64_t present = file.size() - header.offset;
  if (present != bytes) {
    fail_data(path, "expected ", bytes, " bytes of elements for shape ", header.shape, " at offset ",
              header.offset, ", got ", present);
  }
  return header;
}

template <class Unsigned, class InFile, class InMemory>
Bytes convert(std::span<const std::uint8_t> elements) {
  static_assert(sizeof(Unsigned) == sizeof(InFile));
  const std::size_t count = elements.size() / sizeof(InFile);
  Bytes out(count * sizeof(InMemory));
  for (std::size_t i = 0; i < count; ++i) {
    Unsigned bits = 0;
    for (std::size_t b = 0; b < sizeof(InFile); ++b) {
      bits = static_cast<Unsigned>(std::uint64_t{bits} << 8 | elements[i * sizeof(InFile) + b]);
    }
    InFile value;
    std::memcpy(&value, &bits, sizeof value);
    // NOLINTNEXTLINE(bugprone-signed-char-misuse): i8 is a number, its sign is to be kept
    const auto wide = static_cast<InMemory>(value);
    std::memcpy(&out[i * sizeof wide], &wide, sizeof wide);
  }
  return out;
}

Bytes convert_elements(IdxType type, std::span<const std::uint8_t> elements) {
  switch (type) {
    case IdxType::i8:
      return convert<std::uint8_t, std::int8_t, std::int32_t>(elements);
    case IdxType::i16:
      return convert<std::uint16_t, std::int16_t, std::int32_t>(elements);
    case IdxType::i32:
      return convert<std::uint32_t, std::int32_t, std::int32_t>(elements);
    case IdxType::f32:
      return convert<std::uint32_t, float, float>(elements);
    case IdxType::f64:
      return convert<std::uint64_t, double, double>(elements);
    default:
      return Bytes(elements.begin(), elements.end());
  }
}

}  // namespace

IdxArray parse_idx(std::span<const std::uint8_t> file, std::string_view path, const IdxExpected& expected) {
  const Header header = parse_header(file, path, expected);
  return {header.type, dtype_of_type(header.type), header.shape,
          convert_elements(header.type, file.subspan(header.offset))};
}

IdxArray read_idx(const std::string& path, const IdxExpected& expected, const GzipLimits& limits) {
  Bytes file = read_file_maybe_gzip(path, limits);
  const Header header = parse_header(file, path, expected);
  if (header.type != IdxType::u8) return parse_idx(file, path, expected);
  // Bytes need no conversion: moving them to the front saves a second copy of the data set.
  file.erase(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(header.offset));
  return {header.type, DType::u8, header.shape, std::move(file)};
}

Tensor IdxArray::to_tensor() const {
  Tensor out = empty(shape, {.dtype = dtype, .device = Device::cpu()});
  GPUNN_CHECK(out.nbytes() == data.size(), "expected ", out.nbytes(), " bytes for ", to_string(shape),
              ", got ", data.size());
  if (!data.empty()) std::memcpy(out.data(), data.data(), data.size());
  return out;
}

}  // namespace gpunn
