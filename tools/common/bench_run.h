// The timing: A B A B …, the fastest and the median pass, and the check of the results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/bench_models.h"

namespace bertx::tools {

struct BenchShape {
  std::int64_t batch, tokens, threads, reps, warmup;
};

struct BenchRow {
  double sparsity = 0;
  std::int64_t batch = 0, tokens = 0, threads = 0;
  std::string dtype, kernel;
  double min_ms = 0, median_ms = 0;
  std::int64_t reps = 0;
  double max_difference = 0;  ///< of logits, from the dense twin with the same zeros
  bool dense = false;
};

/// Throws Error(numeric) where a variant's logits differ from those of its twin by more than 1e-4 of the largest.
std::vector<BenchRow> run_interleaved(Backend& backend, const std::vector<Variant>& variants, const BenchShape& shape,
                                      std::uint64_t seed);

}  // namespace bertx::tools
