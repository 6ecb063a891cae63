// activation(x W + b) of many samples, with vectors along the samples.
#pragma once

#include "packing.hpp"
#include "program.hpp"
#include "vector.hpp"

namespace {

// Vectors of samples side by side. Times outputs of a block they are the independent sums that the registers hold.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kVectors = 4;
#else
constexpr int kVectors = 2;
#endif

// A layer on its way: where samples and results are.
struct Job {
  const PackedLayer& layer;
  const float* x;
  float* out;
  int64_t stride;

  Job at(int64_t column) const { return {layer, x + column, out + column, stride}; }
};

// 'blocks' blocks of outputs from 'output' on, for 'vectors' vectors of samples. Not inlined: in one large function GCC
// runs out of registers, and a sum that goes through memory at every input waits for itself.
template <Activation activation, int blocks, int block, int vectors>
__attribute__((noinline)) void dense_block(const Job& job, int64_t output) {
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
// Two inputs at a time, one after the other into the same sums: counting and addresses compete with the multiply-adds for
// the processor's ports, which is what a layer too large for the first-level cache notices.
#pragma GCC unroll 2
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

inline void dense(const Job& job, int64_t width) {
  with_activation(job.layer.activation, [&](auto known) { dense_wide<decltype(known)::value>(job, width); });
}

}  // namespace
