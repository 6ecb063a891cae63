// Samples of a plan in one pass: noise times its scale and size, around the centres, within the limits.
//
// Compiled once for all instruction sets and without contraction: the bits are those of NumPy's operations in the same
// order, which take the place of this where there is no kernel; see mpc/perturbation.py.
#include <stddef.h>
#include <stdint.h>

#include <new>
#include <vector>

namespace {

// The fewest numbers of a pattern of centres and limits: long enough for vectors.
constexpr int64_t kPattern = 64;

// How many numbers before their turn they are asked for.
constexpr int64_t kAhead = 1024;

// A NaN passes, as with NumPy.
inline float within(float value, float low, float high) {
  const float above = value < low ? low : value;
  return above > high ? high : above;
}

// What is the same for all samples of a step, repeated to the length of a pattern.
struct Pattern {
  const float *scale, *centre, *low, *high;
};

template <bool kSized, bool kLimited>
void fill_in(const float* __restrict noise, const float* __restrict size, const Pattern& pattern, int64_t count,
             float* __restrict out) {
  const float *__restrict const scale = pattern.scale, *__restrict const centre = pattern.centre;
  const float *__restrict const low = pattern.low, *__restrict const high = pattern.high;
  for (int64_t i = 0; i < count; ++i) {
    const float scaled = kSized ? noise[i] * scale[i] * size[i] : noise[i] * scale[i];
    out[i] = kLimited ? within(scaled + centre[i], low[i], high[i]) : scaled + centre[i];
  }
}

// noise · scale · size + centre, within the limits; sizes and limits where there are any.
void fill(const float* noise, const float* size, const Pattern& pattern, bool limited, int64_t count, float* out) {
  if (size != nullptr) {
    (limited ? fill_in<true, true> : fill_in<true, false>)(noise, size, pattern, count, out);
  } else {
    (limited ? fill_in<false, true> : fill_in<false, false>)(noise, size, pattern, count, out);
  }
}

}  // namespace

// One robot's samples. Bytes from one step to the next where there is a stride; else C order. Samples are around the
// centres in turn. Null where there is none.
struct Perturbation {
  int64_t noise_stride, samples_stride;
  int64_t steps, samples, centres, actions;
  int64_t scales_of_step;  // actions, or 1 where it is the same for all
  int64_t num_held;
  const float* noise;             // (steps, samples, actions)
  const float* scales;            // (steps, scales_of_step)
  const float* sizes;             // (samples, actions)
  const int64_t* held;            // (num_held): samples that have the first step's noise at every step
  const float* around;            // (steps, centres, actions)
  const float *lowest, *highest;  // (actions)
  float* out;                     // (steps, samples, actions)
};

// 0, or 1 where there was no memory.
extern "C" __attribute__((visibility("default"))) int demo_native_perturb(const Perturbation* given) {
  const Perturbation& p = *given;
  const int64_t turn = p.centres * p.actions, repeats = (kPattern + turn - 1) / turn, length = repeats * turn;
  const int64_t numbers = p.samples * p.actions;
  std::vector<float> memory;
  try {
    memory.resize(static_cast<size_t>(4 * length));
  } catch (const std::bad_alloc&) {
    return 1;
  }
  float *const scale = memory.data(), *const centre = scale + length, *const low = centre + length;
  float* const high = low + length;
  if (p.lowest != nullptr) {
    for (int64_t i = 0; i < length; ++i) low[i] = p.lowest[i % p.actions], high[i] = p.highest[i % p.actions];
  }
  for (int64_t step = 0; step < p.steps; ++step) {
    const float* const noise = p.noise + step * p.noise_stride / static_cast<int64_t>(sizeof(float));
    float* const out = p.out + step * p.samples_stride / static_cast<int64_t>(sizeof(float));
    for (int64_t from = 0; from < length; from += turn) {
      for (int64_t i = 0; i < turn; ++i) centre[from + i] = p.around[step * turn + i];
      for (int64_t c = 0; c < p.centres; ++c) {
        for (int64_t a = 0; a < p.actions; ++a) {
          scale[from + c * p.actions + a] = p.scales[step * p.scales_of_step + a % p.scales_of_step];
        }
      }
    }
    for (int64_t from = 0; from < numbers; from += length) {
      const int64_t count = numbers - from < length ? numbers - from : length;
      const float* const here = noise + from;
      float* const to = out + from;
      // A window at a random place of a large table, and samples that rollouts have since driven from the caches.
      for (int64_t i = 0; i < count; i += 16) {
        __builtin_prefetch(here + kAhead + i);
        __builtin_prefetch(to + kAhead + i, 1);
      }
      fill(here, p.sizes == nullptr ? nullptr : p.sizes + from, {scale, centre, low, high}, p.lowest != nullptr, count, to);
    }
    for (int64_t number = 0; step > 0 && number < p.num_held; ++number) {
      // A sample's numbers lie side by side in the pattern, too.
      const int64_t from = p.held[number] * p.actions, at = from % length;
      const Pattern pattern = {scale + at, centre + at, low + at, high + at};
      fill(p.noise + from, p.sizes == nullptr ? nullptr : p.sizes + from, pattern, p.lowest != nullptr, p.actions, out + from);
    }
    // Each centre itself is among the samples.
    const int64_t most = p.centres < p.samples ? p.centres : p.samples;
    for (int64_t i = 0; i < most * p.actions; ++i) {
      const float value = p.around[step * turn + i];
      out[i] = p.lowest == nullptr ? value : within(value, p.lowest[i % p.actions], p.highest[i % p.actions]);
    }
  }
  return 0;
}
