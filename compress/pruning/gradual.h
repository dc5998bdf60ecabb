// Pruning during training by a ranking that is repeated while the sparsity rises: what magnitude and hard movement
// share.
#pragma once

#include "pruning/masks.h"

namespace bertx::compress {

class GradualRanking final : public TrainHook {
 public:
  /// Key::magnitude ranks weights, Key::value ranks scores, which the weights then have.
  GradualRanking(const Recipe& recipe, Key key) : recipe_(recipe), how_(selection_of(recipe)), key_(key) {}

  void begin(Backend& backend, Model& model, const TrainState& state) override;
  void before_step(Backend& backend, Model& model, const TrainState& state) override;
  void finish(Backend& backend, Model& model, const TrainState& state) override;
  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  Selection how_;
  Key key_;
  double share_ = 0;
};

}  // namespace bertx::compress
