// conv-filters: what a convolution does, with filters known for a hundred years, on a drawn picture. Weights
// and pixels are small whole numbers (the blur's are sixteenths), so that every result is exact.
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "gpunn/io/html_report.h"
#include "gpunn/layers/functional.h"
#include "gpunn/models/recipes/detail/catalogue.h"
#include "gpunn/models/recipes/detail/feature_pictures.h"
#include "gpunn/models/recipes/detail/report_parts.h"

namespace gpunn {
namespace {

constexpr int kSide = 20;
constexpr int kPooled = 6;

struct Filter {
  const char* name;
  const char* what;
  std::array<float, 9> weight;  // [3, 3]
};

constexpr Filter kFilters[] = {
    {"Sobel x", "brightness that grows to the right", {-1, 0, 1, -2, 0, 2, -1, 0, 1}},
    {"Sobel y", "brightness that grows downwards", {-1, -2, -1, 0, 0, 0, 1, 2, 1}},
    {"diagonal", "edges that run like a falling stroke", {0, 1, 2, -1, 0, 1, -2, -1, 0}},
    {"sharpen", "the picture with its edges raised", {0, -1, 0, -1, 5, -1, 0, -1, 0}},
    {"blur",
     "a weighted mean of nine pixels",
     {1 / 16.f, 2 / 16.f, 1 / 16.f, 2 / 16.f, 4 / 16.f, 2 / 16.f, 1 / 16.f, 2 / 16.f, 1 / 16.f}}};
constexpr int kFilterCount = static_cast<int>(std::size(kFilters));

/// A bright square, a falling stroke and a disc on black; whole numbers from 0 to 8.
std::vector<float> draw_picture() {
  std::vector<float> p(kSide * kSide);
  for (int h = 0; h < kSide; ++h)
    for (int w = 0; w < kSide; ++w) {
      float& pixel = p[static_cast<std::size_t>(h * kSide + w)];
      if (h >= 2 && h < 9 && w >= 2 && w < 9) pixel = 8;
      if (h >= 10 && h - 10 == w - 1) pixel = 6;
      const int dh = h - 13, dw = w - 14;
      if (dh * dh + dw * dw <= 16) pixel = 4;
    }
  return p;
}

/// The same by plain loops over whole numbers of sixteenths: what conv2d must give exactly.
std::vector<float> filtered(const std::vector<float>& x, const Filter& filter) {
  std::vector<float> y(kSide * kSide);
  for (int h = 0; h < kSide; ++h)
    for (int w = 0; w < kSide; ++w) {
      long sum = 0;
      for (int r = 0; r < 3; ++r)
        for (int s = 0; s < 3; ++s) {
          const int ih = h + r - 1, iw = w + s - 1;
          if (ih < 0 || ih >= kSide || iw < 0 || iw >= kSide) continue;
          sum += static_cast<long>(16 * filter.weight[static_cast<std::size_t>(3 * r + s)]) *
                 static_cast<long>(x[static_cast<std::size_t>(ih * kSide + iw)]);
        }
      y[static_cast<std::size_t>(h * kSide + w)] = static_cast<float>(sum) / 16;
    }
  return y;
}

struct SizeRow {
  std::int64_t kernel, stride, padding, dilation;
  std::int64_t formula = 0, measured = 0;
};

/// Sizes by the formula, and those of what conv2d returns, for pictures of kSide.
std::vector<SizeRow> size_table(Device device) {
  std::vector<SizeRow> rows{{1, 1, 0, 1}, {3, 1, 0, 1}, {3, 1, 1, 1}, {3, 2, 0, 1},
                            {3, 2, 1, 1}, {3, 1, 2, 2}, {5, 1, 0, 1}, {5, 1, 2, 1},
                            {5, 3, 2, 1}, {7, 2, 3, 1}, {20, 1, 0, 1}};
  for (SizeRow& row : rows) {
    row.formula = (kSide + 2 * row.padding - row.dilation * (row.kernel - 1) - 1) / row.stride + 1;
    const Tensor x = zeros({1, 1, kSide, kSide}, {.device = device});
    const Tensor w = zeros({1, 1, row.kernel, row.kernel}, {.device = device});
    row.measured =
        conv2d(x, w, {}, {.stride = row.stride, .padding = row.padding, .dilation = row.dilation}).size(2);
  }
  return rows;
}

struct Pooled {
  std::vector<float> x, largest, mean;  // [6, 6] and twice [3, 3]
  bool exact = true;
};

/// 2x2 pooling of 36 numbers in no order, checked by plain loops.
Pooled pool_table(Device device) {
  Pooled out;
  for (int i = 0; i < kPooled * kPooled; ++i) out.x.push_back(static_cast<float>(i * 7 % 37));
  const Tensor x = Tensor::from(out.x, {1, 1, kPooled, kPooled}, {.device = device});
  out.largest = max_pool2d(x, 2).to_vector<float>();
  out.mean = avg_pool2d(x, 2).to_vector<float>();
  for (int p = 0; p < kPooled / 2; ++p)
    for (int q = 0; q < kPooled / 2; ++q) {
      float largest = -1, sum = 0;
      for (const int i : {0, 1, kPooled, kPooled + 1}) {
        const float v = out.x[static_cast<std::size_t>(2 * p * kPooled + 2 * q + i)];
        largest = std::max(largest, v);
        sum += v;
      }
      const auto at = static_cast<std::size_t>(p * kPooled / 2 + q);
      out.exact = out.exact && out.largest[at] == largest && out.mean[at] == sum / 4;
    }
  return out;
}

std::vector<std::vector<std::string>> text_rows(const std::vector<float>& values, std::size_t columns) {
  std::vector<std::vector<std::string>> rows;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (i % columns == 0) rows.emplace_back();
    char text[32];
    std::snprintf(text, sizeof text, "%g", static_cast<double>(values[i]));
    rows.back().push_back(text);
  }
  return rows;
}

struct Outputs {
  std::vector<float> picture;
  std::vector<std::vector<float>> maps;  // of kFilters
  std::vector<SizeRow> sizes;
  Pooled pooled;
};

void write_report(RecipeContext& context, const Outputs& o, const RecipeResult& result) {
  HtmlReport report("conv-filters", find_recipe("conv-filters").summary);
  report.figure("exact results", result.reached ? "all" : "not all", "filters, sizes and pooling",
                result.reached ? Tone::good : Tone::bad);
  detail::report_verdict(report, context, result);
  report.section("Filters");
  std::vector<CaptionedPicture> pictures{{gray_picture(o.picture, kSide, kSide, 0, 8), "the picture"}};
  for (std::size_t k = 0; k < o.maps.size(); ++k) {
    const bool is_signed = k < 3;
    const float top = is_signed ? 32.f : 16.f;
    pictures.push_back({gray_picture(o.maps[k], kSide, kSide, is_signed ? -top : 0, top),
                        std::string(kFilters[k].name) + ": " + kFilters[k].what});
  }
  report.pictures(pictures, 8);
  report.text("Grey is zero in the first three results, black is negative.");
  report.section("Weights");
  for (const Filter& f : kFilters) {
    report.text(f.name);
    report.table({"", "", ""}, text_rows({f.weight.begin(), f.weight.end()}, 3));
  }
  report.section("Sizes");
  report.text(
      "A side of 20 pixels gives (20 + 2 padding - dilation (kernel - 1) - 1) / stride + 1, rounded "
      "down.");
  std::vector<std::vector<std::string>> rows;
  for (const SizeRow& r : o.sizes)
    rows.push_back({std::to_string(r.kernel), std::to_string(r.stride), std::to_string(r.padding),
                    std::to_string(r.dilation), std::to_string(r.formula), std::to_string(r.measured)});
  report.table({"kernel", "stride", "padding", "dilation", "formula", "conv2d"}, rows);
  report.section("Pooling 2 x 2");
  report.text("Six by six numbers, the largest of each four, and their mean.");
  report.table(std::vector<std::string>(kPooled), text_rows(o.pooled.x, kPooled));
  report.table(std::vector<std::string>(kPooled / 2), text_rows(o.pooled.largest, kPooled / 2));
  report.table(std::vector<std::string>(kPooled / 2), text_rows(o.pooled.mean, kPooled / 2));
  detail::finish_report(report, context);
}

RecipeResult run(RecipeContext& context) {
  RecipeResult result;
  Outputs o{draw_picture(), {}, size_table(context.device()), pool_table(context.device())};
  std::vector<float> weights;
  for (const Filter& f : kFilters) weights.insert(weights.end(), f.weight.begin(), f.weight.end());
  const Tensor x = Tensor::from(o.picture, {1, 1, kSide, kSide}, {.device = context.device()});
  const Tensor w = Tensor::from(weights, {kFilterCount, 1, 3, 3}, {.device = context.device()});
  const Tensor y = conv2d(x, w, {}, {.padding = 1});
  int exact = 0;
  for (int k = 0; k < kFilterCount; ++k) {
    o.maps.push_back(y.select(0, 0).select(0, k).contiguous().to_vector<float>());
    exact += o.maps.back() == filtered(o.picture, kFilters[k]) ? 1 : 0;
  }
  int sizes = 0;
  for (const SizeRow& r : o.sizes) sizes += r.formula == r.measured ? 1 : 0;
  result.metric("exact_filters", exact);
  result.metric("right_sizes", sizes);
  result.metric("exact_pooling", o.pooled.exact ? 1 : 0);
  result.reached = exact == kFilterCount && sizes == static_cast<int>(o.sizes.size()) && o.pooled.exact;
  char text[120];
  std::snprintf(text, sizeof text, "%d of %d filters exact, %d of %zu sizes right, pooling %s", exact,
                kFilterCount, sizes, o.sizes.size(), o.pooled.exact ? "exact" : "wrong");
  context.say(text);
  write_report(context, o, result);
  return result;
}

}  // namespace

const Recipe kConvFilters{"conv-filters",
                          "convolution",
                          "edge, sharpening and blur filters on a drawn picture, sizes, and pooling",
                          "generated",
                          "every number exact",
                          [] { return std::make_unique<RunSettings>(); },
                          run};

}  // namespace gpunn
