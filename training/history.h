#pragma once
// The records of a run as lines of JSON: {"epoch","step","train_loss","test_loss","test_accuracy",
// "learning_rate","seconds"}.
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

/// One line without its end. What was not measured is left out; NaN is null.
GPUNN_API std::string record_line(const EpochRecord& record);

/// The records of a file of such lines, the last one of each epoch, in order. A last line without an end (a
/// machine that went down while writing) is skipped. Throws DataError "<path>: …" for a missing file and for
/// other lines.
GPUNN_API std::vector<EpochRecord> read_history(const std::string& path);

}  // namespace gpunn
