#pragma once
// Recording of a device's blocks: who made each, and a trace of all allocations as CSV.
//
// The trace has a header line and then one line for each event:
//   time_ns,event,id,bytes,tag,stream,thread,device,layer,op
//   time_ns  nanoseconds since the file was opened
//   event    alloc, free, or retag (the block is held for `tag` from now on)
//   id       of the block; ids are never used again in a process
//   bytes    as requested
//   tag      weights, gradients, optimizer, activations or workspace
//   stream   0 for the first stream of the device that appears in the trace, then 1, 2, ...
//   thread   the host thread, numbered likewise over the process
//   device   "cpu", "cuda:0"; devices that share a file share its clock
//   layer    module path, "" outside modules; quoted where it holds a comma, quote or line end
//   op       outermost op, "" outside ops
// Only blocks that were made while recording appear, so that each free has its alloc. Blocks that are still
// live at the end have no free. benchmarks/alloc_replay reads such files.
#include <memory>
#include <string>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"

namespace gpunn {

class MemoryUsage;
namespace detail {
class TraceFile;
}

/// Records the blocks of a device while it lives: snapshots and out-of-memory messages then name layers. With
/// a path it also writes a trace there; lines are buffered, and what is in the buffer is written when the
/// last trace of that path ends, and when the process exits. GPUNN_MEMORY_TRACE=FILE does this for all
/// devices of the process. Recording takes about a microsecond for each event. Thread-safe; may start and end
/// at any moment, the device must outlive it.
class GPUNN_API MemoryTrace {
 public:
  /// Throws Error when the file cannot be made. What it held is lost, unless another trace has it open.
  explicit MemoryTrace(Device device, const std::string& path = "");
  /// Writes the rest. A disk that is full then says nothing: ask flush() before.
  ~MemoryTrace();
  MemoryTrace(const MemoryTrace&) = delete;
  MemoryTrace& operator=(const MemoryTrace&) = delete;

  /// Writes what is buffered. Throws Error naming the path when this or an earlier write failed; the trace
  /// ends with the last line that was written.
  void flush();

 private:
  MemoryUsage& usage_;
  std::shared_ptr<detail::TraceFile> file_;
};

}  // namespace gpunn
