#include "gpunn/io/html_report.h"

#include <cmath>

#include "tests/io/io_testing.h"
#include "tests/io/markup.h"

namespace gpunn {
namespace {

using testing::count_of;
using testing::expect_well_formed;

constexpr std::string_view kHostile = "<script>alert('1')</script>\"&\xff";

Picture square(int side) { return {side, side, 1, Bytes(static_cast<std::size_t>(side * side), 127)}; }

Picture noise(int side) {
  Picture picture = square(side);
  std::uint32_t state = 7;
  for (std::uint8_t& p : picture.pixels)
    p = static_cast<std::uint8_t>((state = state * 1'664'525 + 1'013'904'223) >> 24);
  return picture;
}

/// A report with every kind of block, all texts `text`.
HtmlReport full_report(std::string_view text) {
  const std::string t(text);
  HtmlReport report(t, t);
  report.figure(t, t, t, Tone::good);
  report.figure(t, t, "", Tone::bad);
  report.figure(t, t);
  report.section(t);
  report.text(t);
  report.line_chart(
      {.title = t, .x_label = t, .y_label = t, .series = {{t, {1, 2}}}, .references = {{t, 1}}});
  report.bar_chart({.title = t, .bars = {{t, 0.5}}});
  HeatMap map{.title = t, .rows = 1, .columns = 1, .values = {1}};
  map.row_labels = map.column_labels = map.texts = {t};
  map.x_label = map.y_label = t;
  report.heat_map(map);
  report.key_values({{t, t}});
  report.table({t, t}, {{t, t}});
  report.preformatted(t);
  const std::vector<CaptionedPicture> pictures = {{square(3), t}};
  report.pictures(pictures);
  const std::vector<Prediction> predictions = {{square(3), {0.25f, 0.75f}, 0, t},
                                               {square(3), {0.25f, 0.75f}, 1, ""}};
  report.predictions({t, t}, predictions);
  return report;
}

TEST(HtmlReport, EveryBlockIsWellFormedAndSelfContained) {
  const HtmlReport report = full_report("plain");
  const std::string html = report.html();
  expect_well_formed(html);
  EXPECT_EQ(html, full_report("plain").html());
  // Nothing that could fetch: no script, no link, sources are data, and a policy that would forbid the rest.
  for (const char* part :
       {"<script", "<link", "@import", "url(", "src=\"http", "href=\"http", "onload", "javascript:"}) {
    EXPECT_EQ(html.find(part), std::string::npos) << part;
  }
  EXPECT_NE(html.find("default-src 'none'; img-src data:"), std::string::npos);
  EXPECT_EQ(count_of(html, "<img"), count_of(html, "src=\"data:image/png;base64,"));
  EXPECT_NE(html.find("prefers-color-scheme:dark"), std::string::npos);
  EXPECT_EQ(report.left_out(), 0);
}

TEST(HtmlReport, EverythingIsEscaped) {
  const std::string html = full_report(kHostile).html();
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find('\xff'), std::string::npos);
  EXPECT_GE(count_of(html, "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&quot;&amp;"), 20u);
  expect_well_formed(html);
}

TEST(HtmlReport, BlocksOfAKindShareALine) {
  HtmlReport report("r");
  report.figure("a", "1");
  report.figure("b", "2");
  report.text("the middle");
  report.figure("c", "3");
  const std::string html = report.html();
  expect_well_formed(html);
  EXPECT_EQ(count_of(html, "<div class=\"figures\">"), 2u);
  EXPECT_LT(html.find(">b<"), html.find("the middle"));
  EXPECT_LT(html.find("the middle"), html.find(">c<"));
}

TEST(HtmlReport, PredictionsShowRightAndWrong) {
  HtmlReport report("r");
  const std::vector<Prediction> predictions = {{square(28), {0.1f, 0.9f, 0.0f}, 1, "first"},
                                               {square(28), {0.6f, 0.3f, std::nanf("")}, 2, "second"}};
  report.predictions({"cat", "dog", "bird"}, predictions);
  const std::string html = report.html();
  expect_well_formed(html);
  EXPECT_NE(html.find("<div class=\"verdict good\">✓ dog</div>"), std::string::npos);
  EXPECT_NE(html.find("<div class=\"verdict bad\">✗ cat <small>is bird</small></div>"), std::string::npos);
  EXPECT_NE(html.find("90.0 %"), std::string::npos);
  EXPECT_NE(html.find("<em>–</em>"), std::string::npos);

  // Of many classes, the ten most probable are shown.
  std::vector<std::string> classes;
  Prediction many{square(2), {}, 3, ""};
  for (int i = 0; i < 40; ++i) {
    classes.push_back("class" + std::to_string(i));
    many.probabilities.push_back(static_cast<float>(i) / 1000);
  }
  HtmlReport other("r");
  other.predictions(classes, std::span(&many, 1));
  EXPECT_EQ(count_of(other.html(), "<em>"), 10u);
  EXPECT_NE(other.html().find(">class39<"), std::string::npos);
  EXPECT_EQ(other.html().find(">class29<"), std::string::npos);
}

TEST(HtmlReport, WrongInputIsRefused) {
  HtmlReport report("r");
  const auto predict = [&](const std::vector<std::string>& classes, Prediction prediction) {
    report.predictions(classes, std::span(&prediction, 1));
  };
  EXPECT_THROW(predict({"a", "b"}, {square(2), {1.0f}, 0, ""}), InvalidArgument);
  EXPECT_THROW(predict({}, {square(2), {}, 0, ""}), InvalidArgument);
  EXPECT_THROW(predict({"a"}, {square(2), {1.0f}, 1, ""}), InvalidArgument);
  EXPECT_THROW(predict({"a"}, {square(2), {1.0f}, -1, ""}), InvalidArgument);
  EXPECT_THROW(predict({"a"}, {Picture{2, 2, 1, {}}, {1.0f}, 0, ""}), InvalidArgument);
  EXPECT_THROW(report.table({"a", "b"}, {{"1"}}), InvalidArgument);
  EXPECT_THROW(report.pictures({}, 0), InvalidArgument);
  EXPECT_THROW(HtmlReport("r", "", 100), InvalidArgument);
  // What was refused left nothing behind.
  EXPECT_EQ(report.html(), HtmlReport("r").html());
}

TEST(HtmlReport, NumbersInTablesAreAligned) {
  HtmlReport report("r");
  report.table({"name", "loss", "share"}, {{"a", "0.5", "12.5 %"}, {"b", "", "3 %"}});
  const std::string html = report.html();
  EXPECT_EQ(count_of(html, "<th class=\"number\">"), 2u);
  EXPECT_EQ(count_of(html, "<td class=\"number\">"), 4u);
}

TEST(HtmlReport, StaysWithinItsLimit) {
  const std::size_t limit = 100'000;
  HtmlReport report("r", "", limit);
  const std::vector<CaptionedPicture> pictures(300, {noise(32), "noise"});
  report.pictures(pictures);
  EXPECT_GT(report.left_out(), 200);
  EXPECT_GT(count_of(report.html(), "<img"), 20u);
  for (int i = 0; i < 200; ++i) {
    report.text(std::string(1000, 'x'));
    report.figure("a", "b");
  }
  const std::string html = report.html();
  EXPECT_LE(html.size(), limit);
  expect_well_formed(html);
  EXPECT_GE(count_of(html, "was left out here"), 1u);
  EXPECT_LE(count_of(html, "was left out here"), 10u);

  HtmlReport large("r");
  large.preformatted(std::string(1'000'000, '<'));
  EXPECT_LT(large.html().size(), 300'000u);
  EXPECT_NE(large.html().find("more bytes"), std::string::npos);
}

TEST(HtmlReport, IsSavedWhole) {
  const testing::TemporaryFolder folder;
  const HtmlReport report = full_report("saved");
  report.save(folder.file("report.html"));
  EXPECT_EQ(testing::get_file(folder.file("report.html")), report.html());
  EXPECT_THROW(report.save(folder.file("none/report.html")), Error);
}

}  // namespace
}  // namespace gpunn
