// Colour pictures kept as bytes, CIFAR-10 from files, folders of pictures.
#include "gpunn/training/colour_images.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/cifar.h"
#include "gpunn/training/data_loader.h"
#include "gpunn/training/image_folder.h"
#include "tests/support/data_error.h"

namespace gpunn {
namespace {

using testing::data_error;

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = ::testing::TempDir() + "gpunn-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryFolder() { fs::remove_all(path_); }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void expect_has(const std::string& message, const std::string& part) {
  EXPECT_NE(message.find(part), std::string::npos) << "expected '" << part << "' in: " << message;
}

TEST(ColourImagesTest, ScalesByChannel) {
  std::vector<std::uint8_t> pixels(2 * 3 * 2 * 2);
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<std::uint8_t>(11 * i);
  const std::vector<float> mean = {0.5F, 0.25F, 0.1F}, std = {0.5F, 2.0F, 0.3F};
  const ColourImages plain(pixels, {2, 3, 2, 2}, {4, 7}), scaled(pixels, {2, 3, 2, 2}, {4, 7}, {mean, std});
  const std::int64_t indices[] = {1, 0, 1};
  const Batch a = plain.get(indices), b = scaled.get(indices);
  EXPECT_EQ(a.inputs.shape(), (Shape{3, 3, 2, 2}));
  EXPECT_EQ(a.targets.to_vector<std::int64_t>(), (std::vector<std::int64_t>{7, 4, 7}));
  const std::vector<float> x = a.inputs.to_vector<float>(), y = b.inputs.to_vector<float>();
  for (std::size_t i = 0; i < 36; ++i) {
    const std::size_t from = (i / 12 == 1 ? 0 : 12) + i % 12, c = i % 12 / 4;
    EXPECT_EQ(x[i], static_cast<float>(pixels[from]) / 255.0F) << i;
    EXPECT_EQ(y[i], (static_cast<float>(pixels[from]) / 255.0F - mean[c]) / std[c]) << i;
  }
  EXPECT_EQ(plain.pixels(1)[0], pixels[12]);
  EXPECT_EQ(plain.label(1), 7);
  // [C, H, W] becomes interleaved.
  const Picture picture = plain.picture(0);
  EXPECT_EQ(picture.channels, 3);
  EXPECT_EQ(picture.pixels, (Bytes{0, 44, 88, 11, 55, 99, 22, 66, 110, 33, 77, 121}));
}

TEST(ColourImagesTest, BadInput) {
  EXPECT_THROW(ColourImages(Bytes(12), {1, 3, 2, 3}, {0}), InvalidArgument);
  EXPECT_THROW(ColourImages(Bytes(12), {1, 12, 1}, {0}), InvalidArgument);
  EXPECT_THROW(ColourImages(Bytes(12), {1, 3, 2, 2}, {0, 1}), InvalidArgument);
  EXPECT_THROW(ColourImages(Bytes(12), {1, 3, 2, 2}, {0}, {{1, 1}, {}}), InvalidArgument);
  EXPECT_THROW(ColourImages(Bytes(12), {1, 3, 2, 2}, {0}, {{}, {1, 1, 0}}), InvalidArgument);
  const ColourImages two(Bytes(4), {1, 2, 2, 1}, {0});
  EXPECT_THROW(two.picture(0), InvalidArgument);
  EXPECT_THROW(two.picture(1), InvalidArgument);
  EXPECT_THROW(two.label(-1), InvalidArgument);
}

// ---------------------------------------------------------------- CIFAR-10

Bytes batch_of(std::initializer_list<std::uint8_t> labels) {
  Bytes out;
  for (const std::uint8_t label : labels) {
    out.push_back(label);
    out.insert(out.end(), kCifarPixels, static_cast<std::uint8_t>(10 * label + 5));
  }
  return out;
}

TEST(LoadCifar10, FullSetBeforeTheSubset) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "cifar10");
  const std::string missing = data_error([&] { load_cifar10(folder.path()); });
  expect_has(missing, "data set cifar10 not found");
  expect_has(missing, "data_batch_1");

  write_file_atomic(folder / "cifar10/data_batch_1_first4000.bin.gz", gzip(batch_of({1, 2, 3})));
  write_file_atomic(folder / "cifar10/test_batch_first1000.bin.gz", gzip(batch_of({9})));
  const Cifar10 part = load_cifar10(folder.path());
  EXPECT_TRUE(part.subset);
  EXPECT_EQ(part.train->shape(), (Shape{3, 3, 32, 32}));
  EXPECT_EQ(part.test->label(0), 9);
  EXPECT_EQ(part.train->pixels(1)[0], 25);
  EXPECT_EQ(load_cifar10(folder / "cifar10").train->size(), 3);  // the folder itself

  for (int i = 1; i <= 5; ++i) {
    EXPECT_TRUE(load_cifar10(folder.path()).subset) << i;
    write_file_atomic(folder / ("cifar10/data_batch_" + std::to_string(i) + ".bin"),
                      batch_of({static_cast<std::uint8_t>(i), 0}));
  }
  write_file_atomic(folder / "cifar10/test_batch.bin.gz", gzip(batch_of({8, 7})));
  const Cifar10 full = load_cifar10(folder.path(), {{0.5F, 0.5F, 0.5F}, {}});
  EXPECT_FALSE(full.subset);
  EXPECT_EQ(full.train->size(), 10);
  EXPECT_EQ(full.test->size(), 2);
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(full.train->label(i), i % 2 == 0 ? i / 2 + 1 : 0);
  const std::int64_t first[] = {0};
  EXPECT_EQ(full.train->get(first).inputs.to_vector<float>()[0], 15.0F / 255.0F - 0.5F);

  write_file_atomic(folder / "cifar10/data_batch_3.bin", batch_of({1, 10}));
  expect_has(data_error([&] { load_cifar10(folder.path()); }), "data_batch_3.bin: expected a label");
}

