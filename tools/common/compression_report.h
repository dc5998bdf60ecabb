// What a compression achieved: parameters, zeros, bytes, multiplies and time before and after it, and how well the
// written directory stands for the model in memory.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "bertx/train.h"
#include "common/model_cost.h"

namespace bertx::tools {

struct CompressionReport {
  ModelCost before, after;
  std::int64_t tokens = 0;      ///< of the text that multiplies and latency are about
  std::vector<Timing> latency;  ///< before, after; empty: not measured
  double logit_difference = 0;  ///< largest between the model in memory and the one read back, over random token ids
  bool lossless() const { return logit_difference == 0; }
};

/// `model` is what was written to `after`; `before` is the directory that it came from.
CompressionReport report_compression(Backend& backend, Model& model, const std::filesystem::path& before,
                                     const std::filesystem::path& after, const LatencyFlags& latency);
/// compression_results.json, and its figures in all_results.json.
void write_compression_results(const CompressionReport& report, const std::filesystem::path& directory);
std::string compression_json(const CompressionReport& report, const Figures& figures);
std::string compression_table(const CompressionReport& report, const Figures& figures);

}  // namespace bertx::tools
