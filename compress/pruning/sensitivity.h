// What the loss rises by when one matrix alone is pruned: what Distribution::sensitivity spreads zeros by.
#pragma once

#include "calibration/examples.h"
#include "pruning/masks.h"

namespace bertx::compress {

/// Sets the masks of a masked model by the scores of a method, so that `sparsity` of its weights are zero.
using RankMasks =
    std::function<void(Backend& backend, Model& model, double sparsity, const Selection& how, const Recipe& recipe)>;

/// Of each of masked_matrices(model) the rise of the mean loss over the calibration texts where that matrix alone loses
/// 50, 70, 80, 90, 95 % of its weights, or all. Masks are as they were afterwards. It takes six passes a matrix, so a
/// few hundred texts (calibration_samples) are enough for most.
std::vector<Sensitivity> measure_sensitivities(Backend& backend, Model& model, const Recipe& recipe,
                                               const Calibration& calibration, const RankMasks& rank);

/// A recipe's selection with what its distribution needs: measured once, before the first step of a training, or at
/// once.
class MeasuredSelection {
 public:
  MeasuredSelection(const Recipe& recipe, const Calibration& calibration)
      : recipe_(recipe), calibration_(calibration), how_(selection_of(recipe)) {}

  void measure(Backend& backend, Model& model, const RankMasks& rank);
  const Selection& how() const { return how_; }
  /// Of a training that may be resumed.
  std::string save() const;
  void load(const std::string& json);

 private:
  Recipe recipe_;
  Calibration calibration_;
  Selection how_;
};

}  // namespace bertx::compress
