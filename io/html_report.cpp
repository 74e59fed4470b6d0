#include "gpunn/io/html_report.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "gpunn/core/error.h"
#include "gpunn/io/detail/report_style.h"
#include "gpunn/io/file.h"
#include "gpunn/version.h"

namespace gpunn {
namespace {

constexpr std::size_t kReserve = 1024;  // for notes and the closing tags
constexpr std::size_t kMaxPreformatted = std::size_t{64} << 10;
constexpr std::string_view kNote =
    "<p class=\"note\">Something was left out here: the report reached its size limit.</p>\n";

/// Class attribute for a headline figure or a verdict.
const char* name_of(Tone tone) { return tone == Tone::good ? " good" : tone == Tone::bad ? " bad" : ""; }

bool looks_numeric(std::string_view text) {
  if (text.ends_with(" %")) text.remove_suffix(2);
  if (text.empty()) return false;
  double value;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

std::string percent(float probability) {
  if (!std::isfinite(probability)) return "–";
  const long tenths = std::lround(std::clamp(probability, 0.0f, 1.0f) * 1000);
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " %";
}

std::string image(const Picture& picture, int scale, std::string_view description) {
  std::string size;
  if (scale > 0) {
    size = " width=\"" + std::to_string(picture.width * scale) + "\" height=\"" +
           std::to_string(picture.height * scale) + "\"";
  }
  return "<img" + size + " alt=\"" + html_escape(description) + "\" src=\"" + png_data_uri(picture) + "\">";
}

/// The most probable classes, best first; not-a-number counts as nothing.
std::vector<std::size_t> best_first(const std::vector<float>& probabilities) {
  std::vector<std::size_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key = [&](std::size_t i) { return std::isfinite(probabilities[i]) ? probabilities[i] : -1.0f; };
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) > key(b); });
  return order;
}

std::string probability_bars(const std::vector<std::string>& classes, const std::vector<float>& probabilities,
                             std::size_t predicted, std::span<const std::size_t> order) {
  constexpr std::size_t kShown = 10;
  // Ten classes or fewer keep their own order, so that cards compare at a glance.
  std::vector<std::size_t> shown(order.begin(),
                                 order.begin() + static_cast<std::ptrdiff_t>(std::min(kShown, order.size())));
  if (order.size() <= kShown) std::sort(shown.begin(), shown.end());
  std::string out = "<div class=\"bars\">";
  for (const std::size_t c : shown) {
    const std::string top = c == predicted ? " class=\"top\"" : "";
    const std::string name = html_escape(classes[c]), text = percent(probabilities[c]);
    const float p = std::isfinite(probabilities[c]) ? std::clamp(probabilities[c], 0.0f, 1.0f) : 0.0f;
    out += detail::concat("<span", top, " title=\"", name, "\">", name, "</span><i", top,
                          "><u style=\"width:", svg_number(100.0 * static_cast<double>(p)),
                          "%\"></u></i><em>", text, "</em>");
  }
  return out + "</div>";
}

std::string prediction_card(const std::vector<std::string>& classes, const Prediction& prediction) {
  const std::vector<std::size_t> order = best_first(prediction.probabilities);
  const std::size_t predicted = order[0], truth = static_cast<std::size_t>(prediction.truth);
  const bool right = predicted == truth;
  std::string out = "<div class=\"prediction\">" + image(prediction.picture, 0, classes[truth]) +
                    probability_bars(classes, prediction.probabilities, predicted, order);
  out += right ? "<div class=\"verdict good\">✓ " : "<div class=\"verdict bad\">✗ ";
  out += html_escape(classes[predicted]);
  if (!right) out += " <small>is " + html_escape(classes[truth]) + "</small>";
  out += "</div>";
  if (!prediction.caption.empty())
    out += "<div class=\"caption\">" + html_escape(prediction.caption) + "</div>";
  return out + "</div>";
}

}  // namespace

HtmlReport::HtmlReport(std::string title, std::string subtitle, std::size_t max_bytes)
    : title_(std::move(title)), subtitle_(std::move(subtitle)), max_bytes_(max_bytes) {
  frame_bytes_ = html().size();
  GPUNN_CHECK(max_bytes >= frame_bytes_ + 2 * kReserve, "HtmlReport: expected a limit of at least ",
              frame_bytes_ + 2 * kReserve, " bytes, got ", max_bytes);
}

void HtmlReport::close_group() {
  if (group_ != Group::none) body_ += "</div>\n";
  group_ = Group::none;
}

std::size_t HtmlReport::room() const noexcept {
  const std::size_t used = frame_bytes_ + body_.size() + kReserve;
  return used < max_bytes_ ? max_bytes_ - used : 0;
}

void HtmlReport::leave_out(int blocks) {
  if (blocks == 0) return;
  close_group();
  // One note for a row of blocks that are left out, and none once even notes would not fit (they take from
  // the reserve).
  if (!body_.ends_with(kNote) && room() > 0) body_ += kNote;
  left_out_ += blocks;
}

void HtmlReport::add(Group group, const std::string& markup) {
  if (markup.size() > room()) {
    leave_out(1);
    return;
  }
  if (group != group_) {
    close_group();
    if (group == Group::figures) body_ += "<div class=\"figures\">";
    if (group == Group::charts) body_ += "<div class=\"charts\">";
    group_ = group;
  }
  body_ += markup + "\n";
}

