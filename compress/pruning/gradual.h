// Pruning during training by a ranking that is repeated while the sparsity rises: what magnitude, random and hard
// movement share.
#pragma once

#include "pruning/sensitivity.h"

namespace bertx::compress {

class GradualRanking final : public TrainHook {
 public:
  /// `with_scores`: weights have scores that learn.
  GradualRanking(const Recipe& recipe, const Calibration& calibration, RankMasks rank, bool with_scores)
      : recipe_(recipe), selection_(recipe, calibration), rank_(std::move(rank)), with_scores_(with_scores) {}

  void begin(Backend& backend, Model& model, const TrainState& state) override;
  void before_step(Backend& backend, Model& model, const TrainState& state) override;
  void finish(Backend& backend, Model& model, const TrainState& state) override;
  std::string save() const override { return selection_.save(); }
  void load(const std::string& json) override { selection_.load(json); }
  std::vector<std::pair<std::string, double>> figures() const override { return {{"sparsity", share_}}; }

 private:
  Recipe recipe_;
  MeasuredSelection selection_;
  RankMasks rank_;
  bool with_scores_;
  double share_ = 0;
};

/// The same at once.
void rank_now(Backend& backend, Model& model, const Recipe& recipe, const Calibration& calibration,
              const RankMasks& rank);

}  // namespace bertx::compress
