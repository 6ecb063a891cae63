// activation(x W + b) of a tile of samples, and of a few samples.
//
// Both ways add the products in the same order, each by one fused multiply-add: what comes out for a sample does not
// depend on how many others there are.
#pragma once

#include "program.hpp"
#include "vector.hpp"

namespace {

// Weights lie in blocks of outputs. Blocks side by side, times outputs of a block, times vectors of samples, are the
// independent sums that the registers hold.
#if defined(__AVX512F__)
constexpr int kBlock = 6;
constexpr int kVectors = 4;
#elif defined(__aarch64__)
constexpr int kBlock = 6;
constexpr int kVectors = 4;
#else
constexpr int kBlock = 6;
constexpr int kVectors = 2;
#endif
// Vectors of sums for a few samples: enough to hide the latency of one, and as many as use each weight often.
constexpr int narrow_vectors(int samples) { return (kLanes == 16 && samples > 2 ? 16 : 8) / samples; }
constexpr int64_t kLargestMixed = 128 * 128;

template <Activation activation>
DEMO_INLINE Vector activated(Vector x) {
  if (activation == Activation::relu) return at_least(x, 0.0f);
  if (activation == Activation::hyperbolic_tangent) return hyperbolic_tangent(x);
  if (activation == Activation::sigmoid) return sigmoid(x);
  if (activation == Activation::silu) return x * sigmoid(x);
  return x;
}

// A layer on its way: where samples and results are.
struct Job {
  const PackedLayer& layer;
  const float* x;
  float* out;
  int64_t stride;

  Job at(int64_t column) const { return {layer, x + column, out + column, stride}; }
};

// 'blocks' blocks of outputs from 'output' on, for 'vectors' vectors of samples.
template <Activation activation, int blocks, int block, int vectors>
void dense_block(const Job& job, int64_t output) {
  const int64_t inputs = job.layer.inputs, stride = job.stride;
  const float* weights = job.layer.wide + output * inputs;
  const float* bias = job.layer.bias + output;
  const float* x = job.x;
  Vector sums[blocks * block][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < blocks * block; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[i][v] = all(bias[i]);
  }
#pragma GCC unroll 1
  for (int64_t k = 0; k < inputs; ++k) {
    Vector samples[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) samples[v] = load(x + v * kLanes);
#pragma GCC unroll 32
    for (int i = 0; i < blocks * block; ++i) {
      const Vector weight = all(weights[i / block * inputs * block + i % block]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[i][v] += weight * samples[v];
    }
    x += stride;
    weights += block;
  }
  float* out = job.out + output * stride;
#pragma GCC unroll 32
  for (int i = 0; i < blocks * block; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(out + i * stride + v * kLanes, activated<activation>(sums[i][v]));
  }
}

// All outputs for 'vectors' vectors of samples: the fewer of these, the more blocks at once.
template <Activation activation, int vectors>
void dense_columns(const Job& job) {
  constexpr int blocks = kVectors / vectors;
  const int64_t outputs = job.layer.outputs;
  int64_t output = 0;
  for (; output + blocks * kBlock <= outputs; output += blocks * kBlock) {
    dense_block<activation, blocks, kBlock, vectors>(job, output);
  }
  for (; output + kBlock <= outputs; output += kBlock) dense_block<activation, 1, kBlock, vectors>(job, output);
  switch (outputs - output) {
#define DEMO_REST(rest) \
  case rest:            \
    return dense_block<activation, 1, rest, vectors>(job, output);
    DEMO_REST(1) DEMO_REST(2) DEMO_REST(3) DEMO_REST(4) DEMO_REST(5)
#undef DEMO_REST
    default:
      return;
  }
}

template <Activation activation>
void dense_wide(const Job& job, int64_t width) {
  int64_t column = 0;
  for (; column + kVectors * kLanes <= width; column += kVectors * kLanes) {
    dense_columns<activation, kVectors>(job.at(column));
  }
  for (; column + 2 * kLanes <= width; column += 2 * kLanes) dense_columns<activation, 2>(job.at(column));
  if (column < width) dense_columns<activation, 1>(job.at(column));
}

// 'vectors' vectors of outputs, of 'samples' samples that lie side by side. Not inlined: in one large function the
// compiler runs out of registers for the sums.
template <Activation activation, int vectors, int samples>
__attribute__((noinline)) void narrow_block(const Job& job, int64_t output) {
  const int64_t inputs = job.layer.inputs, stride = job.stride;
  const float* weights = job.layer.narrow + output * inputs;
  const float* x = job.x;
  Vector sums[vectors][samples];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
#pragma GCC unroll 8
    for (int s = 0; s < samples; ++s) sums[v][s] = load(job.layer.bias + output + v * kLanes);
  }
#pragma GCC unroll 1
  for (int64_t k = 0; k < inputs; ++k) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const Vector weight = load(weights + v * inputs * kLanes);
#pragma GCC unroll 8
      for (int s = 0; s < samples; ++s) sums[v][s] += weight * all(x[s]);
    }
    x += stride;
    weights += kLanes;
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    const int64_t first = output + v * kLanes;
    float* out = job.out + first * stride;
    for (int s = 0; s < samples; ++s) {
      const Vector result = activated<activation>(sums[v][s]);
      for (int64_t lane = 0; lane < kLanes && first + lane < job.layer.outputs; ++lane) {
        out[lane * stride + s] = result[lane];
      }
    }
  }
}

