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

// to[j * to_stride + i] = from[i * from_stride + j] for i < rows, j < columns. Not inlined: the strides need registers.
__attribute__((noinline)) void transpose(const float* from, int64_t from_stride, float* to, int64_t to_stride,
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

}  // namespace
