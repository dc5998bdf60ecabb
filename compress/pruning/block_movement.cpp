// Block movement pruning (Lagunas, Charlaix, Sanh & Rush 2021, 2109.04838), in the paper's hybrid form: soft movement
// (σ(S) > τ, penalty on the scores, see soft_movement.cpp) with one score for a block of attention weights, and one for
// a neuron: its row of the first feed-forward matrix, its bias and its column of the second. Scores learn by the sum of
// W∘G over what they stand for.
//
// In the end ("fill") heads without a block in query, key, value or attention output, and neurons that are masked, are
// cut out, and what is left is dense again with its values under the masks: a small model, to be trained a little more.
// `sparsity` is the share of masked weights that λ is steered to; blocks of heads that stay come back, so that less may
// be cut.
#include "pruning/block_masks.h"
#include "pruning/masks.h"
#include "pruning/methods.h"
#include "pruning/soft_scores.h"

namespace bertx::compress {
namespace {

constexpr double first_lambda = 100, score_rate = 1e-2;

class BlockMovement final : public SoftScores {
 public:
  explicit BlockMovement(const Recipe& recipe) : SoftScores(recipe, first_lambda) {}

  void begin(Backend& backend, Model& model, const TrainState&) override {
    mask_blocks(backend, model, recipe_);
    for (Parameter* scores : all_scores(model)) {
      scores->learning_rate_factor = recipe_.score_learning_rate.value_or(score_rate) / recipe_.learning_rate;
    }
    share_ = share_of_zeros<BlockMaskedWeight>(backend, model);
  }

  void before_step(Backend& backend, Model& model, const TrainState& state) override {
    risen_ = risen(recipe_, state);
    if (risen_ <= 0.0) return;
    const double most = recipe_.regularization ? 1.0 : recipe_.sparsity;
    threshold_blocks(backend, model, recipe_.threshold * risen_, most);
    share_ = share_of_zeros<BlockMaskedWeight>(backend, model);
    steering_.steer(state, share_);
  }

  double after_backward(Backend& backend, Model& model, const TrainState&) override {
    return add_penalty(backend, all_scores(model), steering_.lambda() * risen_);
  }

  void finish(Backend& backend, Model& model, const TrainState&) override { fill_blocks(backend, model); }

 private:
  static std::vector<Parameter*> all_scores(Model& model) {
    std::vector<Parameter*> found;
    for (const ScoredBlocks& blocks : scored_blocks(model)) found.push_back(blocks.scores);
    return found;
  }
};

}  // namespace

std::unique_ptr<TrainHook> make_block_movement(const Recipe& recipe, const Calibration&) {
  return std::make_unique<BlockMovement>(recipe);
}

}  // namespace bertx::compress
