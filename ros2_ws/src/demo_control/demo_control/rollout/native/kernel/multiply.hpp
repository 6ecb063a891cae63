// Products of matrices with what networks that learn do to them: biases, activations, and the activations' slopes.
#pragma once

#include <stdint.h>

// What becomes of a sum. 'tanh_slope' and its like multiply it with the slope of an activation, where that was applied.
enum class FinishKind : int64_t { none, relu, tanh, silu, relu_slope, tanh_slope, silu_slope };

// out[n][i][j] = finish(bias[n][j] + sum over k of left[n][i][k] right[n][k][j]) for n < networks, i < rows, j < columns.
//
// 'pieces' is how many pieces of factors the matrix unit takes, where it is used: 3 for the accuracy of float32, 1 for
// factors rounded to bfloat16.
//
// Strides are in floats; 'bias', 'applied' and 'out' have their columns side by side. 'bias' may be null. 'applied' is
// laid out as 'out': the activation's results for relu_slope and tanh_slope, what it was applied to for silu_slope, and
// for silu where that is kept; else null.
struct Product {
  int64_t networks, rows, inner, columns, pieces;
  FinishKind finish;
  int64_t left_network, left_row, left_inner;
  int64_t right_network, right_inner, right_column;
  int64_t bias_network, out_network, out_row;
  const float* left;
  const float* right;
  const float* bias;
  float* applied;
  float* out;
};

// Products in one instruction set.
struct Multiplier {
  const char* name;
  int64_t (*workspace_size)(const Product& product);  // in floats
  void (*multiply)(const Product& product, float* workspace);
};
