// Products by the processor's matrix unit (AMX), to the accuracy of float32; how, says dense_matrix.hpp: there outputs
// stand for the rows here, inputs for the inner index, and samples for the columns. A product with a number that is not
// finite is none, as its pieces have no sum. With one piece instead of three, factors are rounded to bfloat16.
#pragma once

#if defined(__AMX_BF16__)

#include "dense_matrix.hpp"
#include "multiply.hpp"
#include "transpose.hpp"
#include "vector.hpp"

namespace {

// Where the unit is worth its preparations: everything is split into pieces before it is multiplied.
constexpr int64_t kFewestInner = 128, kFewestRows = 32, kFewestColumns = 32;

constexpr int64_t kPanelColumns = 2 * kLanes, kBlockRows = 2 * kTileOutputs;

inline bool takes_matrix_unit(const Product& p) {
  return p.inner >= kFewestInner && p.rows >= kFewestRows && p.columns >= kFewestColumns;
}

// What lies where in a workspace; offsets in floats.
struct MatrixRoom {
  int64_t inner;   // with zeros, so that it goes into tiles
  int64_t blocks;  // of rows
  int64_t block;   // pieces of a block
  int64_t turned, left, right, pieces, sums, size;

  explicit MatrixRoom(const Product& p)
      : inner((p.inner + kTileInputs - 1) / kTileInputs * kTileInputs),
        blocks((p.rows + kBlockRows - 1) / kBlockRows),
        block(2 * p.pieces * inner / kTileInputs * kTileFloats),
        turned(0),
        left(p.left_inner == 1 ? 0 : blocks * kBlockRows * inner),
        right(left + blocks * block),
        pieces(right + inner * kPanelColumns),
        sums(pieces + block),
        size(sums + 2 * kBlockRows * kPanelColumns) {}
};

// To the nearest bfloat16, which is the upper half of the result.
DEMO_INLINE Vector rounded(Vector x) {
  const Integers number = bits(x), odd = (Integers)_mm512_srli_epi32((__m512i)number, 16) & 1;
  return x == x ? floats(number + 0x7fff + odd) : x;
}

DEMO_INLINE __m256i upper_halves(Vector x) { return _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)bits(x), 16)); }

// 32 numbers of a row as one piece.
inline void round_row(Vector first, Vector second, char* to) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), upper_halves(rounded(first)));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + 32), upper_halves(rounded(second)));
}

// The same as three pieces, each in a tile of its own; the smallest piece comes first.
inline void split_row(Vector first, Vector second, char* to, int64_t tile_step) {
  for (int piece = kPieces - 1; piece >= 0; --piece) {
    char* const tile = to + piece * tile_step;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile), upper_halves(first));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile + 32), upper_halves(second));
    first -= floats(bits(first) & static_cast<int32_t>(0xffff0000));
    second -= floats(bits(second) & static_cast<int32_t>(0xffff0000));
  }
}

// The left matrix of one network: (blocks, tiles of the inner index, pieces, rows of block, 32 numbers).
template <int pieces>
void split_left(const Product& p, const MatrixRoom& room, const float* left, float* workspace) {
  const float* rows = left;
  int64_t stride = p.left_row;
  if (p.left_inner != 1) {
    rows = workspace + room.turned;
    stride = room.inner;
    transpose(left, p.left_inner, workspace + room.turned, stride, p.inner, p.rows);
  }
  constexpr int64_t kPieceBytes = 2 * kTileBytes;
  char* to = reinterpret_cast<char*>(workspace + room.left);
  for (int64_t block = 0; block < room.blocks; ++block) {
    for (int64_t k = 0; k < room.inner; k += kTileInputs) {
      for (int64_t row = 0; row < kBlockRows; ++row) {
        const int64_t i = block * kBlockRows + row, rest = p.inner - k;
        const float* const from = rows + i * stride + k;
        Vector first{}, second{};
        if (i < p.rows) {
          first = rest >= kLanes ? load_from(from) : load_some(from, rest);
          if (rest > kLanes) second = rest >= 2 * kLanes ? load_from(from + kLanes) : load_some(from + kLanes, rest - kLanes);
        }
        if constexpr (pieces == 1) {
          round_row(first, second, to + row * 64);
        } else {
          split_row(first, second, to + row * 64, kPieceBytes);
        }
      }
      to += pieces * kPieceBytes;
    }
  }
}

// A panel of the right matrix as one piece; laid out as split_samples does it.
inline void round_right(const float* x, int64_t inner, float* to) {
  for (int64_t k = 0; k < inner; k += 2) {
    for (int v = 0; v < 2; ++v) {
      const Vector even = rounded(load(x + v * kLanes)), odd = rounded(load(x + kPanelColumns + v * kLanes));
      const __m512i lower = _mm512_srli_epi32((__m512i)bits(even), 16);
      const int64_t place = (k / kTileInputs * 2 + v) * kTileFloats + k % kTileInputs / 2 * kLanes;
      store(to + place, (Vector)_mm512_mask_blend_epi16(0xaaaaaaaau, lower, (__m512i)bits(odd)));
    }
    x += 2 * kPanelColumns;
  }
}

