// The kernel: one tile of samples through all steps of the horizon. Compiled once per instruction set.
#include "elementwise.hpp"
#include "packing.hpp"
#include "program.hpp"
#include "sample_columns.hpp"
#include "sample_rows.hpp"
#include "vector.hpp"

namespace {

// Samples per tile: several vectors in every instruction set, since the interpreter's work is shared among them.
constexpr int64_t kLargestTile = 64;

// One tile on its way.
template <class Samples>
struct Run {
  const Program& program;
  const Arrays& arrays;
  const Tile& tile;
  Samples samples;

  // Number of the tile's first sample at a step of an array (steps, lanes, rows, ...).
  int64_t sample_at(int64_t step, int64_t lane, int64_t lanes) const {
    return (step * lanes + lane) * tile.rows + tile.first;
  }
  int64_t sample_at(int64_t step) const { return sample_at(step, tile.lane, program.dimensions.lanes); }

  void read(int64_t first_row, const float* from, const Strides& strides, int64_t step, int64_t features) const {
    const int64_t bytes = step * strides.step + tile.lane * strides.lane + tile.first * strides.row;
    constexpr int64_t size = sizeof(float);
    samples.read(first_row, from + bytes / size, strides.row / size, features);
  }

  void play(const Tape& tape) const {
    for (int32_t i = tape.start; i < tape.stop; ++i) {
      const Instruction& step = program.code[i];
      if (step.op == Operator::dense) {
        samples.layer(program.layers[step.second], step);
      } else if (step.op == Operator::follow) {
        samples.follow(step, program.rows.change_scale, program.rows.change_offset);
      } else {
        elementwise(step, samples);
      }
    }
  }

  // Cost terms of the state and the control, times the step's weights, onto the totals.
  void add_costs(int64_t step) const {
    const int64_t terms = program.dimensions.terms;
    play(program.lanes[tile.lane].cost);
    for (int64_t term = 0; term < terms; ++term) {
      samples.add_weighted(program.rows.totals + term, arrays.step_weights[step * terms + term],
                           program.rows.terms + term);
    }
  }

  void start() const {
    const Dimensions& size = program.dimensions;
    read(program.rows.observation, arrays.observations, arrays.observation_strides, 0, size.observation);
    read(program.rows.change_scale, arrays.change_scale, arrays.change_scale_strides, 0, size.observation);
    read(program.rows.change_offset, arrays.change_offset, arrays.change_offset_strides, 0, size.observation);
    for (int64_t term = 0; term < size.terms; ++term) samples.fill(program.rows.totals + term, 0.0f);
  }

  void step(int64_t number) const {
    const Dimensions& size = program.dimensions;
    const LaneTapes& tapes = program.lanes[tile.lane];
    const int64_t sample = sample_at(number);
    read(program.rows.control, arrays.controls, arrays.control_strides, number, size.action);
    if (size.with_policy) samples.read(program.rows.feedback, arrays.feedback + sample, 1, 1);
    play(tapes.control);
    if (size.with_controls) samples.write(arrays.applied + sample * size.action, program.rows.control, size.action);
    if (size.with_policy) {
      samples.write(arrays.policy_actions + sample * size.action, program.rows.policy_action, size.action);
    }
    if (size.with_trajectory) write_observation(number);
    add_costs(number);
    play(tapes.dynamics);
    if (!size.with_trajectory) return;
    const int64_t members = size.lanes * size.predictions;
    for (int64_t i = 0; i < size.predictions; ++i) {
      const int64_t member = tile.lane * size.predictions + i;
      samples.write(arrays.predictions + sample_at(number, member, members) * size.observation,
                    program.rows.predictions + i * size.observation, size.observation);
    }
  }

  void write_observation(int64_t number) const {
    const int64_t features = program.dimensions.observation;
    samples.write(arrays.trajectory + sample_at(number) * features, program.rows.observation, features);
  }

