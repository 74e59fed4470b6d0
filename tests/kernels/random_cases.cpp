#include <cstdint>
#include <string>
#include <utility>

#include "gpunn/kernels/random/random_impl.h"
#include "tests/support/parity.h"

namespace gpunn::parity {
namespace {

constexpr std::uint64_t kSeed = 0x123456789abcdefULL;
constexpr std::uint64_t kNearCarry = 0xfffffffdULL;  // the block number carries within the first vectors

void add_dropout(Suite& suite, std::int64_t n, std::uint32_t greatest_kept, double scale, CaseOptions o,
                 const char* what = "", std::uint64_t offset = 5) {
  o.small = n <= 4000;
  o.zeros_ok = {"y"};
  suite.add(
      kDropout, std::to_string(n) + what,
      [=] {
        DropoutProblem p{};
        p.n = n;
        p.seed = kSeed;
        p.offset = offset;
        p.greatest_kept = greatest_kept;
        p.scale = scale;
        return p;
      },
      std::move(o));
}

void add_bernoulli(Suite& suite, std::int64_t n, bool one_for_all, CaseOptions o, const char* what = "",
                   std::uint64_t offset = 5) {
  o.small = n <= 4000;
  o.zeros_ok = {"y"};
  o.fills = {{"p", fill::uniform(0, 1)}};
  suite.add(
      kBernoulli, std::to_string(n) + (one_for_all ? " one p" : "") + what,
      [=] {
        BernoulliProblem p{};
        p.n = n;
        p.seed = kSeed;
        p.offset = offset;
        p.one_for_all = one_for_all;
        p.probability = 0.3f;
        return p;
      },
      std::move(o));
}

}  // namespace

void add_random_cases(Suite& suite) {
  for (const std::int64_t n : {0, 1, 3, 31, 32, 33, 1009, 4096, 70001}) {
    add_dropout(suite, n, 0xe6666665u, 1 / 0.9, {});
    add_bernoulli(suite, n, false, {});
    add_bernoulli(suite, n, true, {});
  }
  add_dropout(suite, 1009, 0x7fffffffu, 2, {.alias = {{"y", "x"}}}, " in place");
  add_dropout(suite, 1009, 0x19999999u, 10, {.shift = 1}, " unaligned");
  add_dropout(suite, 1009, 0xe6666665u, 1 / 0.9, {}, " carry", kNearCarry);
  add_dropout(suite, 1009, 0, 0, {}, " all dropped");
  add_bernoulli(suite, 1009, false, {.alias = {{"y", "p"}}}, " in place");
  add_bernoulli(suite, 1009, false, {.shift = 1}, " unaligned");
  add_bernoulli(suite, 1009, false, {}, " carry", kNearCarry);
}

}  // namespace gpunn::parity
