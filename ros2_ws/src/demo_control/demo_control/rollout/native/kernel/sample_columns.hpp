// Few samples: a column for each sample, with vectors along its features. What a call costs is then the way of the
// weights from the cache, once for all samples, and an instruction is a vector or two.
#pragma once

#include "dense_few.hpp"
#include "elementwise.hpp"
#include "program.hpp"
#include "vector.hpp"

namespace {

struct SampleColumns {
  float* workspace;
  int64_t stride;  // from a column to the next
  int64_t count;   // samples

  SampleColumns(const Workspace& place, int64_t rows, int64_t samples)
      : workspace(place.memory), stride(size(rows, 1)), count(samples) {}

  // Vectors may reach beyond the last row.
  static int64_t size(int64_t rows, int64_t samples) { return samples * rounded_up(rows + kLanes, 16); }

  float* column(int64_t sample) const { return workspace + sample * stride; }

  void read(int64_t first_row, const float* from, int64_t from_stride, int64_t features) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const to = column(sample) + first_row;
      for (int64_t i = 0; i < features; ++i) to[i] = from[sample * from_stride + i];
    }
  }

  void write(float* to, int64_t first_row, int64_t features) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      const float* const from = column(sample) + first_row;
      for (int64_t i = 0; i < features; ++i) to[sample * features + i] = from[i];
    }
  }

  void fill(int64_t number, float value) const {
    for (int64_t sample = 0; sample < count; ++sample) column(sample)[number] = value;
  }

  void scale(int64_t number, float factor) const {
    for (int64_t sample = 0; sample < count; ++sample) column(sample)[number] *= factor;
  }

  // As a vector, so that it is rounded as in SampleRows.
  void add_weighted(int64_t total, float weight, int64_t term) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      const Vector sum = all(numbers[total]) + all(weight) * all(numbers[term]);
      numbers[total] = sum[0];
    }
  }

  void layer(const PackedLayer& layer, const Instruction& step) const {
    dense_few({layer, workspace + step.first, workspace + step.out, stride}, count);
  }

  template <class Function>
  DEMO_INLINE void map(const Instruction& step, Function function) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      for (int64_t i = 0; i < step.count; i += kLanes) {
        const int64_t some = at_most_lanes(step.count - i);
        put(numbers + step.out + i, function(operand(numbers + step.first, step.first_step, i, some)), some);
      }
    }
  }

  template <class Function>
  DEMO_INLINE void join(const Instruction& step, Function function) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      for (int64_t i = 0; i < step.count; i += kLanes) {
        const int64_t some = at_most_lanes(step.count - i);
        const Vector first = operand(numbers + step.first, step.first_step, i, some);
        const Vector second = operand(numbers + step.second, step.second_step, i, some);
        put(numbers + step.out + i, function(first, second), some);
      }
    }
  }

  template <class Function>
  DEMO_INLINE void map_numbers(const Instruction& step, Function function) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      const float* const first = numbers + step.first;
      const float* const second = numbers + step.second;
      for (int64_t i = 0; i < step.count; ++i) {
        numbers[step.out + i] = function(first[i * step.first_step], second[i * step.second_step]);
      }
    }
  }

  void follow(const Instruction& step, int64_t scale_row, int64_t offset_row) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      for (int64_t i = 0; i < step.count; i += kLanes) {
        const int64_t some = at_most_lanes(step.count - i);
        const auto from = [&](int64_t row) { return load_some(numbers + row + i, some); };
        put(numbers + step.out + i, following(from(step.second), from(step.first), from(scale_row), from(offset_row)),
            some);
      }
    }
  }

  void accumulate(const Instruction& step) const {
    for (int64_t sample = 0; sample < count; ++sample) {
      float* const numbers = column(sample);
      float sum = numbers[step.first];
      for (int64_t i = 0; i < step.count; ++i) sum = sum + numbers[step.second + i];
      numbers[step.out] = sum;
    }
  }

 private:
  static int64_t at_most_lanes(int64_t count) { return count < kLanes ? count : kLanes; }

  // A single number goes from one instruction to the next faster without a mask.
  static DEMO_INLINE Vector operand(const float* row, int64_t step, int64_t offset, int64_t some) {
    if (step == 0) return all(*row);
    return some == 1 ? all(row[offset]) : load_some(row + offset, some);
  }
  static DEMO_INLINE void put(float* to, Vector value, int64_t some) {
    if (some == 1) {
      *to = value[0];
    } else {
      store_some(to, value, some);
    }
  }
};

}  // namespace
