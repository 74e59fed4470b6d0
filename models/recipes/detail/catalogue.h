#pragma once
// The recipes there are; each is defined in the file of its name.
#include "gpunn/models/recipes/recipe.h"

namespace gpunn {

extern const Recipe kXor, kDigitsMlp, kMnistMlp, kFashionLogistic, kFashionMlp;
extern const Recipe kPerceptronAnd, kPerceptronOr, kPerceptronXor;
extern const Recipe kCircles;
extern const Recipe kBoxApproximation;
extern const Recipe kGradientDescent;
extern const Recipe kRosenbrock;

}  // namespace gpunn
