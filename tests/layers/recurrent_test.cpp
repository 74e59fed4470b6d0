// Recurrent layers and cells: outputs, states and gradients as in PyTorch (tests/golden/rnn_layers.py), keys,
// initial values, carried states, gates, dropout, summaries and errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <memory>

#include "gpunn/core/random.h"
#include "gpunn/core/runtime.h"
#include "gpunn/kernels/elementwise/elementwise.h"
#include "gpunn/kernels/movement/movement.h"
#include "gpunn/kernels/reduce/reduce.h"
#include "gpunn/layers/recurrent.h"
#include "gpunn/layers/summary.h"
#include "tests/support/devices.h"
#include "tests/support/golden_lists.h"
#include "tests/support/hashed_values.h"

#if GPUNN_EMULATED
#include "gpunn/core/emulation/config.h"
#endif

namespace gpunn {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using Values = std::vector<double>;
using O = RecurrentOptions;

const testing::GoldenLists& golden() {
  static const testing::GoldenLists stored = testing::golden_lists("rnn_layers.csv");
  return stored;
}

struct Case {
  std::string name;
  std::function<std::unique_ptr<Module>()> make;
  Shape shape;
  bool states = true;
  std::vector<std::int64_t> lengths{};
};

template <class M, class... A>
Case row(const char* name, const Shape& shape, A... arguments) {
  return {name, [=] { return std::make_unique<M>(3, arguments...); }, shape};
}
Case from_zeros(Case c) {
  c.states = false;
  return c;
}
Case packed(Case c) {
  c.lengths = {3, 2, 5};  // their order is no inverse of its own
  return c;
}

std::vector<Case> cases() {
  const Shape s{5, 2, 3}, three{5, 3, 3};
  const O both_first{.num_layers = 2, .batch_first = true, .bidirectional = true};
  const RnnNonlinearity relu = RnnNonlinearity::relu;
  using C = RecurrentCellOptions;
  return {
      row<RNN>("rnn-tanh", s, 4),
      row<RNN>("rnn-relu-2-plain", s, 4, O{.num_layers = 2, .nonlinearity = relu, .bias = false}),
      row<RNN>("rnn-tanh-2-both", s, 2, O{.num_layers = 2, .bidirectional = true}),
      row<LSTM>("lstm", s, 4),
      from_zeros(row<LSTM>("lstm-zeros", s, 4)),
      row<LSTM>("lstm-2-both-batch-first", {2, 5, 3}, 2, both_first),
      row<LSTM>("lstm-3", s, 2, O{.num_layers = 3}),
      row<LSTM>("lstm-sequence", {5, 3}, 4, O{.num_layers = 2}),
      packed(row<LSTM>("lstm-packed", three, 4)),
      packed(row<LSTM>("lstm-packed-2-both", {3, 5, 3}, 2, both_first)),
      row<GRU>("gru", s, 4),
      row<GRU>("gru-plain", s, 4, O{.bias = false}),
      row<GRU>("gru-3-both", s, 2, O{.num_layers = 3, .bidirectional = true}),
      packed(row<GRU>("gru-packed-both", three, 2, O{.bidirectional = true})),
      row<RNNCell>("rnn-cell-tanh", {2, 3}, 4),
      row<RNNCell>("rnn-cell-relu", {2, 3}, 4, C{.nonlinearity = relu}),
      row<LSTMCell>("lstm-cell", {2, 3}, 4),
      from_zeros(row<LSTMCell>("lstm-cell-zeros", {2, 3}, 4, C{.bias = false})),
      row<GRUCell>("gru-cell", {2, 3}, 4),
      row<GRUCell>("gru-cell-single", {3}, 4),
  };
}

// Sums of some tens of products in f32, of values around 1, through five steps, and PyTorch's own rounding.
void expect_equal(const Tensor& got, const Values& want, const std::string& what) {
  ASSERT_TRUE(got.defined()) << what;
  const Values values = got.detach().to_vector<double>();
  ASSERT_EQ(values.size(), want.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i)
    EXPECT_NEAR(values[i], want[i], 2e-5 * (1 + std::abs(want[i]))) << what << ", element " << i;
}

struct Result {
  Tensor y;  // undefined for cells
  RecurrentState last;
};

Result call(Module& module, const Tensor& x, const RecurrentState& s, const Case& c) {
  if (auto* cell = dynamic_cast<LSTMCell*>(&module)) {
    const LstmState next = (*cell)(x, LstmState{s.h, s.c});
    return {{}, {next.h, next.c}};
  }
  if (auto* cell = dynamic_cast<GRUCell*>(&module)) return {{}, {(*cell)(x, s.h), {}}};
  if (auto* cell = dynamic_cast<RNNCell*>(&module)) return {{}, {(*cell)(x, s.h), {}}};
  auto& layer = dynamic_cast<Recurrent&>(module);
  if (c.lengths.empty()) {
    RecurrentOutput out = layer(x, s);
    return {out.y, out.state};
  }
  const bool batch_first = layer.options().batch_first;
  const PackedRecurrentOutput out = layer(pack_padded_sequence(x, c.lengths, batch_first, false), s);
  return {pad_packed_sequence(out.y, batch_first).data, out.state};
}

RecurrentState initial_state(Module& module, const Case& c, Device device) {
  if (!c.states) return {};
  Shape shape{};
  bool with_c = dynamic_cast<LSTMCell*>(&module) != nullptr;
  if (auto* layer = dynamic_cast<Recurrent*>(&module)) {
    shape.push_back(layer->options().num_layers * layer->directions());
    if (c.shape.rank() == 3) shape.push_back(c.shape[layer->options().batch_first ? 0 : 1]);
    shape.push_back(layer->hidden_size());
    with_c = layer->mode() == RnnMode::lstm;
  } else {
    if (c.shape.rank() == 2) shape.push_back(c.shape[0]);
    shape.push_back(module.state_dict()[1].second.size(1));
  }
  const auto make = [&](std::uint32_t i) { return testing::hashed(shape, i).to(device).requires_grad_(); };
  return {make(110), with_c ? make(111) : Tensor()};
}

/// Every stored case, on `device`.
void expect_pytorchs(Device device) {
  std::size_t run = 0;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const auto& want = golden().at(c.name);
    const std::unique_ptr<Module> layer = c.make();
    testing::fill_state(*layer);
    layer->to(device);
    const Tensor x = testing::hashed(c.shape, 100).to(device).requires_grad_();
    const RecurrentState first = initial_state(*layer, c, device);
    const Result got = call(*layer, x, first, c);
    const auto weighted = [&](const Tensor& t, std::uint32_t i) {
      return sum(t * testing::hashed(t.shape(), i).to(device));
    };
    Tensor loss = weighted(got.last.h, 102);
    if (got.y.defined()) loss = loss + weighted(got.y, 101);
    if (got.last.c.defined()) loss = loss + weighted(got.last.c, 103);
    loss.backward();
    std::map<std::string, Tensor> parts{{"h", got.last.h}, {"grad x", x.grad()}};
    if (got.y.defined()) parts["y"] = got.y;
    if (got.last.c.defined()) parts["c"] = got.last.c;
    if (first.h.defined()) parts["grad h0"] = first.h.grad();
    if (first.c.defined()) parts["grad c0"] = first.c.grad();
    for (const auto& [key, parameter] : layer->named_parameters()) parts["grad " + key] = parameter.grad();
    EXPECT_EQ(parts.size(), want.size());  // neither more nor fewer keys than PyTorch has
    for (const auto& [part, values] : want) expect_equal(parts[part], values, part);
    ++run;
  }
  EXPECT_EQ(run, golden().size());
}

