#pragma once
// Every public op in one table: where it is documented, which implementation lists it runs on, what its
// derivatives are. The coverage test walks it, and so does the support table of `gpunn parity`.
#include <string>
#include <vector>

#include "gpunn/core/api.h"
#include "gpunn/core/device.h"
#include "gpunn/core/implementation.h"

namespace gpunn {

/// An entry of an implementation list, without its problem type.
struct EntryInfo {
  std::string name;
  DeviceType device;
  Determinism determinism;
};

struct ListInfo {
  std::string op, direction;
  std::vector<EntryInfo> entries;
};

struct OpInfo {
  std::string name;             // of the public function
  std::string folder;           // kernels/<folder>/<folder>.h declares it; "core": a primitive of core
  std::vector<ListInfo> lists;  // what it and its backward run on
  std::string composed{};       // how it is made from others, when it has no list
  std::string no_gradient{};    // why it has no gradient; empty: it has one
  std::string no_second{};      // why it has no second derivative; empty: it has
};

/// In the order of the folders. Ops of the same list name it each.
GPUNN_API std::vector<OpInfo> op_table();

}  // namespace gpunn
