// The library's C interface, for library.py: choice of the instruction set, programs in memory, threads.
#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "multiply.hpp"
#include "program.hpp"

#define DEMO_DECLARE(name)                 \
  extern const Variant demo_variant_##name; \
  extern const Multiplier demo_multiplier_##name;
DEMO_VARIANTS(DEMO_DECLARE)
#undef DEMO_DECLARE

namespace {

constexpr size_t kAlignment = 64;

struct Free {
  void operator()(float* memory) const { std::free(memory); }
};
using Floats = std::unique_ptr<float[], Free>;

Floats allocate(int64_t count) {
  const size_t bytes = (static_cast<size_t>(count) * sizeof(float) + kAlignment - 1) / kAlignment * kAlignment;
  void* memory = std::aligned_alloc(kAlignment, bytes ? bytes : kAlignment);
  if (memory == nullptr) throw std::bad_alloc();
  return Floats(static_cast<float*>(memory));
}

#if defined(__x86_64__)
// The matrix unit: the processor has it, and the system lets this process have its registers (Linux from 5.16 on, once
// it was asked).
bool allows_matrix_unit() {
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  constexpr unsigned kBfloat16 = 1u << 22, kTiles = 1u << 24;
  if ((d & kBfloat16) == 0 || (d & kTiles) == 0) return false;
#if defined(__linux__)
  constexpr long kAskForRegisters = 0x1023, kTileRegisters = 18;
  return syscall(SYS_arch_prctl, kAskForRegisters, kTileRegisters) == 0;
#else
  return false;
#endif
}
#endif

bool runs_here(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (std::strcmp(name, "amx") == 0) return runs_here("avx512") && allows_matrix_unit();
  if (std::strcmp(name, "avx512") == 0) {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
  }
  if (std::strcmp(name, "avx2") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
  return std::strcmp(name, "baseline") == 0;
}

const Variant* variant_named(const char* name) {
#define DEMO_FIND(variant) \
  if (std::strcmp(name, #variant) == 0 && runs_here(#variant)) return &demo_variant_##variant;
  DEMO_VARIANTS(DEMO_FIND)
#undef DEMO_FIND
  return nullptr;
}

// A workspace and its memory.
struct Place {
  Floats memory;
  Workspace workspace;
};

// A program with all that it refers to.
class Rollout {
 public:
  Rollout(const Variant& variant, const Dimensions& dimensions, const Rows& rows) : variant_(variant) {
    program_.dimensions = dimensions;
    program_.rows = rows;
  }

  void take_code(const LaneTapes* lanes, const Instruction* code, int64_t length) {
    lanes_.assign(lanes, lanes + program_.dimensions.lanes);
    code_.assign(code, code + length);
    program_.lanes = lanes_.data();
    program_.code = code_.data();
  }

  void take_numbers(const Layer* layers, int64_t count, const float* numbers, const float* constants) {
    constants_.assign(constants, constants + program_.dimensions.constants);
    int64_t size = 0;
    for (int64_t i = 0; i < count; ++i) size += variant_.packed_size(layers[i]);
    weights_ = allocate(size);
    float* to = weights_.get();
    for (int64_t i = 0; i < count; ++i) {
      layers_.push_back(variant_.pack(layers[i], numbers, to));
      to += variant_.packed_size(layers[i]);
    }
    program_.constants = constants_.data();
    program_.layers = layers_.data();
    program_.num_layers = count;
  }

  void run(const Arrays& arrays, int64_t rows, int64_t threads) {
    const Split split = split_for(rows, threads);
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&] {
      try {
        for (int64_t number = next++; number < split.tiles(); number = next++) run_tile(arrays, rows, split, number);
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    };
    std::vector<std::thread> helpers;
    try {
      // Made and ended with the call: a pool would not survive a fork, and costs little less beside milliseconds.
      for (int64_t i = 1; i < std::min(threads, split.tiles()); ++i) helpers.emplace_back(work);
    } catch (const std::system_error&) {
      // The system gives no more threads; those that there are do it.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failed) throw std::bad_alloc();
  }

 private:
  // Each lane's samples: the first 'many' in tiles of 'tile', the others in tiles of 'few'.
  struct Split {
    int64_t lanes, rows, many, tile, few;

    int64_t tiles_of_many() const { return (many + tile - 1) / tile; }
    int64_t tiles_per_lane() const { return tiles_of_many() + (rows - many + few - 1) / few; }
    int64_t tiles() const { return lanes * tiles_per_lane(); }
  };

  // Results do not depend on it: every sample is on its own. Large tiles share the interpreter's work among more
  // samples, but no thread should be without a tile. Less than half a vector of samples is better off as few.
  Split split_for(int64_t rows, int64_t threads) const {
    const int64_t rest = rows % variant_.lanes;
    const int64_t many = variant_.most_few > 0 && rest <= variant_.lanes / 2 ? rows - rest : rows;
    Split split{program_.dimensions.lanes, rows, many, variant_.largest_tile, std::max<int64_t>(variant_.most_few, 1)};
    while (split.tile > variant_.lanes && (many <= split.tile / 2 || split.tiles() < threads)) split.tile /= 2;
    return split;
  }

  void run_tile(const Arrays& arrays, int64_t rows, const Split& split, int64_t number) {
    const int64_t lane = number / split.tiles_per_lane(), tile = number % split.tiles_per_lane();
    const int64_t few_before = tile - split.tiles_of_many();
    const bool few = few_before >= 0;
    const int64_t first = few ? split.many + few_before * split.few : tile * split.tile;
    const int64_t count = few ? std::min(split.few, rows - first) : std::min(split.tile, split.many - first);
    Place place = acquire(few ? split.few : split.tile, few);
    variant_.run(program_, arrays, {lane, first, count, rows}, place.workspace);
    release(std::move(place));
  }

  Place acquire(int64_t capacity, bool few) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (size_t i = 0; i < spare_.size(); ++i) {
        if (spare_[i].workspace.capacity != capacity || spare_[i].workspace.few != few) continue;
        Place found = std::move(spare_[i]);
        spare_.erase(spare_.begin() + static_cast<std::ptrdiff_t>(i));
        return found;
      }
    }
    Place made{allocate(variant_.workspace_size(program_, capacity, few)), {nullptr, capacity, few}};
    made.workspace.memory = made.memory.get();
    variant_.fill(program_, made.workspace);
    return made;
  }

  void release(Place place) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spare_.size() < kSpareWorkspaces) spare_.push_back(std::move(place));
  }

  static constexpr size_t kSpareWorkspaces = 64;

  const Variant& variant_;
  Program program_{};
  std::vector<LaneTapes> lanes_;
  std::vector<Instruction> code_;
  std::vector<PackedLayer> layers_;
  std::vector<float> constants_;
  Floats weights_;
  std::mutex mutex_;
  std::vector<Place> spare_;
};

double seconds() {
  timespec now;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace

#define DEMO_PUBLIC extern "C" __attribute__((visibility("default")))

// Hash of the sources that this was built from.
DEMO_PUBLIC const char* demo_native_sources() { return DEMO_SOURCES; }

// Names of all operators, in order, separated by spaces.
DEMO_PUBLIC const char* demo_native_operators() {
#define X(name) #name " "
  return DEMO_OPERATORS(X);
#undef X
}

// Instruction sets that this machine can run, the best first, separated by spaces.
DEMO_PUBLIC const char* demo_native_variants() {
  static const std::string names = [] {
    std::string found;
#define DEMO_NAME(name) \
  if (runs_here(#name)) found += #name " ";
    DEMO_VARIANTS(DEMO_NAME)
#undef DEMO_NAME
    return found;
  }();
  return names.c_str();
}

// A program ready to run, or null: no such variant, or no memory.
DEMO_PUBLIC void* demo_native_create(const char* variant, const Dimensions* dimensions, const Rows* rows,
                                     const LaneTapes* lanes, const Instruction* code, int64_t length,
                                     const Layer* layers, int64_t num_layers, const float* numbers,
                                     const float* constants) {
  const Variant* chosen = variant_named(variant);
  if (chosen == nullptr) return nullptr;
  try {
    auto made = std::make_unique<Rollout>(*chosen, *dimensions, *rows);
    made->take_code(lanes, code, length);
    made->take_numbers(layers, num_layers, numbers, constants);
    return made.release();
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}

// 0, or 1 where there was no memory.
DEMO_PUBLIC int demo_native_run(void* rollout, const Arrays* arrays, int64_t rows, int64_t threads) {
  try {
    static_cast<Rollout*>(rollout)->run(*arrays, rows, threads);
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

DEMO_PUBLIC void demo_native_destroy(void* rollout) { delete static_cast<Rollout*>(rollout); }

// Multiply-adds from register to register, in operations (two each) per second of the thread's time.
DEMO_PUBLIC double demo_native_peak(const char* variant, int64_t repetitions) {
  const Variant* chosen = variant_named(variant);
  return chosen == nullptr ? 0.0 : chosen->multiply_add_rate(repetitions, seconds);
}

// The instruction set for products, or null where this machine has none of that name.
DEMO_PUBLIC const void* demo_native_multiplier(const char* name) {
#define DEMO_FIND(known) \
  if (std::strcmp(name, #known) == 0 && runs_here(#known)) return &demo_multiplier_##known;
  DEMO_VARIANTS(DEMO_FIND)
#undef DEMO_FIND
  return nullptr;
}

// Floats of a workspace that serves all of these products.
DEMO_PUBLIC int64_t demo_native_product_workspace(const void* multiplier, const Product* products, int64_t count) {
  int64_t most = 0;
  for (int64_t i = 0; i < count; ++i) {
    most = std::max(most, static_cast<const Multiplier*>(multiplier)->workspace_size(products[i]));
  }
  return most;
}

// Products one after the other; 'workspace' is aligned to vectors.
DEMO_PUBLIC void demo_native_multiply(const void* multiplier, const Product* products, int64_t count,
                                      float* workspace) {
  for (int64_t i = 0; i < count; ++i) static_cast<const Multiplier*>(multiplier)->multiply(products[i], workspace);
}
