// The optimal BERT surgeon (Kurtic et al. 2022, 2203.07259): weights go by what the loss rises by without them in the
// quadratic model of the empirical Fisher matrix, and the weights of their block make good of it. All matrices are
// ranked together; what is pruned stays pruned.
//
// The Fisher matrix is that of m = fisher_gradients gradients, each of the mean loss over calibration_samples / m texts
// without dropout (the paper: 1,024 gradients of 8 to 16 texts), drawn anew for every estimate.
//
// At once the estimate is repeated `recomputations` times (1), the same share of the remaining weights going each time;
// during training as often (7), evenly between schedule_begin and schedule_end, the sparsity rising along the cubic.
#include <cmath>
#include <numeric>

#include "pruning/curvature.h"
#include "pruning/methods.h"
#include "pruning/schedule.h"

namespace bertx::compress {
namespace {

constexpr std::int64_t once = 1, while_training = 7;  // estimates, where the recipe does not say

class OptimalBertSurgeon final : public TrainHook {
 public:
  OptimalBertSurgeon(const Recipe& recipe, const Calibration& calibration)
      : recipe_(recipe), calibration_(calibration), times_(recipe.recomputations.value_or(while_training)) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    mask_weights(backend, model, false);
    share_ = masked_share(backend, model);
  }

  // A function of the step alone, so that nothing is to be saved.
  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    for (std::int64_t time = times_ - 1; time >= 0; --time) {
      const double share = times_ == 1 ? 0.0 : static_cast<double>(time) / static_cast<double>(times_ - 1);
      const double at = recipe_.schedule_begin + share * (recipe_.schedule_end - recipe_.schedule_begin);
      if (std::llround(at * static_cast<double>(state.total_steps - 1)) != state.step) continue;
      const double sparsity = time == times_ - 1 ? final_sparsity(recipe_)
                                                 : cubic(recipe_.initial_sparsity, final_sparsity(recipe_),
                                                         recipe_.schedule_begin, recipe_.schedule_end, at);
      if (sparsity > share_) {
        prune_by_curvature(backend, model, recipe_, calibration_, sparsity, static_cast<std::uint64_t>(time));
        share_ = masked_share(backend, model);
      }
      return;
    }
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }
  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  Calibration calibration_;
  std::int64_t times_;
  double share_ = 0;
};

}  // namespace

void obert_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration) {
  mask_weights(backend, model, false);
  const std::int64_t times = recipe.recomputations.value_or(once);
  for (std::int64_t time = 0; time < times; ++time) {
    const double part = static_cast<double>(time + 1) / static_cast<double>(times);
    prune_by_curvature(backend, model, recipe, calibration, 1.0 - std::pow(1.0 - final_sparsity(recipe), part),
                       static_cast<std::uint64_t>(time));
  }
  finalize_masks(backend, model);
}

std::unique_ptr<TrainHook> make_obert(const Recipe& recipe, const Calibration& calibration) {
  return std::make_unique<OptimalBertSurgeon>(recipe, calibration);
}

}  // namespace bertx::compress
