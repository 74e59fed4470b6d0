#pragma once
// DataLoader: batches of a data set in a seeded order, made ahead of time by worker threads.
//
// The order of an epoch is a function of (seed, epoch) alone: the number of workers, the device and a resumed
// run change nothing. On a CUDA device each batch is copied from pinned memory on the copy-in stream while
// earlier ones are computed, into one of a few buffers that take turns: a buffer is filled again after the
// last op that reads it, and only when nobody else holds its tensors.
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <memory>
#include <optional>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/training/dataset.h"

namespace gpunn {

struct DataLoaderOptions {
  std::int64_t batch_size = 1;
  bool shuffle = false;
  bool drop_last = false;  // leave out a last batch that is not full
  int workers = 0;         // threads; 0: batches are made by the caller, on a CUDA device one ahead
  int prefetch = 2;        // batches ready in host memory ahead of the caller per worker
  int device_buffers = 2;  // batches on a CUDA device: the caller's, and those that are copied meanwhile
  std::uint64_t seed = 0;
  std::optional<Device> device{};  // where batches go; none: they stay on the CPU
};

class GPUNN_API DataLoader {
 public:
  /// One pass. An exception of the data set reaches the caller at the batch that it belongs to; the pass is
  /// over then. Destruction at any moment stops the workers after the batch they are at. Not to be shared
  /// between threads.
  class GPUNN_API Epoch {
   public:
    ~Epoch();
    Epoch(Epoch&&) noexcept;
    Epoch& operator=(Epoch&&) noexcept;
    /// The next batch, or none at the end. Drop the batch before, views included, and its device memory
    /// serves again; kept, it stays as it is, and the loader takes fresh memory. On a CUDA device this waits
    /// for the copy that is `device_buffers` batches back, so that the host never runs far ahead.
    std::optional<Batch> next();

    struct Iterator {
      using difference_type = std::ptrdiff_t;
      using value_type = Batch;
      Epoch* epoch;
      std::optional<Batch> batch;
      Batch& operator*() { return *batch; }
      Iterator& operator++() {
        batch.reset();  // the old batch's memory is free for the new one
        batch = epoch->next();
        return *this;
      }
      void operator++(int) { ++*this; }
      bool operator==(std::default_sentinel_t) const { return !batch; }
    };
    Iterator begin() { return {this, next()}; }
    std::default_sentinel_t end() const { return {}; }

   private:
    friend class DataLoader;
    struct State;
    explicit Epoch(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
  };

  /// Throws InvalidArgument for a null data set, batch_size, prefetch or device_buffers below 1, or negative
  /// workers.
  DataLoader(std::shared_ptr<const Dataset> dataset, DataLoaderOptions options);

  /// Batches in an epoch.
  std::int64_t size() const noexcept;
  const Dataset& dataset() const noexcept { return *dataset_; }
  const DataLoaderOptions& options() const noexcept { return options_; }
  /// The order of rows in epoch `number`.
  std::vector<std::int64_t> order(std::int64_t number) const;
  /// Pass `number`, from batch `first_batch` on (a resumed run).
  Epoch epoch(std::int64_t number, std::int64_t first_batch = 0) const;

 private:
  std::shared_ptr<const Dataset> dataset_;
  DataLoaderOptions options_;
};

}  // namespace gpunn
