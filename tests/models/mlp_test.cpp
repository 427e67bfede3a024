#include "models/mlp.h"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>

#include "draw.h"

namespace mixflow {
namespace {

double plain(Activation activation, double x) {
  switch (activation) {
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::tanh:
      return std::tanh(x);
    case Activation::gelu:
      return 0.5 * x *
             (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (x + 0.044715 * x * x * x)));
    case Activation::sigmoid:
      return 1 / (1 + std::exp(-x));
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}

// Outputs of an MLP with biases by plain loops.
Tensor64 plain_mlp(const std::vector<int>& widths, Activation activation, bool bias,
                   const std::vector<Tensor64>& theta, Tensor64 h, std::size_t batch) {
  std::size_t next = 0;
  for (std::size_t layer = 0; layer + 1 < widths.size(); ++layer) {
    const auto in = static_cast<std::size_t>(widths[layer]);
    const auto out = static_cast<std::size_t>(widths[layer + 1]);
    const Tensor64& w = theta[next++];
    const Tensor64 c = bias ? theta[next++] : Tensor64(out, 0);
    Tensor64 y(batch * out);
    for (std::size_t i = 0; i < batch; ++i) {
      for (std::size_t j = 0; j < out; ++j) {
        double total = c[j];
        for (std::size_t k = 0; k < in; ++k) total += h[i * in + k] * w[k * out + j];
        y[i * out + j] = layer + 2 < widths.size() ? plain(activation, total) : total;
      }
    }
    h = y;
  }
  return h;
}

TEST_CASE("an MLP computes what plain loops compute, for every activation, with and without bias") {
  const std::vector<int> widths{3, 5, 4, 2};
  for (const Activation activation : {Activation::relu, Activation::tanh, Activation::gelu,
                                      Activation::sigmoid, Activation::silu}) {
    for (const bool bias : {true, false}) {
      MlpModel config;
      config.hidden = {5, 4};
      config.activation = activation;
      config.bias = bias;
      const Mlp model(config, Loss::mse, 3, 2);
      Draw draw(5);
      Builder b;
      Ids theta;
      std::vector<Tensor64> values;
      for (const Parameter& parameter : model.parameters()) {
        theta.push_back(b.input({DType::f64, parameter.shape}));
        values.push_back(draw.tensor(num_elements(parameter.shape), -2, 2));
      }
      const Ids fields{b.input({DType::f64, {6, 3}}), b.input({DType::f64, {6, 2}})};
      const Tensor64 x = draw.tensor(18);
      std::vector<Tensor64> inputs = values;
      inputs.push_back(x);
      inputs.push_back(draw.tensor(12));
      const Tensor64 expected = plain_mlp(widths, activation, bias, values, x, 6);
      const Tensor64 actual = run(b, model.outputs(b, theta, fields), inputs);
      REQUIRE(actual.size() == expected.size());
      for (std::size_t i = 0; i < actual.size(); ++i) {
        CHECK(actual[i] == doctest::Approx(expected[i]).epsilon(1e-12));
      }
    }
  }
}

TEST_CASE("an MLP names its tensors layer by layer and starts them by fan-in") {
  MlpModel config;
  config.hidden = {16};
  config.init = Init::he;
  const Mlp model(config, Loss::cross_entropy, 8, 3);
  const auto& parameters = model.parameters();
  REQUIRE(parameters.size() == 4);
  CHECK(parameters[0].name == "layers.0.weight");
  CHECK(parameters[0].shape == Shape{8, 16});
  CHECK(parameters[0].deviation == doctest::Approx(0.5));
  CHECK(parameters[1].name == "layers.0.bias");
  CHECK(parameters[1].shape == Shape{16});
  CHECK(parameters[1].deviation == 0);
  CHECK(parameters[2].name == "layers.1.weight");
  CHECK(parameters[2].deviation == doctest::Approx(std::sqrt(2.0 / 16)));
  CHECK(model.size() == 8 * 16 + 16 + 16 * 3 + 3);
  CHECK(model.classifies());
}

TEST_CASE(
    "without hidden layers and biases an MLP is one matrix; examples of any rank are flattened") {
  MlpModel config;
  config.bias = false;
  const Mlp model(config, Loss::mse, 6, 1);
  REQUIRE(model.parameters().size() == 1);
  Draw draw(6);
  Builder b;
  const Ids theta{b.input({DType::f64, {6, 1}})};
  const Ids fields{b.input({DType::f64, {4, 2, 3}}), b.input({DType::f64, {4, 1}})};
  const std::vector<Tensor64> in{draw.tensor(6), draw.tensor(24), draw.tensor(4)};
  double expected = 0;
  for (std::size_t i = 0; i < 4; ++i) {
    double out = 0;
    for (std::size_t k = 0; k < 6; ++k) out += in[1][i * 6 + k] * in[0][k];
    expected += std::pow(out - in[2][i], 2) / 4;
  }
  CHECK(run(b, model.loss(b, theta, fields), in)[0] == doctest::Approx(expected).epsilon(1e-12));
}

}  // namespace
}  // namespace mixflow
