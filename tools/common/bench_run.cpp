#include "common/bench_run.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <random>

#include "bertx/error.h"

namespace bertx::tools {
namespace {

Batch random_batch(const Config& config, const BenchShape& shape, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  Batch batch;
  batch.starts.push_back(0);
  for (std::int64_t b = 0; b < shape.batch; ++b) {
    for (std::int64_t t = 0; t < shape.tokens; ++t) {
      batch.ids.push_back(static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(config.vocab)));
    }
    batch.starts.push_back(static_cast<std::int32_t>(batch.ids.size()));
  }
  batch.types.assign(batch.ids.size(), 0);
  return batch;
}

/// Milliseconds of one forward pass, arena and all.
double time_pass(Backend& backend, Arena& arena, const Model& model, const Batch& batch, std::vector<float>* outputs) {
  arena.reset();
  Exec exec{backend, arena};
  const auto begin = std::chrono::steady_clock::now();
  const Tensor logits = model.forward(exec, batch);
  std::vector<float> host(static_cast<std::size_t>(logits.size()));
  backend.download(logits, view(host.data(), logits.rows, logits.cols, DType::f32));  // it waits for the device
  const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  if (outputs != nullptr) *outputs = std::move(host);
  return ms;
}

double checked_difference(const std::vector<float>& found, const std::vector<float>& expected, const Variant& variant) {
  double difference = 0, scale = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    difference = std::max(difference, std::fabs(static_cast<double>(found[i]) - expected[i]));
    scale = std::max(scale, std::fabs(static_cast<double>(expected[i])));
  }
  if (!(difference <= 1e-4 * std::max(scale, 1e-3))) {
    fail(ErrorKind::numeric, "kernel ", variant.kernel, ": logits differ by ", difference,
         " from those of dense matrices with the same zeros, whose largest is ", scale,
         "; expected at most 1e-4 of it");
  }
  return difference;
}

}  // namespace

std::vector<BenchRow> run_interleaved(Backend& backend, const std::vector<Variant>& variants, const BenchShape& shape,
                                      std::uint64_t seed) {
  const Batch batch = random_batch(variants.front().model.config, shape, seed);
  Arena arena(backend);

  // 1. Every variant once, for the check.
  std::vector<std::vector<float>> outputs(variants.size());
  std::vector<double> difference(variants.size());
  for (std::size_t v = 0; v < variants.size(); ++v) {
    time_pass(backend, arena, variants[v].model, batch, &outputs[v]);
    const int twin = variants[v].same_numbers_as;
    if (twin >= 0) difference[v] = checked_difference(outputs[v], outputs[static_cast<std::size_t>(twin)], variants[v]);
  }

  // 2. Those that are timed, in turn.
  std::vector<std::vector<double>> times(variants.size());
  for (std::int64_t rep = -shape.warmup; rep < shape.reps; ++rep) {
    for (std::size_t v = 0; v < variants.size(); ++v) {
      if (!variants[v].timed) continue;
      const double ms = time_pass(backend, arena, variants[v].model, batch, nullptr);
      if (rep >= 0) times[v].push_back(ms);
    }
  }

  // 3. Rows.
  std::vector<BenchRow> rows;
  for (std::size_t v = 0; v < variants.size(); ++v) {
    if (!variants[v].timed) continue;
    std::ranges::sort(times[v]);
    const std::string dtype = backend.real() == DType::f64 ? "f64" : backend.real() == DType::bf16 ? "bf16" : "f32";
    const std::size_t n = times[v].size();
    const double median = n % 2 == 1 ? times[v][n / 2] : (times[v][n / 2 - 1] + times[v][n / 2]) / 2;
    rows.push_back({variants[v].sparsity, shape.batch, shape.tokens, shape.threads, dtype, variants[v].kernel,
                    times[v].front(), median, shape.reps, difference[v], variants[v].dense});
  }
  return rows;
}

}  // namespace bertx::tools
