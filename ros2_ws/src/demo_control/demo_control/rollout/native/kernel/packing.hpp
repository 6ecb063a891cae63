// What both ways through a layer share: how its weights lie, and activations.
#pragma once

#include "program.hpp"
#include "vector.hpp"

namespace {

constexpr int kBlock = 6;  // outputs of many samples at a time
constexpr int kGroup = 8;  // vectors of outputs of few samples that lie side by side

inline int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

inline int64_t padded_outputs(int64_t outputs) { return rounded_up(outputs, kLanes); }

inline int64_t packed_size(const Layer& layer) {
  const int64_t padded = padded_outputs(layer.outputs);
  const int64_t wide = rounded_up(layer.inputs * layer.outputs, 16);
  const int64_t narrow = rounded_up(layer.inputs * padded, 16);
  return wide + narrow + rounded_up(padded, 16);
}

// Where an output's weights begin, and how many places on that of the next input is.
struct Place {
  int64_t start, step;
};

inline Place wide_place(int64_t inputs, int64_t outputs, int64_t output) {
  const int64_t block = output / kBlock * kBlock;
  const int64_t size = outputs - block < kBlock ? outputs - block : kBlock;
  return {block * inputs + output - block, size};
}

inline Place narrow_place(int64_t inputs, int64_t outputs, int64_t output) {
  constexpr int64_t size = kGroup * kLanes;
  const int64_t group = output / size * size, rest = padded_outputs(outputs) - group;
  return {group * inputs + output - group, rest < size ? rest : size};
}

inline PackedLayer pack(const Layer& layer, const float* numbers, float* to) {
  const int64_t inputs = layer.inputs, outputs = layer.outputs, padded = padded_outputs(outputs);
  float* const wide = to;
  float* const narrow = wide + rounded_up(inputs * outputs, 16);
  float* const bias = narrow + rounded_up(inputs * padded, 16);
  for (int64_t output = 0; output < padded; ++output) {
    const bool counts = output < outputs;
    const Place in_wide = wide_place(inputs, outputs, output), in_narrow = narrow_place(inputs, outputs, output);
    for (int64_t k = 0; k < inputs; ++k) {
      const float weight = counts ? numbers[layer.weights + k * outputs + output] : 0.0f;
      narrow[in_narrow.start + k * in_narrow.step] = weight;
      if (counts) wide[in_wide.start + k * in_wide.step] = weight;
    }
    bias[output] = counts ? numbers[layer.bias + output] : 0.0f;
  }
  return {wide, narrow, bias, nullptr, inputs, outputs, static_cast<Activation>(layer.activation)};
}

template <Activation activation>
DEMO_INLINE Vector activated(Vector x) {
  if (activation == Activation::relu) return at_least(x, 0.0f);
  if (activation == Activation::hyperbolic_tangent) return hyperbolic_tangent(x);
  if (activation == Activation::sigmoid) return sigmoid(x);
  if (activation == Activation::silu) return x * sigmoid(x);
  return x;
}

template <Activation activation>
struct Activated {
  static constexpr Activation value = activation;
};

// Calls 'function' with the Activated of an activation that is known only when the kernel runs.
template <class Function>
DEMO_INLINE void with_activation(Activation activation, Function function) {
  switch (activation) {
    case Activation::none:
      return function(Activated<Activation::none>());
    case Activation::relu:
      return function(Activated<Activation::relu>());
    case Activation::hyperbolic_tangent:
      return function(Activated<Activation::hyperbolic_tangent>());
    case Activation::sigmoid:
      return function(Activated<Activation::sigmoid>());
    case Activation::silu:
      return function(Activated<Activation::silu>());
  }
}

}  // namespace
