// Products by the processor's matrix unit (AMX), to the accuracy of float32; how, says dense_matrix.hpp: there outputs
// stand for the rows here, inputs for the inner index, and samples for the columns. A product with a number that is not
// finite is none, as its pieces have no sum.
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
        block(2 * kPieces * inner / kTileInputs * kTileFloats),
        turned(0),
        left(p.left_inner == 1 ? 0 : blocks * kBlockRows * inner),
        right(left + blocks * block),
        pieces(right + inner * kPanelColumns),
        sums(pieces + block),
        size(sums + 2 * kBlockRows * kPanelColumns) {}
};

// 32 numbers of a row as three pieces, each in a tile of its own; the smallest piece comes first.
inline void split_row(Vector first, Vector second, char* to, int64_t tile_step) {
  for (int piece = kPieces - 1; piece >= 0; --piece) {
    char* const tile = to + piece * tile_step;
    const auto upper = [](Vector x) { return _mm512_cvtepi32_epi16(_mm512_srli_epi32((__m512i)x, 16)); };
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile), upper(first));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(tile + 32), upper(second));
    first -= floats(bits(first) & static_cast<int32_t>(0xffff0000));
    second -= floats(bits(second) & static_cast<int32_t>(0xffff0000));
  }
}

// The left matrix of one network: (blocks, tiles of the inner index, pieces, rows of block, 32 numbers).
inline void split_left(const Product& p, const MatrixRoom& room, const float* left, float* workspace) {
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
        split_row(first, second, to + row * 64, kPieceBytes);
      }
      to += kPieces * kPieceBytes;
    }
  }
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

template <FinishKind finish>
void multiply_by_unit(const Product& p, const float* bias, float* workspace, int64_t network) {
  const MatrixRoom room(p);
  const Inputs inputs(room.inner);
  split_left(p, room, p.left + network * p.left_network, workspace);
  const float* const right = p.right + network * p.right_network;
  float* const packed = workspace + room.right;
  float* sums = workspace + room.sums;
  for (int64_t i = p.inner * kPanelColumns; i < room.inner * kPanelColumns; ++i) packed[i] = 0.0f;
  Finishing<finish> before;
  for (int64_t column = 0; column < p.columns; column += kPanelColumns) {
    pack(p, right + column * p.right_column, p.columns - column, kPanelColumns, packed);
    split_samples<2>(packed, kPanelColumns, room.inner, workspace + room.pieces);
    const int64_t place = network * p.out_network + column;
    for (int64_t block = 0; block < room.blocks; ++block) {
      const char* const pieces = reinterpret_cast<const char*>(workspace + room.left + block * room.block);
      sum_tiles<2>(inputs, pieces, workspace + room.pieces, sums, before);
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
