// Magnitude pruning: Han et al. 2015 (1506.02626) at once, Zhu & Gupta 2017 (1710.01878) gradually during training.
// Masked weights keep their values and may come back while the mask still moves.
#include "masks.h"
#include "methods.h"
#include "schedule.h"

namespace bertx::compress {
namespace {

class Magnitude final : public TrainHook {
 public:
  explicit Magnitude(const Recipe& recipe) : recipe_(recipe) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    mask_weights(backend, model, false);
    share_ = masked_share(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    if (!mask_is_due(recipe_, state)) return;
    share_ = cubic(recipe_.initial_sparsity, recipe_.sparsity, recipe_.schedule_begin, recipe_.schedule_end,
                   progress(state));
    rank_masks(backend, model, share_, recipe_.scope, Key::magnitude);
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }

  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  double share_ = 0;
};

}  // namespace

std::unique_ptr<TrainHook> make_magnitude(const Recipe& recipe, const Calibration&) {
  return std::make_unique<Magnitude>(recipe);
}

void magnitude_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration&) {
  mask_weights(backend, model, false);
  rank_masks(backend, model, recipe.sparsity, recipe.scope, Key::magnitude);
  finalize_masks(backend, model);
}

}  // namespace bertx::compress
