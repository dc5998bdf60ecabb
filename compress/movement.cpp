// Hard movement pruning (Sanh, Wolf & Rush 2020, 2005.07683): every weight has a score S that learns by the
// straight-through gradient dL/dS = W∘G; the weights with the highest scores are kept.
#include "masks.h"
#include "methods.h"
#include "schedule.h"

namespace bertx::compress {
namespace {

class Movement final : public TrainHook {
 public:
  explicit Movement(const Recipe& recipe) : recipe_(recipe) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    mask_weights(backend, model, true);
    for (const MaskedMatrix& matrix : masked_matrices(model)) {
      matrix.weight->scores()->learning_rate_factor = recipe_.score_learning_rate / recipe_.learning_rate;
    }
    share_ = masked_share(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    if (!mask_is_due(recipe_, state)) return;
    share_ = cubic(recipe_.initial_sparsity, recipe_.sparsity, recipe_.schedule_begin, recipe_.schedule_end,
                   progress(state));
    rank_masks(backend, model, share_, recipe_.scope, Key::value);
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }

  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  double share_ = 0;
};

}  // namespace

std::unique_ptr<TrainHook> make_movement(const Recipe& recipe, const Calibration&) {
  return std::make_unique<Movement>(recipe);
}

}  // namespace bertx::compress