// The sizes and class counts that are published with the files.
TEST(LoadCifar10, TheRealSubset) {
  const char* folder = std::getenv("GPUNN_TEST_DATA_DIR");  // NOLINT(concurrency-mt-unsafe): tests set none
  if (!folder || !fs::exists(std::string(folder) + "/cifar10/test_batch_first1000.bin.gz"))
    GTEST_SKIP() << "no CIFAR-10 under GPUNN_TEST_DATA_DIR";
  const Cifar10 data = load_cifar10(folder);
  if (!data.subset) GTEST_SKIP() << "the full set is there";
  EXPECT_EQ(data.train->size(), 4000);
  std::vector<int> counts(10);
  for (std::int64_t i = 0; i < data.test->size(); ++i)
    ++counts[static_cast<std::size_t>(data.test->label(i))];
  EXPECT_EQ(counts, (std::vector<int>{103, 89, 100, 103, 90, 86, 112, 102, 106, 109}));
  const std::int64_t labels[] = {6, 9, 9, 4, 1, 1, 2, 7, 8, 3};
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_EQ(data.train->label(i), labels[i]);
}

// ---------------------------------------------------------------- folders

Picture plain(int width, int height, std::uint8_t r, std::uint8_t g, std::uint8_t b) {
  Picture picture{width, height, 3, {}};
  for (int i = 0; i < width * height; ++i) picture.pixels.insert(picture.pixels.end(), {r, g, b});
  return picture;
}

/// Two classes, five pictures, and what is to be left out.
void make_folder(const TemporaryFolder& folder) {
  for (const char* name : {"cats/deep/deeper", "dogs", ".hidden"}) fs::create_directories(folder / name);
  write_png(folder / "dogs/b.PNG", plain(4, 3, 40, 50, 60));
  write_png(folder / "dogs/a.png", plain(4, 3, 10, 20, 30));
  write_png(folder / "cats/z.png", plain(4, 3, 1, 2, 3));
  write_png(folder / "cats/deep/deeper/y.png", plain(4, 3, 4, 5, 6));
  write_png(folder / "cats/Big.png", plain(4, 3, 7, 8, 9));
  write_file_atomic(folder / "cats/notes.txt", std::string_view("no picture"));
  write_file_atomic(folder / "cats/.thumb.png", std::string_view("no picture"));
  write_file_atomic(folder / "top.png", std::string_view("not in a class"));
  write_file_atomic(folder / ".hidden/x.png", std::string_view("no picture"));
}