// As many vectors of outputs side by side as fit, then half as many, and so on.
template <Activation activation, int vectors, int samples>
void narrow_rows(const Job& job, int64_t output = 0) {
  const int64_t outputs = job.layer.outputs;
  for (; output + (vectors - 1) * kLanes < outputs; output += vectors * kLanes) {
    narrow_block<activation, vectors, samples>(job, output);
  }
  if constexpr (vectors > 1) {
    if (output < outputs) narrow_rows<activation, vectors / 2, samples>(job, output);
  }
}

template <Activation activation>
void dense_narrow(const Job& job, int64_t samples) {
  int64_t sample = 0;
  for (; sample + 8 <= samples; sample += 8) narrow_rows<activation, narrow_vectors(8), 8>(job.at(sample));
  for (; sample + 4 <= samples; sample += 4) narrow_rows<activation, narrow_vectors(4), 4>(job.at(sample));
  for (; sample + 2 <= samples; sample += 2) narrow_rows<activation, narrow_vectors(2), 2>(job.at(sample));
  if (sample < samples) narrow_rows<activation, narrow_vectors(1), 1>(job.at(sample));
}

// 'samples' of the 'width' columns count; the others are only there to fill vectors.
template <Activation activation>
void dense_as(const Job& job, int64_t width, int64_t samples) {
  const int64_t rest = samples % kLanes;
  // Both ways in one tile read two copies of the weights, which large layers have no room for in the cache.
  const bool may_mix = samples == rest || job.layer.inputs * job.layer.outputs <= kLargestMixed;
  if (rest > 0 && rest <= kLanes / 2 && may_mix) {
    dense_wide<activation>(job, samples - rest);
    dense_narrow<activation>(job.at(samples - rest), rest);
  } else {
    dense_wide<activation>(job, width);
  }
}

inline void dense(const Job& job, int64_t width, int64_t samples) {
  switch (job.layer.activation) {
    case Activation::none:
      return dense_as<Activation::none>(job, width, samples);
    case Activation::relu:
      return dense_as<Activation::relu>(job, width, samples);
    case Activation::hyperbolic_tangent:
      return dense_as<Activation::hyperbolic_tangent>(job, width, samples);
    case Activation::sigmoid:
      return dense_as<Activation::sigmoid>(job, width, samples);
    case Activation::silu:
      return dense_as<Activation::silu>(job, width, samples);
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
