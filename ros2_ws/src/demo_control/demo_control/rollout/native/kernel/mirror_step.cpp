// A mirror step of one robot in one call: its samples, their rollouts, their weights, and the step towards them.
//
// What it calls are the functions that Python calls one by one; see mpc/compiled_steps.py.
#include <stdint.h>

struct Arrays;
struct Perturbation;
struct Selecting;
struct Weighing;

extern "C" int demo_native_perturb(const Perturbation* given);
extern "C" int demo_native_run(void* rollout, const Arrays* arrays, int64_t rows, int64_t threads);
extern "C" int demo_native_select(const Selecting* given);
extern "C" void demo_native_weigh(const Weighing* given);

namespace {

// The fewest numbers that are added up side by side: long enough for vectors.
constexpr int64_t kPattern = 64;

}  // namespace

// All arrays in C order, samples in the order of costs.
struct MirrorStep {
  int64_t steps, samples, actions, terms;
  int64_t rows, threads;  // of the rollouts
  double step_size;
  double sample_size;  // a result: (Σ w)² / Σ w², 0 where all weights are 0
  const Perturbation* perturbation;
  void* rollout;
  const Arrays* arrays;
  const Selecting* selecting;   // this ...
  const Weighing* weighing;     // ... or that, the other being null
  const double* term_weights;   // (terms)
  const float* sampled;         // (steps, samples, actions), as the perturbation leaves them
  const float* term_costs;      // (samples, terms), as the rollouts leave them
  double* costs;                // (samples)
  const double* weights;        // (samples), as the utility leaves them
  float* factors;               // (samples, actions): workspace
  float* sums;                  // (kPattern + actions): workspace
  const double *lowest, *highest;  // (actions)
  double* mean;                 // (steps, actions): μ̃, then μ
};

namespace {

void take_costs(const MirrorStep& m) {
  for (int64_t i = 0; i < m.samples; ++i) {
    double cost = 0.0;
    for (int64_t term = 0; term < m.terms; ++term) cost += m.term_weights[term] * m.term_costs[i * m.terms + term];
    m.costs[i] = cost;
  }
}

// Σ factor · number, in as many sums as there are numbers in a pattern.
void add_up(const float* __restrict factors, const float* __restrict numbers, int64_t count, float* __restrict sums) {
  for (int64_t i = 0; i < count; ++i) sums[i] += factors[i] * numbers[i];
}

// μ = (1 − α Σ w) μ̃ + α Σ w u, within the limits.
void move_mean(const MirrorStep& m, double total) {
  const int64_t numbers = m.samples * m.actions, length = (kPattern + m.actions - 1) / m.actions * m.actions;
  for (int64_t i = 0; i < m.samples; ++i) {
    for (int64_t a = 0; a < m.actions; ++a) m.factors[i * m.actions + a] = static_cast<float>(m.weights[i]);
  }
  for (int64_t step = 0; step < m.steps; ++step) {
    for (int64_t i = 0; i < length; ++i) m.sums[i] = 0.0F;
    for (int64_t from = 0; from < numbers; from += length) {
      add_up(m.factors + from, m.sampled + step * numbers + from, numbers - from < length ? numbers - from : length, m.sums);
    }
    double* const mean = m.mean + step * m.actions;
    for (int64_t a = 0; a < m.actions; ++a) {
      double weighted = 0.0;
      for (int64_t i = a; i < length; i += m.actions) weighted += static_cast<double>(m.sums[i]);
      const double moved = (1.0 - m.step_size * total) * mean[a] + m.step_size * weighted;
      const double above = moved < m.lowest[a] ? m.lowest[a] : moved;
      mean[a] = above > m.highest[a] ? m.highest[a] : above;
    }
  }
}

}  // namespace

// 0, or 1 where there was no memory.
extern "C" __attribute__((visibility("default"))) int demo_native_mirror_step(MirrorStep* given) {
  MirrorStep& m = *given;
  if (demo_native_perturb(m.perturbation) || demo_native_run(m.rollout, m.arrays, m.rows, m.threads)) return 1;
  take_costs(m);
  if (m.selecting != nullptr) {
    if (demo_native_select(m.selecting)) return 1;
  } else {
    demo_native_weigh(m.weighing);
  }
  double total = 0.0, squares = 0.0;
  for (int64_t i = 0; i < m.samples; ++i) {
    total += m.weights[i];
    squares += m.weights[i] * m.weights[i];
  }
  m.sample_size = squares > 0.0 ? total * total / squares : 0.0;
  move_mean(m, total);
  return 0;
}
