#pragma once
// Small pieces that several recipes' reports are made of.
#include <cstdint>
#include <string>
#include <vector>

#include "gpunn/io/html_report.h"
#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/detail/numbers.h"  // IWYU pragma: export
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/data_loader.h"

namespace gpunn::detail {

/// Rows of `data` by true class and class of the largest score, [classes, classes] row by row; in evaluation
/// mode, the model's mode is restored. Targets are i64 [n] within [0, classes).
std::vector<std::int64_t> class_counts(Module& model, const DataLoader& data, std::int64_t classes);

/// The line that says what the recipe must reach and whether this run did.
void report_verdict(HtmlReport& report, const RecipeContext& context, const RecipeResult& result);
/// The sections every report ends with, settings and environment; writes the page into the run folder.
void finish_report(HtmlReport& report, RecipeContext& context);

}  // namespace gpunn::detail