void HtmlReport::figure(std::string_view label, std::string_view value, std::string_view note, Tone tone) {
  const char* mark = tone == Tone::good ? "✓ " : tone == Tone::bad ? "✗ " : "";
  std::string out = "<div class=\"figure" + std::string(name_of(tone)) + "\"><span>" + html_escape(label) +
                    "</span><b>" + html_escape(value) + "</b>";
  if (!note.empty() || tone != Tone::neutral)
    out += "<small>" + std::string(mark) + html_escape(note) + "</small>";
  add(Group::figures, out + "</div>");
}

void HtmlReport::section(std::string_view title) { add(Group::none, "<h2>" + html_escape(title) + "</h2>"); }
void HtmlReport::text(std::string_view paragraph) {
  add(Group::none, "<p>" + html_escape(paragraph) + "</p>");
}

void HtmlReport::preformatted(std::string_view text) {
  std::string shown = html_escape(text.substr(0, kMaxPreformatted));
  if (text.size() > kMaxPreformatted)
    shown += "\n… " + std::to_string(text.size() - kMaxPreformatted) + " more bytes";
  add(Group::none, "<div class=\"block\"><pre>" + shown + "</pre></div>");
}

void HtmlReport::drawing(const Svg& svg) { add(Group::charts, svg.markup()); }

void HtmlReport::key_values(const std::vector<std::pair<std::string, std::string>>& rows) {
  std::string out = "<div class=\"block scroll\"><table>";
  for (const auto& [key, value] : rows) {
    out += "<tr><th scope=\"row\">" + html_escape(key) + "</th><td>" + html_escape(value) + "</td></tr>";
  }
  add(Group::none, out + "</table></div>");
}

void HtmlReport::table(const std::vector<std::string>& header,
                       const std::vector<std::vector<std::string>>& rows) {
  // A column is numeric when all its cells are, so that its header can be aligned with them.
  std::vector<bool> numeric(header.size(), !rows.empty());
  for (const auto& row : rows) {
    GPUNN_CHECK(row.size() == header.size(), "HtmlReport::table: expected ", header.size(), " cells, got ",
                row.size());
    for (std::size_t c = 0; c < row.size(); ++c)
      numeric[c] = numeric[c] && (row[c].empty() || looks_numeric(row[c]));
  }
  const auto cell = [&](const char* tag, std::size_t c, const std::string& text) {
    return "<" + std::string(tag) + (numeric[c] ? " class=\"number\">" : ">") + html_escape(text) + "</" +
           tag + ">";
  };
  std::string out = "<div class=\"block scroll\"><table><tr>";
  for (std::size_t c = 0; c < header.size(); ++c) out += cell("th", c, header[c]);
  for (const auto& row : rows) {
    out += "</tr><tr>";
    for (std::size_t c = 0; c < row.size(); ++c) out += cell("td", c, row[c]);
  }
  add(Group::none, out + "</tr></table></div>");
}

void HtmlReport::pictures(std::span<const CaptionedPicture> pictures, int scale) {
  GPUNN_CHECK(scale >= 1 && scale <= 64, "HtmlReport::pictures: expected a scale of 1 to 64, got ", scale);
  std::vector<std::string> items;
  for (const CaptionedPicture& picture : pictures) {
    std::string out = "<figure>" + image(picture.picture, scale, picture.caption);
    if (!picture.caption.empty()) out += "<figcaption>" + html_escape(picture.caption) + "</figcaption>";
    items.push_back(out + "</figure>");
  }
  add_items("pictures", items);
}

/// A block of items, as many as there is room for.
void HtmlReport::add_items(std::string_view name, const std::vector<std::string>& items) {
  std::string out = "<div class=\"block " + std::string(name) + "\">";
  std::size_t shown = 0;
  while (shown < items.size() && out.size() + items[shown].size() + 64 <= room()) out += items[shown++];
  if (shown > 0) add(Group::none, out + "</div>");
  leave_out(static_cast<int>(items.size() - shown));
}

void HtmlReport::predictions(const std::vector<std::string>& classes,
                             std::span<const Prediction> predictions) {
  std::vector<std::string> items;
  for (const Prediction& prediction : predictions) {
    GPUNN_CHECK(!classes.empty() && prediction.probabilities.size() == classes.size(),
                "HtmlReport::predictions: expected ", classes.size(), " probabilities, got ",
                prediction.probabilities.size());
    GPUNN_CHECK(prediction.truth >= 0 && static_cast<std::size_t>(prediction.truth) < classes.size(),
                "HtmlReport::predictions: expected a truth of 0 to ", classes.size() - 1, ", got ",
                prediction.truth);
    items.push_back(prediction_card(classes, prediction));
  }
  add_items("predictions", items);
}

std::string HtmlReport::html() const {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src "
      "'unsafe-inline'\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>";
  out += html_escape(title_) + "</title>\n<style>" + detail::report_style() +
         "</style></head>\n<body><main>\n<header><div><h1>" + html_escape(title_) + "</h1>";
  if (!subtitle_.empty()) out += "<p class=\"subtitle\">" + html_escape(subtitle_) + "</p>";
  out +=
      "</div><label class=\"theme\"><input type=\"checkbox\" id=\"theme\">switch light / "
      "dark</label></header>\n" +
      body_;
  if (group_ != Group::none) out += "</div>\n";
  return out + "<footer>gpunn " GPUNN_VERSION_STRING "</footer>\n</main></body></html>\n";
}

void HtmlReport::save(const std::string& path) const { write_file_atomic(path, html()); }

}  // namespace gpunn
