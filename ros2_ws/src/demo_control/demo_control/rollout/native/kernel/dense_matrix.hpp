// activation(x W + b) of many samples by the processor's matrix unit (AMX), to the accuracy of float32.
//
// The unit multiplies bfloat16 numbers, of 8 bits, and adds in float32. A float's 24 bits are three such pieces, so
// x = x1 + x2 + x3 exactly, and w = w1 + w2 + w3 + less than 2^-26 of it. Of the nine products of pieces the six largest
// are added, w1 x1 + w1 x2 + w2 x1 + w1 x3 + w2 x2 + w3 x1; what is left out is below 2^-23 of the product, as much as
// float32 rounds away. Six products there take about 0.6 of the time of one by vectors (docs/rollouts.md).
#pragma once

#if defined(__AMX_BF16__)

#include <immintrin.h>

#include "dense.hpp"
#include "packing.hpp"
#include "program.hpp"
#include "vector.hpp"

namespace {

// A tile of the unit: 16 rows of 64 bytes. Of weights: 16 outputs, of 32 inputs each. Of samples: 16 pairs of inputs, of
// 16 samples each. Of sums: 16 outputs, of 16 samples each.
constexpr int64_t kTileBytes = 1024, kTileFloats = kTileBytes / sizeof(float);
constexpr int64_t kTileOutputs = 16, kTileInputs = 32, kTilePairs = 16;
constexpr int kPieces = 3, kProducts = 6;

// Which pieces of weight and sample each product takes, 0 being the largest.
constexpr int kWeightPiece[kProducts] = {2, 1, 1, 0, 0, 0};
constexpr int kSamplePiece[kProducts] = {0, 0, 1, 1, 0, 2};

// Inputs by which a sum goes: 'whole' times kTileInputs, whose pieces are tiles, and what is left, whose products are put
// one behind the other in 'rest' tiles: six inputs take two tiles of products, not six.
struct Inputs {
  int64_t whole, rest_pairs, rest;

  explicit Inputs(int64_t inputs)
      : whole(inputs / kTileInputs),
        rest_pairs((inputs % kTileInputs + 1) / 2),
        rest((kProducts * rest_pairs + kTilePairs - 1) / kTilePairs) {}

