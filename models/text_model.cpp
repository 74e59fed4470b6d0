#include "gpunn/models/text_model.h"

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "gpunn/models/detail/text_models.h"

namespace gpunn {

TextModel::~TextModel() = default;

std::span<const TextModelKind> text_model_kinds() noexcept {
  static const TextModelKind kAll[] = {detail::kCharGptTextModel, detail::kCharTextModel,
                                       detail::kGpt2TextModel};
  return kAll;
}

std::unique_ptr<TextModel> open_text_model(const std::string& folder, Device device) {
  if (!path_exists(folder)) detail::throw_data(folder + ": there is no such folder");
  std::string expected;
  for (const TextModelKind& kind : text_model_kinds()) {
    if (kind.fits(folder)) return kind.open(folder, device);
    expected += (expected.empty() ? "" : "; or ") + std::string(kind.files);
  }
  detail::throw_data(folder + ": holds no text model, expected " + expected);
}

void detail::expect_shape(const SafetensorsFile& file, const std::string& name,
                          const std::vector<std::int64_t>& shape) {
  const std::vector<std::int64_t>& got = file.info(name).shape;
  if (got == shape) return;
  const auto text = [](const std::vector<std::int64_t>& extents) {
    std::string out = "[";
    for (const std::int64_t e : extents) out += (out.size() > 1 ? ", " : "") + std::to_string(e);
    return out + "]";
  };
  throw_data(file.path() + ": expected " + name + " " + text(shape) + ", got " + text(got));
}

}  // namespace gpunn
