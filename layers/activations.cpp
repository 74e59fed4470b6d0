#include "gpunn/layers/activations.h"

namespace gpunn {

PReLU::PReLU(std::int64_t num_parameters, double init) {
  GPUNN_CHECK(num_parameters >= 1, "expected at least one PReLU parameter, got ", num_parameters);
  const MemoryTagScope tag(MemoryTag::weights);
  weight = Parameter(full({num_parameters}, init));
}

Tensor Unflatten::forward(const Tensor& x) {
  OpScope scope("unflatten");
  GPUNN_CHECK(x.defined(), "expected a tensor, got an undefined one");
  const int dim = normalize_dim(dim_, x.dim());
  std::int64_t known = 1;
  int open = 0;
  for (const std::int64_t size : sizes_) {
    known *= size == -1 ? 1 : size;
    open += size == -1;
  }
  const std::int64_t extent = x.size(dim);
  GPUNN_CHECK(open <= 1 && known >= 1 && (open == 1 ? extent % known == 0 : extent == known),
              "expected sizes that multiply to ", extent, ", got ", sizes_);
  Shape shape;
  for (int i = 0; i < dim; ++i) shape.push_back(x.size(i));
  for (const std::int64_t size : sizes_) shape.push_back(size == -1 ? extent / known : size);
  for (int i = dim + 1; i < x.dim(); ++i) shape.push_back(x.size(i));
  return x.reshape(shape);
}

}  // namespace gpunn