  int64_t tiles() const { return kPieces * whole + rest; }
};

// Floats that the pieces of a layer's weights take.
inline int64_t matrix_size(const Layer& layer) {
  const int64_t tiles = (layer.outputs + kTileOutputs - 1) / kTileOutputs * Inputs(layer.inputs).tiles();
  return tiles * kTileFloats;
}

// Floats of a workspace that one layer takes: the pieces of two vectors of samples, and two blocks of sums.
inline int64_t matrix_workspace_size(int64_t inputs, int64_t outputs) {
  const int64_t panel = 2 * Inputs(inputs).tiles() * kTileFloats, redone = outputs * kLanes;
  return 8 * kTileFloats + (panel > redone ? panel : redone);
}

// The piece's upper half is the bfloat16; numbers too large to be rounded to one are cut off.
inline float rounded_piece(float value) {
  uint32_t number;
  __builtin_memcpy(&number, &value, sizeof number);
  const uint32_t cut = number & 0xffff0000u;
  uint32_t rounded = (number + 0x7fffu + (number >> 16 & 1)) & 0xffff0000u;
  if ((rounded & 0x7f800000u) == 0x7f800000u) rounded = cut;
  float piece;
  __builtin_memcpy(&piece, &rounded, sizeof piece);
  return piece;
}

inline uint16_t weight_piece(float weight, int piece) {
  float rest = weight;
  for (int i = 0; i < piece; ++i) rest -= rounded_piece(rest);
  const float rounded = rounded_piece(rest);
  uint32_t number;
  __builtin_memcpy(&number, &rounded, sizeof number);
  return static_cast<uint16_t>(number >> 16);
}

// (pairs of groups of 16 outputs, tiles of inputs in the order of their use, groups, outputs, inputs).
inline void pack_matrix(const Layer& layer, const float* numbers, uint16_t* to) {
  const Inputs inputs(layer.inputs);
  const int64_t groups = (layer.outputs + kTileOutputs - 1) / kTileOutputs;
  const auto weight = [&](int64_t input, int64_t output, int piece) -> uint16_t {
    if (input >= layer.inputs || output >= layer.outputs) return 0;
    return weight_piece(numbers[layer.weights + input * layer.outputs + output], piece);
  };
  for (int64_t first = 0; first < groups; first += 2) {
    const int64_t count = groups - first < 2 ? groups - first : 2;
    for (int64_t tile = 0; tile < inputs.tiles(); ++tile) {
      for (int64_t row = 0; row < count * kTileOutputs; ++row) {
        const int64_t output = first * kTileOutputs + row;
        for (int64_t column = 0; column < kTileInputs; ++column) {
          if (tile < kPieces * inputs.whole) {
            const int64_t input = tile / kPieces * kTileInputs + column;
            *to++ = weight(input, output, kPieces - 1 - static_cast<int>(tile % kPieces));
            continue;
          }
          const int64_t pair = (tile - kPieces * inputs.whole) * kTilePairs + column / 2;
          const int64_t product = pair / inputs.rest_pairs;
          const int64_t input = inputs.whole * kTileInputs + pair % inputs.rest_pairs * 2 + column % 2;
          *to++ = product < kProducts ? weight(input, output, kWeightPiece[product]) : uint16_t{0};
        }
      }
    }
  }
}

struct Pieces {
  Vector pair[kPieces];
};

// Two inputs' pieces, side by side.
DEMO_INLINE Pieces split(Vector even, Vector odd) {
  Pieces pieces;
#pragma GCC unroll 3
  for (int i = 0; i < kPieces; ++i) {
    const Integers lower = (Integers)_mm512_srli_epi32((__m512i)even, 16);
    pieces.pair[i] = (Vector)_mm512_mask_blend_epi16(0xaaaaaaaau, (__m512i)lower, (__m512i)odd);
    even -= floats(bits(even) & static_cast<int32_t>(0xffff0000));
    odd -= floats(bits(odd) & static_cast<int32_t>(0xffff0000));
  }
  return pieces;
}

// Samples' pieces for tiles of 'vectors' vectors: (tiles of inputs, vectors, pairs of inputs, samples, two inputs).
template <int vectors>
void split_samples(const float* x, int64_t stride, int64_t num_inputs, float* to) {
  const Inputs inputs(num_inputs);
  for (int64_t whole = 0; whole < inputs.whole; ++whole) {
    for (int64_t pair = 0; pair < kTilePairs; ++pair) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        const Pieces pieces = split(load(x + v * kLanes), load(x + stride + v * kLanes));
#pragma GCC unroll 3
        for (int i = 0; i < kPieces; ++i) store(to + (i * vectors + v) * kTileFloats + pair * kLanes, pieces.pair[i]);
      }
      x += 2 * stride;
    }
    to += kPieces * vectors * kTileFloats;
  }
  const auto place = [&](int64_t pair, int v) {
    return to + (pair / kTilePairs * vectors + v) * kTileFloats + pair % kTilePairs * kLanes;
  };
  const int64_t rest = num_inputs % kTileInputs;
  for (int64_t pair = 0; pair < inputs.rest_pairs; ++pair) {
    for (int v = 0; v < vectors; ++v) {
      const Vector odd = 2 * pair + 1 < rest ? load(x + stride + v * kLanes) : Vector{};
      const Pieces pieces = split(load(x + v * kLanes), odd);
      for (int product = 0; product < kProducts; ++product) {
        store(place(product * inputs.rest_pairs + pair, v), pieces.pair[kSamplePiece[product]]);
      }
    }
    x += 2 * stride;
  }
  for (int64_t pair = kProducts * inputs.rest_pairs; pair < inputs.rest * kTilePairs; ++pair) {
    for (int v = 0; v < vectors; ++v) store(place(pair, v), Vector{});
  }
}

// Bias and activation of sums, row by row, which vectors do while the unit multiplies for the next ones.
template <Activation activation, int vectors>
struct Finish {
  static constexpr int kVectors = vectors;
  // Of rows, while the unit makes four products of tiles. It takes one of the two ports that vectors have: as much is
  // done beside it as the other one does in that time.
  static constexpr int64_t kBeside = activation == Activation::none || activation == Activation::relu ? 8 : 2;

