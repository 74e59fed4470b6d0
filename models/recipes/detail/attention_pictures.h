#pragma once
// Attention weights as heat maps.
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "gpunn/core/tensor.h"
#include "gpunn/io/html_report.h"
#include "gpunn/training/character_vocab.h"

namespace gpunn::detail {

/// Labels of characters, those that cannot be seen as signs.
std::vector<std::string> characters_of(const CharacterVocab& vocab, std::span<const std::int64_t> tokens);

/// Maps [N, heads, queries, keys] of layers, of the first sequence: every head of the first and the last
/// layer, labelled by the tokens that look and those that are looked at (both the same when `keys` is empty).
void report_attention(HtmlReport& report, std::span<const Tensor> layers,
                      const std::vector<std::string>& queries, const std::vector<std::string>& keys = {});

}  // namespace gpunn::detail
