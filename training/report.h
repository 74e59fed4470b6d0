#pragma once
// Parts that the reports of all training runs share.
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/io/html_report.h"
#include "gpunn/training/memory_timeline.h"
#include "gpunn/training/settings.h"
#include "gpunn/training/trainer.h"

namespace gpunn {

/// Curves of the losses and, where there are any, of the test accuracy and the learning rate.
GPUNN_API void report_history(HtmlReport& report, const std::vector<EpochRecord>& history);
/// Peaks, and a chart of what each tag held over the steps. Nothing when there are no samples.
GPUNN_API void report_memory(HtmlReport& report, const MemoryTimeline& memory);
/// Every setting with its value.
GPUNN_API void report_settings(HtmlReport& report, Settings& settings);
/// Version, build, device, threads, time.
GPUNN_API void report_environment(HtmlReport& report, Device device);

}  // namespace gpunn