  void finish() const {
    const Dimensions& size = program.dimensions;
    if (size.with_trajectory) write_observation(size.horizon);
    // No action follows the last state; a NaN stays one, as in the composed ONNX graph.
    for (int64_t i = 0; i < size.action; ++i) samples.scale(program.rows.control + i, 0.0f);
    add_costs(size.horizon);
    const int64_t reported = size.terms + (size.with_value ? 1 : 0);
    if (size.with_value) play(program.lanes[tile.lane].value);
    // The value's row follows the totals.
    samples.write(arrays.term_costs + sample_at(0) * reported, program.rows.totals, reported);
  }
};

template <class Samples>
void run_as(const Program& program, const Arrays& arrays, const Tile& tile, Samples samples) {
  const Run<Samples> whole{program, arrays, tile, samples};
  whole.start();
  for (int64_t step = 0; step < program.dimensions.horizon; ++step) whole.step(step);
  whole.finish();
}

void run(const Program& program, const Arrays& arrays, const Tile& tile, const Workspace& workspace) {
#if defined(__AMX_BF16__)
  const MatrixUnit unit;
#endif
  if (workspace.few) {
    run_as(program, arrays, tile, SampleColumns(workspace, program.dimensions.rows, tile.count));
  } else {
    run_as(program, arrays, tile, SampleRows(workspace, program.dimensions.rows, tile.count));
  }
}

int64_t workspace_size(const Program& program, int64_t capacity, bool few) {
  const int64_t rows = program.dimensions.rows;
  if (few) return SampleColumns::size(rows, capacity);
  int64_t scratch = 0;
#if defined(__AMX_BF16__)
  for (int64_t i = 0; i < program.num_layers; ++i) {
    const int64_t needed = matrix_workspace_size(program.layers[i].inputs, program.layers[i].outputs);
    if (scratch < needed) scratch = needed;
  }
#endif
  return SampleRows::size(rows, capacity) + scratch;
}

template <class Samples>
void fill_as(const Program& program, Samples samples) {
  // Nothing that a tape reads is ever uninitialised, not even in lanes that do not count.
  for (int64_t row = 0; row < program.dimensions.rows; ++row) samples.fill(row, 0.0f);
  for (int64_t constant = 0; constant < program.dimensions.constants; ++constant) {
    samples.fill(program.rows.constants + constant, program.constants[constant]);
  }
}

void fill(const Program& program, const Workspace& workspace) {
  if (workspace.few) {
    fill_as(program, SampleColumns(workspace, program.dimensions.rows, workspace.capacity));
  } else {
    fill_as(program, SampleRows(workspace, program.dimensions.rows, workspace.capacity));
  }
}

double multiply_add_rate(int64_t repetitions, double (*now)()) {
  constexpr int kSums = kLanes == 16 ? 16 : 12;  // as many as stay in registers, and enough to hide the latency
  Vector sums[kSums];
  for (int i = 0; i < kSums; ++i) sums[i] = all(static_cast<float>(i));
  Vector factor = all(0.999f), summand = all(0.001f);
  asm volatile("" : "+m"(factor), "+m"(summand));  // not known to the compiler
  const double started = now();
  for (int64_t i = 0; i < repetitions; ++i) {
#pragma GCC unroll 16
    for (int sum = 0; sum < kSums; ++sum) sums[sum] = sums[sum] * factor + summand;
  }
  asm volatile("" ::"m"(sums) : "memory");
  return 2.0 * kSums * kLanes * static_cast<double>(repetitions) / (now() - started);
}

#if defined(__AMX_BF16__)
// The unit takes sixteen samples in the time of one, and its sums are not those of dense_few.hpp.
constexpr int64_t kMostFewHere = 0;
int64_t packed_floats(const Layer& layer) { return packed_size(layer) + (layer.matrix ? matrix_size(layer) : 0); }
PackedLayer pack_layer(const Layer& layer, const float* numbers, float* to) {
  PackedLayer packed = pack(layer, numbers, to);
  if (!layer.matrix) return packed;
  uint16_t* const pieces = reinterpret_cast<uint16_t*>(to + packed_size(layer));
  pack_matrix(layer, numbers, pieces);
  packed.pieces = pieces;
  return packed;
}
#else
constexpr int64_t kMostFewHere = kMostFew;
int64_t packed_floats(const Layer& layer) { return packed_size(layer); }
PackedLayer pack_layer(const Layer& layer, const float* numbers, float* to) { return pack(layer, numbers, to); }
#endif

}  // namespace

#define DEMO_JOINED(first, second) first##second
#define DEMO_VARIANT_OF(name) DEMO_JOINED(demo_variant_, name)
#define DEMO_TEXT_OF(name) #name
#define DEMO_TEXT(name) DEMO_TEXT_OF(name)

extern const Variant DEMO_VARIANT_OF(DEMO_VARIANT);
const Variant DEMO_VARIANT_OF(DEMO_VARIANT) = {
    DEMO_TEXT(DEMO_VARIANT), kLanes, kLargestTile, kMostFewHere, packed_floats, pack_layer,
    workspace_size, fill, run, multiply_add_rate,
};
