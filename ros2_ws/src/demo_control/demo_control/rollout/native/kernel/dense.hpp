// activation(x W + b) of a tile of samples, and of a few samples.
//
// Both ways add the products in the same order, each by one fused multiply-add: what comes out for a sample does not
// depend on how many others there are.
#pragma once

#include "program.hpp"
#include "vector.hpp"

namespace {

// Outputs per block times vectors of samples: as many independent sums as the registers hold.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kBlock = 8;
#else
constexpr int kBlock = 6;
#endif
constexpr int kVectors = 2;
// Vectors of outputs that are summed side by side for a few samples, to hide the latency of one sum.
constexpr int kGroup = 8;

template <Activation activation>
DEMO_INLINE Vector activated(Vector x) {
  if (activation == Activation::relu) return at_least(x, 0.0f);
  if (activation == Activation::hyperbolic_tangent) return hyperbolic_tangent(x);
  if (activation == Activation::sigmoid) return sigmoid(x);
  if (activation == Activation::silu) return x * sigmoid(x);
  return x;
}

// One block of outputs for 'vectors' vectors of samples.
template <Activation activation, int block, int vectors>
void dense_block(const float* x, int64_t stride, const float* weights, int64_t inputs, const float* bias, float* out) {
  Vector sums[block][vectors];
#pragma GCC unroll 16
  for (int i = 0; i < block; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) sums[i][v] = all(bias[i]);
  }
#pragma GCC unroll 1
  for (int64_t k = 0; k < inputs; ++k) {
    Vector samples[vectors];
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) samples[v] = load(x + v * kLanes);
#pragma GCC unroll 16
    for (int i = 0; i < block; ++i) {
      const Vector weight = all(weights[i]);
#pragma GCC unroll 16
      for (int v = 0; v < vectors; ++v) sums[i][v] += weight * samples[v];
    }
    x += stride;
    weights += block;
  }
#pragma GCC unroll 16
  for (int i = 0; i < block; ++i) {
#pragma GCC unroll 16
    for (int v = 0; v < vectors; ++v) store(out + i * stride + v * kLanes, activated<activation>(sums[i][v]));
  }
}

template <Activation activation, int block>
DEMO_INLINE void dense_rows(const PackedLayer& layer, const float* weights, int64_t output, const float* x, float* out,
                            int64_t stride, int64_t width) {
  int64_t column = 0;
  for (; column + kVectors * kLanes <= width; column += kVectors * kLanes) {
    dense_block<activation, block, kVectors>(x + column, stride, weights, layer.inputs, layer.bias + output,
                                             out + output * stride + column);
  }
  for (; column < width; column += kLanes) {
    dense_block<activation, block, 1>(x + column, stride, weights, layer.inputs, layer.bias + output,
                                      out + output * stride + column);
  }
}

template <Activation activation>
void dense_wide(const PackedLayer& layer, const float* x, float* out, int64_t stride, int64_t width) {
  int64_t output = 0;
  for (; output + kBlock <= layer.outputs; output += kBlock) {
    dense_rows<activation, kBlock>(layer, layer.wide + output * layer.inputs, output, x, out, stride, width);
  }
  const float* weights = layer.wide + output * layer.inputs;
  switch (layer.outputs - output) {
#define DEMO_REST(rest) \
  case rest:            \
    return dense_rows<activation, rest>(layer, weights, output, x, out, stride, width);
    DEMO_REST(1) DEMO_REST(2) DEMO_REST(3) DEMO_REST(4) DEMO_REST(5) DEMO_REST(6) DEMO_REST(7)
#undef DEMO_REST
    default:
      return;
  }
}

// 'group' vectors of outputs of one sample, whose numbers are 'stride' apart.
template <Activation activation, int group>
void dense_group(const PackedLayer& layer, int64_t output, const float* x, float* out, int64_t stride) {
  Vector sums[group];
  const float* weights = layer.narrow + output * layer.inputs;
#pragma GCC unroll 16
  for (int g = 0; g < group; ++g) sums[g] = load(layer.bias + output + g * kLanes);
#pragma GCC unroll 1
  for (int64_t k = 0; k < layer.inputs; ++k) {
    const Vector sample = all(x[k * stride]);
#pragma GCC unroll 16
    for (int g = 0; g < group; ++g) sums[g] += load(weights + (g * layer.inputs + k) * kLanes) * sample;
  }
#pragma GCC unroll 16
  for (int g = 0; g < group; ++g) {
    const Vector result = activated<activation>(sums[g]);
    const int64_t first = output + g * kLanes;
    for (int64_t lane = 0; lane < kLanes && first + lane < layer.outputs; ++lane) {
      out[(first + lane) * stride] = result[lane];
    }
  }
}

