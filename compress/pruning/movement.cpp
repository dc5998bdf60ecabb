// Hard movement pruning (Sanh, Wolf & Rush 2020, 2005.07683): every weight has a score S that learns by the
// straight-through gradient dL/dS = W∘G (MaskedWeight); the weights with the highest scores are kept.
#include "pruning/gradual.h"
#include "pruning/methods.h"

namespace bertx::compress {

std::unique_ptr<TrainHook> make_movement(const Recipe& recipe, const Calibration& calibration) {
  const RankMasks rank = [](Backend& backend, Model& model, double sparsity, const Selection& how, const Recipe&) {
    rank_masks(backend, model, sparsity, how, Key::value);
  };
  return std::make_unique<GradualRanking>(recipe, calibration, rank, true);
}

}  // namespace bertx::compress