class RecurrentLayersTest : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RecurrentLayersTest);

TEST_P(RecurrentLayersTest, EqualPyTorchs) { expect_pytorchs(device()); }

// Whole layers, bidirectional and packed ones too, on each implementation of the steps by itself: alone they
// run where they come first.
TEST_P(RecurrentLayersTest, EqualPyTorchsOnEachImplementation) {
  using Names = std::vector<const char*>;
  for (const char* name : device().is_cpu() ? Names{"cpu", "ref"} : Names{"persistent", "steps"}) {
    SCOPED_TRACE(name);
    Runtime runtime({.forced = std::string("rnn=") + name});
    const RuntimeScope scope(runtime);
    expect_pytorchs(device());
  }
}

#if GPUNN_EMULATED
// That it is the persistent one which runs where it is asked for, and where nothing is.
TEST(RecurrentLayers, PersistentStepsAreOneLaunch) {
  const auto launches = [](const char* forced) {
    Runtime runtime({.forced = forced});
    const RuntimeScope scope(runtime);
    LSTM layer(3, 4);
    layer.to(Device::cuda(0));
    const Tensor x = testing::hashed({9, 2, 3}, 100).to(Device::cuda(0));
    const std::uint64_t before = emu::stats().launches;
    layer(x);
    return emu::stats().launches - before;
  };
  EXPECT_EQ(launches("rnn=steps"), launches("rnn=persistent") + 8);
  EXPECT_EQ(launches(""), launches("rnn=persistent"));
}
#endif

