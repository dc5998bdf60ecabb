// Magnitude pruning: Han et al. 2015 (1510.00149) at once, Zhu & Gupta 2017 (1710.01878) gradually during training.
// Masked weights keep their values and may come back while the mask still moves.
#include "pruning/gradual.h"
#include "pruning/methods.h"

namespace bertx::compress {

std::unique_ptr<TrainHook> make_magnitude(const Recipe& recipe, const Calibration&) {
  return std::make_unique<GradualRanking>(recipe, Key::magnitude);
}

void magnitude_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  mask_weights(backend, model, false);
  rank_masks(backend, model, final_sparsity(recipe), selection_of(recipe), Key::magnitude);
  finalize_masks(backend, model);
}

}  // namespace bertx::compress
