// The rows of eager_bench in PyTorch's C++ library, for eager_rows.py, which builds it where PyTorch is
// installed. Prints "NAME 0|1 NANOSECONDS" a line: the op, whether autograd records it, the median over the
// rounds.
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <vector>

namespace {

struct Row {
  const char* name;
  bool autograd;
  std::function<void()> op;
  int ops = 1;  // of a call
};

void chain_of_20(const at::Tensor& x, const at::Tensor& b) {
  at::Tensor y = x;
  for (int i = 0; i < 10; ++i) y = at::add(at::mul(y, 0.5), b);
}

double nanoseconds_per_op(const Row& row) {
  constexpr int kOps = 2000, kRounds = 31;
  std::vector<double> rounds;
  for (int r = -1; r < kRounds; ++r) {
    const auto start = std::chrono::steady_clock::now();
    for (int i = 0; i < kOps; ++i) row.op();
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    if (r >= 0) rounds.push_back(took.count() / (kOps * row.ops));
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

}  // namespace

int main() {
  at::set_num_threads(1);
  const auto leaf = [](at::IntArrayRef shape) { return torch::rand(shape).requires_grad_(); };
  const at::Tensor a = torch::rand({16}), b = torch::rand({16}), p = leaf({16});
  const at::Tensor x = torch::rand({1024}), c = torch::rand({1024}), v = leaf({1024});
  const at::Tensor m = torch::rand({4, 4}), w = leaf({4, 4}), fixed = w.detach();
  const std::vector<Row> rows = {
      {"add", false, [&] { at::add(a, b); }},
      {"mul_scalar", false, [&] { at::mul(a, 2.0); }},
      {"relu", false, [&] { at::relu(a); }},
      {"sum", false, [&] { at::sum(a); }},
      {"linear_4x4", false, [&] { at::linear(m, fixed); }},
      {"M12_chain", false, [&] { chain_of_20(x, c); }, 20},
      {"add", true, [&] { at::add(p, b); }},
      {"mul_scalar", true, [&] { at::mul(p, 2.0); }},
      {"relu", true, [&] { at::relu(p); }},
      {"sum", true, [&] { at::sum(p); }},
      {"linear_4x4", true, [&] { at::linear(m, w); }},
      {"M12_chain", true, [&] { chain_of_20(v, c); }, 20},
  };
  for (const Row& row : rows) std::printf("%s %d %.1f\n", row.name, row.autograd, nanoseconds_per_op(row));
  return 0;
}
