#include "gpunn/core/dtype.h"

#include <array>

#include "gpunn/core/error.h"

namespace gpunn {

namespace {
struct Name {
  const char* ours;
  const char* torch;
};
constexpr std::array<Name, kDTypeCount> kNames = {{{"f32", "float32"},
                                                   {"f64", "float64"},
                                                   {"f16", "float16"},
                                                   {"bf16", "bfloat16"},
                                                   {"i32", "int32"},
                                                   {"i64", "int64"},
                                                   {"u8", "uint8"},
                                                   {"bool", "bool"}}};
}  // namespace

const char* name_of(DType t) noexcept { return kNames[static_cast<std::size_t>(t)].ours; }

DType parse_dtype(std::string_view name) {
  std::string known;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (name == kNames[i].ours || name == kNames[i].torch) return static_cast<DType>(i);
    known += (i ? ", " : "") + std::string(kNames[i].ours);
  }
  detail::throw_invalid(detail::concat("expected a dtype of ", known, ", got '", name, "'"));
}

}  // namespace gpunn