std::vector<std::string> keys_of(Module& module) {
  std::vector<std::string> keys;
  for (const auto& [key, tensor] : module.state_dict()) keys.push_back(key);
  return keys;
}

TEST(RecurrentLayers, KeysAreInPyTorchsOrder) {
  LSTM lstm(3, 4, {.num_layers = 2, .bidirectional = true});
  EXPECT_THAT(keys_of(lstm),
              ElementsAre("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "weight_ih_l0_reverse",
                          "weight_hh_l0_reverse", "bias_ih_l0_reverse", "bias_hh_l0_reverse", "weight_ih_l1",
                          "weight_hh_l1", "bias_ih_l1", "bias_hh_l1", "weight_ih_l1_reverse",
                          "weight_hh_l1_reverse", "bias_ih_l1_reverse", "bias_hh_l1_reverse"));
  EXPECT_EQ(lstm.weights(1).ih.shape(), (Shape{16, 8}));
  EXPECT_EQ(lstm.weights(0, 1).hh.shape(), (Shape{16, 4}));
  GRU plain(3, 4, {.bias = false});
  EXPECT_THAT(keys_of(plain), ElementsAre("weight_ih_l0", "weight_hh_l0"));
  GRUCell cell(3, 4);
  EXPECT_THAT(keys_of(cell), ElementsAre("weight_ih", "weight_hh", "bias_ih", "bias_hh"));
}

TEST(RecurrentLayers, InitialValuesFillPyTorchsRange) {
  manual_seed(1);
  const double bound = 1 / std::sqrt(25.0);
  LSTM lstm(60, 25, {.num_layers = 2});
  GRUCell cell(60, 25);
  std::vector<Tensor> all = lstm.parameters();
  for (const Tensor& t : cell.parameters()) all.push_back(t);
  for (const Tensor& t : all) {
    double least = 1, largest = -1;
    for (const double v : t.to_vector<double>()) least = std::min(least, v), largest = std::max(largest, v);
    EXPECT_GE(least, -bound);
    EXPECT_LE(largest, bound);
    EXPECT_LT(least, -0.9 * bound);
    EXPECT_GT(largest, 0.9 * bound);
  }
  // Drawn in the order of the keys: the first tensor's values are a one-layer net's.
  manual_seed(1);
  EXPECT_EQ(LSTM(60, 25).weights(0).bias_hh.to_vector<float>(), lstm.weights(0).bias_hh.to_vector<float>());
}

TEST(RecurrentLayers, CopiesHaveValuesOfTheirOwn) {
  LSTM lstm(2, 3);
  LSTM copy = lstm;
  const std::unique_ptr<Module> behind = lstm.copy_module();
  copy.weights(0).ih.detach().zero_();
  EXPECT_THAT(copy.weights(0).ih.to_vector<float>(), Each(0));
  EXPECT_EQ(behind->state_dict()[0].second.to_vector<float>(), lstm.weights(0).ih.to_vector<float>());
  EXPECT_NE(lstm.weights(0).ih.to_vector<float>()[0], 0);
  EXPECT_EQ(behind->type_name(), "LSTM");
  EXPECT_EQ(GRU(2, 2).type_name(), "GRU");
}

