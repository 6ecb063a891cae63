// activation(x W + b) of a few samples, with vectors along the outputs.
//
// The products are added in the same order as in dense.hpp, each by one fused multiply-add: what comes out for a sample
// does not depend on how many others there are.
#pragma once

#include "packing.hpp"
#include "program.hpp"
#include "vector.hpp"

namespace {

constexpr int kMostFew = 4;

// Vectors of outputs side by side: times samples they are the independent sums that the registers hold, of which too few
// would wait for each other.
constexpr int few_vectors(int samples) {
  if (kLanes == 16) return samples <= 3 ? 8 : 4;
  return samples == 1 ? 8 : samples <= 3 ? 4 : 2;
}

// A layer on its way: 'stride' from one sample's numbers to the next one's.
struct FewJob {
  const PackedLayer& layer;
  const float* x;
  float* out;
  int64_t stride;
};

// Weights of outputs from 'output' on, with 'step' to those of the next input.
struct Weights {
  const float* start;
  int64_t step;
};

// 'vectors' vectors of outputs from 'output' on. Not inlined: in one large function the compiler runs out of registers
// for the sums.
template <int samples, int vectors>
__attribute__((noinline)) void few_block(const FewJob& job, Weights weights, int64_t output) {
  const int64_t inputs = job.layer.inputs, stride = job.stride;
  const float* weight = weights.start;
  const float* x = job.x;
  Vector sums[vectors][samples];
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
#pragma GCC unroll 8
    for (int s = 0; s < samples; ++s) sums[v][s] = load(job.layer.bias + output + v * kLanes);
  }
  // As in dense.hpp.
#pragma GCC unroll 2
  for (int64_t k = 0; k < inputs; ++k) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) {
      const Vector several = load(weight + v * kLanes);
#pragma GCC unroll 8
      for (int s = 0; s < samples; ++s) sums[v][s] += several * all(x[s * stride + k]);
    }
    weight += weights.step;
  }
#pragma GCC unroll 8
  for (int v = 0; v < vectors; ++v) {
    const int64_t first = output + v * kLanes, rest = job.layer.outputs - first;
    const int64_t some = rest < kLanes ? rest : kLanes;
#pragma GCC unroll 8
    for (int s = 0; s < samples; ++s) store_some(job.out + s * stride + first, sums[v][s], some);
  }
}

// The outputs from 'output' on to 'stop', of one group: as many vectors at a time as fit, then half as many, and so on.
template <int samples, int vectors>
void few_group(const FewJob& job, Weights weights, int64_t output, int64_t stop) {
  constexpr int64_t size = vectors * kLanes;
  for (; output + size <= stop; output += size, weights.start += size) {
    few_block<samples, vectors>(job, weights, output);
  }
  if constexpr (vectors > 1) few_group<samples, vectors / 2>(job, weights, output, stop);
}

template <int samples>
void few_sums(const FewJob& job) {
  const int64_t inputs = job.layer.inputs, padded = padded_outputs(job.layer.outputs);
  for (int64_t output = 0; output < padded;) {
    const int64_t rest = padded - output, size = rest < kGroup * kLanes ? rest : kGroup * kLanes;
    const Weights weights{job.layer.narrow + output * inputs, size};
    few_group<samples, few_vectors(samples)>(job, weights, output, output + size);
    output += size;
  }
}

template <Activation activation>
void activate(float* numbers, int64_t count) {
  for (int64_t i = 0; i < count; i += kLanes) {
    const int64_t some = count - i < kLanes ? count - i : kLanes;
    store_some(numbers + i, activated<activation>(load_some(numbers + i, some)), some);
  }
}

inline void activate(Activation activation, float* numbers, int64_t count) {
  if (activation == Activation::none) return;
  with_activation(activation, [&](auto known) { activate<decltype(known)::value>(numbers, count); });
}

// At most kMostFew samples.
inline void dense_few(const FewJob& job, int64_t samples) {
  switch (samples) {
    case 1:
      few_sums<1>(job);
      break;
    case 2:
      few_sums<2>(job);
      break;
    case 3:
      few_sums<3>(job);
      break;
    default:
      few_sums<kMostFew>(job);
  }
  for (int64_t s = 0; s < samples; ++s) activate(job.layer.activation, job.out + s * job.stride, job.layer.outputs);
}

}  // namespace
