#pragma once
// Where data sets are on this machine.
//
// Places, in order: the folder the user names (then only that one), $GPUNN_DATA_DIR, the user's cache
// ($XDG_CACHE_HOME/gpunn or ~/.cache/gpunn), the system's. In each, files stand in a folder of the data set's
// name; the folder the user names may also hold them directly, and so may any place whose last part is that
// name.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/api.h"

namespace gpunn {

/// A data set that is looked for, or built in.
struct DataSetInfo {
  const char* name;  // "fashion-mnist"
  const char* summary;
  std::span<const char* const> files;   // all needed; ".gz" may be missing at the end of a name
  std::span<const char* const> system;  // folders to look in, last
  const char* hint;                     // how to get it
  const char* folder = nullptr;         // where its files stand; null: a folder of its name
};
GPUNN_API std::span<const DataSetInfo> known_data_sets() noexcept;
/// Throws InvalidArgument for an unknown name, with the nearest known one.
GPUNN_API const DataSetInfo& data_set_info(std::string_view name);

/// One place that was looked at.
struct DataPlace {
  std::string origin;  // "--data", "$GPUNN_DATA_DIR", "user cache", "system", "built in"
  std::string folder;
  std::vector<std::string> missing;  // files that are not there; empty: the data set is complete here
};
/// Every place where `info` is looked for; `data_dir` is what the user named, or "".
GPUNN_API std::vector<DataPlace> data_places(const DataSetInfo& info, const std::string& data_dir);

/// Paths of the files of `info`, in its order, from the first complete place. Throws DataError listing the
/// places and what is missing, with the hint. Built-in data sets have no files: an empty list.
GPUNN_API std::vector<std::string> find_data(const DataSetInfo& info, const std::string& data_dir);

}  // namespace gpunn
