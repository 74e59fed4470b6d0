// Data sets in memory and from IDX files; labels outside the classes.
#include "gpunn/training/dataset.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/io/file.h"
#include "gpunn/training/data_paths.h"
#include "gpunn/training/image_dataset.h"
#include "tests/support/data_error.h"

namespace gpunn {
namespace {

using testing::data_error;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

Bytes idx(std::vector<std::uint32_t> extents, const Bytes& data) {
  Bytes out{0, 0, 8, static_cast<std::uint8_t>(extents.size())};
  for (const std::uint32_t extent : extents)
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(extent >> shift));
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

TEST(TensorDatasetTest, GathersRowsOfAnyDtype) {
  const TensorDataset data(Tensor::from({{1, 2}, {3, 4}, {5, 6}}),
                           Tensor::from(std::vector<std::int64_t>{7, 8, 9}, {3}));
  const std::int64_t indices[] = {2, 0, 2};
  const Batch batch = data.get(indices);
  EXPECT_EQ(batch.inputs.to_vector<float>(), (std::vector<float>{5, 6, 1, 2, 5, 6}));
  EXPECT_EQ(batch.targets.to_vector<std::int64_t>(), (std::vector<std::int64_t>{9, 7, 9}));
  EXPECT_EQ(data.get({}).inputs.shape(), (Shape{0, 2}));
  const std::int64_t outside[] = {3};
  EXPECT_THROW(data.get(outside), InvalidArgument);
  EXPECT_THROW(TensorDataset(zeros({3, 1}), zeros({2})), InvalidArgument);
  EXPECT_THROW(TensorDataset(Tensor(), zeros({2})), InvalidArgument);
}

TEST(ImageDatasetTest, PixelsAreDividedExactly) {
  Bytes pixels(256);
  for (std::size_t i = 0; i < 256; ++i) pixels[i] = static_cast<std::uint8_t>(i);
  // 2 images of 8 x 16; a row of 128 pixels and one of 5 exercise vectors and remainders alike.
  const ImageDataset data(pixels, {2, 8, 16}, {1, 2});
  const std::int64_t indices[] = {1, 0};
  const Batch batch = data.get(indices);
  EXPECT_EQ(batch.inputs.shape(), (Shape{2, 128}));
  const std::vector<float> got = batch.inputs.to_vector<float>();
  for (int i = 0; i < 256; ++i)
    EXPECT_EQ(got[static_cast<std::size_t>((i + 128) % 256)], static_cast<float>(i) / 255.0f) << i;
  EXPECT_EQ(batch.targets.to_vector<std::int64_t>(), (std::vector<std::int64_t>{2, 1}));

  const ImageDataset small({0, 4, 8, 12, 16}, {1, 1, 5}, {0}, {.divisor = 16, .flatten = false});
  const std::int64_t first[] = {0};
  EXPECT_EQ(small.get(first).inputs.shape(), (Shape{1, 1, 1, 5}));
  EXPECT_EQ(small.get(first).inputs.to_vector<float>(), (std::vector<float>{0, 0.25f, 0.5f, 0.75f, 1}));
  EXPECT_EQ(small.pixels(0)[3], 12);
  EXPECT_EQ(small.label(0), 0);
  EXPECT_THROW(small.pixels(1), InvalidArgument);
}

TEST(ImageDatasetTest, SizesMustFit) {
  EXPECT_THROW(ImageDataset({1, 2, 3}, {1, 2, 2}, {0}), InvalidArgument);
  EXPECT_THROW(ImageDataset({1, 2, 3, 4}, {1, 2, 2}, {0, 1}), InvalidArgument);
  EXPECT_THROW(ImageDataset({1, 2}, {2}, {0, 1}), InvalidArgument);
}

TEST(ImageDatasetTest, BadFilesAreNamed) {
  const TemporaryFolder folder;
  const std::string images = folder / "images", labels = folder / "labels";
  write_file_atomic(images, idx({3, 2, 2}, Bytes(12)));
  write_file_atomic(labels, idx({3}, {0, 9, 2}));
  EXPECT_EQ(load_idx_images(images, labels, 10).size(), 3);

  // A label outside the classes: file, row and label.
  EXPECT_EQ(data_error([&] { load_idx_images(images, labels, 9); }),
            labels + ": row 1: expected a label in 0..8, got 9");
  write_file_atomic(labels, idx({2}, {0, 1}));
  const std::string counts = data_error([&] { load_idx_images(images, labels, 10); });
  EXPECT_NE(counts.find("expected 3 labels"), std::string::npos) << counts;
  // Images where labels should be.
  const std::string rank = data_error([&] { load_idx_images(images, images, 10); });
  EXPECT_EQ(rank.rfind(images, 0), 0u) << rank;
  const std::string missing = data_error([&] { load_idx_images(folder / "nothing", labels, 10); });
  EXPECT_NE(missing.find("nothing"), std::string::npos) << missing;
}

TEST(DataPathsTest, PlacesInOrder) {
  const TemporaryFolder folder;
  const DataSetInfo& info = data_set_info("mnist");
  const std::string message = data_error([&] { find_data(info, folder.path()); });
  EXPECT_NE(message.find(folder.path()), std::string::npos) << message;
  EXPECT_NE(message.find("train-images-idx3-ubyte"), std::string::npos) << message;

  // Directly in the named folder, without ".gz".
  for (const char* file : info.files)
    write_file_atomic(folder / std::string(file).substr(0, std::string(file).size() - 3), "x");
  EXPECT_EQ(find_data(info, folder.path())[0], folder / "train-images-idx3-ubyte");
  // A folder of the data set's name goes first.
  create_directories(folder / "mnist");
  for (const char* file : info.files) write_file_atomic(folder / ("mnist/" + std::string(file)), "x");
  EXPECT_EQ(find_data(info, folder.path())[3], folder / "mnist/t10k-labels-idx1-ubyte.gz");

  ::setenv("GPUNN_DATA_DIR", folder.path().c_str(), 1);
  EXPECT_EQ(find_data(info, "")[3], folder / "mnist/t10k-labels-idx1-ubyte.gz");
  // Fashion-MNIST has files of the same names: MNIST's must not be taken for them.
  const std::vector<DataPlace> places = data_places(data_set_info("fashion-mnist"), "");
  EXPECT_EQ(places[0].origin, "$GPUNN_DATA_DIR");
  EXPECT_EQ(places[0].missing.size(), 4u);
  ::setenv("GPUNN_DATA_DIR", (folder / "mnist").c_str(), 1);
  EXPECT_EQ(find_data(info, "")[3], folder / "mnist/t10k-labels-idx1-ubyte.gz");
  ::unsetenv("GPUNN_DATA_DIR");

  EXPECT_TRUE(find_data(data_set_info("digits"), "").empty());
  EXPECT_THROW(data_set_info("minst"), InvalidArgument);
}

}  // namespace
}  // namespace gpunn
