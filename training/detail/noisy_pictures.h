#pragma once
// What the generators of pictures share.
#include <cstdint>
#include <span>

#include "gpunn/core/random.h"

namespace gpunn::detail {

enum class PictureSet : std::uint8_t { shapes, patterns, segmentation, scenes };

/// The stream of picture `sample` of a set.
PhiloxStream picture_stream(std::uint64_t seed, PictureSet set, std::int64_t sample);
/// Throws InvalidArgument "<name>: …" for numbers out of range.
void check_pictures(const char* name, std::int64_t samples, std::int64_t size, std::int64_t least,
                    double noise);
/// Adds normal noise and clamps to [0, 1].
void add_noise(std::span<float> values, double noise, PhiloxStream& random);

}  // namespace gpunn::detail