// sum_tiles of dense_matrix.hpp for one piece, two groups and two vectors.
template <class Before>
__attribute__((noinline)) void sum_rounded(int64_t tiles, const char* left, const float* panel, float* made,
                                           Before& finish) {
  Before before = finish;
  const char* right = reinterpret_cast<const char*>(panel);
  char* const sums = reinterpret_cast<char*>(made);
  const int64_t rows = (kBlockRows + tiles - 1) / tiles;
  asm volatile("" ::: "memory");
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t i = 0; i < tiles; ++i) {
    _tile_loadd(4, left, 64);
    _tile_loadd(5, left + kTileBytes, 64);
    _tile_loadd(6, right, 64);
    _tile_loadd(7, right + kTileBytes, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
    before.go_on(rows);
    left += 2 * kTileBytes;
    right += 2 * kTileBytes;
  }
  constexpr int64_t step = 128;
  _tile_stored(0, sums, step);
  _tile_stored(1, sums + 64, step);
  _tile_stored(2, sums + kTileOutputs * step, step);
  _tile_stored(3, sums + kTileOutputs * step + 64, step);
  asm volatile("" ::: "memory");
  finish = before;
}

// Finishes the rows of a block that was summed, while the unit sums the next one.
template <FinishKind finish>
struct Finishing {
  static constexpr int kVectors = 2;
  static constexpr bool kIsQuick =
      finish == FinishKind::none || finish == FinishKind::relu || finish == FinishKind::relu_slope;
  static constexpr int64_t kBeside = kIsQuick ? 8 : 2;

  const float* sums = nullptr;
  const float* bias = nullptr;
  float* applied = nullptr;
  float* out = nullptr;
  int64_t stride = 0, columns = 0, rows = 0;

  DEMO_INLINE void go_on(int64_t most) {
    const int64_t now = most < rows ? most : rows;
    for (int64_t row = 0; row < now; ++row) {
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) {
        const int64_t rest = columns - v * kLanes;
        const Vector sum = load(sums + v * kLanes) + load(bias + v * kLanes);
        float* const of_applied = applied == nullptr ? nullptr : applied + v * kLanes;
        if (rest >= kLanes) {
          finish_whole<finish>(sum, of_applied, out + v * kLanes);
        } else if (rest > 0) {
          finish_some<finish>(sum, of_applied, out + v * kLanes, rest);
        }
      }
      sums += kPanelColumns;
      out += stride;
      if (applied != nullptr) applied += stride;
    }
    rows -= now;
  }
};

template <FinishKind finish, int pieces>
void multiply_by_unit(const Product& p, int64_t network, const float* bias, float* workspace) {
  const MatrixRoom room(p);
  const Inputs inputs(room.inner);
  split_left<pieces>(p, room, p.left + network * p.left_network, workspace);
  const float* const right = p.right + network * p.right_network;
  float* const packed = workspace + room.right;
  float* sums = workspace + room.sums;
  for (int64_t i = p.inner * kPanelColumns; i < room.inner * kPanelColumns; ++i) packed[i] = 0.0f;
  Finishing<finish> before;
  for (int64_t column = 0; column < p.columns; column += kPanelColumns) {
    pack(p, right + column * p.right_column, p.columns - column, kPanelColumns, packed);
    float* const panel = workspace + room.pieces;
    if constexpr (pieces == 1) {
      round_right(packed, room.inner, panel);
    } else {
      split_samples<2>(packed, kPanelColumns, room.inner, panel);
    }
    const int64_t place = network * p.out_network + column;
    for (int64_t block = 0; block < room.blocks; ++block) {
      const char* const left = reinterpret_cast<const char*>(workspace + room.left + block * room.block);
      if constexpr (pieces == 1) {
        sum_rounded(inputs.whole, left, panel, sums, before);
      } else {
        sum_tiles<2>(inputs, left, panel, sums, before);
      }
      before.go_on(before.rows);
      const int64_t row = block * kBlockRows;
      before.sums = sums;
      before.bias = bias + column;
      before.applied = p.applied == nullptr ? nullptr : p.applied + place + row * p.out_row;
      before.out = p.out + place + row * p.out_row;
      before.stride = p.out_row;
      before.columns = p.columns - column;
      before.rows = p.rows - row < kBlockRows ? p.rows - row : kBlockRows;
      sums = sums == workspace + room.sums ? sums + kBlockRows * kPanelColumns : workspace + room.sums;
    }
  }
  before.go_on(before.rows);
}

}  // namespace

#endif
