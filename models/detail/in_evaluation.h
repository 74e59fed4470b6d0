#pragma once
// A scope in evaluation mode that an exception leaves as well.
#include "gpunn/layers/module.h"

namespace gpunn::detail {

class InEvaluation {
 public:
  explicit InEvaluation(Module& module) : module_(module), was_training_(module.is_training()) {
    module.eval();
  }
  ~InEvaluation() { module_.train(was_training_); }
  InEvaluation(const InEvaluation&) = delete;
  InEvaluation& operator=(const InEvaluation&) = delete;

 private:
  Module& module_;
  bool was_training_;
};

}  // namespace gpunn::detail
