#pragma once
// The recipes there are; each is defined in the file of its name.
#include "gpunn/models/recipes/recipe.h"

namespace gpunn {

extern const Recipe kPerceptronAnd, kPerceptronOr, kPerceptronXor, kXor;
extern const Recipe kBoxApproximation, kForwardTrace, kWorkedNumbers, kAutogradDemo;
extern const Recipe kGradientDescent, kRosenbrock, kInitStudy;
extern const Recipe kDigitsMlp, kMnistMlp, kMnistOnline, kFashionLogistic, kFashionMlp;
extern const Recipe kCircles, kHandFeatures, kDimensionality;
extern const Recipe kLearningRates;
extern const Recipe kConvFilters, kShapesCnn, kFashionCnn, kMnistCnn, kCifarResnet;
extern const Recipe kTransfer, kSegmentUnet, kDetectShapes;
extern const Recipe kCharRnn, kVanishingGradient, kShakespeareLstm, kShakespeareGru, kNames;
extern const Recipe kForecastLstm, kSentiment;
extern const Recipe kAttentionDemo, kPositionalEncoding, kShakespeareGpt, kBertMlm, kT5Toy, kVit, kGpt2;

}  // namespace gpunn
