// Products of matrices, one after the other on one thread. Compiled once per instruction set.
#include "multiply.hpp"

#include <stddef.h>

#include "transpose.hpp"
#include "vector.hpp"

namespace {

template <int number>
struct Number {
  static constexpr int value = number;
};

// The independent sums that the registers hold: so many rows times so many vectors of columns.
#if defined(__AVX512F__) || defined(__aarch64__)
constexpr int kMostVectors = 4, kSums = 24;
#else
constexpr int kMostVectors = 2, kSums = 12;
#endif

typedef float Anywhere __attribute__((vector_size(kLanes * 4), aligned(4), may_alias));
DEMO_INLINE Vector load_from(const float* from) { return *reinterpret_cast<const Anywhere*>(from); }
DEMO_INLINE void store_to(float* to, Vector value) { *reinterpret_cast<Anywhere*>(to) = value; }

// Of the bias, which panels of two vectors read whole.
inline int64_t padded(int64_t columns) { return (columns + 2 * kLanes - 1) / (2 * kLanes) * 2 * kLanes; }

// The slope of an activation where its result or, for SiLU, its argument is x.
template <FinishKind finish>
DEMO_INLINE Vector slope(Vector x) {
  if (finish == FinishKind::relu_slope) return x > 0.0f ? all(1.0f) : Vector{};
  if (finish == FinishKind::tanh_slope) return 1.0f - x * x;
  const Vector s = sigmoid(x);
  return s * (1.0f + x * (1.0f - s));
}

template <FinishKind finish>
constexpr bool is_slope = finish == FinishKind::relu_slope || finish == FinishKind::tanh_slope || finish == FinishKind::silu_slope;

template <FinishKind finish>
DEMO_INLINE void finish_whole(Vector sum, float* applied, float* out) {
  if constexpr (is_slope<finish>) {
    store_to(out, sum * slope<finish>(load_from(applied)));
  } else if constexpr (finish == FinishKind::silu) {
    if (applied != nullptr) store_to(applied, sum);
    store_to(out, sum * sigmoid(sum));
  } else if constexpr (finish == FinishKind::relu) {
    store_to(out, at_least(sum, 0.0f));
  } else if constexpr (finish == FinishKind::tanh) {
    store_to(out, hyperbolic_tangent(sum));
  } else {
    store_to(out, sum);
  }
}

// The same for the first 'count' columns of a vector.
template <FinishKind finish>
__attribute__((noinline)) void finish_some(Vector sum, float* applied, float* out, int64_t count) {
  float made[kLanes], before[kLanes] = {};
  const size_t bytes = static_cast<size_t>(count) * sizeof(float);
  if (is_slope<finish>) __builtin_memcpy(before, applied, bytes);
  finish_whole<finish>(sum, applied == nullptr ? nullptr : before, made);
  if (finish == FinishKind::silu && applied != nullptr) __builtin_memcpy(applied, before, bytes);
  __builtin_memcpy(out, made, bytes);
}

// 'rows' rows of sums and of what becomes of them; 'width' of them are side by side, of which 'columns' count.
template <FinishKind finish>
__attribute__((noinline)) void finish_rows(const float* sums, int64_t rows, int64_t width, const Product& p,
                                           float* applied, float* out, int64_t columns) {
  const int64_t count = columns < width ? columns : width;
  for (int64_t i = 0; i < rows; ++i) {
    int64_t j = 0;
    for (; j + kLanes <= count; j += kLanes) {
      finish_whole<finish>(load(sums + j), applied == nullptr ? nullptr : applied + j, out + j);
    }
    if (j < count) {
      finish_some<finish>(load(sums + j), applied == nullptr ? nullptr : applied + j, out + j, count - j);
    }
    sums += width;
    out += p.out_row;
    if (applied != nullptr) applied += p.out_row;
  }
}

// 'rows' rows of 'vectors' vectors of sums; 'panel' has (inner, vectors) of the right matrix, 'bias' a row of it.
template <int rows, int vectors>
__attribute__((noinline)) void block(const Product& p, const float* left, const float* panel, const float* bias,
                                     float* made) {
  const int64_t inner = p.inner, row_step = p.left_row, inner_step = p.left_inner;
  Vector sums[rows][vectors];
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) sums[i][v] = load(bias + v * kLanes);
  }
#pragma GCC unroll 4
  for (int64_t k = 0; k < inner; ++k) {
    Vector rights[vectors];
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) rights[v] = load(panel + v * kLanes);
#pragma GCC unroll 32
    for (int i = 0; i < rows; ++i) {
      const Vector one = all(left[i * row_step]);
#pragma GCC unroll 8
      for (int v = 0; v < vectors; ++v) sums[i][v] += one * rights[v];
    }
    left += inner_step;
    panel += vectors * kLanes;
  }
#pragma GCC unroll 32
  for (int i = 0; i < rows; ++i) {
#pragma GCC unroll 8
    for (int v = 0; v < vectors; ++v) store(made + (i * vectors + v) * kLanes, sums[i][v]);
  }
}

