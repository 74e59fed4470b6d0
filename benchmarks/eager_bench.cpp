// Cost of one eager op on 16 elements on the CPU: what the library adds to a trivial amount of arithmetic;
// and of one op in a chain of 20 over 1024 elements (row M12 of the op benchmarks' tables).
//
//   eager_bench [--json]            nanoseconds per op, medians of 31 rounds
//   eager_bench --op NAME --count N runs one row N times (NAME+grad: with autograd), for callgrind:
//     valgrind --tool=callgrind --toggle-collect='measured_region*' eager_bench --op add --count 10000
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/gpunn.h"

namespace {

using gpunn::Tensor;

struct Row {
  const char* name;
  bool autograd;
  std::function<void()> op;
  int elements = 16, ops = 1;  // of a call
};

/// Twenty ops, each on what the one before returned; values stay near 1.
void chain_of_20(const Tensor& x, const Tensor& b) {
  Tensor y = x;
  for (int i = 0; i < 10; ++i) y = gpunn::add(gpunn::mul(y, 0.5), b);
}

/// A symbol of its own, so that callgrind can count what happens inside.
extern "C" __attribute__((noinline)) void measured_region(const std::function<void()>& op, int count) {
  for (int i = 0; i < count; ++i) op();
}

double nanoseconds_per_op(const Row& row) {
  constexpr int kOps = 2000, kRounds = 31;
  measured_region(row.op, kOps);
  std::vector<double> rounds;
  for (int r = 0; r < kRounds; ++r) {
    const auto start = std::chrono::steady_clock::now();
    measured_region(row.op, kOps);
    const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
    rounds.push_back(took.count() / (kOps * row.ops));
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

std::vector<Row> make_rows() {
  const Tensor a = gpunn::rand({16}), b = gpunn::rand({16});
  const Tensor p = gpunn::rand({16}, {.requires_grad = true});
  const Tensor x = gpunn::rand({1024}), v = gpunn::rand({1024}, {.requires_grad = true});
  const Tensor c = gpunn::rand({1024});
  const Tensor m = gpunn::rand({4, 4}), w = gpunn::rand({4, 4}, {.requires_grad = true});
  return {
      {"add", false, [=] { gpunn::add(a, b); }},
      {"mul_scalar", false, [=] { gpunn::mul(a, 2.0); }},
      {"relu", false, [=] { gpunn::relu(a); }},
      {"sum", false, [=] { gpunn::sum(a); }},
      {"linear_4x4", false, [=] { gpunn::linear(m, w.detach()); }},
      {"M12_chain", false, [=] { chain_of_20(x, c); }, 1024, 20},
      {"add", true, [=] { gpunn::add(p, b); }},
      {"mul_scalar", true, [=] { gpunn::mul(p, 2.0); }},
      {"relu", true, [=] { gpunn::relu(p); }},
      {"sum", true, [=] { gpunn::sum(p); }},
      {"linear_4x4", true, [=] { gpunn::linear(m, w); }},
      {"M12_chain", true, [=] { chain_of_20(v, c); }, 1024, 20},
  };
}

}  // namespace

int main(int argc, char** argv) {
  const auto rows = make_rows();
  const std::string_view first = argc > 1 ? argv[1] : "";
  if (first == "--op" && argc == 5 && std::string_view(argv[3]) == "--count") {
    for (const Row& row : rows)
      if (std::string(row.name) + (row.autograd ? "+grad" : "") == argv[2]) {
        measured_region(row.op, std::atoi(argv[4]));
        return 0;
      }
    std::fprintf(stderr, "eager_bench: no op '%s'\n", argv[2]);
    return 2;
  }
  const bool json = first == "--json";
  if (json) std::printf("{\"unit\":\"ns\",\"rows\":[");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const double ns = nanoseconds_per_op(rows[i]);
    if (json)
      std::printf("%s{\"op\":\"%s\",\"elements\":%d,\"autograd\":%s,\"ns\":%.1f}", i ? "," : "", rows[i].name,
                  rows[i].elements, rows[i].autograd ? "true" : "false", ns);
    else
      std::printf("%-12s %-17s %7.1f ns\n", rows[i].name,
                  rows[i].autograd ? "with autograd" : "without autograd", ns);
  }
  if (json) std::printf("]}\n");
  return 0;
}
