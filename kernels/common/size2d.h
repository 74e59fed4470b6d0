#pragma once
/// Sizes of windows over pictures, and how far such a window may reach over the edge.
#include <cstdint>

namespace gpunn {

/// A height and a width; one number stands for both.
struct Size2d {
  std::int64_t h = 0, w = 0;

  constexpr Size2d(std::int64_t both) : h(both), w(both) {}
  constexpr Size2d(std::int64_t height, std::int64_t width) : h(height), w(width) {}
  bool operator==(const Size2d&) const = default;
};

/// Zeros around a picture: as many rows above as below and columns left as right; or `same()`: as many as
/// give the result the extent of the input (odd ones more below and to the right, as in PyTorch).
class Padding2d {
 public:
  constexpr Padding2d(std::int64_t both) : size_(both) {}
  constexpr Padding2d(Size2d size) : size_(size) {}
  constexpr Padding2d(std::int64_t height, std::int64_t width) : size_(height, width) {}
  static constexpr Padding2d same() {
    Padding2d p(0);
    p.same_ = true;
    return p;
  }

  constexpr Size2d size() const noexcept { return size_; }
  constexpr bool is_same() const noexcept { return same_; }
  bool operator==(const Padding2d&) const = default;

 private:
  Size2d size_;
  bool same_ = false;
};

}  // namespace gpunn
