#include "gpunn/training/image_folder.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "gpunn/core/error.h"
#include "gpunn/io/picture_tools.h"
#include "gpunn/training/detail/pixel_table.h"

namespace gpunn {

namespace {

namespace fs = std::filesystem;

template <class... Parts>
[[noreturn]] void fail(const fs::path& path, const Parts&... parts) {
  detail::throw_data(detail::concat(path.string(), ": ", parts...));
}

/// Paths directly below `folder`, by the bytes of their names.
std::vector<fs::path> entries(const fs::path& folder) {
  std::error_code error;
  fs::directory_iterator at(folder, error), end;
  std::vector<fs::path> out;
  for (; !error && at != end; at.increment(error))
    if (!at->path().filename().string().starts_with('.')) out.push_back(at->path());
  if (error) fail(folder, "cannot list the folder: ", error.message());
  std::sort(out.begin(), out.end(),
            [](const fs::path& a, const fs::path& b) { return a.native() < b.native(); });
  return out;
}

fs::file_type type_of(const fs::path& path) {
  std::error_code error;
  const fs::file_type type = fs::status(path, error).type();
  if (type == fs::file_type::not_found) fail(path, "a symbolic link that leads nowhere");
  if (type == fs::file_type::none) fail(path, "cannot be looked at: ", error.message());
  return type;
}

bool is_picture_name(const fs::path& path) {
  std::string end = path.extension().string();
  for (char& c : end) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return end == ".png";
}

void collect(const fs::path& folder, std::vector<fs::path>& above, std::vector<std::string>& out) {
  constexpr std::size_t kMaxDepth = 64;
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (error) fail(folder, "cannot be followed: ", error.message());
  if (std::find(above.begin(), above.end(), real) != above.end())
    fail(folder, "a symbolic link that leads back into a folder above it");
  if (above.size() >= kMaxDepth) fail(folder, "more than ", kMaxDepth, " folders deep");
  above.push_back(real);
  for (const fs::path& path : entries(folder)) {
    const bool picture = is_picture_name(path);
    if (!picture && !fs::is_directory(path, error)) continue;
    const fs::file_type type = type_of(path);
    if (type == fs::file_type::directory) {
      collect(path, above, out);
    } else if (type == fs::file_type::regular) {
      out.push_back(path.string());
    } else {
      fail(path, "expected a regular file");
    }
  }
  above.pop_back();
}

/// [C, H, W] from interleaved channels.
void put_planes(const Picture& picture, std::uint8_t* out) {
  const auto channels = static_cast<std::size_t>(picture.channels);
  const std::size_t area = picture.pixels.size() / channels;
  for (std::size_t i = 0; i < area; ++i)
    for (std::size_t c = 0; c < channels; ++c) out[c * area + i] = picture.pixels[i * channels + c];
}

}  // namespace

ImageFolder::ImageFolder(std::string folder, Options options) : options_(std::move(options)) {
  GPUNN_CHECK(options_.channels == 1 || options_.channels == 3, "ImageFolder: expected 1 or 3 channels, got ",
              options_.channels);
  GPUNN_CHECK((options_.height == 0) == (options_.width == 0) && options_.height >= 0 &&
                  options_.width >= 0 && options_.height <= 16'384 && options_.width <= 16'384,
              "ImageFolder: expected both sides of 1 to 16384 or none, got ", options_.height, " x ",
              options_.width);
  table_ = std::make_shared<detail::PixelTable>(options_.channels, options_.scale);
  options_.png.channels = options_.channels;
  const fs::path root(folder);
  std::error_code error;
  std::vector<fs::path> above = {fs::canonical(root, error)};
  for (const fs::path& path : entries(root)) {
    if (!fs::is_directory(path, error)) continue;
    const std::size_t before = paths_.size();
    collect(path, above, paths_);
    if (paths_.size() == before) fail(path, "a class without pictures (.png)");
    labels_.resize(paths_.size(), static_cast<std::int64_t>(classes_.size()));
    classes_.push_back(path.filename().string());
  }
  if (classes_.empty()) fail(root, "expected a folder for each class");

  resizes_ = options_.height > 0;
  if (!resizes_) {
    const Picture first = read_png(paths_[0], options_.png);
    options_.height = first.height;
    options_.width = first.width;
  } else if (!options_.eager) {
    load(0);
  }
  if (!options_.eager) return;
  const std::uint64_t row = static_cast<std::uint64_t>(options_.channels) *
                            static_cast<std::uint64_t>(options_.height) *
                            static_cast<std::uint64_t>(options_.width);
  if (paths_.size() > options_.max_bytes / row)
    fail(root, paths_.size(), " pictures of ", row, " bytes are more than the limit of ", options_.max_bytes,
         " for a folder that is kept in memory");
  std::vector<std::uint8_t> pixels(paths_.size() * row);
  for (std::size_t i = 0; i < paths_.size(); ++i) put_planes(load(i), pixels.data() + i * row);
  kept_ = std::make_unique<ColourImages>(std::move(pixels),
                                         Shape{size(), options_.channels, options_.height, options_.width},
                                         labels_, options_.scale);
}

ImageFolder::~ImageFolder() = default;

Picture ImageFolder::load(std::size_t index) const {
  Picture picture = read_png(paths_[index], options_.png);
  if (picture.width == options_.width && picture.height == options_.height) return picture;
  if (!resizes_)
    fail(paths_[index], "expected a picture of ", options_.width, " x ", options_.height,
         " as the first one, ", paths_[0], ", got ", picture.width, " x ", picture.height);
  return resize_picture(picture, options_.width, options_.height);
}

Batch ImageFolder::get(std::span<const std::int64_t> indices) const {
  check_indices(indices);
  if (kept_) return kept_->get(indices);
  const auto n = static_cast<std::int64_t>(indices.size());
  const Device cpu = Device::cpu();
  Batch batch{
      empty({n, options_.channels, options_.height, options_.width}, {.dtype = DType::f32, .device = cpu}),
      empty({n}, {.dtype = DType::i64, .device = cpu})};
  const std::size_t area =
      static_cast<std::size_t>(options_.height) * static_cast<std::size_t>(options_.width);
  std::vector<std::uint8_t> planes(static_cast<std::size_t>(options_.channels) * area);
  auto* out = static_cast<float*>(batch.inputs.data());
  auto* targets = static_cast<std::int64_t*>(batch.targets.data());
  for (const std::int64_t index : indices) {
    put_planes(load(static_cast<std::size_t>(index)), planes.data());
    table_->apply(planes.data(), out, area);
    out += planes.size();
    *targets++ = labels_[static_cast<std::size_t>(index)];
  }
  return batch;
}

}  // namespace gpunn
