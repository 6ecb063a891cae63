// What the kernel runs: tapes of instructions on rows of a workspace, made by lowering.py.
//
// A row holds one number for each sample of a tile. The workspace begins with the rows that the kernel itself reads
// and writes (Rows), then come constants, then what the tapes need in between.
#pragma once

#include <stddef.h>
#include <stdint.h>

// The names, in this order, are those of instructions.py's Operator; the library is asked for them when it is loaded.
#define DEMO_OPERATORS(X)                                                                                    \
  X(copy) X(negate) X(absolute) X(square_root) X(exponential) X(sine) X(cosine) X(hyperbolic_tangent)        \
  X(sigmoid) X(relu) X(logarithm) X(tangent) X(arc_tangent) X(error_function) X(exponential_minus_one)       \
  X(logarithm_of_one_plus) X(floor) X(ceiling) X(nearest) X(add) X(subtract) X(multiply) X(divide)           \
  X(maximum) X(minimum) X(power) X(accumulate) X(follow) X(dense)

enum class Operator : int32_t {
#define X(name) name,
  DEMO_OPERATORS(X)
#undef X
};

enum class Activation : int32_t { none, relu, hyperbolic_tangent, sigmoid, silu };

// out[r] = op(first[r * first_step], second[r * second_step]) for r < count; all are row numbers. 'accumulate' adds the
// count rows of second to first, one after the other. 'follow' goes from the state, second, to the prediction, first,
// by the share that the change's scale says, and on by its offset. For 'dense', second is the layer's number and count
// its number of outputs.
struct Instruction {
  Operator op;
  int32_t out, first, second, count, first_step, second_step;
};

// outputs = activation(inputs W + b). W is given as (inputs, outputs), C order, at 'weights' in the program's numbers.
struct Layer {
  int64_t weights, bias, inputs, outputs;
  int64_t activation;
  int64_t matrix;  // whether to use the matrix unit, where the variant has one
};

// Instructions [start, stop).
struct Tape {
  int32_t start, stop;
};

// What is run when, for one lane of the rollouts.
struct LaneTapes {
  Tape control;   // observation, control, feedback -> policy action, control as it is applied
  Tape cost;      // observation, control -> terms
  Tape dynamics;  // observation, control -> predictions, next observation
  Tape value;     // last observation -> value
};

// Where the kernel's own rows start.
struct Rows {
  int32_t observation, control, feedback, change_scale, change_offset;
  int32_t policy_action, predictions, terms, totals, value, constants;
};

struct Dimensions {
  int32_t lanes, horizon, observation, action, terms;
  int32_t predictions;  // how many members' predictions one lane makes
  int32_t with_policy, with_trajectory, with_controls, with_value;
  int32_t rows, constants;
};

// Bytes from one step, lane and row of an array to the next.
struct Strides {
  int64_t step, lane, row;
};

// One call's arrays; shapes as in engine.py's RolloutEngine. C order, but for those with strides, of which only the
// features lie side by side; a stride of 0 repeats. Null where there is none.
struct Arrays {
  Strides observation_strides, control_strides, change_scale_strides, change_offset_strides;
  const float* observations;
  const float* controls;
  const float* feedback;
  const float* step_weights;  // (horizon + 1, terms): weight of each term at each step
  const float* change_scale;
  const float* change_offset;
  float* term_costs;
  float* applied;
  float* policy_actions;
  float* trajectory;
  float* predictions;
};

// A layer as one instruction set wants it; see packing.hpp. 'wide', for vectors of samples: blocks of outputs,
// (block, inputs, outputs of block). 'narrow', for vectors of outputs: groups of such vectors, (group, inputs,
// outputs of group), zeros behind the last output.
struct PackedLayer {
  const float* wide;
  const float* narrow;
  const float* bias;  // zeros behind the last output
  const uint16_t* pieces;  // for the matrix unit, see dense_matrix.hpp; null where vectors do it
  int64_t inputs, outputs;
  Activation activation;
};

struct Program {
  Dimensions dimensions;
  Rows rows;
  const LaneTapes* lanes;
  const Instruction* code;
  const PackedLayer* layers;
  int64_t num_layers;
  const float* constants;
};

// Samples [first, first + count) of one lane's 'rows' samples.
struct Tile {
  int64_t lane, first, count, rows;
};

// Memory of a tile of up to 'capacity' samples; how they lie in it say sample_columns.hpp, where they are few, and
// sample_rows.hpp.
struct Workspace {
  float* memory;
  int64_t capacity;
  bool few;
};

// The kernel in one instruction set.
struct Variant {
  const char* name;
  int64_t lanes;         // samples per vector
  int64_t largest_tile;  // samples per tile
  int64_t most_few;      // samples per tile of few; 0 where they go the way of many
  // Floats that a layer's packed weights need, all three arrays together, and the packing itself.
  int64_t (*packed_size)(const Layer& layer);
  PackedLayer (*pack)(const Layer& layer, const float* numbers, float* to);
  // Floats of a workspace.
  int64_t (*workspace_size)(const Program& program, int64_t capacity, bool few);
  // Give constants their values, and all else some value.
  void (*fill)(const Program& program, const Workspace& workspace);
  void (*run)(const Program& program, const Arrays& arrays, const Tile& tile, const Workspace& workspace);
  // Floating point operations per second of nothing but register-to-register multiply-adds, for benchmarks.
  double (*multiply_add_rate)(int64_t repetitions, double (*now)());
};
