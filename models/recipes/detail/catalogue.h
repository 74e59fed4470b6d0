#pragma once
// The recipes there are; each is defined in the file of its name.
#include "gpunn/models/recipes/recipe.h"

namespace gpunn {

extern const Recipe kXor, kDigitsMlp, kMnistMlp, kFashionLogistic, kFashionMlp;
extern const Recipe kForwardTrace;
extern const Recipe kWorkedNumbers;
extern const Recipe kAutogradDemo;
extern const Recipe kInitStudy;
extern const Recipe kMnistOnline, kHandFeatures, kDimensionality, kLearningRates;

}  // namespace gpunn