// All rows of one network for the columns of one panel.
template <FinishKind finish, int vectors>
void panel_rows(const Product& p, const float* left, const float* panel, const float* bias, float* applied, float* out,
                int64_t columns) {
  alignas(64) float sums[kSums * kLanes];
  int64_t row = 0;
  const auto take = [&](auto number) {
    constexpr int count = decltype(number)::value;
    for (; row + count <= p.rows; row += count) {
      const int64_t place = row * p.out_row;
      block<count, vectors>(p, left + row * p.left_row, panel, bias, sums);
      finish_rows<finish>(sums, count, vectors * kLanes, p, applied == nullptr ? nullptr : applied + place, out + place,
                          columns);
    }
  };
  take(Number<kSums / vectors>());
  take(Number<4>());
  take(Number<1>());
}

// (inner, width) of the right matrix from one column on, zeros behind the last one.
void pack(const Product& p, const float* right, int64_t columns, int64_t width, float* to) {
  const int64_t count = columns < width ? columns : width;
  if (p.right_column == 1) {
    for (int64_t k = 0; k < p.inner; ++k) {
      __builtin_memcpy(to + k * width, right + k * p.right_inner, static_cast<size_t>(count) * sizeof(float));
      for (int64_t j = count; j < width; ++j) to[k * width + j] = 0.0f;
    }
    return;
  }
  if (count < width) {
    for (int64_t i = 0; i < p.inner * width; ++i) to[i] = 0.0f;
  }
  transpose(right, p.right_column, to, width, count, p.inner);
}

}  // namespace

#include "multiply_matrix.hpp"

namespace {

// One network's bias with zeros behind it, or zeros.
void spread_bias(const Product& p, int64_t network, float* to) {
  for (int64_t j = 0; j < padded(p.columns); ++j) {
    to[j] = p.bias != nullptr && j < p.columns ? p.bias[network * p.bias_network + j] : 0.0f;
  }
}

template <FinishKind finish>
void multiply_network(const Product& p, int64_t network, const float* bias, float* panel) {
  const float* const left = p.left + network * p.left_network;
  for (int64_t column = 0; column < p.columns; column += kMostVectors * kLanes) {
    const int64_t columns = p.columns - column, vectors = (columns + kLanes - 1) / kLanes;
    const float* const right = p.right + network * p.right_network + column * p.right_column;
    const int64_t place = network * p.out_network + column;
    float* const applied = p.applied == nullptr ? nullptr : p.applied + place;
    const auto rows = [&](auto number) {
      constexpr int count = decltype(number)::value;
      pack(p, right, columns, count * kLanes, panel);
      panel_rows<finish, count>(p, left, panel, bias + column, applied, p.out + place, columns);
    };
    if (vectors >= kMostVectors) {
      rows(Number<kMostVectors>());
    } else if (vectors == 3) {
      rows(Number<(kMostVectors < 3 ? kMostVectors : 3)>());
    } else if (vectors == 2) {
      rows(Number<2>());
    } else {
      rows(Number<1>());
    }
  }
}

template <FinishKind finish>
void multiply_as(const Product& p, float* workspace) {
  float* const bias = workspace;
  float* const rest = workspace + padded(p.columns);
#if defined(__AMX_BF16__)
  if (takes_matrix_unit(p)) {
    const MatrixUnit unit;
    for (int64_t network = 0; network < p.networks; ++network) {
      spread_bias(p, network, bias);
      if (p.pieces == 1) {
        multiply_by_unit<finish, 1>(p, network, bias, rest);
      } else {
        multiply_by_unit<finish, kPieces>(p, network, bias, rest);
      }
    }
    return;
  }
#endif
  for (int64_t network = 0; network < p.networks; ++network) {
    spread_bias(p, network, bias);
    multiply_network<finish>(p, network, bias, rest);
  }
}

void multiply(const Product& p, float* workspace) {
  switch (p.finish) {
#define DEMO_FINISH(name) \
  case FinishKind::name:      \
    return multiply_as<FinishKind::name>(p, workspace);
    DEMO_FINISH(none) DEMO_FINISH(relu) DEMO_FINISH(tanh) DEMO_FINISH(silu)
    DEMO_FINISH(relu_slope) DEMO_FINISH(tanh_slope) DEMO_FINISH(silu_slope)
#undef DEMO_FINISH
  }
}

int64_t workspace_size(const Product& p) {
#if defined(__AMX_BF16__)
  if (takes_matrix_unit(p)) return padded(p.columns) + MatrixRoom(p).size;
#endif
  return padded(p.columns) + p.inner * kMostVectors * kLanes;
}

}  // namespace

#define DEMO_JOINED(first, second) first##second
#define DEMO_MULTIPLIER_OF(name) DEMO_JOINED(demo_multiplier_, name)
#define DEMO_TEXT_OF(name) #name
#define DEMO_TEXT(name) DEMO_TEXT_OF(name)

extern const Multiplier DEMO_MULTIPLIER_OF(DEMO_VARIANT);
const Multiplier DEMO_MULTIPLIER_OF(DEMO_VARIANT) = {DEMO_TEXT(DEMO_VARIANT), workspace_size, multiply};
