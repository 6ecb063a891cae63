// Weights of the exponential utility; the formula, and the same by NumPy where there is no kernel, is in
// mpc/utilities.py.
#include <math.h>
#include <stdint.h>

namespace {

enum class Scale : int64_t { standard_deviation, cost, effective_share };

constexpr int kBisections = 40;

constexpr double kSmallestExponent = -60.0;

// 0 where the share is not finite, and where it adds nothing.
double boltzmann(double share, double temperature) {
  const double exponent = -share / temperature;
  return exponent > kSmallestExponent && isfinite(share) ? exp(exponent) : 0.0;
}

double standard_deviation(const double* shares, int64_t count, double finite) {
  double sum = 0.0, squares = 0.0;
  for (int64_t i = 0; i < count; ++i) sum += isfinite(shares[i]) ? shares[i] : 0.0;
  const double mean = sum / finite;
  for (int64_t i = 0; i < count; ++i) {
    const double apart = isfinite(shares[i]) ? shares[i] - mean : 0.0;
    squares += apart * apart;
  }
  return sqrt(squares / finite);
}

// The temperature at which the effective sample size is 'wanted', by bisection of its logarithm.
double temperature_of_size(const double* shares, int64_t count, double wanted) {
  double low = log(1e-9), high = log(1e9);
  for (int i = 0; i < kBisections; ++i) {
    const double middle = (low + high) / 2.0, temperature = exp(middle);
    double sum = 0.0, squares = 0.0;
    for (int64_t sample = 0; sample < count; ++sample) {
      const double weight = boltzmann(shares[sample], temperature);
      sum += weight;
      squares += weight * weight;
    }
    (sum * sum / squares < wanted ? low : high) = middle;
  }
  return exp(high);
}

}  // namespace

// One utility's arguments. Costs and weights are (rows, samples); a row's weights are found on their own.
struct Weighing {
  int64_t rows, samples;
  Scale scale;
  double temperature;
  const double* costs;
  double* weights;
};

extern "C" __attribute__((visibility("default"))) void demo_native_weigh(const Weighing* given) {
  const Weighing& w = *given;
  for (int64_t row = 0; row < w.rows; ++row) {
    const double* const costs = w.costs + row * w.samples;
    double* const weights = w.weights + row * w.samples;
    double lowest = INFINITY, highest = -INFINITY, finite = 0.0;
    for (int64_t i = 0; i < w.samples; ++i) {
      if (!isfinite(costs[i])) continue;
      finite += 1.0;
      lowest = costs[i] < lowest ? costs[i] : lowest;
      highest = costs[i] > highest ? costs[i] : highest;
    }
    // Where costs lie in their range, in the place of the weights. Halved: a difference of huge costs must not overflow.
    double* const shares = weights;
    const double range = highest / 2.0 - lowest / 2.0, unit = range > 0.0 ? range : 1.0;
    for (int64_t i = 0; i < w.samples; ++i) {
      shares[i] = isfinite(costs[i]) ? (costs[i] / 2.0 - lowest / 2.0) / unit : INFINITY;
    }
    double temperature = w.temperature / 2.0 / unit;
    if (w.scale == Scale::standard_deviation) {
      temperature = w.temperature * standard_deviation(shares, w.samples, finite);
    } else if (w.scale == Scale::effective_share) {
      const double wanted = w.temperature * finite;
      temperature = temperature_of_size(shares, w.samples, wanted > 1.0 ? wanted : 1.0);
    }
    constexpr double tiny = 2.2250738585072014e-308;
    temperature = temperature > tiny ? temperature : tiny;
    double total = 0.0;
    for (int64_t i = 0; i < w.samples; ++i) {
      weights[i] = boltzmann(shares[i], temperature);
      total += weights[i];
    }
    for (int64_t i = 0; i < w.samples; ++i) weights[i] /= total > 0.0 ? total : 1.0;
  }
}
