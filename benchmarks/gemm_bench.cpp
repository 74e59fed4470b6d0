// The CPU's f32 matrix product beside oneDNN's and OpenBLAS's (each opened at run time where it is
// installed), in one run, taking turns. All libraries run single-threaded; ours also with two threads.
//
//   gemm_bench [--json] [--rounds N]    medians over N rounds (default 31)
//
// A row: M x N x K and layout (N plain, T transposed), GFLOP/s of each, ours / oneDNN, ours / OpenBLAS, ours
// on two threads over ours on one, and the share of the multiply-add peak measured between the rounds of that
// row.
#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/fma_peak.h"
#include "gpunn/core/cpu_pool.h"
#include "gpunn/kernels/matmul/gemm_impl.h"

namespace {

using gpunn::CpuPool;
using gpunn::GemmArgs;

struct Shape {
  std::int64_t M, N, K;
  bool trans_a, trans_b;
  const char* what;
};

// Batch 64 through 784-256-128-64-10: forward (NT), weight gradients (TN), input gradients (NN); then squares
// and edges.
constexpr Shape kShapes[] = {
    {64, 256, 784, false, true, "forward"},  {64, 128, 256, false, true, "forward"},
    {64, 64, 128, false, true, "forward"},   {64, 10, 64, false, true, "forward"},
    {64, 128, 784, false, true, "forward"},  {64, 10, 128, false, true, "forward"},
    {256, 784, 64, true, false, "dw"},       {128, 256, 64, true, false, "dw"},
    {64, 128, 64, true, false, "dw"},        {10, 64, 64, true, false, "dw"},
    {128, 784, 64, true, false, "dw"},       {64, 256, 128, false, false, "dx"},
    {64, 128, 64, false, false, "dx"},       {64, 64, 10, false, false, "dx"},
    {128, 128, 128, false, false, "square"}, {256, 256, 256, false, true, "square"},
    {512, 512, 512, false, false, "square"}, {1024, 1024, 1024, false, true, "square"},
    {1, 1024, 1024, false, true, "one row"}, {8, 1024, 1024, false, true, "few rows"},
};

using Sgemm = int (*)(char, char, std::int64_t, std::int64_t, std::int64_t, float, const float*, std::int64_t,
                      const float*, std::int64_t, float, float*, std::int64_t);
using CblasSgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float,
                            float*, int);

/// A peer: its name and how it runs one product; empty when the library is not there.
struct Peer {
  const char* name;
  std::function<void(const GemmArgs&)> run;
};

Peer open_onednn() {
  void* const handle = dlopen("libdnnl.so.2", RTLD_NOW | RTLD_LOCAL);
  const auto sgemm = handle ? reinterpret_cast<Sgemm>(dlsym(handle, "dnnl_sgemm")) : nullptr;
  if (!sgemm) return {"onednn", {}};
  return {"onednn", [sgemm](const GemmArgs& g) {
            sgemm(g.trans_a ? 'T' : 'N', g.trans_b ? 'T' : 'N', g.M, g.N, g.K, 1, g.a, g.lda, g.b, g.ldb, 0,
                  g.c, g.ldc);
          }};
}

Peer open_openblas() {
  void* const handle = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
  const auto sgemm = handle ? reinterpret_cast<CblasSgemm>(dlsym(handle, "cblas_sgemm")) : nullptr;
  if (!sgemm) return {"openblas", {}};
  return {"openblas", [sgemm](const GemmArgs& g) {
            constexpr int kRowMajor = 101, kPlain = 111, kTransposed = 112;
            const auto i = [](std::int64_t v) { return static_cast<int>(v); };
            sgemm(kRowMajor, g.trans_a ? kTransposed : kPlain, g.trans_b ? kTransposed : kPlain, i(g.M),
                  i(g.N), i(g.K), 1, g.a, i(g.lda), g.b, i(g.ldb), 0, g.c, i(g.ldc));
          }};
}

/// 64-byte aligned floats.
class Buffer {
 public:
  explicit Buffer(std::size_t count)
      : data_(static_cast<float*>(std::aligned_alloc(64, (count * sizeof(float) + 127) / 64 * 64)),
              std::free) {}
  float* data() const { return data_.get(); }

 private:
  std::unique_ptr<float, void (*)(void*)> data_;
};

/// Operands in four sets that take turns, random (zeros run faster).
class Operands {
 public:
  explicit Operands(const Shape& s) {
    args_.M = s.M, args_.N = s.N, args_.K = s.K, args_.trans_a = s.trans_a, args_.trans_b = s.trans_b;
    args_.lda = s.trans_a ? s.M : s.K, args_.ldb = s.trans_b ? s.K : s.N, args_.ldc = s.N;
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (int set = 0; set < kSets; ++set)
      for (const std::int64_t count : {s.M * s.K, s.K * s.N, s.M * s.N}) {
        buffers_.emplace_back(static_cast<std::size_t>(count));
        for (std::int64_t i = 0; i < count; ++i) buffers_.back().data()[i] = normal(random);
      }
  }
  GemmArgs at(int i) const {
    GemmArgs g = args_;
    const auto first = static_cast<std::size_t>(i % kSets) * 3;
    g.a = buffers_[first].data(), g.b = buffers_[first + 1].data(), g.c = buffers_[first + 2].data();
    return g;
  }

 private:
  static constexpr int kSets = 4;
  GemmArgs args_;
  std::vector<Buffer> buffers_;
};

