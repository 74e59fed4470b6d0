#pragma once
// Reports of a run: one HTML file with everything in it. No script, nothing fetched (a content policy in the
// page forbids it), light and dark by the reader's setting with a box to turn it round.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/charts.h"
#include "gpunn/io/png.h"

namespace gpunn {

/// How a headline figure is coloured; good and bad also carry a mark, so that colour is never the only sign.
enum class Tone : std::uint8_t { neutral, good, bad };

/// A picture with what was predicted for it. Classes are indices into the names given beside it.
struct Prediction {
  Picture picture{};
  std::vector<float> probabilities{};  // one for each class
  int truth = 0;
  std::string caption{};
};

/// A picture with a line below it.
struct CaptionedPicture {
  Picture picture{};
  std::string caption{};
};

/// Collects blocks in order and writes the page. All text is escaped. What would take the page past its limit
/// is left out, with a note in its place that says so: a long run must not fail at its report.
class GPUNN_API HtmlReport {
 public:
  static constexpr std::size_t kDefaultLimit = std::size_t{2} << 20;

  explicit HtmlReport(std::string title, std::string subtitle = "", std::size_t max_bytes = kDefaultLimit);

  /// A headline figure; figures added one after another stand side by side.
  void figure(std::string_view label, std::string_view value, std::string_view note = "",
              Tone tone = Tone::neutral);
  void section(std::string_view title);
  void text(std::string_view paragraph);
  void preformatted(std::string_view text);

  /// Charts added one after another share a line where their widths allow it. Throw InvalidArgument as draw()
  /// does.
  void line_chart(const LineChart& chart) { drawing(draw(chart)); }
  void bar_chart(const BarChart& chart) { drawing(draw(chart)); }
  void heat_map(const HeatMap& map) { drawing(draw(map)); }
  void contour_chart(const ContourChart& chart) { drawing(draw(chart)); }
  void drawing(const Svg& svg);

  /// Settings, environment.
  void key_values(const std::vector<std::pair<std::string, std::string>>& rows);
  /// Cells that look like numbers are aligned to the right. Throws InvalidArgument for rows of another
  /// length.
  void table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

  /// Pictures enlarged `scale` times. Throws InvalidArgument for pictures that cannot be encoded or a scale
  /// outside 1 to 64.
  void pictures(std::span<const CaptionedPicture> pictures, int scale = 2);
  /// A card each: picture, verdict, a bar for each class (the ten most probable). Throws InvalidArgument when
  /// the probabilities are not as many as classes, or the truth is no class.
  void predictions(const std::vector<std::string>& classes, std::span<const Prediction> predictions);

  /// Number of blocks, pictures and predictions left out for the limit.
  int left_out() const noexcept { return left_out_; }
  std::string html() const;
  /// Writes the page atomically. Throws Error.
  void save(const std::string& path) const;

 private:
  enum class Group : std::uint8_t { none, figures, charts };
  void add(Group group, const std::string& markup);
  void add_items(std::string_view name, const std::vector<std::string>& items);
  void leave_out(int blocks);
  std::size_t room() const noexcept;
  void close_group();

  std::string title_, subtitle_, body_;
  std::size_t max_bytes_, frame_bytes_ = 0;
  Group group_ = Group::none;
  int left_out_ = 0;
};

}  // namespace gpunn
