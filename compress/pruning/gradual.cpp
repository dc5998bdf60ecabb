#include "pruning/gradual.h"

#include "pruning/schedule.h"

namespace bertx::compress {

void GradualRanking::begin(Backend& backend, Model& model, const TrainState&) {
  if (key_ == Key::value) {
    mask_weights_with_scores(backend, model, recipe_);
  } else {
    mask_weights(backend, model, false);
  }
  share_ = masked_share(backend, model);
}

void GradualRanking::before_step(Backend& backend, Model& model, const TrainState& state) {
  if (!mask_is_due(recipe_, state)) return;
  share_ = cubic(recipe_.initial_sparsity, final_sparsity(recipe_), recipe_.schedule_begin, recipe_.schedule_end,
                 progress(state));
  rank_masks(backend, model, share_, how_, key_);
}

void GradualRanking::finish(Backend& backend, Model& model, const TrainState&) { finalize_masks(backend, model); }

}  // namespace bertx::compress
