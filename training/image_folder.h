#pragma once
// A folder of pictures with a folder for each class, as torchvision's ImageFolder reads it.
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/io/png.h"
#include "gpunn/training/colour_images.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

/// inputs f32 [n, C, H, W] as ColourImages makes them, targets i64 [n].
///
/// Each folder directly below `folder` is a class, numbered in the order of its name's bytes; its pictures
/// are the files .png (any case) in it and in folders below, in the order of their paths. Names that begin
/// with a dot are left out. Symbolic links are followed; one that leads back into a folder above it or
/// nowhere is an error, and so is a .png that is no regular file.
class GPUNN_API ImageFolder final : public Dataset {
 public:
  struct Options {
    int channels = 3;           // 1 or 3; files are converted
    int height = 0, width = 0;  // all are resized to it; 0: as the first picture, and all must have that size
    bool eager = false;         // decode all at once and keep the bytes; else each time that a batch asks
    std::uint64_t max_bytes = std::uint64_t{2} << 30;  // of what an eager folder keeps
    PixelScale scale{};
    PngOptions png{};  // limits and background; channels are those above
  };

  /// Throws DataError naming the path for a folder that cannot be read, has no classes or a class without
  /// pictures; when the first picture (eager: any) is damaged or of another size; when an eager folder would
  /// pass max_bytes. Throws InvalidArgument for options.
  ImageFolder(std::string folder, Options options);
  explicit ImageFolder(std::string folder) : ImageFolder(std::move(folder), Options{}) {}
  ~ImageFolder() override;

  std::int64_t size() const override { return static_cast<std::int64_t>(paths_.size()); }
  /// Throws DataError naming the path of a picture that cannot be read or has another size.
  Batch get(std::span<const std::int64_t> indices) const override;

  const std::vector<std::string>& classes() const noexcept { return classes_; }
  const std::vector<std::string>& paths() const noexcept { return paths_; }
  const std::vector<std::int64_t>& labels() const noexcept { return labels_; }

 private:
  Picture load(std::size_t index) const;

  std::vector<std::string> classes_, paths_;
  std::vector<std::int64_t> labels_;
  Options options_;  // with the size of all pictures
  bool resizes_ = false;
  std::shared_ptr<const detail::PixelTable> table_;
  std::unique_ptr<ColourImages> kept_;  // eager
};

}  // namespace gpunn
