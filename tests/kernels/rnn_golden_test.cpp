// Recurrent sequences and cells against PyTorch's layers (tests/golden/rnn.py): results and gradients.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gpunn/core/autograd.h"
#include "gpunn/io/csv.h"
#include "gpunn/kernels/rnn/packed.h"
#include "gpunn/kernels/rnn/rnn.h"
#include "tests/support/devices.h"
#include "tests/support/golden.h"

namespace gpunn {
namespace {

using Inputs = std::vector<Tensor>;
using Values = std::map<std::string, std::vector<float>>;

constexpr std::int64_t T = 4, B = 3, K = 2, H = 2;
constexpr std::int64_t kLengths[] = {4, 2, 1};

struct Mode {
  const char* name;
  RnnMode mode;
};
constexpr Mode kModes[] = {
    {"tanh", RnnMode::tanh}, {"relu", RnnMode::relu}, {"lstm", RnnMode::lstm}, {"gru", RnnMode::gru}};

/// The script's inputs: x, w_ih, w_hh, b_ih, b_hh, h0, c0; undefined where the case has none.
Inputs inputs_of(RnnMode mode, const Shape& x, bool bias, Device device) {
  const std::int64_t G = gates_of(mode);
  const Shape shapes[] = {x, {G * H, K}, {G * H, H}, {G * H}, {G * H}, {B, H}, {B, H}};
  Inputs in(std::size(shapes));
  for (std::size_t t = 0; t < in.size(); ++t) {
    if ((!bias && (t == 3 || t == 4)) || (mode != RnnMode::lstm && t == 6)) continue;
    std::vector<float> v;
    for (std::int64_t i = 0; i < shapes[t].numel(); ++i)
      v.push_back(static_cast<float>(std::sin(0.7 * static_cast<double>(i) + 1.3 * static_cast<double>(t))));
    in[t] = Tensor::from(v, shapes[t], {.device = device, .requires_grad = true});
  }
  return in;
}

/// cos(0.4 i + k), k by the result.
Tensor weight_of(const Tensor& result, double k) {
  std::vector<float> v;
  for (std::int64_t i = 0; i < result.numel(); ++i)
    v.push_back(static_cast<float>(std::cos(0.4 * static_cast<double>(i) + k)));
  return Tensor::from(v, result.shape(), {.device = result.device()});
}

Values values_of(const RnnOutput& r, const Inputs& in) {
  Values values;
  std::vector<Tensor> outputs, weights;
  double k = 0;
  for (const auto& [name, result] : {std::pair{"y", &r.y}, {"h", &r.h}, {"c", &r.c}}) {
    if (result->defined()) {
      values[name] = result->to_vector<float>();
      outputs.push_back(*result);
      weights.push_back(weight_of(*result, k));
    }
    ++k;
  }
  autograd::backward(outputs, weights);
  for (std::size_t t = 0; t < in.size(); ++t)
    if (in[t].defined()) values["grad" + std::to_string(t)] = in[t].grad().to_vector<float>();
  return values;
}

RnnOutput sequence(RnnMode mode, const Inputs& in, bool reverse, bool packed) {
  RnnSequenceOptions options{.reverse = reverse};
  const RnnWeights w{in[1], in[2], in[3], in[4]};
  if (!packed) return rnn_sequence(mode, in[0], in[5], in[6], w, options);
  const PackedSequence p = pack_padded_sequence(in[0], kLengths);
  options.packed = &p.packing;
  return rnn_sequence(mode, p.data, in[5], in[6], w, options);
}

RnnOutput cell(RnnMode mode, const Inputs& in) {
  const RnnWeights w{in[1], in[2], in[3], in[4]};
  RnnOutput r;
  switch (mode) {
    case RnnMode::lstm: {
      const LstmState s = lstm_cell(in[0], {in[5], in[6]}, w);
      r.h = s.h;
      r.c = s.c;
      break;
    }
    case RnnMode::gru:
      r.h = gru_cell(in[0], in[5], w);
      break;
    case RnnMode::tanh:
      r.h = rnn_tanh_cell(in[0], in[5], w);
      break;
    default:
      r.h = rnn_relu_cell(in[0], in[5], w);
  }
  return r;
}

std::map<std::string, Values> results_on(Device device) {
  struct Form {
    const char* name;
    bool bias, reverse, packed;
  };
  constexpr Form kForms[] = {{"", true, false, false},
                             {" plain", false, false, false},
                             {" reverse", true, true, false},
                             {" packed", true, false, true},
                             {" packed reverse", true, true, true}};
  std::map<std::string, Values> results;
  for (const Mode& m : kModes) {
    for (const Form& f : kForms) {
      const Inputs in = inputs_of(m.mode, {T, B, K}, f.bias, device);
      results[std::string(m.name) + f.name] = values_of(sequence(m.mode, in, f.reverse, f.packed), in);
    }
    const Inputs in = inputs_of(m.mode, {B, K}, true, device);
    results[std::string(m.name) + " cell"] = values_of(cell(m.mode, in), in);
  }
  return results;
}

class RnnGolden : public testing::DeviceTest {};
GPUNN_ON_EVERY_DEVICE(RnnGolden);

TEST_P(RnnGolden, EqualsPyTorch) {
  const std::map<std::string, Values> results = results_on(device());
  const CsvTable golden = CsvTable::read(testing::golden_path("rnn.csv"), {.header = true});
  const std::vector<std::string> names = golden.text(0), whats = golden.text(1);
  const std::vector<std::int64_t> elements = golden.integers(2);
  const std::vector<double> values = golden.numbers(3);
  ASSERT_GT(names.size(), 1800u);
  for (std::size_t row = 0; row < names.size(); ++row) {
    const float got = results.at(names[row]).at(whats[row]).at(static_cast<std::size_t>(elements[row]));
    EXPECT_NEAR(got, values[row], 1e-5 * std::max(std::abs(values[row]), 0.3))
        << names[row] << " " << whats[row] << " " << elements[row];
  }
}

}  // namespace
}  // namespace gpunn
