#include "gpunn/models/recipes/detail/feature_pictures.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "gpunn/io/picture_tools.h"

namespace gpunn::detail {

void report_filters(HtmlReport& report, const Tensor& weight, int scale, int most) {
  const int channels = static_cast<int>(weight.size(1));
  const int height = static_cast<int>(weight.size(2)), width = static_cast<int>(weight.size(3));
  const std::vector<float> values = weight.detach().to(Device::cpu()).to(DType::f32).to_vector<float>();
  const auto filters = static_cast<std::size_t>(std::min<std::int64_t>(weight.size(0), most));
  const std::size_t each =
      values.size() / static_cast<std::size_t>(std::max<std::int64_t>(weight.size(0), 1));
  std::vector<CaptionedPicture> pictures;
  for (std::size_t k = 0; k < filters; ++k) {
    const std::span<const float> own = std::span(values).subspan(k * each, each);
    float largest = 1e-12f;
    for (const float v : own) largest = std::max(largest, std::abs(v));
    pictures.push_back(
        {planes_picture(own, channels, height, width, -largest, largest), "filter " + std::to_string(k)});
  }
  report.pictures(pictures, scale);
}

void report_maps(HtmlReport& report, const Tensor& maps, const std::string& name, int scale, int most) {
  const int height = static_cast<int>(maps.size(1)), width = static_cast<int>(maps.size(2));
  const std::vector<float> values = maps.detach().to(Device::cpu()).to(DType::f32).to_vector<float>();
  const std::size_t area = static_cast<std::size_t>(height) * static_cast<std::size_t>(width);
  std::vector<CaptionedPicture> pictures;
  for (std::size_t c = 0; c < static_cast<std::size_t>(std::min<std::int64_t>(maps.size(0), most)); ++c) {
    const std::span<const float> own = std::span(values).subspan(c * area, area);
    const auto [low, high] = std::minmax_element(own.begin(), own.end());
    pictures.push_back({gray_picture(own, height, width, *low, std::max(*high, *low + 1e-12f)),
                        name + " " + std::to_string(c)});
  }
  report.pictures(pictures, scale);
}

}  // namespace gpunn::detail
