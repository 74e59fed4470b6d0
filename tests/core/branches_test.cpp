// Branches: on streams of their own, bit for bit what runs without them, forward and backward.
#include "gpunn/core/branches.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <set>
#include <thread>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/core/detail/node_streams.h"
#include "gpunn/core/flight_recorder.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/matmul/matmul.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "tests/support/devices.h"
#include "tests/support/stuck_stream.h"

namespace gpunn {
namespace {

using Floats = std::vector<float>;

class BranchesTest : public testing::DeviceTest {
 protected:
  bool has_streams() const { return !device().is_cpu(); }
  RawStream current() const { return device().context().current_stream(); }
  Tensor ramp(const Shape& shape, double scale) const {
    Floats v(static_cast<std::size_t>(shape.numel()));
    for (std::size_t i = 0; i < v.size(); ++i)
      v[i] = static_cast<float>(scale * static_cast<double>(i % 17) - 0.3);
    return Tensor::from(v, shape).to(device());
  }
};
GPUNN_ON_EVERY_DEVICE(BranchesTest);

TEST_P(BranchesTest, RunInOrderOnStreamsOfTheirOwn) {
  std::vector<int> order;
  std::set<RawStream> streams{current()};
  const auto note = [&](int i) {
    order.push_back(i);
    streams.insert(current());
    return i;
  };
  const auto [a, b, c] =
      parallel(device(), [&] { return note(1); }, [&] { return note(2); }, [&] { return note(3); });
  EXPECT_EQ(order, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(a + 10 * b + 100 * c, 321);
  EXPECT_EQ(streams.size(), has_streams() ? 4u : 1u);
  parallel(device(), [&] { note(4); }, [&] { note(5); });
  EXPECT_EQ(order.size(), 5u);
  EXPECT_EQ(streams.size(), has_streams() ? 4u : 1u) << "streams are given back and used again";
  EXPECT_THROW(Branches(device(), 0), InvalidArgument);
}

TEST_P(BranchesTest, TheirWorkOverlapsAndNeedsNoJoin) {
  if (!has_streams()) GTEST_SKIP() << "one stream";
  const Tensor x = ramp({64}, 1);
  Branches branches(device(), 2);
  const RawStream first = branches.run([&] { return current(); });
  Tensor left, right;
  {
    testing::StuckStream stuck(device().context(), first);
    right = branches.run([&] { return mul(x, 3.0); });
    left = branches.run([&] { return mul(x, 2.0); });
    EXPECT_EQ(left.storage().stream(), first);
    // The first branch is stuck, the second is not.
    EXPECT_EQ(right.to_vector<float>()[1], 3 * x.to_vector<float>()[1]);
  }
  EXPECT_EQ(add(left, right).to_vector<float>(), add(mul(x, 2.0), mul(x, 3.0)).to_vector<float>());
}

TEST_P(BranchesTest, JoinCoversWhatNoTensorStandsFor) {
  Branches branches(device(), 2);
  std::atomic<int> done{0};
  int seen = -1;
  Stream here = Stream::current(device());
  {
    std::optional<testing::StuckStream> stuck;
    branches.run([&] {
      if (has_streams()) stuck.emplace(device().context(), current());
    });
    for (int i = 0; i < 4; ++i) branches.run([&] { Stream::current(device()).call([&done] { ++done; }); });
    branches.join();
    here.call([&] { seen = done; });
    EXPECT_EQ(here.query(), !has_streams());
  }
  here.synchronize();
  EXPECT_EQ(seen, 4);
}

TEST_P(BranchesTest, Nest) {
  const Tensor x = ramp({40}, 0.5);
  std::set<RawStream> streams;
  const auto leaf = [&](double factor) {
    streams.insert(current());
    return mul(x, factor);
  };
  const auto pair = [&](double factor) {
    const auto [a, b] = parallel(device(), [&] { return leaf(factor); }, [&] { return leaf(factor + 1); });
    return add(a, b);
  };
  const auto [left, right] = parallel(device(), [&] { return pair(1); }, [&] { return pair(5); });
  EXPECT_EQ(add(left, right).to_vector<float>(),
            add(add(leaf(1), leaf(2)), add(leaf(5), leaf(6))).to_vector<float>());
  EXPECT_GE(streams.size(), has_streams() ? 3u : 1u);
}

TEST_P(BranchesTest, AnExceptionEndsTheCallsAndReachesTheCaller) {
  const RawStream before = current();
  int ran = 0;
  const auto run = [&] {
    parallel(device(), [&] { ++ran; }, [&] { throw InvalidArgument("second"); }, [&] { ++ran; });
  };
  EXPECT_THROW(run(), InvalidArgument);
  EXPECT_EQ(ran, 1);
  EXPECT_EQ(current(), before);
  device().synchronize();
}

// Two towers of two layers over one input, joined by a sum; trained for a few steps by plain gradient
// descent.
struct Towers {
  std::vector<Tensor> w;  // left 1, left 2, right 1, right 2

  Tensor tower(const Tensor& x, std::size_t first) const {
    return tanh(linear(relu(linear(x, w[first])), w[first + 1]));
  }
  Tensor forward(const Tensor& x, bool branches) const {
    if (!branches) {
      const Tensor left = tower(x, 0), right = tower(x, 2);
      return sum(mul(left, right));
    }
    const auto [left, right] = parallel(x.device(), [&] { return tower(x, 0); }, [&] { return tower(x, 2); });
    return sum(mul(left, right));
  }
};

Floats trained(const Tensor& x, std::vector<Tensor> weights, bool branches, int steps) {
  for (Tensor& w : weights) w = w.clone().requires_grad_();
  const Towers towers{weights};
  Floats trace;
  for (int i = 0; i < steps; ++i) {
    const Tensor loss = towers.forward(x, branches);
    loss.backward();
    trace.push_back(static_cast<float>(loss.item()));
    const NoGrad guard;
    for (const Tensor& w : weights) {
      w.copy_(sub(w, mul(w.grad(), 0.05)));
      w.zero_grad();
    }
  }
  for (const Tensor& w : weights)
    for (const float v : w.to_vector<float>()) trace.push_back(v);
  return trace;
}

TEST_P(BranchesTest, TwoTowersTrainToTheSameBits) {
  const Tensor x = ramp({9, 12}, 0.1).requires_grad_();
  const std::vector<Tensor> weights{ramp({8, 12}, 0.07), ramp({5, 8}, 0.05), ramp({8, 12}, 0.06),
                                    ramp({5, 8}, 0.08)};
  const Floats serial = trained(x, weights, false, 4);
  const Floats grad = x.grad().to_vector<float>();
  x.zero_grad();
  const Floats branched = trained(x, weights, true, 4);
  ASSERT_EQ(serial.size(), branched.size());
  EXPECT_EQ(std::memcmp(serial.data(), branched.data(), serial.size() * sizeof(float)), 0);
  EXPECT_EQ(x.grad().to_vector<float>(), grad);
  EXPECT_NE(serial[0], serial[3]);
}

TEST_P(BranchesTest, BackwardRunsWhereForwardRan) {
  if (!has_streams()) GTEST_SKIP() << "one stream";
  const Tensor x = ramp({6, 12}, 0.1);
  const std::vector<Tensor> w{ramp({8, 12}, 0.07).requires_grad_(), ramp({5, 8}, 0.05).requires_grad_(),
                              ramp({8, 12}, 0.06).requires_grad_(), ramp({5, 8}, 0.08).requires_grad_()};
  const Tensor loss = Towers{w}.forward(x, true);
  const auto before = flight_recorder().snapshot().back().sequence;
  loss.backward();
  std::set<void*> streams;
  for (const auto& launch : flight_recorder().snapshot())
    if (launch.sequence > before) streams.insert(launch.stream);
  EXPECT_GE(streams.size(), 3u) << "both towers' and the default one";
  EXPECT_TRUE(streams.contains(device().context().compute_stream()));
  // What a tower's own backward made lies on its stream.
  EXPECT_EQ(w[0].grad().storage().stream(), w[1].grad().storage().stream());
  EXPECT_EQ(w[2].grad().storage().stream(), w[3].grad().storage().stream());
  EXPECT_NE(w[0].grad().storage().stream(), w[2].grad().storage().stream());
  EXPECT_NE(w[0].grad().storage().stream(), device().context().compute_stream());
}

TEST_P(BranchesTest, StreamsOfNodesAreForgottenWithThem) {
  const Tensor x = ramp({8}, 1).requires_grad_();
  Ref<Node> node;
  {
    const auto [y] = parallel(device(), [&] { return mul(x, 2.0); });
    node = y.impl().autograd->node;
    EXPECT_EQ(detail::node_stream(*node).context != nullptr, has_streams());
    const Tensor z = mul(x, 2.0);
    EXPECT_EQ(detail::node_stream(*z.impl().autograd->node).context, nullptr) << "the default stream";
  }
  const Node* const address = node.get();
  node = {};
  EXPECT_EQ(detail::node_stream(*address).context, nullptr);
}

TEST_P(BranchesTest, SecondDerivativesAgree) {
  const Tensor x = ramp({7}, 0.4).requires_grad_();
  const auto second = [&](bool branches) {
    Tensor y;
    if (branches) {
      const auto [a, b] = parallel(device(), [&] { return mul(mul(x, x), x); }, [&] { return mul(x, x); });
      y = sum(add(a, b));
    } else {
      const Tensor a = mul(mul(x, x), x), b = mul(x, x);
      y = sum(add(a, b));
    }
    const auto first = autograd::grad(std::span(&y, 1), std::span(&x, 1), {}, true, true);
    const Tensor s = sum(first[0]);
    return autograd::grad(std::span(&s, 1), std::span(&x, 1))[0].to_vector<float>();
  };
  EXPECT_EQ(second(true), second(false));
}

class BranchesRaceTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(BranchesRaceTest);

TEST_P(BranchesRaceTest, TowersOnTwoThreads) {
  const auto ramp = [&](const Shape& shape) { return full(shape, 0.125, {.device = device()}); };
  const Tensor x = ramp({4, 6});
  const std::vector<Tensor> weights{ramp({3, 6}), ramp({2, 3}), ramp({3, 6}), ramp({2, 3})};
  const Floats serial = trained(x, weights, false, 2);
  std::vector<Floats> results(2);
  std::vector<std::thread> threads;
  for (Floats& result : results) threads.emplace_back([&] { result = trained(x, weights, true, 2); });
  for (auto& thread : threads) thread.join();
  for (const Floats& result : results) EXPECT_EQ(result, serial);
}

}  // namespace
}  // namespace gpunn
