// Vectors of floats and functions of them, in the compiler's portable vector notation.
//
// Everything here has internal linkage: this file is compiled once per instruction set, and the linker must never
// take one variant's function for another's. For the same reason no C++ library header is included.
#pragma once

#include <math.h>
#include <stdint.h>
#if defined(__AVX__)
#include <immintrin.h>
#endif

namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

#define DEMO_INLINE inline __attribute__((always_inline))

typedef float Vector __attribute__((vector_size(kLanes * 4)));
typedef int32_t Integers __attribute__((vector_size(kLanes * 4)));

// Minus zero, not plus: that changes no number, not even -0, and so costs no instruction.
DEMO_INLINE Vector all(float value) { return value - Vector{}; }
DEMO_INLINE Vector load(const float* from) { return *reinterpret_cast<const Vector*>(from); }
DEMO_INLINE void store(float* to, Vector value) { *reinterpret_cast<Vector*>(to) = value; }
// The same for 'count' numbers, 1 ... kLanes, from anywhere. The other lanes are 0 in what is loaded, and what they
// would overwrite stays. Without masks they are read all the same: the memory must not end there.
#if defined(__AVX512F__)
DEMO_INLINE Vector load_some(const float* from, int64_t count) {
  return (Vector)_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << count) - 1), from);
}
DEMO_INLINE void store_some(float* to, Vector value, int64_t count) {
  _mm512_mask_storeu_ps(to, static_cast<__mmask16>((1u << count) - 1), (__m512)value);
}
#else
DEMO_INLINE Vector load_anywhere(const float* from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof value);
  return value;
}
DEMO_INLINE Integers first_lanes(int64_t count) {
  Integers number;
  for (int lane = 0; lane < kLanes; ++lane) number[lane] = lane;
  return number < static_cast<int32_t>(count);
}
DEMO_INLINE Vector load_some(const float* from, int64_t count) {
  return first_lanes(count) ? load_anywhere(from) : Vector{};
}
DEMO_INLINE void store_some(float* to, Vector value, int64_t count) {
  const Vector stored = first_lanes(count) ? value : load_anywhere(to);
  __builtin_memcpy(to, &stored, sizeof stored);
}
#endif

DEMO_INLINE Integers bits(Vector value) { return (Integers)value; }
DEMO_INLINE Vector floats(Integers value) { return (Vector)value; }

// A comparison with NaN is false, so a NaN passes a limit as it does in ONNX Runtime. The compilers see no more than a
// comparison and a choice in that; x86 has it as one instruction, which returns its second operand where either is NaN.
#if defined(__AVX512F__)
DEMO_INLINE Vector at_least(Vector x, float limit) { return (Vector)_mm512_max_ps((__m512)all(limit), (__m512)x); }
DEMO_INLINE Vector at_most(Vector x, float limit) { return (Vector)_mm512_min_ps((__m512)all(limit), (__m512)x); }
#elif defined(__AVX__)
DEMO_INLINE Vector at_least(Vector x, float limit) { return (Vector)_mm256_max_ps((__m256)all(limit), (__m256)x); }
DEMO_INLINE Vector at_most(Vector x, float limit) { return (Vector)_mm256_min_ps((__m256)all(limit), (__m256)x); }
#else
DEMO_INLINE Vector at_least(Vector x, float limit) { return x < all(limit) ? all(limit) : x; }
DEMO_INLINE Vector at_most(Vector x, float limit) { return x > all(limit) ? all(limit) : x; }
#endif

// NaN if either is NaN.
DEMO_INLINE Vector maximum(Vector x, Vector y) {
  const Vector larger = x > y ? x : y;
  return x != x ? x : larger;
}
DEMO_INLINE Vector minimum(Vector x, Vector y) {
  const Vector smaller = x < y ? x : y;
  return x != x ? x : smaller;
}

DEMO_INLINE Vector absolute(Vector x) { return floats(bits(x) & 0x7fffffff); }

// Adding 1.5 * 2^23 leaves the nearest whole number in a float's last bits (not with -ffast-math).
constexpr float kRounding = 12582912.0f;

