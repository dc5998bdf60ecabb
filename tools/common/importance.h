// How important each head of a model is on one set of texts, as `bertx importance` measures, shows and keeps it.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bertx/compress.h"

namespace bertx::tools {

/// The neurons of one layer in a line.
struct NeuronSummary {
  std::int64_t count = 0;
  double mean = 0, median = 0, largest = 0;
  std::int64_t half = 0;  ///< the fewest neurons that hold half of the layer's importance
};
NeuronSummary summary_of(std::vector<double> importance);

struct ImportanceSet {
  std::string model, data, split, per;
  std::optional<std::int64_t> seed;  ///< of the model's training, where it is known
  std::int64_t texts = 0;
  std::vector<std::vector<double>> heads;  ///< [layer][head], as measured
  std::vector<NeuronSummary> neurons;      ///< [layer]; empty where they were not measured
};

/// heads, each layer's as a vector of length 1: how removal compares them across layers. All layers one after another.
std::vector<double> compared_importance(const ImportanceSet& set);

/// {"bertx_importance": 1, "sets": […]}, and its inverse. Throws Error(bad_input) naming file, field, what was found
/// and what was expected.
std::string importance_json(const std::vector<ImportanceSet>& sets);
std::vector<ImportanceSet> read_importance(const std::filesystem::path& file);

/// A row a layer, a column a head.
std::string importance_table(const ImportanceSet& set);
/// A drawing of the same: a square a head, the darker the more important.
std::string importance_svg(const std::vector<ImportanceSet>& sets);

/// Rank correlations of all pairs of sets, and their means over pairs of the same and of other data. Throws
/// Error(bad_input) where two do not have the same heads.
std::string compare_importance(const std::vector<ImportanceSet>& sets, bool json);

}  // namespace bertx::tools