template <Activation activation>
void dense_narrow(const PackedLayer& layer, const float* x, float* out, int64_t stride, int64_t samples) {
  for (int64_t sample = 0; sample < samples; ++sample) {
    int64_t output = 0;
    for (; output + (kGroup - 1) * kLanes < layer.outputs; output += kGroup * kLanes) {
      dense_group<activation, kGroup>(layer, output, x + sample, out + sample, stride);
    }
    for (; output + kLanes < layer.outputs; output += 2 * kLanes) {
      dense_group<activation, 2>(layer, output, x + sample, out + sample, stride);
    }
    if (output < layer.outputs) dense_group<activation, 1>(layer, output, x + sample, out + sample, stride);
  }
}

template <Activation activation>
DEMO_INLINE void dense_as(const PackedLayer& layer, const float* x, float* out, int64_t stride, int64_t width,
                          int64_t samples) {
  if (samples <= kLanes / 2) {
    dense_narrow<activation>(layer, x, out, stride, samples);
  } else {
    dense_wide<activation>(layer, x, out, stride, width);
  }
}

// 'samples' of the 'width' columns count; the others are only there to fill vectors.
DEMO_INLINE void dense(const PackedLayer& layer, const float* x, float* out, int64_t stride, int64_t width,
                       int64_t samples) {
  switch (layer.activation) {
    case Activation::none:
      return dense_as<Activation::none>(layer, x, out, stride, width, samples);
    case Activation::relu:
      return dense_as<Activation::relu>(layer, x, out, stride, width, samples);
    case Activation::hyperbolic_tangent:
      return dense_as<Activation::hyperbolic_tangent>(layer, x, out, stride, width, samples);
    case Activation::sigmoid:
      return dense_as<Activation::sigmoid>(layer, x, out, stride, width, samples);
    case Activation::silu:
      return dense_as<Activation::silu>(layer, x, out, stride, width, samples);
  }
}

inline int64_t rounded_up(int64_t value, int64_t step) { return (value + step - 1) / step * step; }

inline int64_t padded_outputs(const Layer& layer) { return rounded_up(layer.outputs, kLanes); }

inline int64_t packed_size(const Layer& layer) {
  const int64_t wide = rounded_up(layer.inputs * layer.outputs, 16);
  const int64_t narrow = rounded_up(layer.inputs * padded_outputs(layer), 16);
  return wide + narrow + rounded_up(padded_outputs(layer), 16);
}

inline PackedLayer pack(const Layer& layer, const float* numbers, float* to) {
  const int64_t inputs = layer.inputs, outputs = layer.outputs, padded = padded_outputs(layer);
  const float* weights = numbers + layer.weights;
  float* const wide = to;
  float* const narrow = wide + rounded_up(inputs * outputs, 16);
  float* const bias = narrow + rounded_up(inputs * padded, 16);
  for (int64_t k = 0; k < inputs; ++k) {
    for (int64_t output = 0; output < padded; ++output) {
      const float weight = output < outputs ? weights[k * outputs + output] : 0.0f;
      narrow[(output / kLanes * inputs + k) * kLanes + output % kLanes] = weight;
      if (output >= outputs) continue;
      const int64_t block = output / kBlock * kBlock;
      const int64_t size = outputs - block < kBlock ? outputs - block : kBlock;
      wide[block * inputs + k * size + output - block] = weight;
    }
  }
  for (int64_t output = 0; output < padded; ++output) {
    bias[output] = output < outputs ? numbers[layer.bias + output] : 0.0f;
  }
  return {wide, narrow, bias, inputs, outputs, static_cast<Activation>(layer.activation)};
}

}  // namespace