TEST_P(RecurrentLayersTest, CarriedStateGoesOn) {
  LSTM lstm(3, 4, {.num_layers = 2});
  testing::fill_state(lstm);
  lstm.to(device());
  const Tensor x = testing::hashed({6, 2, 3}, 7).to(device());
  const RecurrentOutput whole = lstm(x, {});
  const RecurrentOutput first = lstm(x.narrow(0, 0, 4), {});
  ASSERT_TRUE(first.state.h.requires_grad());
  const RecurrentState carried = detach(first.state);
  EXPECT_FALSE(carried.h.requires_grad());
  EXPECT_FALSE(carried.c.requires_grad());
  const RecurrentOutput second = lstm(x.narrow(0, 4, 2), carried);
  expect_equal(second.y, whole.y.narrow(0, 4, 2).detach().contiguous().to_vector<double>(), "y");
  expect_equal(second.state.c, whole.state.c.detach().to_vector<double>(), "c");
  // Truncated: the second window's loss reaches its own steps only.
  sum(second.y).backward();
  EXPECT_TRUE(lstm.weights(0).ih.grad().defined());
  EXPECT_FALSE(detach(LstmState{second.state.h, {}}).h.requires_grad());
}

TEST_P(RecurrentLayersTest, GatesExplainTheStates) {
  const Tensor x = testing::hashed({2, 5, 3}, 7).to(device());
  const auto values = [](const Tensor& t) { return t.detach().contiguous().to_vector<double>(); };
  LSTM lstm(3, 4, {.num_layers = 2, .batch_first = true, .bidirectional = true});
  testing::fill_state(lstm);
  lstm.to(device());
  const RecurrentOutput out = lstm.inspect(x);
  EXPECT_FALSE(out.y.requires_grad());
  ASSERT_EQ(out.gates.size(), 4u);
  ASSERT_EQ(out.gates[3].gates.shape(), (Shape{2, 5, 4, 4}));
  ASSERT_EQ(out.gates[3].cells.shape(), (Shape{2, 5, 4}));
  EXPECT_EQ(values(lstm(x)), values(out.y));
  for (std::int64_t direction : {0, 1}) {
    const RecurrentGates& g = out.gates[static_cast<std::size_t>(2 + direction)];
    // h = o tanh(c), the last layer's output.
    const Tensor h = g.gates.select(2, 3) * tanh(g.cells);
    expect_equal(out.y.narrow(2, 4 * direction, 4), values(h), "h");
    // c = f c_before + i g, between neighbouring steps of the direction.
    const Tensor now = g.cells.narrow(1, 1 - direction, 4), before = g.cells.narrow(1, direction, 4);
    const Tensor gates = g.gates.narrow(1, 1 - direction, 4);
    const Tensor c = gates.select(2, 1) * before + gates.select(2, 0) * gates.select(2, 2);
    expect_equal(now, values(c), "c");
  }
  GRU gru(3, 4);
  testing::fill_state(gru);
  gru.to(device());
  const RecurrentOutput one = gru.inspect(x.select(0, 0));
  ASSERT_EQ(one.gates.size(), 1u);
  ASSERT_EQ(one.gates[0].gates.shape(), (Shape{5, 3, 4}));
  EXPECT_FALSE(one.gates[0].cells.defined());
  const Tensor z = one.gates[0].gates.narrow(0, 1, 4).select(1, 1),
               n = one.gates[0].gates.narrow(0, 1, 4).select(1, 2);
  expect_equal(one.y.narrow(0, 1, 4), values((1.0 - z) * n + z * one.y.narrow(0, 0, 4)), "h");
}

