// Weights of the exponential utility and of the elite fraction; the formulas, and the same by NumPy where there is no
// kernel, are in mpc/utilities.py.
#include <math.h>
#include <stdint.h>

#include <algorithm>
#include <new>
#include <vector>

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

// One utility's arguments, as above; the 'elites' cheapest samples count, by their return or all the same.
struct Selecting {
  int64_t rows, samples, elites, by_return;
  const double* costs;
  double* weights;
};

// 0, or 1 where there was no memory.
extern "C" __attribute__((visibility("default"))) int demo_native_select(const Selecting* given) {
  const Selecting& s = *given;
  std::vector<double> sorted;
  try {
    sorted.resize(static_cast<size_t>(s.samples));
  } catch (const std::bad_alloc&) {
    return 1;
  }
  for (int64_t row = 0; row < s.rows; ++row) {
    const double* const costs = s.costs + row * s.samples;
    double* const weights = s.weights + row * s.samples;
    for (int64_t i = 0; i < s.samples; ++i) sorted[i] = isfinite(costs[i]) ? costs[i] : INFINITY;
    std::nth_element(sorted.begin(), sorted.begin() + (s.elites - 1), sorted.end());
    const double last = sorted[s.elites - 1];
    double lowest = INFINITY, highest = -INFINITY;
    for (int64_t i = 0; i < s.elites; ++i) {
      if (sorted[i] == INFINITY) continue;
      lowest = sorted[i] < lowest ? sorted[i] : lowest;
      highest = sorted[i] > highest ? sorted[i] : highest;
    }
    // Halved and divided by the largest: neither differences nor sums of huge costs may overflow.
    const double range = highest / 2.0 - lowest / 2.0;
    const bool by_return = s.by_return && range > 0.0;
    int64_t cheaper = 0;
    for (int64_t i = 0; i < s.samples; ++i) cheaper += costs[i] < last && isfinite(costs[i]);
    int64_t alike = s.elites - cheaper;  // of those that cost as much as the last elite, the first ones
    double total = 0.0;
    for (int64_t i = 0; i < s.samples; ++i) {
      weights[i] = 0.0;
      if (!isfinite(costs[i]) || !(costs[i] < last || (costs[i] == last && alike-- > 0))) continue;
      weights[i] = by_return ? (highest / 2.0 - costs[i] / 2.0) / range : 1.0;
      total += weights[i];
    }
    for (int64_t i = 0; i < s.samples; ++i) weights[i] /= total > 0.0 ? total : 1.0;
  }
  return 0;
}
