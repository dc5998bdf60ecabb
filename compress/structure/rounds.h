// Heads or neurons removed in rounds, the least important first, importance being measured anew before each; until as
// many are left as asked for, or until the model would become worse than allowed.
#pragma once

#include <functional>

#include "bertx/compress.h"

namespace bertx::compress {

/// Of the heads or neurons of each layer: [layer][part].
using Scores = std::vector<std::vector<double>>;
using KeptParts = std::vector<std::vector<bool>>;

/// All parts of a model; `size` is &LayerShape::heads or &LayerShape::ffn.
std::int64_t count_parts(const Model& model, std::int64_t LayerShape::*size);
/// Each layer's scores become a vector of length 1, as Michel et al. compare them across layers; zeros stay.
void normalise_layers(Scores& scores);
/// Uniform in [0, 1), drawn from `seed` and the number of parts that are left.
Scores random_scores(const Model& model, std::int64_t LayerShape::*size, std::uint64_t seed);

/// The encoder of a model as it was. Cutting makes new weights, so that this holds pointers only.
class EncoderBefore {
 public:
  explicit EncoderBefore(const Model& model) : layers_(model.layers), shapes_(model.config.layers) {}
  void restore(Backend& backend, Model& model) const;
  std::vector<EncoderLayer> layers() const { return layers_; }

 private:
  std::vector<EncoderLayer> layers_;
  std::vector<LayerShape> shapes_;
};

/// What is removed.
struct RemovedParts {
  std::int64_t LayerShape::*size;
  void (*keep)(Backend&, Model&, const KeptParts&);  ///< keep_heads or keep_neurons
  std::int64_t full = 0;                             ///< of the whole model; shares are of it
  double share_per_round = 0.1;
};
/// Removes recipe.sparsity of them; with recipe.metric_floor it ends before the metric falls below it, however many are
/// left. `score` is asked before each round. Where it throws the model is as it was.
void remove_in_rounds(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
                      const RemovedParts& parts, const std::function<Scores()>& score);

/// recipe.importance as one of `names`, separated by blanks, the first being what "auto" means. Throws Error(usage).
std::string_view importance_of(const Recipe& recipe, std::string_view names);

}  // namespace bertx::compress