TEST_P(RecurrentLayersTest, ChunksChangeNothingButTheOrderOfWork) {
  for (const std::int64_t chunk : {2, 5, 9}) {
    LSTM whole(3, 4, {.num_layers = 3});
    LSTM parts(3, 4, {.num_layers = 3, .chunk_steps = chunk});
    testing::fill_state(whole);
    testing::fill_state(parts);
    whole.to(device());
    parts.to(device());
    const Tensor x = testing::hashed({5, 2, 3}, 7).to(device());
    const RecurrentOutput want = whole(x, {}), got = parts(x, {});
    expect_equal(got.y, want.y.detach().to_vector<double>(), "y");
    expect_equal(got.state.h, want.state.h.detach().to_vector<double>(), "h");
    expect_equal(got.state.c, want.state.c.detach().to_vector<double>(), "c");
    sum(want.y * want.y).backward();
    sum(got.y * got.y).backward();
    const auto a = whole.parameters(), b = parts.parameters();
    for (std::size_t i = 0; i < a.size(); ++i)
      expect_equal(b[i].grad(), a[i].grad().to_vector<double>(), "gradient " + std::to_string(i));
    const auto gates = parts.inspect(x).gates;
    ASSERT_EQ(gates.size(), 3u);
    expect_equal(gates[1].gates, whole.inspect(x).gates[1].gates.to_vector<double>(), "gates");
  }
}

TEST(RecurrentLayers, ResetBeforeTheProduct) {
  GRU gru(1, 2, {.reset_after = false});
  testing::fill_state(gru);
  const Tensor x = testing::hashed({1, 1}, 3), h = testing::hashed({1, 2}, 4);
  const std::vector<double> got = gru(x, {.h = h}).y.to_vector<double>();
  const auto w = gru.weights(0).ih.to_vector<double>(), u = gru.weights(0).hh.to_vector<double>();
  const auto b = gru.weights(0).bias_ih.to_vector<double>(), d = gru.weights(0).bias_hh.to_vector<double>();
  const std::vector<double> s = h.to_vector<double>();
  const double in = x.item();
  const auto sigmoid_of = [](double a) { return 1 / (1 + std::exp(-a)); };
  const auto sum_of = [&](std::size_t j, double r0, double r1) {
    return w[j] * in + b[j] + u[2 * j] * r0 * s[0] + u[2 * j + 1] * r1 * s[1] + d[j];
  };
  const double r0 = sigmoid_of(sum_of(0, 1, 1)), r1 = sigmoid_of(sum_of(1, 1, 1));
  for (std::size_t j = 0; j < 2; ++j) {
    const double z = sigmoid_of(sum_of(2 + j, 1, 1)), n = std::tanh(sum_of(4 + j, r0, r1));
    EXPECT_NEAR(got[j], (1 - z) * n + z * s[j], 1e-6);
  }
}

TEST(RecurrentLayers, DropoutIsBetweenLayersAndInTraining) {
  manual_seed(3);
  const Tensor x = testing::hashed({4, 3, 5}, 7);
  GRU two(5, 6, {.num_layers = 2, .dropout = 0.5}), one(5, 6, {.dropout = 0.5});
  // Of one layer nothing is left out.
  EXPECT_EQ(one(x).to_vector<float>(), one(x).to_vector<float>());
  EXPECT_NE(two(x).to_vector<float>(), two(x).to_vector<float>());
  two.eval();
  EXPECT_EQ(two(x).to_vector<float>(), two(x).to_vector<float>());
  // With p = 1 the second layer sees zeros: any input gives the same.
  GRU none(5, 6, {.num_layers = 2, .dropout = 1});
  EXPECT_EQ(none(x).to_vector<float>(), none(x * 2).to_vector<float>());
}

TEST(RecurrentLayers, EmptySequencesHandTheStateOn) {
  LSTM lstm(3, 4, {.batch_first = true});
  const RecurrentState s{testing::hashed({1, 2, 4}, 1), testing::hashed({1, 2, 4}, 2)};
  const RecurrentOutput out = lstm(zeros({2, 0, 3}), s);
  EXPECT_EQ(out.y.shape(), (Shape{2, 0, 4}));
  EXPECT_EQ(out.state.h.to_vector<float>(), s.h.to_vector<float>());
  EXPECT_EQ(out.state.c.to_vector<float>(), s.c.to_vector<float>());
  EXPECT_EQ(lstm(zeros({0, 5, 3})).shape(), (Shape{0, 5, 4}));
}

