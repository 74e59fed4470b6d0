#pragma once
// What the classifier recipes share: loaders, cross-entropy, the trainer, the run folder and the report.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "gpunn/layers/module.h"
#include "gpunn/models/recipes/recipe.h"
#include "gpunn/training/dataset.h"
#include "gpunn/training/image_dataset.h"

namespace gpunn {
class HtmlReport;
}

namespace gpunn::detail {

struct ClassifierData {
  std::shared_ptr<const Dataset> train, test;
  std::vector<std::string> classes;  // names, in the order of the labels
  int height = 0, width = 0;         // of a picture, for the report
  int channels = 1;                  // 3: red, green and blue planes
  float black = 0, white = 1;        // the values of a picture that look so
};

/// Images of a data set of MNIST's form, from where `settings.data` and the usual places say.
ClassifierData load_images(const char* data_set, std::vector<std::string> classes,
                           const RunSettings& settings, ImageDataset::Options options = {});

/// Fashion-MNIST with its class names.
ClassifierData load_fashion(const RunSettings& settings, ImageDataset::Options options = {});

/// Names of ten digits.
std::vector<std::string> digit_names();

struct ClassifierRun {
  Module& model;
  const ClassifierData& data;
  BatchSettings& settings;
  bool shuffle = true;
  std::int64_t evaluate_every = 1;
  /// Does the result reach the recipe's figure? Called with losses and metrics filled in ("test_accuracy", a
  /// fraction).
  std::function<bool(const RecipeResult&, double test_accuracy)> reached;
  /// Sections of the report of its own, before those about the run. Null: none.
  std::function<void(HtmlReport&)> sections{};
};

/// Trains with cross-entropy and writes weights, metrics and report.
RecipeResult train_classifier(RecipeContext& context, const ClassifierRun& run);

}  // namespace gpunn::detail
