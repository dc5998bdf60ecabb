// Soft movement pruning (Sanh, Wolf & Rush 2020, 2005.07683): keeps the weights with σ(S) > τ, and pushes scores down
// with the penalty λ · mean over matrices of mean σ(S). The sparsity is a result of λ, not an input: with a wanted
// sparsity λ is steered so that the share of zeros follows the cubic towards it. `score_start` as in movement.cpp;
// scores have to stay within reach of the threshold: about 1 for a few thousand steps.
#include "pruning/masks.h"
#include "pruning/methods.h"
#include "pruning/soft_scores.h"

namespace bertx::compress {
namespace {

constexpr double first_lambda = 100;

class SoftMovement final : public SoftScores {
 public:
  explicit SoftMovement(const Recipe& recipe) : SoftScores(recipe, first_lambda) {}

  void begin(Backend& backend, Model& model, const TrainState& state) override {
    mask_weights_with_scores(backend, model, recipe_, state);
    share_ = masked_share(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    risen_ = risen(recipe_, state);
    if (risen_ <= 0.0) return;
    for (const MaskedMatrix& matrix : masked_matrices(model)) {
      const HostFloats scores(backend, matrix.weight->scores()->tensor());
      change_mask(backend, *matrix.weight, [&](std::uint8_t* mask, std::int64_t size) {
        keep_above(scores.data(), mask, size, recipe_.threshold * risen_);
      });
    }
    share_ = masked_share(backend, model);
    steering_.steer(state, share_);
  }

  // dS += λ_t σ'(S) / (matrices · n);  λ_t rises with τ
  double after_backward(Backend& backend, Model& model, const TrainState&) override {
    std::vector<Parameter*> scores;
    for (const MaskedMatrix& matrix : masked_matrices(model)) scores.push_back(matrix.weight->scores());
    return add_penalty(backend, scores, steering_.lambda() * risen_);
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { finalize_masks(backend, model); }
};

}  // namespace

std::unique_ptr<TrainHook> make_soft_movement(const Recipe& recipe, const Calibration&) {
  return std::make_unique<SoftMovement>(recipe);
}

}  // namespace bertx::compress
