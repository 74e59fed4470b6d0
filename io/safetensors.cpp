#include "gpunn/io/safetensors.h"

#include <bit>
#include <cstring>
#include <utility>

#include "gpunn/io/detail/data_fail.h"
#include "gpunn/io/detail/safetensors_header.h"
#include "gpunn/io/file.h"

namespace gpunn {

static_assert(std::endian::native == std::endian::little,
              "tensor bytes are read and written as they are in memory");

using detail::fail_data;
using detail::in_quotes;
using detail::kSafetensorsLengthBytes;

struct SafetensorsFile::Data {
  explicit Data(const std::string& path) : file(path) {
    if (file.size() < kSafetensorsLengthBytes) {
      fail_data(path, "expected a header length of 8 bytes at offset 0, got a file of ", file.size(),
                " bytes");
    }
    // The length is judged before anything of that size is allocated.
    std::uint8_t length_bytes[kSafetensorsLengthBytes];
    file.read_at(0, length_bytes);
    std::uint64_t length;
    std::memcpy(&length, length_bytes, sizeof length);
    const std::uint64_t rest = file.size() - kSafetensorsLengthBytes;
    if (length > detail::kSafetensorsMaxHeader) {
      fail_data(path, "expected a header length of at most ", detail::kSafetensorsMaxHeader,
                " at offset 0, got ", length);
    }
    if (length > rest) {
      fail_data(path, "expected a header of ", length, " bytes at offset 8, got ", rest, " bytes of file");
    }
    Bytes json(static_cast<std::size_t>(length));
    file.read_at(kSafetensorsLengthBytes, json);
    buffer_offset = kSafetensorsLengthBytes + length;
    header = detail::parse_safetensors_header(as_text(json), path, rest - length);
  }

  const SafetensorsInfo& find(std::string_view name) const {
    const auto found = header.index.find(name);
    if (found == header.index.end()) fail_data(file.path(), "there is no tensor ", in_quotes(name));
    return header.tensors[found->second].second;
  }

  InputFile file;
  std::uint64_t buffer_offset = 0;
  detail::SafetensorsHeader header;
};

SafetensorsFile::SafetensorsFile(std::shared_ptr<const Data> data) noexcept : data_(std::move(data)) {}

SafetensorsFile SafetensorsFile::open(const std::string& path) {
  return SafetensorsFile(std::make_shared<const Data>(path));
}

const std::string& SafetensorsFile::path() const noexcept { return data_->file.path(); }
std::size_t SafetensorsFile::size() const noexcept { return data_->header.tensors.size(); }
const TextMetadata& SafetensorsFile::metadata() const noexcept { return data_->header.metadata; }
bool SafetensorsFile::contains(std::string_view name) const noexcept {
  return data_->header.index.contains(name);
}
const SafetensorsInfo& SafetensorsFile::info(std::string_view name) const { return data_->find(name); }

std::vector<std::string> SafetensorsFile::names() const {
  std::vector<std::string> out;
  out.reserve(size());
  for (const auto& [name, info] : data_->header.tensors) out.push_back(name);
  return out;
}

Tensor SafetensorsFile::load(std::string_view name) const {
  const SafetensorsInfo& info = data_->find(name);
  const auto dtype = detail::dtype_of_safetensors(info.dtype);
  if (!dtype) {
    detail::throw_unsupported(detail::concat(path(), ": tensor ", in_quotes(name), " has dtype ",
                                             in_quotes(info.dtype),
                                             "; expected F32, F64, F16, BF16, I32, I64, U8 or BOOL"));
  }
  if (info.shape.size() > static_cast<std::size_t>(kMaxRank)) {
    detail::throw_unsupported(detail::concat(path(), ": tensor ", in_quotes(name), " has ", info.shape.size(),
                                             " dimensions; expected at most ", kMaxRank));
  }
  Tensor out = empty(Shape(info.shape), {.dtype = *dtype, .device = Device::cpu()});
  // Straight from the file into the tensor: a checkpoint is never held twice.
  const std::span bytes(static_cast<std::uint8_t*>(out.data()), out.nbytes());
  const std::uint64_t offset = data_->buffer_offset + info.begin;
  data_->file.read_at(offset, bytes);
  // Any other byte in a bool is undefined behaviour in C++.
  if (*dtype == DType::boolean) {
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (bytes[i] > 1) {
        fail_data(path(), "tensor ", in_quotes(name), ": expected a BOOL of 0 or 1 at offset ", offset + i,
                  ", got ", std::uint32_t{bytes[i]});
      }
    }
  }
  return out;
}

std::vector<NamedTensor> load_safetensors(const std::string& path) {
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<NamedTensor> out;
  out.reserve(file.size());
  for (const std::string& name : file.names()) out.emplace_back(name, file.load(name));
  return out;
}

}  // namespace gpunn
