#include "backend/cpu/tuner.h"

#include <omp.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <random>

#include "bertx/arena.h"
#include "bertx/error.h"
#include "bertx/sparse/isa.h"
#include "bertx/sparse/parallel.h"

namespace bertx::cpu {
namespace {

constexpr int kRounds = 4;
constexpr std::int64_t kColdTokens = 16;

std::string processor_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

TuningFile& tuning_file() {
  static const Machine machine{processor_name(), std::string(sparse::active_isa_name())};
  static TuningFile file(tuning_path(machine), machine);
  return file;
}

/// An activation in memory of its own, laid out as an arena's.
struct Activation {
  std::vector<float> memory;
  Tensor tensor;

  Activation(std::int64_t rows, std::int64_t cols)
      : memory(static_cast<std::size_t>(rows * row_stride(cols, DType::f32) + 16)) {
    std::minstd_rand random(1);
    for (float& v : memory) v = static_cast<float>(random()) * 0x1p-31f - 0.5f;
    auto address = (reinterpret_cast<std::uintptr_t>(memory.data()) + 63) / 64 * 64;
    tensor = {reinterpret_cast<void*>(address), rows, cols, row_stride(cols, DType::f32), DType::f32};
  }
};

/// Reads more than any cache holds, on all threads: what a model's other weights do between two uses of this one.
void sweep_caches() {
  static const std::vector<float> memory(24 << 20, 1.0f);
  static std::atomic<float> sink;  // without it the reads would be left out
  const auto count = static_cast<std::int64_t>(memory.size());
  sparse::parallel_ranges(count, 1 << 16, [&](std::int64_t first, std::int64_t last) {
    float sum = 0;
    for (std::int64_t i = first; i < last; i += 16) sum += memory[static_cast<std::size_t>(i)];
    sink.store(sum, std::memory_order_relaxed);
  });
}

double milliseconds(const Weight& weight, Tensor x, Tensor y) {
  const auto begin = std::chrono::steady_clock::now();
  weight.apply(x, y, {});
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
}

Timings measure(const WeightShape& shape, const std::vector<std::unique_ptr<Weight>>& forms,
                const std::vector<std::string>& names) {
  const auto [smallest, largest] =
      std::ranges::minmax_element(forms, {}, [](const auto& form) { return form->bytes(); });
  const bool sizes_differ = 2 * (*largest)->bytes() > 3 * (*smallest)->bytes();
  Timings out;
  for (const std::int64_t tokens : kTunedTokens) {
    // Few tokens wait for the weights: where forms differ in size, they are timed as they lie in a model, out of cache.
    const bool cold = sizes_differ && tokens <= kColdTokens;
    const Activation x(shape.cols, tokens), y(shape.rows, tokens);
    out[tokens] = best_in_turn(names, kRounds, [&](std::size_t f) {
      if (cold) sweep_caches();
      return milliseconds(*forms[f], x.tensor, y.tensor);
    });
  }
  return out;
}

}  // namespace

std::unique_ptr<PreparedWeight> tuned_weight(WeightShape shape, const std::vector<Candidate>& candidates) {
  if (!worth_tuning(shape, candidates)) return candidates.front().make();
  shape.products += text(", ", omp_get_max_threads(), " threads");
  return bertx::tuned_weight<Weight>(
      tuning_file(), shape, kTunedTokens, candidates,
      [&](const auto& forms, const auto& names) { return measure(shape, forms, names); });
}

}  // namespace bertx::cpu
