// The library's C interface, for library.py: choice of the instruction set, programs in memory, threads.
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

#include "program.hpp"

#define DEMO_DECLARE(name) extern const Variant demo_variant_##name;
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

bool runs_here(const char* name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
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

// Memory of one tile, with the constants of the program for the stride.
struct Workspace {
  Floats memory;
  int64_t stride;
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
  }

  void run(const Arrays& arrays, int64_t rows, int64_t threads) {
    const Split split = split_for(rows, threads);
    std::atomic<int64_t> next{0};
    std::atomic<bool> failed{false};
    const auto work = [&] {
      try {
        Workspace workspace = acquire(split.tile);
        for (int64_t number = next++; number < split.tiles; number = next++) {
          const int64_t first = number % split.tiles_per_lane * split.tile;
          const Tile tile{number / split.tiles_per_lane, first, std::min(split.tile, rows - first), rows};
          variant_.run(program_, arrays, tile, workspace.memory.get(), split.tile);
        }
        release(std::move(workspace));
      } catch (const std::bad_alloc&) {
        failed = true;
      }
    };
    std::vector<std::thread> helpers;
    try {
      // Made and ended with the call: a pool would not survive a fork, and costs little less beside milliseconds.
      for (int64_t i = 1; i < std::min(threads, split.tiles); ++i) helpers.emplace_back(work);
    } catch (const std::system_error&) {
      // The system gives no more threads; those that there are do it.
    }
    work();
    for (std::thread& helper : helpers) helper.join();
    if (failed) throw std::bad_alloc();
  }

 private:
  struct Split {
    int64_t tile, tiles_per_lane, tiles;
  };

  // Results do not depend on it: every sample is on its own. Large tiles share the interpreter's work among more
  // samples, but no thread should be without a tile.
  Split split_for(int64_t rows, int64_t threads) const {
    const auto tiles_of = [rows](int64_t tile) { return (rows + tile - 1) / tile; };
    const int64_t lanes = program_.dimensions.lanes;
    int64_t tile = variant_.largest_tile;
    while (tile > variant_.lanes && (rows <= tile / 2 || lanes * tiles_of(tile) < threads)) tile /= 2;
    return {tile, tiles_of(tile), lanes * tiles_of(tile)};
  }

  Workspace acquire(int64_t stride) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      for (size_t i = 0; i < spare_.size(); ++i) {
        if (spare_[i].stride != stride) continue;
        Workspace found = std::move(spare_[i]);
        spare_.erase(spare_.begin() + static_cast<std::ptrdiff_t>(i));
        return found;
      }
    }
    Workspace made{allocate(program_.dimensions.rows * stride), stride};
    variant_.fill(program_, made.memory.get(), stride);
    return made;
  }

  void release(Workspace workspace) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (spare_.size() < kSpareWorkspaces) spare_.push_back(std::move(workspace));
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
  std::vector<Workspace> spare_;
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