TEST(ImageFolderTest, ClassesAndPathsInOrder) {
  const TemporaryFolder folder;
  make_folder(folder);
  for (const bool eager : {false, true}) {
    const ImageFolder data(folder.path(), {.eager = eager});
    EXPECT_EQ(data.classes(), (std::vector<std::string>{"cats", "dogs"}));
    EXPECT_EQ(data.paths(), (std::vector<std::string>{
                                folder / "cats/Big.png", folder / "cats/deep/deeper/y.png",
                                folder / "cats/z.png", folder / "dogs/a.png", folder / "dogs/b.PNG"}));
    EXPECT_EQ(data.labels(), (std::vector<std::int64_t>{0, 0, 0, 1, 1}));
    const std::int64_t indices[] = {4, 1};
    const Batch batch = data.get(indices);
    EXPECT_EQ(batch.inputs.shape(), (Shape{2, 3, 3, 4}));
    EXPECT_EQ(batch.targets.to_vector<std::int64_t>(), (std::vector<std::int64_t>{1, 0}));
    const std::vector<float> x = batch.inputs.to_vector<float>();
    for (std::size_t i = 0; i < 72; ++i) {
      const float wanted[] = {40, 50, 60, 4, 5, 6};
      EXPECT_EQ(x[i], wanted[i / 12] / 255.0F) << i;
    }
    const std::int64_t outside[] = {5};
    EXPECT_THROW(data.get(outside), InvalidArgument);
  }
  const ImageFolder grey(folder.path(), {.channels = 1, .scale = {{0.1F}, {2.0F}}});
  const std::int64_t last[] = {4};
  EXPECT_EQ(grey.get(last).inputs.to_vector<float>(), std::vector<float>(12, (48.0F / 255.0F - 0.1F) / 2.0F));
}

TEST(ImageFolderTest, WorkersReadTheSame) {
  const TemporaryFolder folder;
  make_folder(folder);
  const auto data = std::make_shared<ImageFolder>(folder.path());
  std::vector<std::vector<float>> passes;
  for (const int workers : {0, 3}) {
    std::vector<float>& all = passes.emplace_back();
    DataLoader::Epoch epoch =
        DataLoader(data, {.batch_size = 2, .shuffle = true, .workers = workers}).epoch(0);
    for (Batch& batch : epoch)
      for (const float v : batch.inputs.to_vector<float>()) all.push_back(v);
  }
  EXPECT_EQ(passes[0].size(), 5u * 36);
  EXPECT_EQ(passes[0], passes[1]);
}

TEST(ImageFolderTest, SizesAgreeOrAreMadeTo) {
  const TemporaryFolder folder;
  make_folder(folder);
  write_png(folder / "dogs/c.png", plain(9, 2, 200, 100, 50));
  const ImageFolder lazy(folder.path());
  const std::int64_t good[] = {3}, odd[] = {5};
  EXPECT_EQ(lazy.get(good).size(), 1);
  const std::string message = data_error([&] { lazy.get(odd); });
  expect_has(message, "dogs/c.png: expected a picture of 4 x 3");
  expect_has(message, "got 9 x 2");
  expect_has(data_error([&] { ImageFolder(folder.path(), {.eager = true}); }), "dogs/c.png");
  for (const bool eager : {false, true}) {
    const ImageFolder resized(folder.path(), {.height = 5, .width = 6, .eager = eager});
    const Tensor x = resized.get(odd).inputs;
    EXPECT_EQ(x.shape(), (Shape{1, 3, 5, 6}));
    EXPECT_EQ(x.to_vector<float>()[30], 100.0F / 255.0F);
  }
  EXPECT_THROW(ImageFolder(folder.path(), {.height = 5}), InvalidArgument);
  EXPECT_THROW(ImageFolder(folder.path(), {.channels = 2}), InvalidArgument);
}

