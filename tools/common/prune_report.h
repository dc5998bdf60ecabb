// What pruning achieved: zeros per matrix, bytes of the encoder, and how well the written directory stands for the
// model.
#pragma once

#include <filesystem>
#include <string>

#include "bertx/compress.h"
#include "bertx/train.h"

namespace bertx::tools {

struct PruneReport {
  compress::Report model;
  std::int64_t bytes_before = 0, bytes_after = 0;  ///< of the weight files
  double logit_difference = 0;  ///< largest between the model in memory and the one read back, over random token ids
  bool lossless() const { return logit_difference == 0; }
};

PruneReport report_pruning(Backend& backend, Model& model, const std::filesystem::path& before,
                           const std::filesystem::path& after);
/// prune_results.json, and its figures in all_results.json.
void write_prune_results(const PruneReport& report, const std::filesystem::path& directory);
std::string prune_json(const PruneReport& report, const Figures& figures);
std::string prune_table(const PruneReport& report, const Figures& figures);

}  // namespace bertx::tools
