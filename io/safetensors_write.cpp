#include <algorithm>
#include <numeric>
#include <unordered_set>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/data_fail.h"
#include "gpunn/io/detail/safetensors_header.h"
#include "gpunn/io/detail/utf8.h"
#include "gpunn/io/file.h"
#include "gpunn/io/json_writer.h"
#include "gpunn/io/safetensors.h"

namespace gpunn {
namespace {

using detail::in_quotes;

void check_input(std::span<const NamedTensor> tensors, const TextMetadata& metadata) {
  GPUNN_CHECK(tensors.size() <= detail::kSafetensorsMaxTensors, "write_safetensors: expected at most ",
              detail::kSafetensorsMaxTensors, " tensors, got ", tensors.size());
  GPUNN_CHECK(metadata.size() <= detail::kSafetensorsMaxMetadata, "write_safetensors: expected at most ",
              detail::kSafetensorsMaxMetadata, " metadata keys, got ", metadata.size());
  std::unordered_set<std::string_view> names;
  for (const auto& [name, tensor] : tensors) {
    GPUNN_CHECK(tensor.defined(), "write_safetensors: tensor ", in_quotes(name), " is undefined");
    GPUNN_CHECK(!name.empty() && name.size() <= detail::kSafetensorsMaxName && detail::is_utf8(name) &&
                    name != detail::kSafetensorsMetadata,
                "write_safetensors: expected a name of 1 to ", detail::kSafetensorsMaxName,
                " bytes of UTF-8 other than __metadata__, got ", in_quotes(name));
    GPUNN_CHECK(names.insert(name).second, "write_safetensors: two tensors are named ", in_quotes(name));
  }
  std::unordered_set<std::string_view> keys;
  for (const auto& [key, value] : metadata) {
    GPUNN_CHECK(detail::is_utf8(key) && detail::is_utf8(value), "write_safetensors: metadata ",
                in_quotes(key), " is not UTF-8");
    GPUNN_CHECK(keys.insert(key).second, "write_safetensors: two metadata keys are ", in_quotes(key));
  }
}

/// Indices by falling element size: with no gaps allowed, this keeps each tensor aligned to its elements.
std::vector<std::size_t> buffer_order(std::span<const NamedTensor> tensors) {
  std::vector<std::size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return size_of(tensors[a].second.dtype()) > size_of(tensors[b].second.dtype());
  });
  return order;
}

std::string header_of(std::span<const NamedTensor> tensors, std::span<const std::size_t> order,
                      const TextMetadata& metadata) {
  std::vector<std::uint64_t> begin(tensors.size());
  std::uint64_t reached = 0;
  for (const std::size_t i : order) {
    begin[i] = reached;
    reached += tensors[i].second.nbytes();
  }
  JsonWriter json;
  json.begin_object();
  if (!metadata.empty()) {
    json.key(detail::kSafetensorsMetadata).begin_object();
    for (const auto& [key, value] : metadata) json.field(key, value);
    json.end_object();
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const auto& [name, tensor] = tensors[i];
    const Shape& shape = tensor.shape();
    json.key(name).begin_object().field("dtype", detail::safetensors_name_of(tensor.dtype()));
    json.field("shape", std::vector<std::int64_t>(shape.begin(), shape.end()));
    json.field("data_offsets", std::vector<std::uint64_t>{begin[i], begin[i] + tensor.nbytes()}).end_object();
  }
  std::string out = json.end_object().take();
  out.resize((out.size() + 7) / 8 * 8, ' ');  // the data begins at a multiple of eight
  GPUNN_CHECK(out.size() <= detail::kSafetensorsMaxHeader, "write_safetensors: expected a header of at most ",
              detail::kSafetensorsMaxHeader, " bytes, got ", out.size());
  return out;
}

}  // namespace

void write_safetensors(const std::string& path, std::span<const NamedTensor> tensors,
                       const TextMetadata& metadata) {
  check_input(tensors, metadata);
  const std::vector<std::size_t> order = buffer_order(tensors);
  const std::string header = header_of(tensors, order, metadata);

  AtomicFile file(path);
  const std::uint64_t length = header.size();
  file.write({reinterpret_cast<const std::uint8_t*>(&length), sizeof length});
  file.write(header);
  for (const std::size_t i : order) {
    const Tensor host = tensors[i].second.detach().to(Device::cpu()).contiguous();
    // host() waits for copies still using the memory; its type does not matter to the bytes.
    visit_dtype(host.dtype(), [&](auto element) { static_cast<void>(host.host<decltype(element)>()); });
    file.write({static_cast<const std::uint8_t*>(host.data()), host.nbytes()});
  }
  file.commit();
}

}  // namespace gpunn