TEST(ImageFolderTest, DamageIsNamed) {
  const TemporaryFolder folder;
  expect_has(data_error([&] { ImageFolder(folder / "none"); }), "none: cannot list");
  expect_has(data_error([&] { ImageFolder(folder.path()); }), "expected a folder for each class");
  make_folder(folder);
  fs::create_directories(folder / "empty");
  expect_has(data_error([&] { ImageFolder(folder.path()); }), "empty: a class without pictures");
  fs::remove(folder / "empty");

  const Bytes whole = read_file(folder / "dogs/b.PNG");
  write_file_atomic(folder / "dogs/b.PNG", std::span(whole).first(whole.size() - 20));
  const ImageFolder lazy(folder.path());
  const std::int64_t bad[] = {0, 4};
  expect_has(data_error([&] { lazy.get(bad); }), "dogs/b.PNG: ");
  expect_has(data_error([&] { ImageFolder(folder.path(), {.eager = true}); }), "dogs/b.PNG: ");
  write_file_atomic(folder / "dogs/b.PNG", whole);
  EXPECT_EQ(lazy.get(bad).size(), 2);
  fs::remove(folder / "dogs/b.PNG");  // gone after the folder was listed
  expect_has(data_error([&] { lazy.get(bad); }), "dogs/b.PNG: ");
  expect_has(data_error([&] { ImageFolder(folder.path(), {.eager = true, .max_bytes = 4 * 36 - 1}); }),
             "limit of 143");
  EXPECT_NO_THROW(ImageFolder(folder.path(), {.eager = true, .max_bytes = 4 * 36}));
}

TEST(ImageFolderTest, Links) {
  const TemporaryFolder folder, elsewhere;
  make_folder(folder);
  write_png(elsewhere / "far.png", plain(4, 3, 9, 9, 9));
  fs::create_symlink(elsewhere / "far.png", folder / "cats/aa.png");
  fs::create_directory_symlink(elsewhere.path(), folder / "owls");
  const ImageFolder data(folder.path());
  EXPECT_EQ(data.classes(), (std::vector<std::string>{"cats", "dogs", "owls"}));
  EXPECT_EQ(data.size(), 7);
  EXPECT_EQ(data.paths()[1], folder / "cats/aa.png");
  EXPECT_EQ(data.paths()[6], folder / "owls/far.png");

  fs::create_directory_symlink(folder / "cats", folder / "cats/deep/up");
  expect_has(data_error([&] { ImageFolder(folder.path()); }),
             "cats/deep/up: a symbolic link that leads back");
  fs::remove(folder / "cats/deep/up");
  fs::create_directory_symlink(folder.path(), folder / "whole");
  expect_has(data_error([&] { ImageFolder(folder.path()); }), "whole: a symbolic link that leads back");
  fs::remove(folder / "whole");
  fs::create_symlink(folder / "nowhere.png", folder / "cats/bad.png");
  expect_has(data_error([&] { ImageFolder(folder.path()); }),
             "cats/bad.png: a symbolic link that leads nowhere");
  fs::remove(folder / "cats/bad.png");
  ASSERT_EQ(::mkfifo((folder / "cats/pipe.png").c_str(), 0600), 0);
  expect_has(data_error([&] { ImageFolder(folder.path()); }), "cats/pipe.png: expected a regular file");
}

TEST(ImageFolderTest, StrangeNamesAreBytes) {
  const TemporaryFolder folder;
  const std::string names[] = {"a b", "\xff\xfe", "ü", "new\nline", "Z"};
  for (const std::string& name : names) {
    fs::create_directories(folder / name);
    write_png(folder / (name + "/p q.png"), plain(2, 2, 1, 2, 3));
  }
  const ImageFolder data(folder.path());
  EXPECT_EQ(data.classes(), (std::vector<std::string>{"Z", "a b", "new\nline", "ü", "\xff\xfe"}));
  const std::int64_t all[] = {0, 1, 2, 3, 4};
  EXPECT_EQ(data.get(all).size(), 5);
}

}  // namespace
}  // namespace gpunn
