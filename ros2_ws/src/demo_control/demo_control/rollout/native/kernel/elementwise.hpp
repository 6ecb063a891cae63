// One instruction of a tape on all samples of a tile: the interpreter's cost is shared by as many samples.
#pragma once

#include "program.hpp"
#include "vector.hpp"

namespace {

struct Place {
  float* workspace;
  int64_t stride;  // from a row to the next
  int64_t width;   // used part of a row, a multiple of kLanes
};

template <class Function>
DEMO_INLINE void map_vectors(const Instruction& step, const Place& place, Function function) {
  for (int64_t row = 0; row < step.count; ++row) {
    float* out = place.workspace + (step.out + row) * place.stride;
    const float* first = place.workspace + (step.first + row * step.first_step) * place.stride;
    for (int64_t i = 0; i < place.width; i += kLanes) store(out + i, function(load(first + i)));
  }
}

template <class Function>
DEMO_INLINE void join_vectors(const Instruction& step, const Place& place, Function function) {
  for (int64_t row = 0; row < step.count; ++row) {
    float* out = place.workspace + (step.out + row) * place.stride;
    const float* first = place.workspace + (step.first + row * step.first_step) * place.stride;
    const float* second = place.workspace + (step.second + row * step.second_step) * place.stride;
    for (int64_t i = 0; i < place.width; i += kLanes) store(out + i, function(load(first + i), load(second + i)));
  }
}

inline void accumulate(const Instruction& step, const Place& place) {
  float* out = place.workspace + step.out * place.stride;
  const float* first = place.workspace + step.first * place.stride;
  const float* second = place.workspace + step.second * place.stride;
  for (int64_t i = 0; i < place.width; i += kLanes) {
    Vector sum = load(first + i);
    for (int64_t row = 0; row < step.count; ++row) sum = sum + load(second + row * place.stride + i);
    store(out + i, sum);
  }
}

// With a function of the C library, number by number.
template <class Function>
DEMO_INLINE void map_numbers(const Instruction& step, const Place& place, Function function) {
  for (int64_t row = 0; row < step.count; ++row) {
    float* out = place.workspace + (step.out + row) * place.stride;
    const float* first = place.workspace + (step.first + row * step.first_step) * place.stride;
    const float* second = place.workspace + (step.second + row * step.second_step) * place.stride;
    for (int64_t i = 0; i < place.width; ++i) out[i] = function(first[i], second[i]);
  }
}

inline void elementwise(const Instruction& step, const Place& place) {
#define DEMO_MAP(name, expression) \
  case Operator::name:             \
    return map_vectors(step, place, [](Vector x) { return expression; });
#define DEMO_JOIN(name, expression) \
  case Operator::name:              \
    return join_vectors(step, place, [](Vector x, Vector y) { return expression; });
#define DEMO_NUMBERS(name, expression) \
  case Operator::name:                 \
    return map_numbers(step, place, [](float x, [[maybe_unused]] float y) { return expression; });
  switch (step.op) {
    DEMO_MAP(copy, x)
    DEMO_MAP(negate, -x)
    DEMO_MAP(absolute, absolute(x))
    DEMO_MAP(exponential, exponential(x))
    DEMO_MAP(sine, sine(x, 0))
    DEMO_MAP(cosine, sine(x, 1))
    DEMO_MAP(hyperbolic_tangent, hyperbolic_tangent(x))
    DEMO_MAP(sigmoid, sigmoid(x))
    DEMO_MAP(relu, at_least(x, 0.0f))
    DEMO_JOIN(add, x + y)
    DEMO_JOIN(subtract, x - y)
    DEMO_JOIN(multiply, x * y)
    DEMO_JOIN(divide, x / y)
    DEMO_JOIN(maximum, maximum(x, y))
    DEMO_JOIN(minimum, minimum(x, y))
    DEMO_NUMBERS(square_root, __builtin_sqrtf(x))
    DEMO_NUMBERS(logarithm, logf(x))
    DEMO_NUMBERS(tangent, tanf(x))
    DEMO_NUMBERS(arc_tangent, atanf(x))
    DEMO_NUMBERS(error_function, erff(x))
    DEMO_NUMBERS(exponential_minus_one, expm1f(x))
    DEMO_NUMBERS(logarithm_of_one_plus, log1pf(x))
    DEMO_NUMBERS(floor, floorf(x))
    DEMO_NUMBERS(ceiling, ceilf(x))
    DEMO_NUMBERS(nearest, rintf(x))
    DEMO_NUMBERS(power, powf(x, y))
    case Operator::accumulate:
      return accumulate(step, place);
    case Operator::dense:
      return;
  }
#undef DEMO_MAP
#undef DEMO_JOIN
#undef DEMO_NUMBERS
}

}  // namespace
