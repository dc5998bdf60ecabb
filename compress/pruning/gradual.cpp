#include "pruning/gradual.h"

#include "pruning/schedule.h"

namespace bertx::compress {

void GradualRanking::begin(Backend& backend, Model& model, const TrainState& state) {
  if (with_scores_) {
    mask_weights_with_scores(backend, model, recipe_, state);
  } else {
    mask_weights(backend, model, false);
  }
  if (!state.resumed) selection_.measure(backend, model, rank_);
  share_ = masked_share(backend, model);
}

void GradualRanking::before_step(Backend& backend, Model& model, const TrainState& state) {
  if (!mask_is_due(recipe_, state)) return;
  const double sparsity = cubic(recipe_.initial_sparsity, final_sparsity(recipe_), recipe_.schedule_begin,
                                recipe_.schedule_end, progress(state));
  rank_(backend, model, sparsity, selection_.how(), recipe_);
  share_ = masked_share(backend, model);
}

void GradualRanking::finish(Backend& backend, Model& model, const TrainState&) { finalize_masks(backend, model); }

void rank_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
              const RankMasks& rank) {
  MeasuredSelection selection(recipe, calibration);
  mask_weights(backend, model, false);
  selection.measure(backend, model, rank);
  rank(backend, model, final_sparsity(recipe), selection.how(), recipe);
  finalize_masks(backend, model);
}

}  // namespace bertx::compress
