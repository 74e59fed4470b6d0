#include "gpunn/models/digits.h"

#include <string>
#include <vector>

#include "gpunn/io/csv.h"
#include "gpunn/io/gzip.h"
#include "gpunn/models/detail/embedded.h"
#include "gpunn/training/image_dataset.h"

namespace gpunn {

DigitsData load_digits() {
  constexpr int kPixels = kDigitsSide * kDigitsSide;
  const Bytes unpacked = gunzip(detail::digits_table, "digits.csv.gz");
  const CsvTable table = CsvTable::parse(std::string(as_text(unpacked)), "digits.csv.gz");
  const CsvTable split =
      CsvTable::parse(std::string(as_text(detail::digits_split)), "digits_split.csv", {.header = true});
  const std::vector<float> values = table.matrix(0, kPixels).to_vector<float>();
  const std::vector<std::int64_t> labels = table.integers(kPixels), rows = split.integers(0);
  const std::vector<std::string> parts = split.text(1);

  const auto select = [&](const char* part) -> std::shared_ptr<const Dataset> {
    std::vector<std::uint8_t> pixels;
    std::vector<std::int64_t> chosen;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (parts[i] != part) continue;
      const auto row = static_cast<std::size_t>(rows[i]);
      for (std::size_t p = 0; p < kPixels; ++p)
        pixels.push_back(static_cast<std::uint8_t>(values[row * kPixels + p]));
      chosen.push_back(labels[row]);
    }
    const auto count = static_cast<std::int64_t>(chosen.size());
    return std::make_shared<ImageDataset>(std::move(pixels), Shape{count, kDigitsSide, kDigitsSide},
                                          std::move(chosen), ImageDataset::Options{.divisor = 16});
  };
  return {select("train"), select("test")};
}

}  // namespace gpunn
