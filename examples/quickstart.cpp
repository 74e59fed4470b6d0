// The library in 20 lines: a model, a loop, a file of weights. Learns XOR in about a tenth of a second.
#include <gpunn/gpunn.h>

#include <cstdio>

struct Net : gpunn::Module {
  gpunn::Linear hidden{2, 8}, out{8, 1};
  GPUNN_MEMBERS(hidden, out)
  gpunn::Tensor forward(const gpunn::Tensor& x) override { return out(gpunn::tanh(hidden(x))); }
};

int main() {
  gpunn::manual_seed(0);
  const gpunn::DeviceScope device(gpunn::Device::best());  // the GPU if there is one
  const auto x = gpunn::Tensor::from({{0, 0}, {0, 1}, {1, 0}, {1, 1}}).to(gpunn::default_device());
  const auto y = gpunn::Tensor::from({0, 1, 1, 0}).reshape({4, 1}).to(gpunn::default_device());
  Net net;
  gpunn::SGD optimizer(net.parameters(), {.lr = 0.5, .momentum = 0.9});
  for (int step = 0; step < 500; ++step) {
    optimizer.zero_grad();
    gpunn::binary_cross_entropy_with_logits(net(x), y).backward();
    optimizer.step();
  }
  gpunn::write_safetensors("xor.safetensors", net.state_dict());
  for (const float p : gpunn::sigmoid(net(x)).to_vector<float>()) std::printf("%.3f\n", p);
}