double median(std::vector<double> v) {
  std::nth_element(v.begin(), v.begin() + static_cast<std::ptrdiff_t>(v.size() / 2), v.end());
  return v[v.size() / 2];
}

struct Row {
  double peak = 0, ours = 0, ours2 = 0;  // GFLOP/s
  std::vector<double> peers;             // 0 for an absent library
};

class Bench {
 public:
  explicit Bench(int rounds) : rounds_(rounds), peers_{open_onednn(), open_openblas()} {}
  const std::vector<Peer>& peers() const { return peers_; }

  Row measure(const Shape& s) {
    const Operands operands(s);
    const double flops = 2.0 * static_cast<double>(s.M) * static_cast<double>(s.N) * static_cast<double>(s.K);
    const int calls = std::max(1, static_cast<int>(5e7 / flops));
    const Buffer workspace(gpunn::gemm_cpu_workspace(operands.at(0)) / sizeof(float) + 1);
    const auto ours = [&](CpuPool& pool) {
      return [&](const GemmArgs& g) { gpunn::gemm_cpu(g, workspace.data(), pool); };
    };
    const auto time = [&](const std::function<void(const GemmArgs&)>& run) {
      run(operands.at(0));
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < calls; ++i) run(operands.at(i));
      return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / calls;
    };
    std::vector<double> peak, one, two;
    std::vector<std::vector<double>> others(peers_.size());
    for (int round = 0; round < rounds_; ++round) {
      peak.push_back(gpunn::bench::fma_peak_gflops());
      for (std::size_t p = 0; p < peers_.size(); ++p)
        if (peers_[p].run) others[p].push_back(time(peers_[p].run));
      one.push_back(time(ours(one_thread_)));
      two.push_back(time(ours(two_threads_)));
    }
    const auto rate = [&](const std::vector<double>& seconds) {
      return seconds.empty() ? 0.0 : flops / median(seconds) / 1e9;
    };
    Row row{median(peak), rate(one), rate(two), {}};
    for (const auto& seconds : others) row.peers.push_back(rate(seconds));
    return row;
  }

 private:
  int rounds_;
  std::vector<Peer> peers_;
  CpuPool one_thread_{1}, two_threads_{2};
};

double ratio(double ours, double theirs) { return theirs > 0 ? ours / theirs : 0; }

void print_text(const Shape& s, const Row& r) {
  std::printf("%5lld x %4lld x %4lld %c%c %-8s %7.1f %5.1f%% %8.1f %8.1f %7.2f %7.2f %7.2f\n",
              static_cast<long long>(s.M), static_cast<long long>(s.N), static_cast<long long>(s.K),
              s.trans_a ? 'T' : 'N', s.trans_b ? 'T' : 'N', s.what, r.ours, 100 * r.ours / r.peak, r.peers[0],
              r.peers[1], ratio(r.ours, r.peers[0]), ratio(r.ours, r.peers[1]), ratio(r.ours2, r.ours));
  std::fflush(stdout);
}

void print_json(const Shape& s, const Row& r, const std::vector<Peer>& peers, bool first) {
  std::printf(
      "%s{\"m\":%lld,\"n\":%lld,\"k\":%lld,\"layout\":\"%c%c\",\"what\":\"%s\",\"peak_gflops\":%.1f,"
      "\"gflops\":%.1f,"
      "\"gflops_two_threads\":%.1f",
      first ? "" : ",", static_cast<long long>(s.M), static_cast<long long>(s.N), static_cast<long long>(s.K),
      s.trans_a ? 'T' : 'N', s.trans_b ? 'T' : 'N', s.what, r.peak, r.ours, r.ours2);
  for (std::size_t p = 0; p < peers.size(); ++p)
    if (peers[p].run) std::printf(",\"%s_gflops\":%.1f", peers[p].name, r.peers[p]);
  std::printf("}");
}

}  // namespace

int main(int argc, char** argv) {
  bool json = false;
  int rounds = 31;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--json") == 0) {
      json = true;
    } else if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc && std::atoi(argv[i + 1]) > 0) {
      rounds = std::atoi(argv[++i]);
    } else {
      std::fprintf(stderr, "usage: gemm_bench [--json] [--rounds N]\n");
      return 2;
    }
  }
  // Before the libraries are opened: they read it once.
  setenv("OMP_NUM_THREADS", "1", 1);
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
#if defined(__x86_64__)
  // An OpenBLAS older than the CPU takes its oldest kernels.
  if (__builtin_cpu_supports("avx512f"))
    setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
  else if (__builtin_cpu_supports("avx2"))
    setenv("OPENBLAS_CORETYPE", "Haswell", 0);
#endif
  Bench bench(rounds);
  if (json) {
    std::printf("{\"target\":\"%s\",\"rounds\":%d,\"rows\":[", gpunn::detail::gemm_kernels().target, rounds);
  } else {
    std::printf("SIMD target %s, medians of %d rounds, GFLOP/s\n", gpunn::detail::gemm_kernels().target,
                rounds);
    std::printf("%-33s %7s %6s %8s %8s %7s %7s %7s\n", "shape", "ours", "peak", "onednn", "openblas",
                "/onednn", "/openbl", "2 thr");
  }
  bool first = true;
  for (const Shape& s : kShapes) {
    const Row row = bench.measure(s);
    json ? print_json(s, row, bench.peers(), first) : print_text(s, row);
    first = false;
  }
  if (json) std::printf("]}\n");
  return 0;
}
