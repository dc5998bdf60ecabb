// Magnitude pruning: Han et al. 2015 (1510.00149) at once, Zhu & Gupta 2017 (1710.01878) gradually during training.
// Masked weights keep their values and may come back while the mask still moves.
#include "pruning/gradual.h"
#include "pruning/methods.h"

namespace bertx::compress {
namespace {

void rank_by_magnitude(Backend& backend, Model& model, double sparsity, const Selection& how, const Recipe&) {
  rank_masks(backend, model, sparsity, how, Key::magnitude);
}

}  // namespace

std::unique_ptr<TrainHook> make_magnitude(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<GradualRanking>(recipe, calibration, rank_by_magnitude, false);
}

void magnitude_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  rank_now(backend, model, recipe, calibration, rank_by_magnitude);
}

}  // namespace bertx::compress