  const float* sums = nullptr;
  const float* bias = nullptr;
  float* out = nullptr;
  int64_t stride = 0, rows = 0;
  uint32_t not_finite = 0;  // samples with such a sum, a bit for each

  // Of 'count' outputs from 'output' on.
  void take(const Job& job, int64_t output, int64_t count, const float* made) {
    sums = made;
    bias = job.layer.bias + output;
    out = job.out + output * job.stride;
    stride = job.stride;
    rows = count;
  }

  DEMO_INLINE void go_on(int64_t most) {
    const int64_t now = most < rows ? most : rows;
    for (int64_t row = 0; row < now; ++row) {
#pragma GCC unroll 2
      for (int v = 0; v < vectors; ++v) {
        constexpr int kNanOrInfinite = 0x99;
        const Vector sum = load(sums + v * kLanes) + all(*bias);
        not_finite |= static_cast<uint32_t>(_mm512_fpclass_ps_mask((__m512)sum, kNanOrInfinite)) << (kLanes * v);
        store(out + v * kLanes, activated<activation>(sum));
      }
      sums += vectors * kLanes;
      out += stride;
      ++bias;
    }
    rows -= now;
  }
};

// Tiles 0 ... 3 are sums, 4 and 5 weights, 6 and 7 samples.
#define DEMO_WEIGHTS(from)    \
  _tile_loadd(4, (from), 64); \
  if constexpr (groups > 1) _tile_loadd(5, (from) + kTileBytes, 64);
#define DEMO_SAMPLES(from)    \
  _tile_loadd(6, (from), 64); \
  if constexpr (vectors > 1) _tile_loadd(7, (from) + kTileBytes, 64);
#define DEMO_MULTIPLY                                                        \
  _tile_dpbf16ps(0, 4, 6);                                                   \
  if constexpr (vectors > 1) _tile_dpbf16ps(1, 4, 7);                        \
  if constexpr (groups > 1) _tile_dpbf16ps(2, 5, 6);                         \
  if constexpr (groups > 1 && vectors > 1) _tile_dpbf16ps(3, 5, 7);          \
  before.go_on(rows);

// Sums of 'groups' groups of outputs for 'vectors' vectors of samples.
template <int groups, class Before>
__attribute__((noinline)) void sum_tiles(const Inputs& inputs, const char* weights, const float* panel, float* made,
                                         Before& finish) {
  Before before = finish;
  const char* samples = reinterpret_cast<const char*>(panel);
  char* const sums = reinterpret_cast<char*>(made);
  constexpr int vectors = Before::kVectors;
  constexpr int64_t w = groups * kTileBytes, x = vectors * kTileBytes;
  const int64_t rounds = kProducts * inputs.whole + inputs.rest;
  const int64_t even = (2 * kTileOutputs + rounds - 1) / rounds;
  const int64_t rows = even < Before::kBeside ? even : Before::kBeside;
  // The unit's instructions do not tell the compiler what they read and write.
  asm volatile("" ::: "memory");
  _tile_zero(0);
  if constexpr (vectors > 1) _tile_zero(1);
  if constexpr (groups > 1) _tile_zero(2);
  if constexpr (groups > 1 && vectors > 1) _tile_zero(3);
  for (int64_t i = 0; i < inputs.whole; ++i) {
    DEMO_WEIGHTS(weights)
    DEMO_SAMPLES(samples)
    DEMO_MULTIPLY
    DEMO_WEIGHTS(weights + w)
    DEMO_MULTIPLY
    DEMO_SAMPLES(samples + x)
    DEMO_MULTIPLY
    DEMO_WEIGHTS(weights + 2 * w)
    DEMO_MULTIPLY
    DEMO_SAMPLES(samples)
    DEMO_MULTIPLY
    DEMO_SAMPLES(samples + 2 * x)
    DEMO_MULTIPLY
    weights += kPieces * w;
    samples += kPieces * x;
  }
  for (int64_t i = 0; i < inputs.rest; ++i) {
    DEMO_WEIGHTS(weights)
    DEMO_SAMPLES(samples)
    DEMO_MULTIPLY
    weights += w;
    samples += x;
  }
  constexpr int64_t step = vectors * 64;
  _tile_stored(0, sums, step);
  if constexpr (vectors > 1) _tile_stored(1, sums + 64, step);
  if constexpr (groups > 1) _tile_stored(2, sums + kTileOutputs * step, step);
  if constexpr (groups > 1 && vectors > 1) _tile_stored(3, sums + kTileOutputs * step + 64, step);
  asm volatile("" ::: "memory");
  finish = before;
}

