// Timing of whole models: A B A B …, the fastest and the median pass, and the check of the results.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bench/lengths.h"
#include "bench/models.h"

namespace bertx::tools {

/// How often, and with how many threads.
struct BenchRuns {
  std::int64_t threads, reps, warmup;
  std::uint64_t seed;
};

/// One line of the table: one model on one set of texts.
struct BenchRow {
  double sparsity = 0;
  Texts texts;
  std::int64_t threads = 0;
  std::string dtype, kernel;
  double min_ms = 0, median_ms = 0;
  std::int64_t reps = 0;
  /// Of the twin with the same zeros in dense matrices: logits of a forward pass, loss and gradient norm (the larger,
  /// relative) of an update.
  double max_difference = 0;
  bool dense = false;       ///< what the speed-up of others refers to
  double optimizer_ms = 0;  ///< training: clipping and AdamW
  std::int64_t arena = 0;   ///< training: bytes of activations
};

/// "f64" or "f32"
std::string dtype_name(DType type);
/// Between results of sparse and dense matrices with the same numbers, relative to the largest: bf16 rounds the inputs
/// of dense products by up to 2^-8, TF32 by 2^-11, layer after layer.
double accepted_difference(const Backend& backend);

/// Forward passes of every variant on every one of `texts`, in turn. Prepares the models for inference first. Throws
/// Error(numeric) where a variant's logits differ from those of its twin by more than 1e-4 of the largest.
std::vector<BenchRow> time_forward(Backend& backend, std::vector<Variant>& variants, const std::vector<Texts>& texts,
                                   const BenchRuns& runs);

}  // namespace bertx::tools
