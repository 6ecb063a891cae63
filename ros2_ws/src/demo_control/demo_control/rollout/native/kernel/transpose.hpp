// Between arrays of samples, each with its features side by side, and rows of features.
#pragma once

#include "vector.hpp"

namespace {

typedef float Four __attribute__((vector_size(16)));

DEMO_INLINE Four load_four(const float* from) {
  Four value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
DEMO_INLINE void store_four(float* to, Four value) { __builtin_memcpy(to, &value, sizeof value); }

#if defined(__clang__)
#define DEMO_SHUFFLE(x, y, a, b, c, d) __builtin_shufflevector(x, y, a, b, c, d)
#else
typedef int32_t FourIntegers __attribute__((vector_size(16)));
#define DEMO_SHUFFLE(x, y, a, b, c, d) __builtin_shuffle(x, y, FourIntegers{a, b, c, d})
#endif

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns, four by four.
__attribute__((noinline)) void transpose_fours(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                                               int64_t rows, int64_t columns) {
  int64_t row = 0;
  for (; row + 4 <= rows; row += 4) {
    const float* source = from + row * from_stride;
    int64_t column = 0;
    for (; column + 4 <= columns; column += 4) {
      const Four a = load_four(source + column), b = load_four(source + from_stride + column);
      const Four c = load_four(source + 2 * from_stride + column), d = load_four(source + 3 * from_stride + column);
      const Four ab = DEMO_SHUFFLE(a, b, 0, 4, 1, 5), AB = DEMO_SHUFFLE(a, b, 2, 6, 3, 7);
      const Four cd = DEMO_SHUFFLE(c, d, 0, 4, 1, 5), CD = DEMO_SHUFFLE(c, d, 2, 6, 3, 7);
      float* target = to + column * to_stride + row;
      store_four(target, DEMO_SHUFFLE(ab, cd, 0, 1, 4, 5));
      store_four(target + to_stride, DEMO_SHUFFLE(ab, cd, 2, 3, 6, 7));
      store_four(target + 2 * to_stride, DEMO_SHUFFLE(AB, CD, 0, 1, 4, 5));
      store_four(target + 3 * to_stride, DEMO_SHUFFLE(AB, CD, 2, 3, 6, 7));
    }
    for (; column < columns; ++column) {
      for (int64_t i = 0; i < 4; ++i) to[column * to_stride + row + i] = source[i * from_stride + column];
    }
  }
  for (; row < rows; ++row) {
    for (int64_t column = 0; column < columns; ++column) {
      to[column * to_stride + row] = from[row * from_stride + column];
    }
  }
}

#if defined(__AVX512F__)
// Sixteen by sixteen.
__attribute__((noinline)) void transpose_sixteen(const float* from, int64_t from_stride, float* to, int64_t to_stride) {
  __m512 rows[16], pairs[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) rows[i] = _mm512_loadu_ps(from + i * from_stride);
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
  // Of four rows each: columns 0, 4, 8, 12 side by side, then 1, 5, 9, 13, and so on.
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    const __m512d a = _mm512_castps_pd(pairs[i]), b = _mm512_castps_pd(pairs[i + 2]);
    const __m512d c = _mm512_castps_pd(pairs[i + 1]), d = _mm512_castps_pd(pairs[i + 3]);
    rows[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
    rows[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    rows[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(c, d));
    rows[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(c, d));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 low = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0x88);
    const __m512 high = _mm512_shuffle_f32x4(rows[i], rows[4 + i], 0xdd);
    const __m512 low_rest = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0x88);
    const __m512 high_rest = _mm512_shuffle_f32x4(rows[8 + i], rows[12 + i], 0xdd);
    _mm512_storeu_ps(to + i * to_stride, _mm512_shuffle_f32x4(low, low_rest, 0x88));
    _mm512_storeu_ps(to + (i + 4) * to_stride, _mm512_shuffle_f32x4(high, high_rest, 0x88));
    _mm512_storeu_ps(to + (i + 8) * to_stride, _mm512_shuffle_f32x4(low, low_rest, 0xdd));
    _mm512_storeu_ps(to + (i + 12) * to_stride, _mm512_shuffle_f32x4(high, high_rest, 0xdd));
  }
}
#endif

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns. Not inlined: the strides need registers.
__attribute__((noinline)) void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride,
                                        int64_t rows, int64_t columns) {
#if defined(__AVX512F__)
  const int64_t whole = columns / 16 * 16;
  for (; rows >= 16 && whole > 0; rows -= 16) {
    for (int64_t column = 0; column < whole; column += 16) {
      transpose_sixteen(from + column, from_stride, to + column * to_stride, to_stride);
    }
    transpose_fours(from + whole, from_stride, to + whole * to_stride, to_stride, 16, columns - whole);
    from += 16 * from_stride;
    to += 16;
  }
#endif
  transpose_fours(from, from_stride, to, to_stride, rows, columns);
}

}  // namespace