#undef DEMO_WEIGHTS
#undef DEMO_SAMPLES
#undef DEMO_MULTIPLY

// The samples of one vector that 'mask' says, by vectors; 'kept' has room for all outputs.
template <Activation activation>
__attribute__((noinline)) void redo(const Job& job, __mmask16 mask, float* kept) {
  const int64_t outputs = job.layer.outputs;
  for (int64_t i = 0; i < outputs; ++i) store(kept + i * kLanes, load(job.out + i * job.stride));
  dense_columns<activation, 1>(job);
  for (int64_t i = 0; i < outputs; ++i) {
    float* const out = job.out + i * job.stride;
    store(out, (Vector)_mm512_mask_mov_ps((__m512)load(kept + i * kLanes), mask, (__m512)load(out)));
  }
}

// All outputs for 'vectors' vectors of samples.
template <Activation activation, int vectors>
void matrix_columns(const Job& job, float* workspace) {
  const Inputs inputs(job.layer.inputs);
  const int64_t outputs = job.layer.outputs;
  constexpr int64_t kBlock = 4 * kTileFloats;
  float* sums = workspace;
  float* const panel = workspace + 2 * kBlock;
  split_samples<vectors>(job.x, job.stride, job.layer.inputs, panel);
  const char* weights = reinterpret_cast<const char*>(job.layer.pieces);
  Finish<activation, vectors> before;
  for (int64_t output = 0; output < outputs;) {
    const int64_t rest = outputs - output, groups = rest > kTileOutputs ? 2 : 1;
    const int64_t count = rest < groups * kTileOutputs ? rest : groups * kTileOutputs;
    if (groups == 2) {
      sum_tiles<2>(inputs, weights, panel, sums, before);
    } else {
      sum_tiles<1>(inputs, weights, panel, sums, before);
    }
    before.go_on(before.rows);
    before.take(job, output, count, sums);
    sums = sums == workspace ? workspace + kBlock : workspace;
    output += count;
    weights += groups * inputs.tiles() * kTileBytes;
  }
  before.go_on(before.rows);
  // The pieces of an infinite number, or of a product too large, have no sum: these samples are done by vectors.
  for (int v = 0; v < vectors; ++v) {
    const __mmask16 mask = static_cast<__mmask16>(before.not_finite >> (kLanes * v));
    if (mask != 0) redo<activation>(job.at(v * kLanes), mask, panel);
  }
}

template <Activation activation>
void matrix_wide(const Job& job, int64_t width, float* workspace) {
  int64_t column = 0;
  for (; column + 2 * kLanes <= width; column += 2 * kLanes) matrix_columns<activation, 2>(job.at(column), workspace);
  if (column < width) matrix_columns<activation, 1>(job.at(column), workspace);
}

inline void dense_matrix(const Job& job, int64_t width, float* workspace) {
  with_activation(job.layer.activation, [&](auto known) {
    matrix_wide<decltype(known)::value>(job, width, workspace);
  });
}

// How the unit's tiles are laid out; see the processor's manual.
struct alignas(64) TileLayout {
  uint8_t palette, start, reserved[14];
  uint16_t bytes[16];  // of a row
  uint8_t rows[16];
};

constexpr TileLayout kWholeTiles = {1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};

// The unit made ready for this thread, and given back: what it holds would be saved at every change of the thread.
struct MatrixUnit {
  MatrixUnit() { _tile_loadconfig(&kWholeTiles); }
  ~MatrixUnit() { _tile_release(); }
  MatrixUnit(const MatrixUnit&) = delete;
  MatrixUnit& operator=(const MatrixUnit&) = delete;
};

}  // namespace

#endif
