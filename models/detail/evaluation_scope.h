#pragma once
// A scope in evaluation mode that an exception leaves as well.
#include "gpunn/layers/module.h"

namespace gpunn::detail {

class EvaluationScope {
 public:
  explicit EvaluationScope(Module& module) : module_(module), was_training_(module.is_training()) {
    module.eval();
  }
  ~EvaluationScope() { module_.train(was_training_); }
  EvaluationScope(const EvaluationScope&) = delete;
  EvaluationScope& operator=(const EvaluationScope&) = delete;

 private:
  Module& module_;
  bool was_training_;
};

}  // namespace gpunn::detail