// exp(r) for |r| <= log(2) / 2: 1 + r + r^2 P(r), with P fitted to 3e-9.
DEMO_INLINE Vector small_exponential(Vector r) {
  Vector p = all(1.38145984e-03f);
  p = p * r + 8.36871705e-03f;
  p = p * r + 4.16683881e-02f;
  p = p * r + 1.66665206e-01f;
  p = p * r + 4.99999934e-01f;
  p = p * r + 1.0f;
  return p * r + 1.0f;
}

DEMO_INLINE Vector reduced(Vector x, Vector whole) {
  const Vector rest = x - whole * 0.693359375f;  // ln 2 in two parts, the first of which is exact
  return rest + whole * 2.12194440e-4f;
}

DEMO_INLINE Vector exponential(Vector x) {
  const Vector limited = at_most(at_least(x, -104.0f), 89.0f);
  const Vector shifted = limited * 1.44269504f + kRounding;
  const Vector p = small_exponential(reduced(limited, shifted - kRounding));
  // 2^n in two factors: n reaches from the smallest denormal number to beyond the largest float.
  const Integers n = bits(shifted) - bits(all(kRounding));
  const Integers half = n >> 1;
  return p * floats((half + 127) << 23) * floats((n - half + 127) << 23);
}

// 1 / (1 + exp(-x)). Behind 88 exp is infinite and the result 0, which one factor 2^n can express.
DEMO_INLINE Vector sigmoid(Vector x) {
  const Vector limited = at_most(at_least(-x, -87.0f), 89.0f);
  const Vector shifted = limited * 1.44269504f + kRounding;
  const Vector p = small_exponential(reduced(limited, shifted - kRounding));
  const Integers n = bits(shifted) - bits(all(kRounding));
  return 1.0f / (1.0f + p * floats((n + 127) << 23));
}

// A rational function fitted to tanh on [-8, 8], behind which tanh is 1 but for 2e-7; relative error below 5e-7, and never
// beyond 1. The denominator begins with t^4, not with a multiple of it: an addition instead of a multiply-add.
DEMO_INLINE Vector hyperbolic_tangent(Vector x) {
  const Vector limited = at_most(at_least(x, -8.0f), 8.0f);
  const Vector t = limited * limited;
  Vector p = all(4.64719025e+01f);
  p = p * t + 1.19998739e+04f;
  p = p * t + 5.25601657e+05f;
  p = p * t + 4.06634117e+06f;
  Vector q = t + 9.70510776e+02f;
  q = q * t + 9.68421937e+04f;
  q = q * t + 1.88104412e+06f;
  q = q * t + 4.06634176e+06f;
  return limited * p / q;
}

// sin(x + quarters * pi / 2). Angles that the three-part reduction cannot hold exactly go to the C library, lane by
// lane: a sample's result must not depend on its neighbours'.
DEMO_INLINE Vector sine(Vector x, int quarters) {
  const Vector shifted = x * 0.636619772f + kRounding;
  const Vector whole = shifted - kRounding;
  const Integers quadrant = bits(shifted) - bits(all(kRounding)) + quarters;
  Vector r = x - whole * 1.5703125f;  // pi / 2 in three parts; the products with the first two are exact
  r = r - whole * 4.837512969970703e-4f;
  r = r - whole * 7.549789954891882e-8f;
  const Vector t = r * r;
  Vector odd = all(-1.95149428e-04f);
  odd = odd * t + 8.33215831e-03f;
  odd = odd * t - 1.66666546e-01f;
  odd = odd * t * r + r;
  Vector even = all(2.44327664e-05f);
  even = even * t - 1.38873129e-03f;
  even = even * t + 4.16666456e-02f;
  even = even * t * t - t * 0.5f + 1.0f;
  const Vector value = (quadrant & 1) != 0 ? even : odd;
  Vector result = floats(bits(value) ^ ((quadrant & 2) << 30));
  const Integers large = absolute(x) > all(8192.0f);
  for (int lane = 0; lane < kLanes; ++lane) {
    if (large[lane]) result[lane] = quarters ? cosf(x[lane]) : sinf(x[lane]);
  }
  return result;
}

}  // namespace
