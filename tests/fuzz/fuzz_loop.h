#pragma once
// Fuzzing as a plain loop: a generator makes valid documents, mutations break them, the target must refuse or
// accept them cleanly. Deterministic: run k of a seed is always the same. GPUNN_FUZZ_SECONDS sets the time of
// each loop (default 2), GPUNN_FUZZ_SEED the seed, GPUNN_FUZZ_RUN a single run to repeat.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/error.h"
#include "gpunn/io/file.h"
#include "tests/fuzz/allocation_meter.h"

namespace gpunn::fuzz {

/// splitmix64 (S. Vigna): one word of state, good enough to pick mutations.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t bits() {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// In [0, n), n >= 1.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(bits() % n); }
  bool one_in(std::size_t n) { return below(n) == 0; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

 private:
  std::uint64_t state_;
};

/// Numbers where parsers go wrong.
inline std::uint64_t edge_number(Dice& dice) {
  constexpr std::array<std::uint64_t, 14> kEdges = {0,
                                                    1,
                                                    2,
                                                    7,
                                                    8,
                                                    9,
                                                    127,
                                                    128,
                                                    255,
                                                    65'535,
                                                    0x7fffffff,
                                                    0xffffffff,
                                                    0x7fffffffffffffff,
                                                    0xffffffffffffffff};
  return kEdges[dice.below(kEdges.size())] + (dice.one_in(4) ? dice.below(3) - 1 : 0);
}

/// Breaks `data` in one to four places: flips, edge bytes and words, cuts, copies, insertions of `words`.
inline void mutate(std::string& data, Dice& dice, const std::vector<std::string>& words) {
  for (std::size_t count = 1 + dice.below(4); count > 0; --count) {
    const std::size_t at = data.empty() ? 0 : dice.below(data.size());
    switch (dice.below(8)) {
      case 0:
        if (!data.empty()) data[at] = static_cast<char>(data[at] ^ (1 << dice.below(8)));
        break;
      case 1:
        if (!data.empty()) data[at] = static_cast<char>(edge_number(dice));
        break;
      case 2:
        data.resize(at);
        break;
      case 3:
        data.erase(at, 1 + dice.below(8));
        break;
      case 4:
        data.insert(at, data.substr(dice.below(data.size() + 1), dice.below(64)));
        break;
      case 5:
        data.insert(at, dice.pick(words));
        break;
      case 6:
        data.insert(at, std::to_string(edge_number(dice)));
        break;
      default: {
        const std::uint64_t word = edge_number(dice);
        const std::size_t bytes = std::size_t{1} << dice.below(4);
        for (std::size_t i = 0; i < bytes && at + i < data.size(); ++i) {
          // Either byte order: formats differ.
          const std::size_t shift = 8 * (dice.one_in(2) ? i : bytes - 1 - i);
          data[at + i] = static_cast<char>(word >> shift);
        }
      }
    }
  }
}

/// "\x7f\x00…" of the first bytes, for reports of failures.
inline std::string shown(std::string_view data) {
  constexpr std::size_t kShown = 512;
  std::string out;
  for (const char c : data.substr(0, kShown)) {
    if (c >= 0x20 && c < 0x7f && c != '\\') {
      out += c;
    } else {
      const auto byte = static_cast<unsigned char>(c);
      out += std::string("\\x") + "0123456789abcdef"[byte >> 4] + "0123456789abcdef"[byte & 15];
    }
  }
  return out + (data.size() > kShown ? "…" : "");
}

inline std::uint64_t setting(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): tests set no variables
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// Bound on what parsing may hold: 64 MiB and twice the document.
inline std::size_t memory_bound(std::size_t document) { return (std::size_t{64} << 20) + 2 * document; }

/// Repeats `run(dice, document)`: it makes a document, stores it, and parses it. It returns true when the
/// document was accepted (and checked); a refusal must be a DataError or Unsupported with a message. Memory
/// at any moment is bounded by memory_bound() of the document. Both outcomes must occur, or the loop would
/// test half of a parser.
template <class Run>
void fuzz_loop(Run&& run) {
  const std::uint64_t seed = setting("GPUNN_FUZZ_SEED", 20'250'101),
                      only = setting("GPUNN_FUZZ_RUN", ~std::uint64_t{0});
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(setting("GPUNN_FUZZ_SECONDS", 2));
  std::uint64_t runs = 0, accepted = 0, refused = 0;
  std::size_t most = 0;
  for (std::uint64_t k = only == ~std::uint64_t{0} ? 0 : only;; ++k) {
    if (k % 64 == 0 && std::chrono::steady_clock::now() > end) break;
    Dice dice(seed ^ (k * 0xd1342543de82ef95));
    std::string document, problem;
    AllocationMeter meter;
    try {
      run(dice, document) ? ++accepted : ++refused;
    } catch (const DataError& error) {
      ++refused;
      if (std::string_view(error.what()).find(": ") == std::string_view::npos)
        problem = "message without a place";
    } catch (const Unsupported&) {
      ++refused;
    } catch (const std::exception& error) {
      problem = std::string("wrong exception: ") + error.what();
    }
    if (meter.peak() > memory_bound(document.size()))
      problem = "took " + std::to_string(meter.peak()) + " bytes";
    most = std::max(most, meter.peak());
    ++runs;
    ASSERT_TRUE(problem.empty() && !::testing::Test::HasFailure())
        << problem << "\nrepeat with GPUNN_FUZZ_SEED=" << seed << " GPUNN_FUZZ_RUN=" << k << ", document of "
        << document.size() << " bytes:\n"
        << shown(document);
    if (only != ~std::uint64_t{0}) return;
  }
  ::testing::Test::RecordProperty("runs", std::to_string(runs));
  std::printf("%llu runs, %llu accepted, %llu refused, at most %zu bytes\n",
              static_cast<unsigned long long>(runs), static_cast<unsigned long long>(accepted),
              static_cast<unsigned long long>(refused), most);
  EXPECT_GT(accepted, runs / 50);
  EXPECT_GT(refused, runs / 50);
}

}  // namespace gpunn::fuzz
