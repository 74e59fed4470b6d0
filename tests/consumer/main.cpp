// What a user's program does first: one include, one library; a model, a loop, a file of weights.
#include <gpunn/gpunn.h>

#include <cstdio>
#include <cstring>

struct Net : gpunn::Module {
  gpunn::Linear hidden{2, 8}, out{8, 1};
  GPUNN_MEMBERS(hidden, out)
  gpunn::Tensor forward(const gpunn::Tensor& x) override { return out(gpunn::tanh(hidden(x))); }
};

/// Learns XOR; the largest distance of a prediction from its target.
static float worst_after_training() {
  gpunn::manual_seed(0);
  const auto x = gpunn::Tensor::from({{0, 0}, {0, 1}, {1, 0}, {1, 1}});
  const auto y = gpunn::Tensor::from({0, 1, 1, 0}).reshape({4, 1});
  Net net;
  gpunn::SGD optimizer(net.parameters(), {.lr = 0.5, .momentum = 0.9});
  for (int step = 0; step < 500; ++step) {
    optimizer.zero_grad();
    gpunn::binary_cross_entropy_with_logits(net(x), y).backward();
    optimizer.step();
  }
  const auto distances = (gpunn::sigmoid(net(x)) - y).to_vector<float>();
  float worst = 0;
  for (const float d : distances) worst = d * d > worst * worst ? d : worst;
  return worst < 0 ? -worst : worst;
}

/// An exception made inside the library is caught by its type here, across the shared library's border.
static bool error_has_its_type() {
  try {
    gpunn::softmax(gpunn::zeros({2, 3}), 7);
  } catch (const gpunn::InvalidArgument&) {
    return true;
  }
  return false;
}

int main() {
  if (std::strcmp(gpunn::version(), GPUNN_VERSION_STRING) != 0) {
    std::fprintf(stderr, "built with headers %s, loaded library %s\n", GPUNN_VERSION_STRING,
                 gpunn::version());
    return 1;
  }
  if (!error_has_its_type()) return 1;
  const float worst = worst_after_training();
  if (!(worst < 0.1f)) {
    std::fprintf(stderr, "XOR is off by %g after training\n", static_cast<double>(worst));
    return 1;
  }
  std::printf("gpunn %s\n", gpunn::version());
  return 0;
}