TEST(RecurrentLayers, SummaryCountsProducts) {
  LSTM lstm(3, 4, {.num_layers = 2, .batch_first = true, .bidirectional = true});
  const auto rows = summarize(lstm, {2, 5, 3});
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].type, "LSTM");
  EXPECT_EQ(rows[0].output, (Shape{2, 5, 8}));
  EXPECT_EQ(rows[0].parameters, lstm.parameter_count());
  // Ten steps: two directions, 16 sums over 3 + 4 numbers and, above, over 8 + 4.
  EXPECT_EQ(rows[0].flops, 2.0 * 10 * 2 * 16 * (3 + 4 + 8 + 4));
  GRUCell cell(3, 4);
  const auto step = summarize(cell, {2, 3});
  EXPECT_EQ(step[0].flops, 2.0 * 2 * 12 * 7);
  EXPECT_EQ(step[0].output, (Shape{2, 4}));
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const InvalidArgument& e) {
    return e.what();
  }
  return "no error";
}

TEST(RecurrentLayers, Refuse) {
  LSTM lstm(3, 4, {.num_layers = 2});
  GRU gru(3, 4);
  const Tensor x = zeros({5, 2, 3}), h = zeros({2, 2, 4});
  const std::vector<std::int64_t> lengths{5, 3};
  const PackedSequence rows = pack_padded_sequence(x, lengths);
  const std::map<std::string, std::function<void()>> refused{
      {"[lstm] expected input_size and hidden_size of at least 1, got 3 and 0", [] { LSTM(3, 0); }},
      {"[gru] expected input_size and hidden_size of at least 1, got 0 and 3", [] { GRUCell(0, 3); }},
      {"num_layers of at least 1, got 0", [] { RNN(3, 4, {.num_layers = 0}); }},
      {"dropout probability in [0, 1], got 1.5", [] { RNN(3, 4, {.dropout = 1.5}); }},
      {"dropout probability in [0, 1], got nan", [] { RNN(3, 4, {.dropout = std::nan("")}); }},
      {"chunk_steps of at least 0", [] { RNN(3, 4, {.chunk_steps = -1}); }},
      {"no nonlinearity for lstm", [] { LSTM(3, 4, {.nonlinearity = RnnNonlinearity::relu}); }},
      {"reset_after = true for rnn", [] { RNN(3, 4, {.reset_after = false}); }},
      {"[lstm] expected input [T, B, 3] or [T, 3], got [5, 2, 4]", [&] { lstm(zeros({5, 2, 4})); }},
      {"expected input [T, B, 3] or [T, 3], got an undefined tensor", [&] { lstm(Tensor()); }},
      {"[B, T, 3]", [] { LSTM(3, 4, {.batch_first = true})(zeros({1, 1, 1, 3})); }},
      {"state h [2, 2, 4], got [1, 2, 4]", [&] { lstm(x, {.h = zeros({1, 2, 4})}); }},
      {"state c [2, 2, 4], got [2, 3, 4]", [&] { lstm(x, {.h = h, .c = zeros({2, 3, 4})}); }},
      {"state h [2, 4], got [2, 2, 4]", [&] { lstm(x.select(1, 0), {.h = h}); }},
      {"no state c for gru", [&] { gru(x, {.c = zeros({1, 2, 4})}); }},
      {"state h [1, 2, 4], got [1, 3, 4]", [&] { gru(rows, {.h = zeros({1, 3, 4})}); }},
      {"packed rows [rows, 7], got [8, 3]", [&] { GRU(7, 4)(rows); }},
      {"one of 2 layers and 1 directions, got 2 and 0", [&] { lstm.weights(2); }},
  };
  for (const auto& [text, run] : refused) EXPECT_THAT(message_of(run), HasSubstr(text));
}

struct Net : Module {
  LSTM rnn{3, 4};
  GPUNN_MEMBERS(rnn)
  Tensor forward(const Tensor& x) override { return rnn(x, {}).y; }
};

TEST(RecurrentLayers, ErrorsNameTheLayer) {
  Net net;
  EXPECT_THAT(message_of([&] { net(zeros({5, 2, 9})); }), HasSubstr("[rnn: lstm] expected input"));
}

}  // namespace
}  // namespace gpunn
