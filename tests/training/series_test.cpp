// Series with dates from CSV, what is wrong with them, windows, scaling, baselines and errors.
#include "gpunn/training/series.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/training/series_windows.h"
#include "tests/support/data_error.h"

namespace gpunn {
namespace {

using testing::data_error;

using Values = std::vector<double>;

std::string refusal(const std::string& rows, const SeriesOptions& options = {}) {
  return data_error([&] { parse_series("\"Date\",\"Temp\"\n" + rows, "f", options); });
}

Values read(const std::string& rows, const SeriesOptions& options) {
  return parse_series("Date,Temp\n" + rows, "f", options).values;
}

TEST(DateTest, GoesThereAndBack) {
  EXPECT_EQ(parse_date("1970-01-01").value, 0);
  EXPECT_EQ(parse_date("2000-03-01").value, 11017);
  EXPECT_EQ(parse_date("1970-01").value, 0);
  EXPECT_EQ(parse_date("1949-01").value, -252);
  EXPECT_EQ(date_text(parse_date("1949-12")), "1949-12");
  for (const char* date : {"0001-01-01", "9999-12-31", "1984-02-29", "1969-12-31", "2000-02-29"})
    EXPECT_EQ(date_text(parse_date(date)), date);
  for (const char* month : {"0001-01", "9999-12", "1969-12"}) EXPECT_EQ(date_text(parse_date(month)), month);
  // Every day of 400 years: one after the other.
  const std::int64_t first = parse_date("1799-12-31").value;
  for (std::int64_t day = 0; day <= 146097; ++day)
    ASSERT_EQ(parse_date(date_text({first + day, DateUnit::day})).value, first + day);
  EXPECT_EQ(date_text({first + 146097, DateUnit::day}), "2199-12-31");
  for (const char* bad :
       {"", "1949", "1949-13", "1949-00", "0000-01", "1949-1", "1949-01-", "1900-02-29", "1949-01-32",
        "1949-01-00", "1949/01/01", "49-01-01", "+949-01-01", "1949-01-0x", "1949-01-011", " 1949-01"})
    EXPECT_THROW(parse_date(bad), DataError) << bad;
}

TEST(SeriesTest, ReadsDaysAndMonths) {
  const Series months =
      parse_series("\"Month\",\"Passengers\"\n\"1949-11\",112\n\"1949-12\",118\n1950-01,132\n", "f");
  EXPECT_EQ(months.names, (std::vector<std::string>{"Passengers"}));
  EXPECT_EQ(months.rows(), 3);
  EXPECT_EQ(months.step, 1);
  EXPECT_EQ(months.date(2), "1950-01");
  EXPECT_EQ(months.values, (Values{112, 118, 132}));
  EXPECT_THROW(months.date(3), InvalidArgument);
  EXPECT_THROW(months.column(1), InvalidArgument);

  const Series weeks = parse_series("a;when;b\n1;2020-02-24;4\n2;2020-03-02;5\n3;2020-03-09;6\n", "f",
                                    {.date_column = "when", .separator = ';'});
  EXPECT_EQ(weeks.step, 7);
  EXPECT_EQ(weeks.names, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(weeks.values, (Values{1, 4, 2, 5, 3, 6}));
  EXPECT_EQ(weeks.column(1), (Values{4, 5, 6}));
  EXPECT_EQ(weeks.date(1), "2020-03-02");
  const Series one = parse_series("when,a,b\n2020-01,1,x\n2020-02,2,y\n", "f", {.columns = {"a"}});
  EXPECT_EQ(one.values, (Values{1, 2})) << "columns that are not asked for may hold anything";
}

TEST(SeriesTest, RefusalsNameTheLine) {
  EXPECT_EQ(
      refusal("1984-02-27,1\n1984-02-28,2\n\n1984-03-01,3\n"),
      "f: line 5: expected 1984-02-29 after 1984-02-28, got 1984-03-01: a gap of 1 row; fill it (forward "
      "or linear), or complete the file");
  EXPECT_EQ(refusal("1984-02-28,2\n1984-02-28,3\n"),
            "f: line 3: expected a date after 1984-02-28, got it again (line 2 has it)");
  EXPECT_EQ(refusal("1984-02-28,2\n1984-02-27,3\n"),
            "f: line 3: expected a date after 1984-02-28 (line 2), got 1984-02-27");
  EXPECT_EQ(refusal("1984-02-28,2\n1984-03,3\n"), "f: line 3: expected a date like 1984-02-28, got 1984-03");
  EXPECT_EQ(refusal("1984-01-01,1\n1984-01-03,1\n1984-01-06,1\n"),
            "f: line 4: expected 1984-01-05 or whole steps of 2 days later, got 1984-01-06");
  EXPECT_EQ(refusal("1984-02-28,2\n1984-02-30,3\n"),
            "f: line 3: expected a date like 1981-01-31 or 1949-01, got '1984-02-30'");
  EXPECT_EQ(refusal("1984-01,1\n1984-02,\n"),
            "f: line 3, column 'Temp': expected a number, got a missing value");
  EXPECT_NE(refusal("1984-01,1\n1984-02,?\n").find("line 3"), std::string::npos);
  EXPECT_NE(refusal("1984-01,1\n1984-02,inf\n").find("line 3"), std::string::npos);
  EXPECT_EQ(refusal("1984-01,1\n"), "f: expected at least two rows, got 1");
  EXPECT_EQ(refusal(""), "f: expected at least two rows, got 0");
  EXPECT_NE(refusal("1984-01,1\n1984-02,2\n", {.columns = {"Tmp"}}).find("'Tmp'"), std::string::npos);
  EXPECT_NE(refusal("1984-01,1\n1984-02,2\n", {.columns = {"Date"}}).find("'Date'"), std::string::npos);
  EXPECT_NE(data_error([] { parse_series("Date\n1984-01\n1984-02\n", "f"); }).find("column of values"),
            std::string::npos);
  EXPECT_THROW(read("1984-01,1\n1984-02,2\n", {.columns = {"Temp", "Temp"}}), InvalidArgument);
  EXPECT_THROW(read("1984-01,1\n1984-02,2\n", {.max_gap = -1}), InvalidArgument);
}

TEST(SeriesTest, GapsAreFilledWhereAsked) {
  const std::string rows = "2020-01,1\n2020-02,NA\n2020-03,7\n2020-06,10\n2020-07,\n";
  EXPECT_EQ(read(rows, {.fill = GapFill::forward}), (Values{1, 1, 7, 7, 7, 10, 10}));
  EXPECT_EQ(refusal(rows, {.fill = GapFill::linear}),
            "f: line 6, column 'Temp': expected a number, got a missing value with no value after it");
  EXPECT_EQ(read(rows + "2020-08,4\n", {.fill = GapFill::linear}), (Values{1, 4, 7, 8, 9, 10, 7, 4}));
  const Series filled = parse_series("Date,Temp\n" + rows, "f", {.fill = GapFill::forward});
  EXPECT_EQ(filled.filled_rows, 2);
  EXPECT_EQ(filled.filled_values, 2);
  EXPECT_EQ(filled.date(4), "2020-05");
  EXPECT_EQ(refusal("2020-01,\n2020-02,1\n", {.fill = GapFill::forward}),
            "f: line 2, column 'Temp': expected a number, got a missing value with no value before it");
  // The last row counts in every column.
  EXPECT_EQ(parse_series("t,a,b\n2020-01,1,2\n2020-02,3,\n", "f", {.fill = GapFill::forward}).values,
            (Values{1, 2, 3, 2}));
  EXPECT_NE(data_error([] { parse_series("t,a,b\n2020-01,1,2\n2020-02,3,\n", "f"); }).find("column 'b'"),
            std::string::npos);
  // A missing row next to a missing value is one gap.
  EXPECT_EQ(read("2020-01,1\n2020-02,\n2020-04,4\n", {.fill = GapFill::linear, .max_gap = 2}),
            (Values{1, 2, 3, 4}));
  EXPECT_EQ(
      refusal("2020-01,1\n2020-02,\n2020-04,4\n", {.fill = GapFill::linear, .max_gap = 1}),
      "f: line 3, column 'Temp': expected a number, got a missing value, the first of 2, and at most 1 may "
      "be filled");
  // Two dates must not ask for a table of millions of rows.
  EXPECT_EQ(
      refusal("0001-01-01,1\n0001-01-02,1\n9999-12-31,2\n", {.fill = GapFill::forward}),
      "f: line 4: expected 0001-01-03 after 0001-01-02, got 9999-12-31: a gap of 3652056 rows, and at most "
      "8 may be filled");
  EXPECT_EQ(read("2020-01,-1.7e308\n2020-03,1.7e308\n2020-04,1\n", {.fill = GapFill::linear})[1], 0);
}

TEST(TrendSeasonTest, IsTheLineTheSineAndTheNoise) {
  const Series clean = make_trend_season({.noise = 0});
  ASSERT_EQ(clean.rows(), 200);
  EXPECT_DOUBLE_EQ(clean.values[0], 100);
  EXPECT_NEAR(clean.values[199], 150 + 10 * std::sin(2 * std::numbers::pi * 199 / 30), 1e-9);
  EXPECT_NEAR(clean.values[7] - 100 - 50.0 * 7 / 199, 10 * std::sin(2 * std::numbers::pi * 7 / 30), 1e-9);
  EXPECT_EQ(clean.date(199), "2024-07-18");
  const Series noisy = make_trend_season({.rows = 20000, .seed = 4}),
               plain = make_trend_season({.rows = 20000, .noise = 0});
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < 20000; ++i) {
    const double d = noisy.values[i] - plain.values[i];
    sum += d;
    squares += d * d;
  }
  EXPECT_NEAR(sum / 20000, 0, 5 * 3 / std::sqrt(20000.0));
  EXPECT_NEAR(std::sqrt(squares / 20000), 3, 5 * 3 / std::sqrt(40000.0));
  EXPECT_EQ(make_trend_season({.seed = 4}).values, make_trend_season({.seed = 4}).values);
  EXPECT_NE(make_trend_season({.seed = 5}).values, make_trend_season({.seed = 4}).values);
  const double nan = std::nan("");
  for (const TrendSeasonOptions& options : std::vector<TrendSeasonOptions>{
           {.rows = 1}, {.start = nan}, {.period = 0}, {.noise = -1}, {.noise = nan}})
    EXPECT_THROW(make_trend_season(options), InvalidArgument);
}

TEST(SeriesScalerTest, LooksAtTheTrainingPartOnly) {
  const Values values{1, 5, 3, 5, 100, 9};  // [3, 2]
  const SeriesScaler scaler = SeriesScaler::fit(values, 2, 2);
  EXPECT_EQ(scaler.mean, (Values{2, 5}));
  EXPECT_EQ(scaler.deviation, (Values{1, 1})) << "what does not change is not divided by 0";
  EXPECT_EQ(scaler.scaled(values), (Values{-1, 0, 1, 0, 98, 4}));
  EXPECT_EQ(scaler.restored(98, 0), 100);
  EXPECT_EQ(SeriesScaler::fit(values, 2, 3).mean[0], 104.0 / 3);
  EXPECT_THROW(SeriesScaler::fit(values, 2, 4), InvalidArgument);
  EXPECT_THROW(SeriesScaler::fit(values, 2, 0), InvalidArgument);
  EXPECT_THROW(SeriesScaler::fit(values, 4, 1), InvalidArgument);
  EXPECT_THROW(SeriesScaler::fit(Values{1, std::nan("")}, 1, 2), InvalidArgument);
  EXPECT_THROW(scaler.scaled(Values{1}), InvalidArgument);
  EXPECT_THROW(scaler.restored(1, 2), InvalidArgument);
}

TEST(SeriesWindowsTest, WindowsStandWhereTheyShould) {
  Values values(20);  // ten rows of two variables: 0, 1, 2, …
  std::iota(values.begin(), values.end(), 0.0);
  const SeriesWindows data(values, 2, {.input = 3, .horizon = 2, .stride = 2, .targets = {1}});
  EXPECT_EQ(data.size(), 3) << "targets from rows 3, 5 and 7";
  const std::int64_t rows[] = {2, 0};
  const Batch batch = data.get(rows);
  EXPECT_EQ(batch.inputs.shape(), (Shape{2, 3, 2}));
  EXPECT_EQ(batch.targets.shape(), (Shape{2, 2, 1}));
  EXPECT_EQ(batch.inputs.to_vector<float>(), (std::vector<float>{8, 9, 10, 11, 12, 13, 0, 1, 2, 3, 4, 5}));
  EXPECT_EQ(batch.targets.to_vector<float>(), (std::vector<float>{15, 17, 7, 9}));
  EXPECT_EQ(data.target_row(2), 7);
  // A split by time: no row is forecast in both parts, and what is seen of the test may be older.
  const SeriesWindows train(values, 2, {.input = 3, .end = 7}), test(values, 2, {.input = 3, .first = 7});
  EXPECT_EQ(train.size(), 4);
  EXPECT_EQ(train.target_row(3), 6);
  EXPECT_EQ(test.size(), 3);
  EXPECT_EQ(test.target_row(0), 7);
  const std::int64_t first[] = {0};
  EXPECT_EQ(test.get(first).inputs.to_vector<float>()[0], 8) << "row 4";
  EXPECT_EQ(test.get(first).targets.to_vector<float>(), (std::vector<float>{14, 15}));

  constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
  for (const SeriesWindowOptions& options : std::vector<SeriesWindowOptions>{{.input = 0},
                                                                             {.input = 10},
                                                                             {.input = kMax},
                                                                             {.horizon = 0},
                                                                             {.horizon = 10},
                                                                             {.horizon = kMax},
                                                                             {.stride = 0},
                                                                             {.targets = {2}},
                                                                             {.targets = {-1}},
                                                                             {.first = -1},
                                                                             {.first = 5, .end = 5},
                                                                             {.end = 11}})
    EXPECT_THROW(SeriesWindows(values, 2, options), InvalidArgument);
  EXPECT_EQ(SeriesWindows(values, 2, {.input = 9, .stride = kMax}).size(), 1);
  EXPECT_THROW(SeriesWindows(values, 3, {}), InvalidArgument);
  values[5] = std::nan("");
  EXPECT_THROW(SeriesWindows(values, 2, {}), InvalidArgument);
  EXPECT_THROW(data.target_row(3), InvalidArgument);
}

TEST(BaselineTest, NaiveAndSeasonal) {
  Values values(30);
  std::iota(values.begin(), values.end(), 0.0);
  EXPECT_EQ(naive_forecast(values, 10), 9);
  EXPECT_EQ(naive_forecast(values, 10, 3), 7);
  EXPECT_EQ(naive_forecast(values, 20, 1, 7), 13);
  EXPECT_EQ(naive_forecast(values, 20, 7, 7), 13);
  EXPECT_EQ(naive_forecast(values, 20, 8, 7), 6) << "what is not known yet is not used";
  EXPECT_EQ(naive_forecast(values, 30), 29) << "the row after the last one";
  EXPECT_THROW(naive_forecast(values, 31), InvalidArgument);
  EXPECT_THROW(naive_forecast(values, 0), InvalidArgument);
  EXPECT_THROW(naive_forecast(values, 6, 1, 7), InvalidArgument);
  EXPECT_THROW(naive_forecast(values, 6, 0), InvalidArgument);
  EXPECT_THROW(naive_forecast(values, 6, 1, -1), InvalidArgument);
}

TEST(ForecastErrorsTest, AreThoseOfTheFormulas) {
  const ForecastErrors errors = forecast_errors(Values{2, 0, -4}, Values{3, 2, -4});
  EXPECT_DOUBLE_EQ(errors.mae, 1);
  EXPECT_DOUBLE_EQ(errors.rmse, std::sqrt(5.0 / 3));
  EXPECT_DOUBLE_EQ(errors.mape, 25) << "50 % and 0 %; a truth of 0 has no percentage";
  EXPECT_TRUE(std::isnan(forecast_errors(Values{0}, Values{1}).mape));
  EXPECT_TRUE(std::isnan(forecast_errors(Values{1}, Values{std::nan("")}).mae));
  EXPECT_THROW(forecast_errors(Values{}, Values{}), InvalidArgument);
  EXPECT_THROW(forecast_errors(Values{1}, Values{1, 2}), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
