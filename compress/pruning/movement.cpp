// Hard movement pruning (Sanh, Wolf & Rush 2020, 2005.07683): every weight has a score S that learns by the
// straight-through gradient dL/dS = W∘G (MaskedWeight); the weights with the highest scores are kept.
//
// The paper's scores begin at 0 and learn for thousands of steps before the first zero. Under AdamW they are then a
// random walk with a drift, and only their order counts: in a training of a few hundred or thousand steps the lowest
// are those that the latest gradients all push towards zero. To take them out at once is one huge step along these
// gradients, and the model does not come back from it. `score_start` lets them begin at a multiple of |W| / rms(W)
// instead, so that magnitudes decide first and movement little by little.
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
