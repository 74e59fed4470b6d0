#include "gpunn/models/recipes/detail/report_parts.h"

#include "gpunn/core/autograd.h"
#include "gpunn/layers/functional.h"
#include "gpunn/training/report.h"

namespace gpunn::detail {

std::vector<std::int64_t> class_counts(Module& model, const DataLoader& data, std::int64_t classes) {
  NoGrad no_grad;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(classes * classes));
  const bool was_training = model.is_training();
  model.eval();
  DataLoader::Epoch epoch = data.epoch(0);
  for (const Batch& batch : epoch) {
    const std::vector<std::int64_t> predicted = argmax(model(batch.inputs), 1).to_vector<std::int64_t>();
    const std::vector<std::int64_t> truth = batch.targets.to_vector<std::int64_t>();
    for (std::size_t i = 0; i < truth.size(); ++i)
      ++counts[static_cast<std::size_t>(truth[i] * classes + predicted[i])];
  }
  model.train(was_training);
  return counts;
}

void report_verdict(HtmlReport& report, const RecipeContext& context, const RecipeResult& result) {
  report.text(std::string("To reach: ") + find_recipe(context.recipe()).figure +
              (result.stopped   ? ". This run was stopped early."
               : result.reached ? ". This run reaches it."
                                : ". This run does not reach it."));
}

void finish_report(HtmlReport& report, RecipeContext& context) {
  report.section("Settings");
  report_settings(report, context.settings());
  report.section("Environment");
  report_environment(report, context.device());
  context.folder().write_report(report.html());
}

}  // namespace gpunn::detail
