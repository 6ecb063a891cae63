// What an instruction other than a layer does to numbers; which numbers, the samples say: SampleRows, SampleColumns.
#pragma once

#include "program.hpp"
#include "vector.hpp"

namespace {

DEMO_INLINE Vector following(Vector state, Vector prediction, Vector scale, Vector offset) {
  return state + ((prediction - state) * scale + offset);
}

template <class Samples>
void elementwise(const Instruction& step, const Samples& samples) {
#define DEMO_MAP(name, expression) \
  case Operator::name:             \
    return samples.map(step, [](Vector x) { return expression; });
#define DEMO_JOIN(name, expression) \
  case Operator::name:              \
    return samples.join(step, [](Vector x, Vector y) { return expression; });
#define DEMO_NUMBERS(name, expression) \
  case Operator::name:                 \
    return samples.map_numbers(step, [](float x, [[maybe_unused]] float y) { return expression; });
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
      return samples.accumulate(step);
    case Operator::follow:  // needs more than two operands
    case Operator::dense:
      return;
  }
#undef DEMO_MAP
#undef DEMO_JOIN
#undef DEMO_NUMBERS
}

}  // namespace
