// Many samples: a row for each feature, with vectors along the samples, so that the interpreter's cost is shared by
// as many samples.
#pragma once

#include "dense.hpp"
#include "dense_matrix.hpp"
#include "elementwise.hpp"
#include "program.hpp"
#include "transpose.hpp"
#include "vector.hpp"

namespace {

struct SampleRows {
  float* workspace;
  int64_t stride;  // from a row to the next
  int64_t count;   // samples
  int64_t width;   // used part of a row, a multiple of kLanes
  float* scratch;  // a layer's own, behind the rows

  SampleRows(const Workspace& place, int64_t rows, int64_t samples)
      : workspace(place.memory), stride(place.capacity), count(samples), width(rounded_up(samples, kLanes)),
        scratch(place.memory + size(rows, place.capacity)) {}

  static int64_t size(int64_t rows, int64_t capacity) { return rows * capacity; }

  float* row(int64_t number) const { return workspace + number * stride; }

  // Samples, each 'from_stride' behind the one before, into rows of features. Lanes behind the last sample repeat it.
  void read(int64_t first_row, const float* from, int64_t from_stride, int64_t features) const {
    float* const to = row(first_row);
    transpose(from, from_stride, to, stride, count, features);
    if (count == width) return;
    for (int64_t feature = 0; feature < features; ++feature) {
      float* const lanes = to + feature * stride;
      for (int64_t lane = count; lane < width; ++lane) lanes[lane] = lanes[count - 1];
    }
  }

  void write(float* to, int64_t first_row, int64_t features) const {
    transpose(row(first_row), stride, to, features, features, count);
  }

  // The same number in every sample, in those that do not count too.
  void fill(int64_t number, float value) const {
    for (int64_t i = 0; i < stride; ++i) row(number)[i] = value;
  }

  void scale(int64_t number, float factor) const {
    float* const out = row(number);
    for (int64_t i = 0; i < width; i += kLanes) store(out + i, load(out + i) * factor);
  }

  void add_weighted(int64_t total, float weight, int64_t term) const {
    float* const out = row(total);
    const float* const from = row(term);
    for (int64_t i = 0; i < width; i += kLanes) store(out + i, load(out + i) + all(weight) * load(from + i));
  }

  void layer(const PackedLayer& layer, const Instruction& step) const {
    const Job job{layer, row(step.first), row(step.out), stride};
#if defined(__AMX_BF16__)
    if (layer.pieces != nullptr) return dense_matrix(job, width, scratch);
#endif
    dense(job, width);
  }

  template <class Function>
  DEMO_INLINE void map(const Instruction& step, Function function) const {
    for (int64_t number = 0; number < step.count; ++number) {
      float* out = row(step.out + number);
      const float* first = row(step.first + number * step.first_step);
      for (int64_t i = 0; i < width; i += kLanes) store(out + i, function(load(first + i)));
    }
  }

  template <class Function>
  DEMO_INLINE void join(const Instruction& step, Function function) const {
    for (int64_t number = 0; number < step.count; ++number) {
      float* out = row(step.out + number);
      const float* first = row(step.first + number * step.first_step);
      const float* second = row(step.second + number * step.second_step);
      for (int64_t i = 0; i < width; i += kLanes) store(out + i, function(load(first + i), load(second + i)));
    }
  }

  // With a function of the C library, number by number.
  template <class Function>
  DEMO_INLINE void map_numbers(const Instruction& step, Function function) const {
    for (int64_t number = 0; number < step.count; ++number) {
      float* out = row(step.out + number);
      const float* first = row(step.first + number * step.first_step);
      const float* second = row(step.second + number * step.second_step);
      for (int64_t i = 0; i < width; ++i) out[i] = function(first[i], second[i]);
    }
  }

  void accumulate(const Instruction& step) const {
    int64_t column = 0;
    for (; column + 4 * kLanes <= width; column += 4 * kLanes) accumulate_columns<4>(step, column);
    for (; column < width; column += kLanes) accumulate_columns<1>(step, column);
  }

  void follow(const Instruction& step, int64_t scale_row, int64_t offset_row) const {
    for (int64_t number = 0; number < step.count; ++number) {
      float* out = row(step.out + number);
      const float *prediction = row(step.first + number), *state = row(step.second + number);
      const float *scale = row(scale_row + number), *offset = row(offset_row + number);
      for (int64_t i = 0; i < width; i += kLanes) {
        store(out + i, following(load(state + i), load(prediction + i), load(scale + i), load(offset + i)));
      }
    }
  }

 private:
  // Several sums at a time: one would wait for itself.
  template <int vectors>
  void accumulate_columns(const Instruction& step, int64_t column) const {
    const float* second = row(step.second) + column;
    Vector sums[vectors];
    for (int v = 0; v < vectors; ++v) sums[v] = load(row(step.first) + column + v * kLanes);
    for (int64_t number = 0; number < step.count; ++number) {
      for (int v = 0; v < vectors; ++v) sums[v] = sums[v] + load(second + number * stride + v * kLanes);
    }
    for (int v = 0; v < vectors; ++v) store(row(step.out) + column + v * kLanes, sums[v]);
  }
};

}  // namespace
